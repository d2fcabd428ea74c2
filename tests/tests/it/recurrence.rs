//! Series come due while queue managers are killed: every due time has one
//! occurrence, none is missing, and none comes twice.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use drumline_protocol::Timestamp;
use drumline_tests::api::Api;
use drumline_tests::fleet::{Fleet, Size};
use drumline_tests::load::rest;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

/// Series that come due once, spread over [`SPAN`].
const ONCE: u64 = 500;
/// Series that come due each second of [`SPAN`].
const STEADY: u64 = 10;
/// The time during which series come due.
const SPAN: Duration = Duration::from_secs(15);
/// From the first create to the first due time. Series are created in the order
/// of their due times, so that each is created before its own.
const LEAD: Duration = Duration::from_secs(15);
/// The least number of managers that are killed.
const KILLS: usize = 8;

#[tokio::test(flavor = "multi_thread")]
async fn every_due_time_has_one_occurrence_while_managers_are_killed() -> Result<()> {
    let size = Size {
        managers: 3,
        workers: 1,
        concurrency: 32,
        // The worker lives on, and must not look dead on a busy machine.
        lease: Duration::from_secs(20),
        ..Size::default()
    };
    let mut fleet = Fleet::start("recurrence", size).await?;
    let probe = fleet.api(0).create("probe", &step(json!({}))).await?;
    let end = Instant::now() + LEAD + SPAN;
    let created = time(&probe["createdOn"])?;
    let begin = created.saturating_add(LEAD);
    let series = create(fleet.apis(), begin).await?;
    // From before the first due time until after the last.
    let kills = kill_managers(&mut fleet, end).await?;
    let operations = rest(&fleet, Duration::from_secs(60), false).await?;
    let steady = check(&series, &operations, created)?;
    // For a person who runs the test and wants to know.
    let summary = format!("{ONCE} due times once each, {steady} by the second, {kills} kills");
    std::fs::write(fleet.folder().join("summary.txt"), summary)?;
    Ok(())
}

/// The request that every series repeats.
fn step(more: Value) -> Value {
    let mut request = json!({
        "messageName": "Step",
        "data": {"token": 0, "index": 0, "ms": 0, "retries": 0},
        "retryPolicy": {"maxRetries": 20, "initialMs": 50, "maxMs": 300, "maxLost": 50},
    });
    if let (Some(request), Value::Object(more)) = (request.as_object_mut(), more) {
        request.extend(more);
    }
    request
}

/// The series by id; true for a series that comes due once.
type Series = HashMap<String, bool>;

async fn create(apis: Vec<Api>, begin: Timestamp) -> Result<Series> {
    let every_second: Vec<String> = (0..60).map(|second| second.to_string()).collect();
    let every_second = format!("FREQ=MINUTELY;BYSECOND={}", every_second.join(","));
    let span_ms = u64::try_from(SPAN.as_millis())?;
    let mut creating = JoinSet::new();
    for part in 0..8_u64 {
        let apis = apis.clone();
        let every_second = every_second.clone();
        creating.spawn(async move {
            let mut series = Series::new();
            for number in (part..ONCE + STEADY).step_by(8) {
                let api = apis
                    .get(usize::try_from(number % 3)?)
                    .context("a manager")?;
                let once = number < ONCE;
                let delay = Duration::from_millis(number * span_ms / ONCE);
                let start = if once {
                    begin.saturating_add(delay)
                } else {
                    begin
                };
                // A third of them in chains: lanes, and places in a chain.
                let token = (number % 3 == 0).then(|| format!("token {number}"));
                let pattern = if once {
                    "FREQ=MINUTELY;COUNT=1"
                } else {
                    &every_second
                };
                let request = step(json!({
                    "name": "series", "dependencyToken": token,
                    "recurrencePattern": pattern, "recurrenceStartTime": start.to_string(),
                }));
                let created = api.create(&format!("series {number}"), &request).await?;
                ensure!(created["status"] == "Waiting", "{created}");
                ensure!(time(&created["postponeUntil"])? >= start, "{created}");
                series.insert(created["id"].as_str().context("an id")?.to_owned(), once);
            }
            Ok(series)
        });
    }
    let mut all = Series::new();
    while let Some(series) = creating.join_next().await {
        let series: Result<Series> = series?;
        all.extend(series?);
    }
    Ok(all)
}

