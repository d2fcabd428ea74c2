//! No single queue of RabbitMQ is needed for progress: queues that do not
//! confirm, cannot be consumed, or cannot be declared, while everything else
//! goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use drumline_protocol::OperationId;
use drumline_test_servers::{RabbitServer, TcpProxy};
use drumline_tests::api::Api;
use drumline_tests::check::violations;
use drumline_tests::fleet::{Fleet, Size, summary};
use drumline_tests::journal;
use drumline_tests::load::{Load, create, last_words, request, settle};
use reqwest::Client;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

/// The time that everything may take after a broker takes connections again.
const RECOVERED_WITHIN: Duration = Duration::from_secs(10);

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

/// Counts the operations that are not Completed.
async fn open(api: &Api) -> Result<u64> {
    let queues = api.read("/v1/queues").await?;
    let count = |state: &str| queues["operations"][state].as_u64().unwrap_or(0);
    Ok(count("ready") + count("suspended") + count("locked"))
}

/// Waits until everything is Completed; returns the time that it took.
async fn all_completed(fleet: &Fleet, limit: Duration) -> Result<Duration> {
    let api = fleet.api(0);
    let started = Instant::now();
    while !matches!(open(&api).await, Ok(0)) {
        ensure!(
            started.elapsed() < limit,
            "it stands still; logs in {}",
            fleet.folder().display()
        );
        sleep(Duration::from_millis(100)).await;
    }
    Ok(started.elapsed())
}

/// Kills RabbitMQ some time after the first queue was declared, starts it
/// again, and lets everything come to an end. Returns the time that this took.
async fn killed_after(delay: Duration) -> Result<Duration> {
    let size = Size {
        workers: 0,
        ..Size::default()
    };
    let mut fleet = Fleet::start(&format!("killed-{}", delay.as_millis()), size).await?;
    let busy = Busy::start();
    let stop = Arc::new(AtomicBool::new(false));
    let declared = Arc::new(Notify::new());
    let mut creators = JoinSet::new();
    for token in 0..60 {
        let api = fleet.base(token).to_owned();
        let (stop, declared) = (Arc::clone(&stop), Arc::clone(&declared));
        creators.spawn(create_until(api, token, stop, declared));
    }
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
    let took = all_completed(&fleet, RECOVERED_WITHIN * 10).await?;
    drop(busy);
    let operations = api.list("").await?;
    for id in &accepted {
        let known = operations.iter().any(|one| one["id"] == json!(id));
        ensure!(known, "{id} was accepted and is lost");
    }
    ensure!(!accepted.is_empty(), "nothing was accepted");
    let finals = last_words(&operations);
    let found = violations(&journal::read(&fleet.journal())?, &[], &finals);
    ensure!(
        found.is_empty(),
        "logs in {}:\n{}",
        fleet.folder().display(),
        found.join("\n")
    );
    Ok(took)
}

async fn recovers_from_a_kill_after(delay_ms: u64) -> Result<()> {
    let took = killed_after(Duration::from_millis(delay_ms)).await?;
    ensure!(
        took <= RECOVERED_WITHIN,
        "{took:?} after a kill at {delay_ms} ms"
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
            let took = killed_after(Duration::from_millis(delay_ms)).await?;
            all.push((round, delay_ms, took));
            // For people who wait for the test.
            std::fs::write(summary("kills.txt"), format!("{all:#?}"))?;
        }
    }
    let is_slow = |(_, _, took): &(_, _, Duration)| *took > RECOVERED_WITHIN;
    ensure!(!all.iter().any(is_slow), "too slow: {all:?}");
    Ok(())
}

/// Has a process in RabbitMQ suspend a quorum queue's server whenever it runs,
/// also after the server was made again. Every other process finds the queue
/// without a leader.
async fn silence(rabbit: &RabbitServer, queue: &str) -> Result<()> {
    let call = format!(
        "F = fun(F) -> case whereis('%2F_{queue}') of undefined -> ok; \
         P -> catch sys:suspend(P, 1000) end, timer:sleep(50), F(F) end, \
         spawn(fun() -> F(F) end), ok."
    );
    rabbit.rabbitmqctl(&["eval", &call]).await.map(drop)
}

const LOAD: Load = Load {
    tokens: 60,
    per_token: 15,
    alone: 300,
    ms_max: 10,
    disturbed: false,
};

