//! Many large operations, and a slow line to Redis: what is due together starts at
//! the speed of the line, and leases are renewed meanwhile.

use std::collections::HashSet;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use drumline_oracle::journal::{Event, now_ns};
use drumline_protocol::Timestamp;
use drumline_tests::api::Api;
use drumline_tests::data_set::Redis;
use drumline_tests::fleet::{Fleet, Process, Size};
use drumline_tests::load::{all_completed, request};
use drumline_tests::memory::{peak, used_memory};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

/// Operations that are due together.
struct Burst {
    count: usize,
    bytes: usize,
    /// The line to Redis; None is that of the machine itself.
    bytes_per_second: Option<u64>,
    /// The time for giving all of them their time.
    lead: Duration,
    /// The time after which a burst that stands still fails the test.
    limit: Duration,
}

/// Operations of the burst that every test run has: their bytes take twice as long
/// as an answer may.
const FEW: usize = 24;
/// The lease of the workers.
const LEASE: Duration = Duration::from_secs(3);
/// Operations that run all the time, some leases long: they show whether leases
/// are renewed.
const LONG: usize = 4;
/// The token numbers of the long ones.
const LONG_FIRST: usize = 1_000_000;
/// A time that does not come.
const LONG_WAIT: Duration = Duration::from_secs(3_600);
/// The time between two small creates beside the large operations, and their first token number.
const OTHERS_EVERY: Duration = Duration::from_millis(20);
const OTHERS_FIRST: usize = 2_000_000;
/// Creates at the same time.
const AT_ONCE: usize = 4;

