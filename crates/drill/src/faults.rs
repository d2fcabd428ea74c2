//! The faults of a drill. Workers are killed, stopped for longer than a lease, and drained. Queue
//! managers are killed and stopped. The broker loses its messages.
//!
//! They are caused, counted and shown. Nothing is judged by them: see `drumline-oracle`.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use drumline_client::{Client, Filter, OperationView, State};
use drumline_oracle::journal::now_ns;
use rustix::process::Signal;
use tokio::time::{Instant, sleep, sleep_until};

use crate::clients::{Caller, Service};
use crate::fleet::Fleet;
use crate::load::{flood, list, numbers};
use crate::plan::Plan;
use crate::sink::Sink;
use crate::target::Target;

/// The time for which a manager is stopped: longer than a client waits for an answer.
const MANAGER_STOPPED: Duration = Duration::from_secs(4);
/// The time within which messages must wait in the broker.
const FILLED: Duration = Duration::from_secs(20);
/// The time that a take-over may need besides ten leases.
const TAKEN_OVER: Duration = Duration::from_secs(20);
/// The time between two looks at what was taken over.
const LOOK: Duration = Duration::from_millis(100);
/// The pause between two faults, at least.
const BETWEEN_MS: u64 = 300;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    KillWorker,
    StopWorker,
    DrainWorker,
    KillManager,
    StopManager,
    LoseMessages,
}

/// The first round, in this order: a short drill has the faults that matter most.
const ROUND: [Kind; 6] = [
    Kind::KillWorker,
    Kind::StopWorker,
    Kind::KillManager,
    Kind::LoseMessages,
    Kind::DrainWorker,
    Kind::StopManager,
];

/// A fault that has happened.
#[derive(Clone, Debug)]
pub struct Happened {
    /// The time on the clock of the journal.
    pub at_ns: u64,
    /// The fault, for people.
    pub what: String,
}

/// The faults of a drill.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// All of them, in order of time.
    pub happened: Vec<Happened>,
    /// Workers that were killed.
    pub workers_killed: u64,
    /// Workers that were stopped for longer than a lease.
    pub workers_stopped: u64,
    /// Workers that were drained.
    pub workers_drained: u64,
    /// Managers that were killed.
    pub managers_killed: u64,
    /// Managers that were stopped.
    pub managers_stopped: u64,
    /// The times that the broker has lost its messages.
    pub losses: u64,
    /// Messages that waited in the broker when it lost them.
    pub messages_lost: u64,
}

impl Faults {
    /// The faults without which a drill is void.
    pub(crate) fn counted(&self) -> Vec<(String, u64)> {
        [
            ("a worker was killed", self.workers_killed),
            (
                "a worker was stopped for longer than its lease",
                self.workers_stopped,
            ),
            ("a queue manager was killed", self.managers_killed),
            (
                "messages were in the broker when it lost them",
                self.messages_lost,
            ),
        ]
        .map(|(what, count)| (what.to_owned(), count))
        .to_vec()
    }
}

/// The parts that a fault needs.
pub(crate) struct Chaos<'a> {
    pub(crate) fleet: &'a mut Fleet,
    pub(crate) target: &'a dyn Target,
    pub(crate) service: &'a Arc<Service>,
    pub(crate) sink: &'a Sink,
    pub(crate) plan: &'a Plan,
    /// The first number of operations without a token.
    pub(crate) alone: usize,
    pub(crate) deadline: Instant,
    pub(crate) progress: &'a dyn Fn(&str),
    pub(crate) faults: Faults,
}

