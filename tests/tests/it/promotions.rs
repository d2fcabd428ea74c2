//! Redis behind sentinels, one primary and two replicas. The primary is killed, stopped and
//! cut off under load, and another server is promoted each time. Nothing is lost that
//! replicas were waited for. Without that, nothing is lost that was accepted long after a
//! cut, and the managers count what is.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::iter::repeat_n;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use drumline_oracle::Needs;
use drumline_test_servers::{RabbitServer, RedisGroup, RedisOptions};
use drumline_tests::clients::{Accepted, Clients, Stream, counted_lost, gap};
use drumline_tests::fleet::{Fleet, Size};
use drumline_tests::load::{Disturbed, Load, rest, settle};
use drumline_tests::secrets;
use tokio::time::Instant;

const SIZE: Size = Size {
    managers: 2,
    workers: 3,
    concurrency: 8,
    lease: Duration::from_secs(3),
    partitions: 16,
    queues: &[],
    handlers: None,
    redis_bytes_per_second: None,
};

/// The time that a handler takes, in milliseconds.
const RUNS_MS: u64 = 20;
const STREAM: Stream = Stream {
    callers: 8,
    rest: Duration::from_millis(40),
    token_ms: RUNS_MS,
    alone_ms: RUNS_MS,
};

/// The promotions in each half of the test with waiting, and the creates that must be
/// accepted in both together for the test to prove something.
const EACH: usize = 10;
const LEAST: usize = 5_000;
/// The cuts of the test without waiting.
const CUTS: usize = 3;
/// The time in which everything that was created is Completed.
const COMPLETED: Duration = Duration::from_secs(150);
/// The settings that bound what a primary that is cut off accepts.
const MIN_REPLICAS: [&str; 4] = [
    "--min-replicas-to-write",
    "1",
    "--min-replicas-max-lag",
    "1",
];
/// The time after a cut for which creates may be accepted that are lost. Redis keeps the time
/// of a replica's last answer in whole seconds, and looks at it once a second. With a lag of
/// 1, it refuses writes about two seconds after a cut, and always within three.
const EXPOSED: Duration = Duration::from_secs(3);
/// The usual time. The figures have the number of creates that are lost although they were
/// begun later.
const USUALLY: Duration = Duration::from_secs(2);
/// The words with which a manager tells of a loss.
const TOLD: &str = "Redis has lost operations that were accepted";

/// The end of a primary.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// It is killed, and comes back as it was started first: the first server as a primary.
    Killed,
    /// It stands still, and goes on with what it was sent meanwhile.
    Stopped,
    /// Replicas and sentinels do not reach it, and the fleet does.
    CutOff,
}

impl Fault {
    const fn word(self) -> &'static str {
        match self {
            Self::Killed => "killed",
            Self::Stopped => "stopped",
            Self::CutOff => "cut off",
        }
    }

    async fn begin(self, group: &RedisGroup, primary: usize) -> Result<()> {
        match self {
            Self::Killed => group.servers()[primary].kill(),
            Self::Stopped => group.servers()[primary].stop_signal(),
            Self::CutOff => group.cut_off(primary).await,
        }
    }

    async fn end(self, group: &RedisGroup, primary: usize) -> Result<()> {
        match self {
            Self::Killed => group.servers()[primary].restart().await,
            Self::Stopped => group.servers()[primary].cont(),
            Self::CutOff => group.reconnect(primary).await,
        }
    }
}

/// A promotion that has happened.
struct Promotion {
    /// The fault before it.
    what: &'static str,
    /// The ports of the old primary and of the new one.
    from: u16,
    to: u16,
    /// The time of the fault.
    begun: Instant,
    /// The time at which the sentinels and the server agreed on the new primary.
    promoted: Instant,
    /// The time at which all others followed it, and creates went on.
    ended: Instant,
}

/// A fleet on a group, and its clients.
struct Loaded {
    // Dropped before its servers.
    fleet: Fleet,
    group: RedisGroup,
    clients: Clients,
    promotions: Vec<Promotion>,
}

