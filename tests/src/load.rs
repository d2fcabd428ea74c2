//! Load for a fleet, and the end of every test: let all come to rest, then
//! have the oracle judge.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::api::{AGAIN, Api, PATIENCE};
use crate::fleet::Fleet;
use crate::secrets::MARK;
use drumline_client::OperationView;
use drumline_drill::collect::{self, Clocks};
use drumline_oracle::{Evidence, Final, Needs, Verdict, judge};

/// The operations to create: so many tokens, so many operations each.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// The first number: tokens, and operations without a token, are numbered
    /// from here on. Loads of one fleet share no numbers.
    pub first: usize,
    /// The number of tokens.
    pub tokens: usize,
    /// The number of operations of each token.
    pub per_token: usize,
    /// Operations without a token, besides.
    pub alone: usize,
    /// The longest that a handler runs, in milliseconds.
    pub ms_max: u64,
    /// True if operations are paused, postponed and cancelled, and handlers ask
    /// for retries, at random.
    pub disturbed: bool,
}

/// The time in which workers take held steps. On a machine that is idle, it is less than one.
const OCCUPIED: Duration = Duration::from_secs(120);

/// The number of times that each operation was paused or postponed, by id.
pub type Disturbed = HashMap<String, u64>;

/// Creates all operations, each token's in order, through all the managers.
///
/// # Errors
/// When the service refuses one, or cannot take it for a minute.
pub async fn create(apis: Vec<Api>, load: Load) -> Result<Disturbed> {
    let mut tokens = JoinSet::new();
    for token in 0..load.tokens {
        tokens.spawn(one_token(apis.clone(), load.first + token, load));
    }
    for alone in 0..load.alone {
        let apis = apis.clone();
        tokens.spawn(async move {
            let ms = alone as u64 % (load.ms_max + 1);
            let number = load.first + load.tokens + alone;
            let request = request(number, 0, ms, false);
            let api = apis.get(alone % apis.len().max(1)).context("a manager")?;
            api.create(&format!("alone/{number}"), &request).await?;
            Ok(Disturbed::new())
        });
    }
    let mut disturbed = Disturbed::new();
    while let Some(done) = tokens.join_next().await {
        disturbed.extend(done??);
    }
    Ok(disturbed)
}

async fn one_token(apis: Vec<Api>, token: usize, load: Load) -> Result<Disturbed> {
    let mut random = fastrand::Rng::with_seed(token as u64);
    let mut disturbed = Disturbed::new();
    let mut ids = Vec::new();
    for index in 0..load.per_token {
        let api = random.choice(&apis).context("a manager")?;
        let retries = if load.disturbed && random.u8(0..20) == 0 {
            random.u64(1..3)
        } else {
            0
        };
        let mut request = request(token, index, random.u64(0..=load.ms_max), true);
        request["data"]["retries"] = json!(retries);
        let operation = api.create(&format!("{token}/{index}"), &request).await?;
        ids.push(operation["id"].as_str().context("an id")?.to_owned());
        if load.disturbed && random.u8(0..25) == 0 {
            let id = random.choice(&ids).context("an operation")?.clone();
            let times = disturb(api, &mut random, &id).await?;
            *disturbed.entry(id).or_default() += times;
        }
    }
    Ok(disturbed)
}

/// A create of one step. An operation without a dependency token has its number
/// as its token in the journal.
#[must_use]
pub fn request(token: usize, index: usize, ms: u64, has_token: bool) -> Value {
    json!({
        "messageName": "Step",
        "name": name(token, index),
        "dependencyToken": has_token.then(|| format!("token {token}")),
        // With a secret, which no process may print.
        "data": {"token": token, "index": index, "ms": ms, "retries": 0, "secret": MARK},
        "retryPolicy": {"maxRetries": 20, "initialMs": 50, "maxMs": 300, "maxLost": 50},
    })
}

/// A create of a step without a token that goes on until [`Fleet::release`].
#[must_use]
pub fn held(number: usize) -> Value {
    let mut request = request(number, 0, 0, false);
    request["data"]["held"] = json!(true);
    request
}