impl Chaos<'_> {
    /// Causes faults until `end`, and one round at least. A fault that has begun is brought to
    /// its end.
    pub(crate) async fn run(&mut self, end: Instant) -> Result<()> {
        let mut caller = Caller::new(self.service, self.plan.seed, usize::MAX >> 1, self.deadline);
        let mut round = ROUND.to_vec();
        let mut first = true;
        while first || Instant::now() < end {
            for kind in round.clone() {
                let pause = caller.random.u64(BETWEEN_MS..3 * BETWEEN_MS);
                let next = Instant::now() + Duration::from_millis(pause);
                sleep_until(next).await;
                if !first && Instant::now() >= end {
                    return Ok(());
                }
                self.cause(kind, &mut caller).await?;
            }
            first = false;
            caller.random.shuffle(&mut round);
        }
        Ok(())
    }

    async fn cause(&mut self, kind: Kind, caller: &mut Caller) -> Result<()> {
        match kind {
            Kind::KillWorker => {
                let place = self.busiest(caller).await;
                let worker = self.fleet.workers.swap_remove(place);
                self.note(format!("{} killed", worker.name));
                worker.kill().await?;
                self.faults.workers_killed += 1;
                self.fleet.start_worker(self.target).await
            }
            Kind::StopWorker => {
                let place = self.busiest(caller).await;
                let Some(worker) = self.fleet.workers.get(place) else {
                    return Ok(());
                };
                worker.signal(Signal::STOP)?;
                let pid = worker.pid;
                let text = format!("{} stopped", worker.name);
                self.note(text);
                self.until_taken_over(caller, pid).await?;
                let Some(worker) = self.fleet.workers.get(place) else {
                    return Ok(());
                };
                worker.signal(Signal::CONT)?;
                let text = format!("{} goes on", worker.name);
                self.note(text);
                self.faults.workers_stopped += 1;
                Ok(())
            }
            Kind::DrainWorker => {
                let place = caller.random.usize(0..self.fleet.workers.len());
                let worker = self.fleet.workers.swap_remove(place);
                worker.signal(Signal::TERM)?;
                self.note(format!("{} drained", worker.name));
                self.fleet.start_worker(self.target).await?;
                worker.ended().await?;
                self.faults.workers_drained += 1;
                Ok(())
            }
            Kind::KillManager => {
                let place = caller.random.usize(0..self.fleet.managers.len());
                let name = self.fleet.kill_manager(place).await?;
                self.note(format!("{name} killed"));
                self.faults.managers_killed += 1;
                self.fleet.start_manager(self.target, place).await
            }
            Kind::StopManager => {
                let place = caller.random.usize(0..self.fleet.managers.len());
                for (signal, what) in [(Signal::STOP, "stopped"), (Signal::CONT, "goes on")] {
                    let Some(manager) = self.fleet.managers.get(place) else {
                        return Ok(());
                    };
                    manager.signal(signal)?;
                    let text = format!("{} {what}", manager.name);
                    self.note(text);
                    if signal == Signal::STOP {
                        sleep(MANAGER_STOPPED).await;
                    }
                }
                self.faults.managers_stopped += 1;
                Ok(())
            }
            Kind::LoseMessages => self.lose_messages(caller).await,
        }
    }

    /// Waits until other workers have taken over what a stopped one holds, and have written to the
    /// sink: its handlers are refused then.
    async fn until_taken_over(&self, caller: &mut Caller, pid: u32) -> Result<()> {
        // The lease has not ended by then, so that everything is still held.
        let ending = format!("-{pid}");
        let locked = list(caller, &Filter::new().state(State::Locked)).await?;
        let is_held = |view: &OperationView| {
            let host = view.host_id.as_deref();
            host.is_some_and(|host| host.ends_with(&ending))
        };
        let mut held: Vec<(String, usize, u64)> = locked
            .iter()
            .filter(|view| is_held(view))
            .filter_map(|view| {
                let (token, _) = numbers(&view.name)?;
                Some((view.id.clone(), token, self.sink.fence(token)))
            })
            .collect();
        let limit = Instant::now() + self.plan.lease * 10 + TAKEN_OVER;
        // At least for longer than a lease, also if it held nothing.
        sleep(self.plan.lease * 2).await;
        while !held.is_empty() && Instant::now() < limit {
            held.retain(|(_, token, before)| self.sink.fence(*token) <= *before);
            let mut left = Vec::new();
            for (id, token, before) in held {
                let of = id.as_str();
                let look = move |client: Client| async move { client.get(of).await };
                let view = caller.read(look).await?;
                if view.state_code != State::Completed.code() {
                    left.push((id, token, before));
                }
            }
            held = left;
            sleep(LOOK).await;
        }
        Ok(())
    }

    /// Fills the broker, and has it lose everything.
    async fn lose_messages(&mut self, caller: &mut Caller) -> Result<()> {
        let places = self.fleet.workers.len() * usize::from(self.plan.concurrency);
        let count = places * 8;
        let first = self.alone;
        self.alone += count;
        flood(self.service, self.plan.seed, (first, count), self.deadline).await?;
        let limit = Instant::now() + FILLED;
        let mut waiting = 0;
        while waiting == 0 && Instant::now() < limit {
            let queues = caller
                .read(|client| async move { client.queues().await })
                .await?;
            let numbers = queues
                .queues
                .iter()
                .filter_map(|queue| queue.waiting_messages);
            waiting = numbers.sum();
        }
        self.target.lose_messages().await?;
        let how = self.target.loss();
        self.note(format!("the broker loses {waiting} messages ({how})"));
        self.faults.losses += 1;
        self.faults.messages_lost += waiting;
        Ok(())
    }

    /// The place of the worker that runs the most operations.
    async fn busiest(&self, caller: &mut Caller) -> usize {
        let any = caller.random.usize(0..self.fleet.workers.len().max(1));
        let Ok(client) = caller.client().await else {
            return any;
        };
        let Ok(seen) = client.workers().await else {
            return any;
        };
        let running = |pid: u32| {
            let ending = format!("-{pid}");
            let member = seen.workers.iter().find(|one| one.host.ends_with(&ending));
            member.map_or(0, |member| member.running)
        };
        let workers = self.fleet.workers.iter().enumerate();
        let busiest = workers.max_by_key(|(_, worker)| running(worker.pid));
        busiest.map_or(any, |(place, _)| place)
    }

    fn note(&mut self, what: String) {
        (self.progress)(&what);
        self.faults.happened.push(Happened {
            at_ns: now_ns(),
            what,
        });
    }
}

/// Holds that a plan has processes to hurt.
pub(crate) fn check(plan: &Plan) -> Result<()> {
    ensure!(
        plan.managers >= 2 && plan.workers >= 2,
        "a drill needs two queue managers and two workers: another one must take over"
    );
    Ok(())
}