#[tokio::test(flavor = "multi_thread")]
async fn large_operations_that_are_due_together_start_over_a_slow_line() -> Result<()> {
    let fleet = run(Burst {
        count: FEW,
        bytes: 900_000,
        bytes_per_second: Some(10_000_000),
        lead: Duration::from_secs(12),
        limit: Duration::from_secs(120),
    })
    .await?;
    a_page_of_large_operations_is_short(&fleet.api(0)).await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes a minute: `make soak` runs it"]
async fn three_hundred_operations_of_a_megabyte_start_together() -> Result<()> {
    run(Burst {
        count: 300,
        bytes: 900_000,
        bytes_per_second: Some(60_000_000),
        lead: Duration::from_secs(10),
        limit: Duration::from_secs(120),
    })
    .await
    .map(drop)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes a minute: `make soak` runs it"]
async fn five_thousand_operations_of_a_tenth_of_that_start_together() -> Result<()> {
    run(Burst {
        count: 5_000,
        bytes: 100_000,
        bytes_per_second: Some(110_000_000),
        lead: Duration::from_secs(60),
        limit: Duration::from_secs(180),
    })
    .await
    .map(drop)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes a minute: `make soak` runs it"]
async fn fifteen_hundred_operations_of_a_megabyte_start_together_beside_redis() -> Result<()> {
    run(Burst {
        count: 1_500,
        bytes: 900_000,
        bytes_per_second: None,
        lead: Duration::from_secs(60),
        limit: Duration::from_secs(180),
    })
    .await
    .map(drop)
}

async fn run(burst: Burst) -> Result<Fleet> {
    let size = Size {
        workers: 2,
        concurrency: 8,
        lease: LEASE,
        redis_bytes_per_second: burst.bytes_per_second,
        ..Size::default()
    };
    let fleet = Fleet::start(&format!("large-{}", burst.count), size).await?;
    let api = fleet.api(0);
    create_all(&fleet, &burst).await?;
    let asked = Instant::now();
    let first = create_long(&api, burst.lead).await?;
    let created = Timestamp::parse_rfc3339(first["createdOn"].as_str().context("createdOn")?)?;
    postpone_all(&api, created.saturating_add(burst.lead), burst.count).await?;
    let left = burst.lead.saturating_sub(asked.elapsed());
    ensure!(!left.is_zero(), "that took longer than {:?}", burst.lead);
    sleep(left).await;
    let due_ns = now_ns();
    let (end_others, is_over) = oneshot::channel();
    let mut others = JoinSet::new();
    others.spawn(create_others(fleet.api(1), is_over));
    let deadline = Instant::now() + burst.limit;
    let last_ns = loop {
        let starts = starts(&fleet)?;
        if starts.len() == burst.count {
            break starts.iter().map(|(_, at_ns)| *at_ns).max().unwrap_or(0);
        }
        ensure!(
            Instant::now() < deadline,
            "{} of {} have started; logs in {}",
            starts.len(),
            burst.count,
            fleet.folder().display()
        );
        sleep(Duration::from_millis(100)).await;
    };
    drop(end_others);
    let mut others = others.join_next().await.context("the others")???;
    others.sort_unstable();
    let took = Duration::from_nanos(last_ns.saturating_sub(due_ns));
    let bytes = (burst.count * burst.bytes) as f64;
    let (managers, workers) = (peaks(&fleet.managers)?, peaks(&fleet.workers)?);
    let used = used_memory(&fleet.redis.address()).await?;
    let line = match burst.bytes_per_second {
        Some(line) => line as f64,
        None => bytes_per_second(&fleet.redis.address(), burst.bytes).await?,
    };
    let needed = Duration::from_secs_f64(bytes / line);
    let figures = format!(
        "{} operations of {} bytes over {:.0} MB/s: all started {took:.2?} after their time; \
         their bytes need {needed:.2?}; {} creates of others, p50 {:.1?}, p99 {:.1?}; managers \
         {managers:?} MiB, workers {workers:?} MiB at most; Redis {:.2} × their bytes\n",
        burst.count,
        burst.bytes,
        line / 1e6,
        others.len(),
        percentile(&others, 50),
        percentile(&others, 99),
        used as f64 / bytes,
    );
    std::fs::write(fleet.folder().join("summary.txt"), &figures)?;
    all_completed(&api, burst.limit).await?;
    one_start_each(&fleet, burst.count + LONG + 1 + others.len())?;
    Ok(fleet)
}

/// Creates small operations, one at a time, while the large ones start. Returns how long each
/// create took.
async fn create_others(api: Api, mut is_over: oneshot::Receiver<()>) -> Result<Vec<Duration>> {
    let mut ticks = interval(OTHERS_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut took = Vec::new();
    loop {
        tokio::select! {
            _ = &mut is_over => return Ok(took),
            _ = ticks.tick() => {}
        }
        let number = OTHERS_FIRST + took.len();
        let body = request(number, 0, 1, false);
        let start = Instant::now();
        api.create(&format!("other/{number}"), &body).await?;
        took.push(start.elapsed());
    }
}

/// The value that so many percent of the values in order do not exceed.
fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let place = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(place).copied().unwrap_or_default()
}

/// The rate at which one connection reads values of this length, with nothing beside it.
async fn bytes_per_second(address: &str, length: usize) -> Result<f64> {
    const READS: usize = 500;
    const KEY: &[u8] = b"a value to be read";
    let mut redis = Redis::connect(address).await?;
    let words = |words: &[&[u8]]| words.iter().map(|word| word.to_vec()).collect::<Vec<_>>();
    redis
        .call(&words(&[b"SET", KEY, &vec![b'x'; length]]))
        .await?;
    let start = Instant::now();
    for _ in 0..READS {
        redis.call(&words(&[b"GET", KEY])).await?;
    }
    let took = start.elapsed();
    redis.call(&words(&[b"DEL", KEY])).await?;
    Ok((READS * length) as f64 / took.as_secs_f64())
}

/// The most memory that each process has had, in MiB.
fn peaks(processes: &[Process]) -> Result<Vec<u64>> {
    let peaks = processes.iter().map(|one| Ok(peak(one.pid())? >> 20));
    peaks.collect()
}

/// Creates operations that run for longer than some leases, from now on.
async fn create_long(api: &Api, lead: Duration) -> Result<Value> {
    let length = lead + 3 * LEASE;
    let ms = u64::try_from(length.as_millis())?;
    let mut first = Value::Null;
    for number in LONG_FIRST..LONG_FIRST + LONG {
        let request = request(number, 0, ms, false);
        first = api.create(&format!("long/{number}"), &request).await?;
    }
    Ok(first)
}

/// Gives all operations that wait the same time.
async fn postpone_all(api: &Api, until: Timestamp, count: usize) -> Result<()> {
    let body = json!({ "postponeUntil": until.to_string() });
    let (mut done, mut cursor) = (0, String::new());
    loop {
        let path = format!("/v1/operations/postpone?state=1{cursor}");
        let answer = api.post(&path, &body).await?;
        done += answer["done"].as_u64().unwrap_or(0);
        match answer["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    ensure!(done == count as u64, "{done} of {count} were postponed");
    Ok(())
}

/// Creates operations that wait for long.
async fn create_all(fleet: &Fleet, burst: &Burst) -> Result<()> {
    let probe = request(LONG_FIRST - 1, 0, 1, false);
    let probe = fleet.api(0).create("probe", &probe).await?;
    let created = Timestamp::parse_rfc3339(probe["createdOn"].as_str().context("createdOn")?)?;
    let until = created.saturating_add(LONG_WAIT).to_string();
    let pad = "x".repeat(burst.bytes);
    let mut creators = JoinSet::new();
    for number in 0..burst.count {
        let api = fleet.api(number);
        let mut body = request(number, 0, 1, false);
        body["postponeUntil"] = json!(until);
        body["data"]["pad"] = json!(pad);
        while creators.len() >= AT_ONCE {
            creators.join_next().await.context("a creator")??;
        }
        creators.spawn(async move { create_one(&api, number, &body).await.expect("created") });
    }
    while let Some(created) = creators.join_next().await {
        created?;
    }
    Ok(())
}

async fn create_one(api: &Api, number: usize, body: &Value) -> Result<()> {
    api.create(&format!("large/{number}"), body).await.map(drop)
}

/// The first starts of the operations of the burst, with their times.
fn starts(fleet: &Fleet) -> Result<Vec<(String, u64)>> {
    let mut seen = HashSet::new();
    let runs = fleet.history()?.runs;
    let starts = runs
        .into_iter()
        .filter(|entry| entry.event == Event::Start && entry.token < LONG_FIRST - 1)
        .filter(|entry| seen.insert(entry.id.clone()));
    Ok(starts.map(|entry| (entry.id, entry.at_ns)).collect())
}

/// Every operation has one start. One whose lease was not renewed has two, because
/// it was taken over.
fn one_start_each(fleet: &Fleet, count: usize) -> Result<()> {
    let runs = fleet.history()?.runs;
    let starts: Vec<_> = runs
        .iter()
        .filter(|entry| entry.event == Event::Start)
        .collect();
    let ids: HashSet<_> = starts.iter().map(|entry| &entry.id).collect();
    ensure!(
        ids.len() == count && starts.len() == ids.len(),
        "{} starts of {} operations",
        starts.len(),
        ids.len()
    );
    Ok(())
}

/// A page ends early, and says where the next one begins.
async fn a_page_of_large_operations_is_short(api: &Api) -> Result<()> {
    let page = api.read("/v1/operations?limit=500").await?;
    let found = page["operations"].as_array().context("operations")?;
    let is_large = |one: &&Value| one["data"]["pad"].is_string();
    let count = found.iter().filter(is_large).count();
    ensure!(count > 0 && count < FEW, "{count} on a page");
    ensure!(page["nextCursor"].is_string(), "no next page");
    let all = api.list("").await?;
    let ids: HashSet<_> = all.iter().filter_map(|one| one["id"].as_str()).collect();
    ensure!(ids.len() == all.len() && all.len() > FEW + LONG);
    Ok(())
}