/// The 99th percentile of the time from a create to its start, in milliseconds,
/// of the operations that `selects` picks.
fn p99(operations: &[Value], selects: impl Fn(&Value) -> bool) -> Result<i64> {
    let time = |one: &Value, name: &str| {
        let text = one[name].as_str().context("a time")?;
        anyhow::Ok(drumline_protocol::Timestamp::parse_rfc3339(text)?.as_millis())
    };
    let mut waits = Vec::new();
    for one in operations.iter().filter(|one| selects(one)) {
        waits.push(time(one, "startedOn")? - time(one, "createdOn")?);
    }
    waits.sort_unstable();
    let at = (waits.len() * 99 / 100).min(waits.len().saturating_sub(1));
    waits.get(at).copied().context("nothing was started")
}

/// Creates operations through all managers, and waits until everything is
/// Completed. Returns the new ones.
async fn run_some(fleet: &Fleet) -> Result<Vec<Value>> {
    let api = fleet.api(0);
    let before = api.list("").await?;
    let mut creators = JoinSet::new();
    for api in fleet.apis() {
        creators.spawn(create_all(api));
    }
    let mut created = 0;
    while let Some(done) = creators.join_next().await {
        created += done??;
    }
    all_completed(fleet, Duration::from_secs(60)).await?;
    let mut operations = api.list("").await?;
    ensure!(
        operations.len() == before.len() + created,
        "lost or doubled"
    );
    operations.retain(|one| !before.iter().any(|old| old["id"] == one["id"]));
    Ok(operations)
}

/// Runs operations with every queue at work, and then while a queue has no
/// leader.
async fn runs_without(name: &str, queue: impl AsyncFn(&Fleet) -> Result<String>) -> Result<()> {
    let fleet = Fleet::start(name, Size::default()).await?;
    // Every queue is declared, and has been used.
    run_some(&fleet).await?;
    let in_peace = run_some(&fleet).await?;
    let queue = queue(&fleet).await?;
    silence(&fleet.rabbit, &queue).await?;
    let without = run_some(&fleet).await?;
    let api = fleet.api(0);
    let operations = api.list("").await?;
    let found = violations(
        &journal::read(&fleet.journal())?,
        &[],
        &last_words(&operations),
    );
    ensure!(found.is_empty(), "{}", found.join("\n"));
    let queues = api.read("/v1/queues").await?;
    let bypassed = queues["queues"][0]["bypassed"].as_array();
    let bypassed = bypassed.context("no queue is by-passed")?;
    ensure!(
        bypassed.iter().any(|one| one["reason"] != json!("refused")),
        "{queues}"
    );
    let (_, lane) = queue.rsplit_once('.').context("a name")?;
    // Operations without a token go through the work queue.
    let is_other = |one: &Value| {
        if one["dependencyToken"].is_null() {
            return false;
        }
        let id = one["id"]
            .as_str()
            .and_then(|id| id.parse::<OperationId>().ok());
        id.is_some_and(|id| id.partition().get().to_string() != lane)
    };
    let summary = format!(
        "{queue}: others' p99 from create to start {} ms in peace, {} ms without; {bypassed:?}",
        p99(&in_peace, is_other)?,
        p99(&without, is_other)?
    );
    // For people who run the test to see.
    std::fs::write(fleet.folder().join("summary.txt"), summary)?;
    Ok(())
}