/// Starts a fleet on three servers with these settings behind three sentinels, and a steady
/// stream of creates. Everything that counts waits for so many replicas.
async fn start(name: &str, waits_for: u16, settings: &[&str]) -> Result<Loaded> {
    let mut options = RedisOptions {
        // With a user of its own, the fleet reaches a primary that is cut off.
        arguments: secrets::redis_arguments(),
        ..RedisOptions::default()
    };
    let settings = settings.iter().map(|text| (*text).to_owned());
    options.arguments.extend(settings);
    let group = RedisGroup::start_with(options);
    let (group, rabbit) = tokio::try_join!(group, RabbitServer::start())?;
    let environment = vec![
        (
            "DRUMLINE_REDIS_URL".to_owned(),
            secrets::with_user(&group.url()),
        ),
        (
            "DRUMLINE_REDIS_WAIT_REPLICAS".to_owned(),
            waits_for.to_string(),
        ),
    ];
    let redis = Arc::clone(&group.servers()[0]);
    let fleet = Fleet::start_on(name, SIZE, redis, rabbit, environment).await?;
    let clients = Clients::start(&fleet, "promotions", STREAM);
    Ok(Loaded {
        fleet,
        group,
        clients,
        promotions: Vec::new(),
    })
}

impl Loaded {
    /// Has the primary suffer a fault until another server is promoted, and ends the fault.
    async fn promote(&mut self, fault: Fault, waits_for: u16) -> Result<()> {
        self.clients.go_on().await?;
        let old = self.group.primary().await?;
        let begun = Instant::now();
        fault.begin(&self.group, old).await?;
        let new = self.group.promoted(old).await?;
        let promoted = Instant::now();
        if waits_for == 1 {
            // The new primary has one replica. It has two when the old primary is one.
            self.clients.go_on().await?;
        }
        fault.end(&self.group, old).await?;
        self.whole(old, new).await?;
        self.note(fault.word(), (old, new), (begun, promoted))
    }

    /// Cuts the primary off so that it does not notice at once, until another server is
    /// promoted. What the old one accepts in the meantime is lost.
    async fn cut(&mut self) -> Result<()> {
        self.clients.go_on().await?;
        let old = self.group.primary().await?;
        self.group.cut_off_silently(old).await?;
        let begun = Instant::now();
        self.group.deserted(old).await?;
        self.group.lose_unread(old).await?;
        let new = self.group.promoted(old).await?;
        let promoted = Instant::now();
        // The old primary still takes itself for the primary.
        self.clients.go_on().await?;
        self.group.reconnect(old).await?;
        self.whole(old, new).await?;
        self.note("cut off silently", (old, new), (begun, promoted))
    }

    /// Waits until the group is as it was, with another primary.
    async fn whole(&mut self, old: usize, new: usize) -> Result<()> {
        self.group.demoted(old).await?;
        self.group.followed(new).await?;
        self.clients.go_on().await
    }

    fn note(
        &mut self,
        what: &'static str,
        (old, new): (usize, usize),
        (begun, promoted): (Instant, Instant),
    ) -> Result<()> {
        let servers = self.group.servers();
        let (from, to) = (servers[old].port(), servers[new].port());
        ensure!(from != to, "the primary has stayed at port {from}");
        self.promotions.push(Promotion {
            what,
            from,
            to,
            begun,
            promoted,
            ended: Instant::now(),
        });
        Ok(())
    }

    /// The promotions in words, a line each.
    fn figures(&self, accepted: &[Accepted]) -> Result<String> {
        let mut told = String::new();
        for (place, promotion) in self.promotions.iter().enumerate() {
            let Promotion {
                what,
                from,
                to,
                begun,
                promoted,
                ended,
            } = promotion;
            let number = place + 1;
            let took = *promoted - *begun;
            let next = accepted.iter().find(|one| one.answered >= *promoted);
            let next = next.map_or(Duration::MAX, |one| one.answered - *promoted);
            let gap = gap(accepted, *begun, *ended);
            writeln!(
                told,
                "{number}. port {from} {what}, port {to} promoted after {took:.1?}; the first create {next:.1?} \
                 after that; no create for {gap:.1?} at the most"
            )?;
        }
        writeln!(told, "{} creates accepted", accepted.len())?;
        Ok(told)
    }

    /// Writes the figures down for a person.
    fn write_down(&self, figures: &str) -> Result<()> {
        std::fs::write(self.fleet.folder().join("promotions.txt"), figures)?;
        Ok(())
    }

    /// The time for which the primary had been cut off when a create was begun that is lost:
    /// zero before the cut, and for ever if no promotion came after it.
    fn exposed(&self, lost: &Accepted) -> Duration {
        let mut promotions = self.promotions.iter();
        let next = promotions.find(|promotion| lost.begun <= promotion.promoted);
        next.map_or(Duration::MAX, |promotion| {
            lost.begun.saturating_duration_since(promotion.begun)
        })
    }

