//! A fault drill: whole processes under load, hurt, and judged by `drumline-oracle`.
//!
//! ```text
//! clients ──► queue managers ──► servers ◄── workers ──► sink
//!    │              ▲                           ▲ │        │
//!    │              └───────── faults ──────────┘ │        │
//!    └────────────────► journals ◄────────────────┴────────┘
//!                          │
//!                     the oracle ──► verdict, report
//! ```
//!
//! | module | is |
//! |---|---|
//! | [`plan`] | the size of a drill, and its length |
//! | [`target`] | the servers, as the caller provides them |
//! | `fleet` | the processes |
//! | `clients`, `load` | the calls, and what they create |
//! | [`faults`] | what is done to the processes |
//! | `access` | requests that must be denied |
//! | [`recorder`], [`mod@worker`], [`sink`] | handlers that write down what they do, and what they write to |
//! | [`collect`] | the service's last word |
//! | [`report`] | a page for a browser |
//!
//! No adapter is named here.

mod access;
mod clients;
pub mod collect;
pub mod faults;
mod fleet;
mod load;
pub mod plan;
pub mod recorder;
pub mod report;
pub mod sink;
pub mod target;
pub mod worker;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use drumline_oracle::journal::{History, Journal};
use drumline_oracle::{Blocked, Evidence, Needs, Probe, Verdict, judge};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

pub use drumline_oracle as oracle;
pub use faults::Faults;
pub use plan::Plan;
pub use target::{Target, WorkerSettings};
pub use worker::worker;

use access::Keys;
use clients::{Caller, Service};
use faults::Chaos;
use fleet::Fleet;
use load::Blockers;
use sink::Sink;

/// A drill and its processes.
#[derive(Debug)]
pub struct Drill {
    plan: Arc<Plan>,
    folder: PathBuf,
    keys: Arc<Keys>,
    service: Arc<Service>,
    fleet: Fleet,
    sink: Sink,
}

/// A drill that has come to its end.
#[derive(Debug)]
pub struct Drilled {
    /// The plan.
    pub plan: Arc<Plan>,
    /// The servers, for people.
    pub target: String,
    /// The verdict.
    pub verdict: Verdict,
    /// The faults that were caused.
    pub faults: Faults,
    /// The journal.
    pub history: History,
    /// The tokens that stood still on purpose.
    pub blocked: Vec<Blocked>,
}

impl Drill {
    /// Prepares a drill: keys, a sink, and no process yet. Its files are in a new folder that
    /// only this user can read.
    ///
    /// # Errors
    /// When the plan has nothing to hurt, or a file cannot be written.
    pub async fn prepare(plan: Plan, folder: &Path) -> Result<Self> {
        faults::check(&plan)?;
        fleet::private_folder(folder).with_context(|| format!("make {}", folder.display()))?;
        let auth_file = folder.join("auth.toml");
        let keys = Keys::make(&auth_file)?;
        let sink = Sink::start(Journal::open(&folder.join("sink.jsonl"))?).await?;
        let options = recorder::Options {
            journal: folder.join("workers.jsonl"),
            sink: Some(sink.address()),
        };
        let fleet = Fleet::new(&plan, folder, auth_file, options)?;
        let calls = Journal::open(&folder.join("clients.jsonl"))?;
        Ok(Self {
            service: Service::new(fleet.bases.clone(), keys.drill.clone(), calls),
            plan: Arc::new(plan),
            folder: folder.to_owned(),
            keys: Arc::new(keys),
            fleet,
            sink,
        })
    }

    /// Runs the drill: starts the processes, has faults happen under load, lets everything come
    /// to its end, and judges. `progress` is told about each step. Not cancel-safe: a drill that
    /// was dropped in between is over, and [`Self::end`] ends its processes.
    ///
    /// # Errors
    /// When a process does not start, a server is unavailable for too long, or the service
    /// refuses what it must not.
    pub async fn run(&mut self, target: &dyn Target, progress: &dyn Fn(&str)) -> Result<Drilled> {
        let plan = Arc::clone(&self.plan);
        progress(&format!(
            "starts {} queue managers and {} workers",
            plan.managers, plan.workers
        ));
        self.fleet.start(target, &plan).await?;
        let end = Instant::now() + plan.duration;
        let deadline = end + plan.rest() * 4;
        let mut caller = Caller::new(&self.service, plan.seed, plan.tokens, deadline);
        let mut blockers = Blockers::start(&mut caller, plan.tokens).await?;
        let standing = blockers.0.first().map(|one| one.id.clone());
        let (finish, ended) = watch::channel(false);
        let mut clients = JoinSet::new();
        for token in 0..plan.tokens {
            let service = Arc::clone(&self.service);
            clients.spawn(load::produce(
                service,
                Arc::clone(&plan),
                token,
                (ended.clone(), deadline),
            ));
        }
        let mut probes = JoinSet::new();
        let (service, keys) = (Arc::clone(&self.service), Arc::clone(&self.keys));
        probes.spawn(access::probe(
            service,
            keys,
            standing.unwrap_or_default(),
            ended,
        ));
        let mut chaos = Chaos {
            fleet: &mut self.fleet,
            target,
            service: &self.service,
            sink: &self.sink,
            plan: &plan,
            alone: plan.tokens + Blockers::TOKENS,
            deadline,
            progress,
            faults: Faults::default(),
            has_taken_over: false,
        };
        chaos.run(end).await?;
        let faults = chaos.faults;
        finish.send_replace(true);
        while let Some(done) = clients.join_next().await {
            done??;
        }
        let probes = probes.join_next().await.context("the requests to deny")??;
        progress("no more faults: everything comes to its end");
        load::rest(&mut caller, Some(&blockers), plan.rest(), progress).await?;
        let released = recorder::release_file(&self.folder.join("workers.jsonl"));
        blockers.release(&mut caller, &released).await?;
        load::rest(&mut caller, None, plan.rest(), progress).await?;
        progress("reads the histories, and judges");
        let finals = collect::finals(&mut caller, &plan).await?;
        let evidence = self.evidence(finals, blockers.0, probes, &faults)?;
        Ok(Drilled {
            verdict: judge(&evidence),
            target: target.description().to_owned(),
            plan,
            faults,
            history: evidence.history,
            blocked: evidence.blocked,
        })
    }

    fn evidence(
        &self,
        finals: Vec<drumline_oracle::Final>,
        blocked: Vec<Blocked>,
        probes: Vec<Probe>,
        faults: &Faults,
    ) -> Result<Evidence> {
        let journals = ["workers.jsonl", "sink.jsonl", "clients.jsonl"];
        let journals = journals.map(|name| self.folder.join(name));
        Ok(Evidence {
            history: History::read(&journals)?,
            finals,
            lease: self.plan.lease,
            blocked,
            probes,
            needs: Needs {
                take_overs: true,
                refused_writes: true,
                counted: faults.counted(),
            },
        })
    }

    /// The folder of the logs and journals.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Ends all processes, and waits until they are gone. The folder stays.
    pub async fn end(self) {
        // Processes that were stopped are killed like others.
        self.fleet.end().await;
    }
}

/// The shortest drill: the first round of faults fits into it.
pub const SHORTEST: Duration = Duration::from_secs(20);