/// Creates two operations of each of many new tokens, and as many without.
async fn create_all(api: Api) -> Result<usize> {
    // No two calls of a process create operations of the same token.
    static RUNS: AtomicUsize = AtomicUsize::new(0);
    let run = RUNS.fetch_add(1, Ordering::Relaxed);
    let base = 10_000 + run * 1_000;
    let mut created = 0;
    for token in 0..100 {
        for index in 0..2 {
            let with = request(base + token, index, 3, true);
            api.create(&format!("{run}/{token}/{index}"), &with).await?;
            let number = base + 1_000_000 + token * 2 + index;
            let without = request(number, 0, 3, false);
            api.create(&format!("{run}/alone/{number}"), &without)
                .await?;
            created += 2;
        }
    }
    Ok(created)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_without_a_leader_is_bypassed() -> Result<()> {
    runs_without("lane-silent", async |fleet| {
        // A lane that is used: the lane of some operation's token.
        let all = fleet.api(0).list("").await?;
        let in_order = all.iter().find(|one| !one["dependencyToken"].is_null());
        let id = in_order.and_then(|one| one["id"].as_str());
        let id: OperationId = id.context("an operation with a token")?.parse()?;
        Ok(format!("drumline.lane.default.{}", id.partition().get()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_work_queue_without_a_leader_is_bypassed() -> Result<()> {
    let queue = "drumline.work.default";
    runs_without("work-silent", async |_| Ok(queue.to_owned())).await
}

/// The code of a create for a queue that RabbitMQ refuses to declare.
const QUEUE_UNUSABLE: &str = "0x8D00000B";

/// Creates an operation for the bad queue; the code of the refusal, if it is
/// refused.
async fn create_bad(http: &Client, base: &str, number: usize) -> Result<Option<Value>> {
    let mut body = request(1_000_000 + number, 0, 1, false);
    body["queue"] = json!("bad");
    let post = http.post(format!("{base}/v1/operations")).json(&body);
    let answer = post.send().await?;
    if answer.status().is_success() {
        return Ok(None);
    }
    let problem: Value = answer.json().await?;
    Ok(Some(problem["code"].clone()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_with_other_arguments_costs_the_others_nothing() -> Result<()> {
    let size = Size {
        queues: &["bad"],
        workers: 0,
        ..Size::default()
    };
    let mut fleet = Fleet::start("other-arguments", size).await?;
    let call = "rabbit_amqqueue:declare(rabbit_misc:r(<<\"/\">>, queue, <<\"drumline.work.bad\">>), \
                true, false, [], none, <<\"test\">>), ok.";
    fleet.rabbit.rabbitmqctl(&["eval", call]).await?;
    for _ in 0..3 {
        fleet.add_worker()?;
    }
    let others = Load {
        tokens: 100,
        per_token: 10,
        alone: 500,
        ms_max: 5,
        disturbed: false,
    };
    let mut creator = JoinSet::new();
    creator.spawn(create(fleet.apis(), others));
    let base = fleet.base(0).to_owned();
    let mut bad = JoinSet::new();
    bad.spawn(async move {
        let http = Client::new();
        let mut accepted = 0_usize;
        for number in 0..1_000 {
            let created = create_bad(&http, &base, number).await?;
            accepted += usize::from(created.is_none());
        }
        // The refusal is known soon, and from then on there is no other answer.
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut number = 1_000;
        while create_bad(&http, &base, number).await? != Some(json!(QUEUE_UNUSABLE)) {
            ensure!(Instant::now() < deadline, "creates are still accepted");
            number += 1;
            sleep(Duration::from_millis(200)).await;
        }
        Ok(accepted)
    });
    let api = fleet.api(0);
    while api.list("status=30").await?.len() < 300 {
        sleep(Duration::from_millis(50)).await;
    }
    fleet.rabbit.kill()?;
    sleep(Duration::from_secs(1)).await;
    fleet.rabbit.restart().await?;
    creator.join_next().await.context("a creator")???;
    let accepted = bad.join_next().await.context("a creator")???;
    all_completed(&fleet, Duration::from_secs(60)).await?;
    let operations = api.list("").await?;
    let total = others.tokens * others.per_token + others.alone;
    let of_bad = operations
        .iter()
        .filter(|one| one["queue"] == json!("bad"))
        .count();
    ensure!(
        of_bad >= accepted,
        "accepted and lost: {of_bad} of {accepted}"
    );
    ensure!(operations.len() - of_bad == total, "lost or doubled");
    let found = violations(
        &journal::read(&fleet.journal())?,
        &[],
        &last_words(&operations),
    );
    ensure!(found.is_empty(), "{}", found.join("\n"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_cut_off_from_redis_keeps_nothing_from_the_others() -> Result<()> {
    let size = Size {
        workers: 2,
        ..Size::default()
    };
    let mut fleet = Fleet::start("cut-off", size).await?;
    let url = fleet.redis.url();
    let address = url.trim_start_matches("redis://").trim_end_matches('/');
    let address = address.split('/').next().context("an address")?.to_owned();
    let proxy = TcpProxy::start(&address).await?;
    let through = proxy.url(&url, &address);
    fleet.add_worker_with(&[("DRUMLINE_REDIS_URL", through)])?;
    fleet.workers_alive(3).await?;
    // The new worker has its share of the lanes by now, and takes from the work
    // queue.
    create(
        fleet.apis(),
        Load {
            per_token: 1,
            ..LOAD
        },
    )
    .await?;
    proxy.blackhole();
    let more = Load {
        tokens: LOAD.tokens,
        ..LOAD
    };
    let disturbed = create(fleet.apis(), more).await?;
    settle(&fleet, more, &disturbed, &[]).await
}