/// Kills a manager, and starts another, again and again; then cancels the
/// series that would go on for ever. Returns the number of managers that were
/// killed.
async fn kill_managers(fleet: &mut Fleet, end: Instant) -> Result<usize> {
    let mut random = fastrand::Rng::with_seed(500);
    let mut kills = 0;
    while Instant::now() < end || kills < KILLS {
        sleep(Duration::from_millis(random.u64(400..2500))).await;
        let victim = random.usize(0..fleet.managers.len());
        fleet.kill_manager(victim)?;
        kills += 1;
        fleet.add_manager()?;
    }
    for api in fleet.apis() {
        // The youngest may not take requests yet.
        let Ok(series) = api.list("state=1&name=series").await else {
            continue;
        };
        for one in series.iter().filter(|one| is_steady(one)) {
            cancel(&api, one["id"].as_str().context("an id")?).await?;
        }
        return Ok(kills);
    }
    anyhow::bail!("no manager takes requests")
}

/// Cancels a series, as soon as the service can.
async fn cancel(api: &Api, id: &str) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let (status, answer) = api.act(id, "cancel", &Value::Null).await?;
        if status < 300 {
            return Ok(());
        }
        ensure!(
            status == 503 && Instant::now() < deadline,
            "{status} {answer}"
        );
        sleep(Duration::from_millis(100)).await;
    }
}

fn is_steady(series: &Value) -> bool {
    let pattern = series["recurrencePattern"].as_str().unwrap_or_default();
    pattern.contains("BYSECOND")
}

/// Checks every series; returns the number of times that series of each second
/// did come due.
fn check(series: &Series, operations: &[Value], created: Timestamp) -> Result<usize> {
    let mut times: HashMap<&str, Vec<Timestamp>> = HashMap::new();
    for one in operations.iter().filter(|one| !one["parentId"].is_null()) {
        ensure!(one["statusCode"] == 30, "not Succeeded: {one}");
        ensure!(one["startCount"] == 1, "started more than once: {one}");
        let parent = one["parentId"].as_str().context("a parent")?;
        ensure!(series.contains_key(parent), "nobody's: {one}");
        times
            .entry(parent)
            .or_default()
            .push(time(&one["createdOn"])?);
    }
    let count = |id: &str| times.get(id).map_or(0, Vec::len);
    let wrong: Vec<&String> = series
        .iter()
        .filter(|(id, once)| **once && count(id.as_str()) != 1)
        .map(|(id, _)| id)
        .collect();
    ensure!(wrong.is_empty(), "not one occurrence each: {wrong:?}");
    // Due times that no manager looked at have one occurrence together, so
    // there are fewer than seconds; but never two for one due time.
    let mut steady = 0;
    for id in series.iter().filter(|(_, once)| !**once).map(|(id, _)| id) {
        let mine = times.get(id.as_str()).map_or(&[][..], Vec::as_slice);
        let seconds: HashSet<i64> = mine.iter().map(|t| t.as_millis() / 1000).collect();
        ensure!(seconds.len() == mine.len(), "{id}: two at once: {mine:?}");
        ensure!(mine.iter().all(|time| *time > created), "{id}: {mine:?}");
        steady += mine.len();
    }
    ensure!(steady > 20, "series by the second came due {steady} times");
    for one in operations
        .iter()
        .filter(|one| one["name"] == "series" && one["parentId"].is_null())
    {
        let expected = if is_steady(one) { 32 } else { 30 };
        ensure!(one["statusCode"] == expected, "{one}");
    }
    Ok(steady)
}

fn time(value: &Value) -> Result<Timestamp> {
    Ok(Timestamp::parse_rfc3339(value.as_str().context("a time")?)?)
}