    /// The number of lines in which the managers have told of a loss.
    fn told(&self) -> Result<usize> {
        let mut told = 0;
        for file in std::fs::read_dir(self.fleet.folder())? {
            let path = file?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.starts_with("manager-") {
                let log = std::fs::read(&path)?;
                told += String::from_utf8_lossy(&log).matches(TOLD).count();
            }
        }
        Ok(told)
    }
}

/// Has one primary after the other suffer a fault, under load, and everything judged. Returns
/// the number of creates that were accepted.
async fn judged(name: &str, waits_for: u16, faults: impl Iterator<Item = Fault>) -> Result<usize> {
    let mut loaded = start(name, waits_for, &[]).await?;
    for (place, fault) in faults.enumerate() {
        let promoted = loaded.promote(fault, waits_for).await;
        promoted.with_context(|| format!("{name}, fault {}: {fault:?}", place + 1))?;
    }
    loaded.clients.reach(LEAST / 2).await?;
    let accepted = loaded.clients.finish().await?;
    loaded.write_down(&loaded.figures(&accepted)?)?;
    // Judged as a load without tokens. The oracle takes tokens from the journals.
    let load = Load {
        first: 0,
        tokens: 0,
        per_token: 0,
        alone: accepted.len(),
        ms_max: RUNS_MS,
        disturbed: false,
    };
    let promotions = loaded.promotions.len() as u64;
    let needs = Needs {
        counted: vec![("a promotion".to_owned(), promotions)],
        ..Needs::default()
    };
    let settled = settle(&loaded.fleet, &[load], &Disturbed::new(), needs).await;
    settled.with_context(|| format!("{name}, after {promotions} promotions"))?;
    Ok(accepted.len())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes some minutes: `make soak` runs it"]
async fn twenty_promotions_lose_nothing_that_replicas_were_waited_for() -> Result<()> {
    // A server that dies has sent to both replicas what one of them has acknowledged.
    let kills = repeat_n(Fault::Killed, EACH);
    let killed = judged("promotions-kills", 1, kills).await?;
    // A server that is cut off has not, so both are waited for.
    let cuts = [Fault::Stopped, Fault::CutOff].into_iter().cycle();
    let cut = judged("promotions-cuts", 2, cuts.take(EACH)).await?;
    let accepted = killed + cut;
    ensure!(accepted >= LEAST, "only {accepted} creates were accepted");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes some minutes: `make soak` runs it"]
async fn a_promotion_without_waiting_loses_nothing_accepted_long_after_a_cut() -> Result<()> {
    let mut loaded = start("promotions-unwaited", 0, &MIN_REPLICAS).await?;
    for number in 1..=CUTS {
        let cut = loaded.cut().await;
        cut.with_context(|| format!("cut {number}"))?;
    }
    let accepted = loaded.clients.finish().await?;
    let operations = rest(&loaded.fleet, COMPLETED, false).await?;
    let known: HashSet<&str> = operations
        .iter()
        .filter_map(|operation| operation["id"].as_str())
        .collect();
    let is_lost = |one: &&Accepted| !known.contains(one.id.as_str());
    let lost: Vec<&Accepted> = accepted.iter().filter(is_lost).collect();
    let exposed = |limit: Duration| {
        let late = lost.iter().filter(|one| loaded.exposed(one) > limit);
        late.map(|one| one.id.as_str()).collect::<Vec<&str>>()
    };
    let longest = lost.iter().map(|one| loaded.exposed(one)).max();
    let (later, too_late) = (exposed(USUALLY), exposed(EXPOSED));

    let mut figures = loaded.figures(&accepted)?;
    writeln!(
        figures,
        "{} of them lost; the last of these was begun {:.2?} after its cut, and {} later than {USUALLY:?} after it",
        lost.len(),
        longest.unwrap_or_default(),
        later.len()
    )?;
    loaded.write_down(&figures)?;
    ensure!(
        too_late.is_empty(),
        "lost although accepted later than {EXPOSED:?} after a cut: {too_late:?}\n{figures}"
    );
    ensure!(!lost.is_empty(), "there was nothing to lose:\n{figures}");

    let counted = counted_lost(&loaded.fleet, lost.len()).await?;
    let told = loaded.told()?;
    writeln!(
        figures,
        "the managers have counted {counted}, and told of losses {told} times"
    )?;
    loaded.write_down(&figures)?;
    ensure!(told > 0, "no manager has told of it:\n{figures}");
    Ok(())
}
