//! A broker that is killed soon after its first queue was declared: everything
//! goes on within seconds of its return.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use drumline_tests::fleet::{Fleet, Size, summary};
use drumline_tests::load::{judged_without_calls, request};
use reqwest::Client;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::all_completed;

/// The time that everything may take after a broker takes connections again, besides a few times
/// that which the same operations take when nothing is killed: a busy machine needs longer for
/// all of it.
const RECOVERED_WITHIN: Duration = Duration::from_secs(10);
const TIMES: u32 = 3;
/// The time in which operations that stand still fail the test.
const LIMIT: Duration = Duration::from_secs(240);
/// The tokens of a round, and the first of those in which nothing is killed.
const TOKENS: usize = 60;
const CALM_FIRST: usize = 100_000;

/// Keeps one core busy until it is dropped.
struct Busy(Arc<AtomicBool>);

impl Busy {
    fn start() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        std::thread::spawn(move || {
            let mut number = 0_u64;
            while !stopped.load(Ordering::Relaxed) {
                number = std::hint::black_box(number.wrapping_mul(31).wrapping_add(7));
            }
        });
        Self(stop)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Creates operations until it is stopped; returns those that were answered
/// with an id. The first of them has a queue declared.
async fn create_until(
    api: String,
    token: usize,
    stop: Arc<AtomicBool>,
    declared: Arc<Notify>,
) -> Result<Vec<String>> {
    let http = Client::new();
    let mut ids = Vec::new();
    for index in 0..10 {
        // Every other operation has no token.
        let has_token = token.is_multiple_of(2);
        let number = if has_token {
            token
        } else {
            1_000 + token * 10 + index
        };
        let body = request(number, index, 3, has_token);
        let post = http.post(format!("{api}/v1/operations")).json(&body);
        if stop.load(Ordering::Relaxed) {
            break;
        }
        // Without an answer it may or may not have been accepted.
        let Ok(Ok(answer)) = timeout(Duration::from_secs(5), post.send()).await else {
            break;
        };
        if !answer.status().is_success() {
            break;
        }
        let operation: Value = answer.json().await?;
        ids.push(operation["id"].as_str().context("an id")?.to_owned());
        declared.notify_one();
    }
    Ok(ids)
}

/// The cost of a killed broker.
#[derive(Clone, Copy, Debug)]
struct Recovery {
    /// The time from the return of the broker until everything was Completed.
    took: Duration,
    /// The time that as many operations take when nothing is killed.
    calm: Duration,
}

impl Recovery {
    fn is_slow(self) -> bool {
        self.took > RECOVERED_WITHIN + TIMES * self.calm
    }
}

/// The creators of a round, with tokens from `first` on.
fn create_all(
    fleet: &Fleet,
    first: usize,
    stop: &Arc<AtomicBool>,
    declared: &Arc<Notify>,
) -> JoinSet<Result<Vec<String>>> {
    let mut creators = JoinSet::new();
    for token in first..first + TOKENS {
        let api = fleet.base(token).to_owned();
        let (stop, declared) = (Arc::clone(stop), Arc::clone(declared));
        creators.spawn(create_until(api, token, stop, declared));
    }
    creators
}

/// Kills RabbitMQ some time after the first queue was declared, starts it
/// again, and lets everything come to an end.
async fn killed_after(delay: Duration) -> Result<Recovery> {
    let size = Size {
        workers: 0,
        ..Size::default()
    };
    let mut fleet = Fleet::start(&format!("killed-{}", delay.as_millis()), size).await?;
    let busy = Busy::start();
    let stop = Arc::new(AtomicBool::new(false));
    let declared = Arc::new(Notify::new());
    let mut creators = create_all(&fleet, 0, &stop, &declared);
    for _ in 0..3 {
        fleet.add_worker()?;
    }
    declared.notified().await;
    sleep(delay).await;
    fleet.rabbit.kill()?;
    stop.store(true, Ordering::Relaxed);
    let mut accepted = Vec::new();
    while let Some(created) = creators.join_next().await {
        accepted.extend(created??);
    }
    fleet.rabbit.restart().await?;
    let api = fleet.api(0);
    let took = all_completed(&fleet, LIMIT).await?;
    let operations = api.list("").await?;
    for id in &accepted {
        let known = operations.iter().any(|one| one["id"] == json!(id));
        ensure!(known, "{id} was accepted and is lost");
    }
    ensure!(!accepted.is_empty(), "nothing was accepted");
    judged_without_calls(&fleet, &operations).await?;
    stop.store(false, Ordering::Relaxed);
    let begun = Instant::now();
    let mut creators = create_all(&fleet, CALM_FIRST, &stop, &declared);
    while let Some(created) = creators.join_next().await {
        created??;
    }
    all_completed(&fleet, LIMIT).await?;
    drop(busy);
    let calm = begun.elapsed();
    Ok(Recovery { took, calm })
}

async fn recovers_from_a_kill_after(delay_ms: u64) -> Result<()> {
    let recovery = killed_after(Duration::from_millis(delay_ms)).await?;
    ensure!(
        !recovery.is_slow(),
        "{recovery:?} after a kill at {delay_ms} ms"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_killed_half_a_second_after_the_first_declaration() -> Result<()> {
    recovers_from_a_kill_after(500).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_killed_two_seconds_after_the_first_declaration() -> Result<()> {
    recovers_from_a_kill_after(2_000).await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes half an hour: `make soak` runs it"]
async fn a_broker_killed_at_any_time_after_the_first_declaration() -> Result<()> {
    let mut all = Vec::new();
    for round in 0..10 {
        for delay_ms in [100, 500, 1_000, 2_000, 3_000, 5_000] {
            let recovery = killed_after(Duration::from_millis(delay_ms)).await?;
            all.push((round, delay_ms, recovery));
            // For people who wait for the test.
            std::fs::write(summary("kills.txt"), format!("{all:#?}"))?;
        }
    }
    let is_slow = |(_, _, recovery): &(_, _, Recovery)| recovery.is_slow();
    ensure!(!all.iter().any(is_slow), "too slow: {all:?}");
    Ok(())
}
