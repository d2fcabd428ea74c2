//! A Redis that is full: with a limit for the Completed operations no create is refused,
//! however long the load goes on, and the memory of every process stays as it is.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use drumline_oracle::journal::Event;
use drumline_test_servers::{RabbitServer, RedisOptions, RedisServer};
use drumline_tests::fleet::{Fleet, Size};
use drumline_tests::load::{all_completed, request};
use drumline_tests::memory::{resident, used_memory};
use reqwest::StatusCode;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

/// A load on a Redis that it would fill several times.
struct Run {
    name: &'static str,
    /// `maxmemory`, in bytes.
    redis: u64,
    /// `--max-completed-bytes`.
    completed: u64,
    /// The payload of each operation, in bytes.
    bytes: usize,
    /// Creates in a second, all clients together.
    per_second: u32,
    /// Creates.
    count: u32,
}

const CLIENTS: u32 = 8;
const LOOKS: u64 = 40;
/// The time in which a run that stands still fails: many times what it needs.
const PATIENCE: Duration = Duration::from_secs(120);
const MIB: u64 = 1024 * 1024;
/// The growth of a process that is no leak: what its allocator holds for a burst.
const SLACK: u64 = 16 * MIB;

#[tokio::test(flavor = "multi_thread")]
async fn a_full_redis_refuses_no_create() -> Result<()> {
    run(Run {
        name: "full",
        redis: 64 * MIB,
        completed: 24 * MIB,
        bytes: 40_000,
        per_second: 100,
        count: 2_000,
    })
    .await
    .map(drop)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes an hour: `make soak` runs it"]
async fn an_hour_at_a_full_redis_refuses_no_create_and_grows_no_process() -> Result<()> {
    let looks = run(Run {
        name: "full-hour",
        redis: 1024 * MIB,
        completed: 640 * MIB,
        bytes: 6_000,
        per_second: 100,
        count: 360_000,
    })
    .await?;
    let quarter = looks.len() / 4;
    let most = |looks: &[Vec<u64>], place: usize| {
        let values = looks.iter().filter_map(|look| look.get(place));
        values.max().copied().unwrap_or(0)
    };
    for place in 0..looks.first().map_or(0, Vec::len) {
        let before = most(&looks[quarter..2 * quarter], place);
        let after = most(&looks[3 * quarter..], place);
        ensure!(
            after <= before + before / 8 + SLACK,
            "process {place} had {before} bytes in the second quarter, {after} in the last"
        );
    }
    Ok(())
}

/// Creates operations, and has them executed, at a constant pace. Returns the memory of
/// each process, look by look.
async fn run(run: Run) -> Result<Vec<Vec<u64>>> {
    let arguments = ["--maxmemory".to_owned(), run.redis.to_string()];
    let options = RedisOptions {
        append_fsync: "everysec".to_owned(),
        arguments: arguments.to_vec(),
        ..RedisOptions::default()
    };
    let redis = RedisServer::start_with(options);
    let (redis, rabbit) = tokio::try_join!(redis, RabbitServer::start())?;
    let size = Size {
        workers: 2,
        ..Size::default()
    };
    let most = run.completed.to_string();
    let environment = vec![("DRUMLINE_MAX_COMPLETED_BYTES".to_owned(), most)];
    let fleet = Fleet::start_on(run.name, size, redis, rabbit, environment).await?;

    let created = Arc::new(AtomicU64::new(0));
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        let base = fleet.base(number as usize).to_owned();
        clients.spawn(client(base, number, Part::of(&run), Arc::clone(&created)));
    }
    let looks = observe(&fleet, &run, &created, &mut clients).await?;
    all_completed(&fleet.api(0), Duration::from_secs(60)).await?;
    judge(&fleet, &run, created.load(Ordering::Relaxed), &looks).await?;
    Ok(looks)
}

/// The creates of one client.
struct Part {
    count: usize,
    bytes: usize,
    /// The time between two creates.
    rest: Duration,
}

impl Part {
    fn of(run: &Run) -> Self {
        Self {
            count: (run.count / CLIENTS) as usize,
            bytes: run.bytes,
            rest: Duration::from_secs(1) * CLIENTS / run.per_second,
        }
    }
}