/// Has held steps run in all places of the workers, so that everything else waits until
/// [`Fleet::release`]. They have the numbers from `first` on. Returns how many they are.
///
/// # Errors
/// When they do not run in time.
pub async fn occupy(fleet: &Fleet, first: usize) -> Result<usize> {
    fleet.hold()?;
    let api = fleet.api(0);
    let numbers = first..first + fleet.places();
    for number in numbers.clone() {
        api.create(&format!("held/{number}"), &held(number)).await?;
    }
    let deadline = Instant::now() + OCCUPIED;
    while !numbers.clone().all(|number| fleet.sink.fence(number) > 0) {
        ensure!(Instant::now() < deadline, "the workers have free places");
        sleep(AGAIN).await;
    }
    Ok(numbers.len())
}

/// Has messages wait in the broker, whatever the speed of the machine: the places of the workers
/// are occupied until [`Fleet::release`]. The operations have the numbers from `first` on.
///
/// # Errors
/// When no message waits in time.
pub async fn fill(fleet: &Fleet, first: usize) -> Result<Load> {
    let api = fleet.api(0);
    let mut load = Load {
        first,
        tokens: 0,
        per_token: 0,
        alone: occupy(fleet, first).await?,
        ms_max: 0,
        disturbed: false,
    };
    let deadline = Instant::now() + OCCUPIED;
    while !has_messages(&api).await? {
        ensure!(Instant::now() < deadline, "the broker has no messages");
        let more = Load {
            first: first + load.alone,
            alone: 50,
            ..load
        };
        create(fleet.apis(), more).await?;
        load.alone += more.alone;
    }
    Ok(load)
}

/// Waits until no operation is left to be done.
///
/// # Errors
/// When some are left after `limit`.
pub async fn all_completed(api: &Api, limit: Duration) -> Result<()> {
    let deadline = Instant::now() + limit;
    loop {
        let queues = api.read_patiently("/v1/queues").await?;
        let count = |state: &str| queues["operations"][state].as_u64().unwrap_or(0);
        let counted = count("ready") + count("suspended") + count("locked");
        // An operation that changes its state while they are counted may be in none of them.
        if counted == 0 && are_completed(&api.list("").await?) {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "not all are Completed: {queues}");
        sleep(Duration::from_millis(200)).await;
    }
}

/// The number of Completed operations.
///
/// # Errors
/// When no manager answers for a minute.
pub async fn completed(api: &Api) -> Result<u64> {
    let queues = api.read_patiently("/v1/queues").await?;
    let completed = queues["operations"]["completed"].as_u64();
    completed.context("a number of Completed operations")
}

/// The number of offers that the broker has lost, as the managers have found out.
///
/// # Errors
/// When a manager does not answer.
pub async fn lost_offers(fleet: &Fleet) -> Result<f64> {
    let reconciled = fleet.metric("drumline_reconcile_reoffered_total").await?;
    Ok(reconciled + fleet.metric("drumline_bypass_reoffered_total").await?)
}

/// Returns true if all of these are.
#[must_use]
pub fn are_completed(operations: &[Value]) -> bool {
    operations.iter().all(|one| one["stateCode"] == 3)
}