/// Creates its part of the operations. An answer that is no success ends it.
async fn client(base: String, number: u32, part: Part, created: Arc<AtomicU64>) -> Result<()> {
    let http = reqwest::Client::new();
    let mut ticks = interval(part.rest);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let pad = "x".repeat(part.bytes);
    let first = number as usize * 1_000_000;
    for token in first..first + part.count {
        ticks.tick().await;
        let mut body = request(token, 0, 1, false);
        body["data"]["pad"] = json!(pad);
        let answer = http
            .post(format!("{base}/v1/operations"))
            .header("Idempotency-Key", format!("full/{token}"))
            .json(&body)
            .send()
            .await?;
        let status = answer.status();
        ensure!(
            status == StatusCode::CREATED,
            "{status} {}",
            answer.text().await?
        );
        created.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// Looks at the memory of managers, workers and Redis, each time that a part of the
/// operations is created, until the clients have ended.
async fn observe(
    fleet: &Fleet,
    run: &Run,
    created: &AtomicU64,
    clients: &mut JoinSet<Result<()>>,
) -> Result<Vec<Vec<u64>>> {
    let began = Instant::now();
    let processes = fleet.managers.iter().chain(&fleet.workers);
    let pids: Vec<u32> = processes.map(|process| process.pid()).collect();
    let mut lines = format!(
        "{} creates of {} bytes, at most {} a second; maxmemory {} MiB, Completed ones {} MiB\n\
         seconds, created, MiB of the managers, of the workers, and of Redis\n",
        run.count,
        run.bytes,
        run.per_second,
        run.redis / MIB,
        run.completed / MIB
    );
    let mut looks = Vec::new();
    let step = u64::from(run.count) / LOOKS;
    let mut ticks = interval(Duration::from_millis(100));
    let (mut moved, mut last, mut seen) = (began, 0, 0);
    while !clients.is_empty() {
        ticks.tick().await;
        while let Some(ended) = clients.try_join_next() {
            ended??;
        }
        let count = created.load(Ordering::Relaxed);
        if count > last {
            (moved, last) = (Instant::now(), count);
        }
        ensure!(
            moved.elapsed() < PATIENCE,
            "{count} created, and no more for {PATIENCE:?}"
        );
        if count < seen + step {
            continue;
        }
        seen = count;
        let mut look = Vec::new();
        for pid in &pids {
            look.push(resident(*pid)?);
        }
        look.push(used_memory(&fleet.redis.address()).await?);
        let mib: Vec<u64> = look.iter().map(|bytes| bytes / MIB).collect();
        writeln!(lines, "{} {count} {mib:?}", began.elapsed().as_secs())?;
        std::fs::write(fleet.folder().join("summary.txt"), &lines)?;
        looks.push(look);
    }
    Ok(looks)
}

/// All that was created has run, Redis would have been full without the limit, and
/// operations were removed for it.
async fn judge(fleet: &Fleet, run: &Run, created: u64, looks: &[Vec<u64>]) -> Result<()> {
    let (bytes, most) = (run.bytes as f64, run.redis as f64);
    let written = created as f64 * bytes;
    ensure!(written > most, "{written} bytes do not fill Redis");
    let removed = fleet.metric("drumline_retention_removed_for_room_total");
    let removed = removed.await?;
    let left = written - removed * bytes;
    ensure!(left < most, "{removed} were removed, {left} bytes are left");
    let most = looks.iter().filter_map(|look| look.last()).max();
    ensure!(
        most.is_some_and(|most| (run.completed..run.redis).contains(most)),
        "Redis had {most:?} bytes at most"
    );
    let runs = fleet.history()?.runs;
    let starts = runs.iter().filter(|entry| entry.event == Event::Start);
    let ids: HashSet<_> = starts.map(|entry| &entry.id).collect();
    // A worker that stands still on a busy machine may have one taken over.
    ensure!(
        ids.len() as u64 == created,
        "{} of {created} have run",
        ids.len()
    );
    Ok(())
}