/// Waits until messages wait in the work queue: all places of the workers are used, and
/// what they cannot take they put there.
///
/// # Errors
/// When no manager answers for a minute.
pub async fn until_the_broker_has_messages(api: &Api) -> Result<()> {
    while !has_messages(api).await? {
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

async fn has_messages(api: &Api) -> Result<bool> {
    let queues = api.read_patiently("/v1/queues").await?;
    let mut waiting = queues["queues"].as_array().into_iter().flatten();
    Ok(waiting.any(|queue| queue["waitingMessages"].as_u64() > Some(0)))
}

/// Pauses, postpones or cancels an operation; returns the number of extra
/// starts that this may have caused: one if the operation was running.
async fn disturb(api: &Api, random: &mut fastrand::Rng, id: &str) -> Result<u64> {
    match random.u8(0..4) {
        0 => {
            act(api, id, "cancel", &Value::Null).await?;
            Ok(0)
        }
        1 => {
            let until = soon(api, id).await?;
            act(api, id, "postpone", &json!({ "postponeUntil": until })).await
        }
        _ => {
            let paused = act(api, id, "pause", &Value::Null).await?;
            sleep(Duration::from_millis(random.u64(0..400))).await;
            act(api, id, "resume", &Value::Null).await?;
            Ok(paused)
        }
    }
}

/// Asks for an action. Returns 1 if a running handler was asked to stop, and 0 if
/// not. That includes a refusal because of the state of the operation, which is
/// fine: the operation may be over. A request without an answer is repeated, and
/// may have been done before.
async fn act(api: &Api, id: &str, action: &str, body: &Value) -> Result<u64> {
    let deadline = Instant::now() + PATIENCE;
    let mut unclear = false;
    let answer = loop {
        match api.act(id, action, body).await {
            // A service that is busy may have done it.
            Err(_) | Ok((503, _)) if Instant::now() < deadline => unclear = true,
            answer => break answer?,
        }
        sleep(AGAIN).await;
    };
    match answer {
        (200..300 | 409, _) if unclear => Ok(1),
        (200..300, answer) => Ok(u64::from(answer["statusCode"] == 21)),
        (409, _) => Ok(0),
        (code, answer) => bail!("{action}: {code} {answer}"),
    }
}

/// A time half a second after an operation was changed last.
async fn soon(api: &Api, id: &str) -> Result<String> {
    let path = format!("/v1/operations/{id}");
    let deadline = Instant::now() + PATIENCE;
    let operation = loop {
        match api.read(&path).await {
            Err(_) if Instant::now() < deadline => sleep(AGAIN).await,
            answer => break answer?,
        }
    };
    let modified = operation["modifiedOn"].as_str().context("modifiedOn")?;
    let time = drumline_protocol::Timestamp::parse_rfc3339(modified)?;
    Ok(time.saturating_add(Duration::from_millis(500)).to_string())
}

/// Waits until everything is Completed. If `resumes`, acts as the person that
/// some operations wait for.
///
/// # Errors
/// When some are left, and none more has come to its end for as long as `limit`: however long a
/// busy machine needs for all of them, that is no fault.
pub async fn rest(fleet: &Fleet, limit: Duration, resumes: bool) -> Result<Vec<Value>> {
    let api = fleet.api(0);
    let (mut deadline, mut least) = (Instant::now() + limit, u64::MAX);
    loop {
        let now_left = left(&api, resumes).await;
        if let Ok(left) = now_left
            && left < least
        {
            (deadline, least) = (Instant::now() + limit, left);
        }
        match now_left {
            Ok(0) => {
                // An operation that changes its state between the lists may be in none of them.
                let all = api.list("").await?;
                if are_completed(&all) {
                    return Ok(all);
                }
                ensure!(
                    Instant::now() < deadline,
                    "operations that are not Completed are in no list of a state; logs are in {}",
                    fleet.folder().display()
                );
            }
            Ok(left) => ensure!(
                Instant::now() < deadline,
                "{left} operations are not Completed; logs are in {}\n{}",
                fleet.folder().display(),
                standstill(&api).await
            ),
            Err(error) => ensure!(Instant::now() < deadline, "{error:#}"),
        }
        sleep(Duration::from_millis(500)).await;
    }
}

/// Says what some of the operations that are left wait for, and what the service knows of
/// queues and workers: the folder of a fleet elsewhere cannot be read.
async fn standstill(api: &Api) -> String {
    let mut told = Vec::new();
    for state in [0, 1, 2] {
        let open = api.list(&format!("state={state}")).await;
        for operation in open.unwrap_or_default().iter().take(3) {
            let id = operation["id"].as_str().unwrap_or_default();
            told.push(answer(api, &format!("/v1/operations/{id}?explain=true")).await);
        }
    }
    for path in ["/v1/queues", "/v1/workers"] {
        told.push(answer(api, path).await);
    }
    told.join("\n")
}

async fn answer(api: &Api, path: &str) -> String {
    match api.read(path).await {
        Ok(answer) => format!("{path}: {answer}"),
        Err(error) => format!("{path}: {error:#}"),
    }
}

async fn left(api: &Api, resumes: bool) -> Result<u64> {
    if resumes {
        for waiting in api.list("state=1").await? {
            // Paused while it ran: its resume came too early and was refused.
            if waiting["postponeUntil"].is_null() {
                let id = waiting["id"].as_str().context("an id")?;
                api.act(id, "resume", &Value::Null).await?;
            }
        }
    }
    let mut left = 0;
    for state in [0, 1, 2] {
        left += api.list(&format!("state={state}")).await?.len() as u64;
    }
    Ok(left)
}

/// Lets everything come to rest, and has all promises judged about all loads that
/// the fleet has had. `needs` are the faults without which the test is void.
///
/// # Errors
/// When something does not come to rest, is lost, or breaks a promise.
pub async fn settle(
    fleet: &Fleet,
    loads: &[Load],
    disturbed: &Disturbed,
    needs: Needs,
) -> Result<Verdict> {
    // Without a disturbance nothing may need a person.
    let resumes = loads.iter().any(|load| load.disturbed);
    let operations = rest(fleet, Duration::from_secs(150), resumes).await?;
    let mut evidence = evidence(fleet, &operations, disturbed).await?;
    evidence.needs = needs;
    let verdict = judge(&evidence);
    let summary = format!("{:?}", verdict.tally);
    // For a person who runs the test with its output shown.
    std::fs::write(fleet.folder().join("summary.txt"), &summary)?;
    good(fleet, &verdict)?;
    let expected: usize = loads
        .iter()
        .map(|load| load.tokens * load.per_token + load.alone)
        .sum();
    ensure!(
        verdict.tally.operations == expected as u64,
        "{expected} were to be created: {summary}"
    );
    ensure!(verdict.tally.failed == 0, "failed: {summary}");
    ensure!(
        !resumes || (verdict.tally.canceled > 0 && !disturbed.is_empty()),
        "nothing was disturbed: {summary}"
    );
    Ok(verdict)
}

/// Has all promises judged about operations that have come to rest, of clients that have not
/// written down their calls.
///
/// # Errors
/// When a promise is broken.
pub async fn judged_without_calls(fleet: &Fleet, operations: &[Value]) -> Result<Verdict> {
    let mut evidence = evidence(fleet, operations, &Disturbed::new()).await?;
    evidence.history.calls.clear();
    let verdict = judge(&evidence);
    good(fleet, &verdict)?;
    Ok(verdict)
}

/// Refuses a verdict that is not good.
pub(crate) fn good(fleet: &Fleet, verdict: &Verdict) -> Result<()> {
    let faults = verdict.faults();
    ensure!(
        faults.is_empty(),
        "{:?}; {} faults in {}:\n{}",
        verdict.tally,
        faults.len(),
        fleet.folder().display(),
        faults.join("\n")
    );
    Ok(())
}

/// Everything that is known about the operations of a fleet. The history is read of those that
/// have not simply run once: their locks are judged by it.
pub(crate) async fn evidence(
    fleet: &Fleet,
    operations: &[Value],
    disturbed: &Disturbed,
) -> Result<Evidence> {
    let api = fleet.api(0);
    let clocks = Clocks::read()?;
    let mut finals = Vec::new();
    for operation in operations {
        let mut one = last_word(operation, disturbed, clocks)?;
        if one.starts > 1 || one.lost > 0 || (one.starts > 0 && one.status != 30) {
            one.changes = Some(api.history(&one.id).await?);
        }
        finals.push(one);
    }
    Ok(Evidence {
        history: fleet.history()?,
        finals,
        lease: fleet.lease(),
        ..Evidence::default()
    })
}

fn name(token: usize, index: usize) -> String {
    format!("step {token}/{index}")
}

fn last_word(operation: &Value, disturbed: &Disturbed, clocks: Clocks) -> Result<Final> {
    let view: OperationView = serde_json::from_value(operation.clone())?;
    let released = u64::from(view.start_count.saturating_sub(view.attempt));
    let disturbed = disturbed.get(&view.id).copied().unwrap_or(0);
    let reasons = u64::from(view.retry_count) + released + u64::from(view.lost_count) + disturbed;
    Ok(Final {
        reasons: Some(reasons),
        ..collect::last_word(&view, clocks)
    })
}
