//! The data set of a release is taken over by this one: every operation in it goes
//! its way, whatever state it was left in.
//!
//! `fixtures/format-4.0.txt` is such a data set. Its writer is a test that is run
//! by hand when a format gets a new version. The data sets of earlier versions stay.

mod queues;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use drumline_backend::store::Guard;
use drumline_backend::{Broker as _, Store as _};
use drumline_oracle::journal;
use drumline_protocol::message::{Message, Offer};
use drumline_protocol::version::CURRENT;
use drumline_protocol::{
    Body, ErrorCode, Event, Fault, OperationId, Progress, Report, Rules, Timestamp,
};
use drumline_test_servers::{RabbitServer, RedisServer};
use drumline_tests::api::Api;
use drumline_tests::data_set::{self, Line, MESSAGE, Redis};
use drumline_tests::fleet::{Fleet, Size};
use drumline_tests::ports::Ports;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use self::queues::{channel, declare, exists, messages, publish, send, text, until_quarantined};
use crate::running::{until, until_status};

/// Few partitions keep the data set small.
const SIZE: Size = Size {
    managers: 1,
    workers: 0,
    concurrency: 8,
    // Longer than a busy machine stands still: those that are lost are lost in the data set.
    lease: Duration::from_secs(20),
    partitions: 4,
    queues: &[],
    redis_bytes_per_second: None,
    handlers: None,
};
const WAIT: Duration = Duration::from_secs(120);
/// The lease of the locks whose holders died with the release before.
const LEASE: Duration = Duration::from_secs(2);
const REQUESTS: &str = "drumline.requests.in";
const JSON: &str = "application/json";
/// The address of the receiver of notices, in the data set; a test puts its own
/// port in, which has as many digits.
const RECEIVER: &str = "127.0.0.1:65535";

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures")
        .join(format!("format-{}.txt", CURRENT.store))
}

fn environment() -> Vec<(String, String)> {
    [
        (
            "DRUMLINE_WEBHOOK_SECRET",
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        ),
        ("DRUMLINE_WEBHOOK_ALLOW_PRIVATE", "true"),
        // The operations of a data set are old.
        ("DRUMLINE_REMOVE_SUCCEEDED_AFTER", "never"),
        ("DRUMLINE_REMOVE_FAILED_AFTER", "never"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec()
}

/// A request for a step that succeeds at once.
fn step(name: &str, more: &Value) -> Value {
    let mut request = json!({
        "messageName": "Step",
        "name": name,
        "data": {"token": 0, "index": 0, "ms": 0, "retries": 0},
    });
    for (key, value) in more.as_object().into_iter().flatten() {
        request[key] = value.clone();
    }
    request
}

/// The request whose idempotency key is in the data set.
fn keyed() -> Value {
    step("keyed", &json!({}))
}

fn id_of(operation: &Value) -> Result<OperationId> {
    let id = operation["id"].as_str().context("an id")?;
    Ok(id.parse()?)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "writes the data set of a new format version; run by hand, then commit it"]
async fn write_the_data_set() -> Result<()> {
    let (redis, rabbit) = tokio::try_join!(RedisServer::start(), RabbitServer::start())?;
    let mut fleet = Fleet::start_on("write-data-set", SIZE, redis, rabbit, environment()).await?;
    let api = fleet.api(0);
    let ports = Ports::connect(&fleet.redis.url(), &fleet.rabbit.url()).await?;
    let create = async |name: &str, more: Value| -> Result<OperationId> {
        let key = format!("key of {name}");
        id_of(&api.create(&key, &step(name, &more)).await?)
    };
    let act = async |id: OperationId, action: &str| -> Result<()> {
        let (status, answer) = api.act(&id.to_string(), action, &Value::Null).await?;
        ensure!(status == 200, "{action}: {status} {answer}");
        Ok(())
    };
    create("ready", json!({})).await?;
    for name in ["chain 1", "chain 2", "chain 3"] {
        create(name, json!({"dependencyToken": "chain"})).await?;
    }
    id_of(&api.create("the key", &keyed()).await?)?;
    let paused = create("paused", json!({})).await?;
    act(paused, "pause").await?;
    act(create("canceled", json!({})).await?, "cancel").await?;
    let daily = json!({"recurrencePattern": "FREQ=DAILY", "dependencyToken": "series"});
    create("series", daily).await?;

    // Ends, and an attempt that has failed and waits for the next one.
    let succeeded = create("succeeded", json!({})).await?;
    let holder = ports.claim(succeeded, LEASE).await?;
    let report = Report {
        progress: Some(Progress {
            percent: 100,
            text: "done".to_owned(),
        }),
        result: Some(r#"{"rows":7}"#.to_owned()),
        ..Report::default()
    };
    let holder = Guard::Holder(holder);
    ports
        .change(succeeded, Event::Succeed, holder, Some(report))
        .await?;
    let fault = || Fault::new(ErrorCode::NETWORK_ERROR, "try again", "ECONNREFUSED");
    let hold = json!({"dependencyToken": "hold", "tokenPolicy": "hold"});
    let held = create("holds its chain", hold.clone()).await?;
    create("behind the hold", hold).await?;
    let failed = create("failed", json!({})).await?;
    for id in [held, failed] {
        let holder = Guard::Holder(ports.claim(id, LEASE).await?);
        ports.change(id, Event::Fail(fault()), holder, None).await?;
    }
    let retried = create("retried", json!({"retryPolicy": {"initialMs": 100}})).await?;
    let notice = json!({"webhookUrl": format!("http://{RECEIVER}/ended")});
    let noticed = create("notice owed", notice).await?;
    let locked = create("locked", json!({})).await?;
    let pausing = create("pausing", json!({})).await?;
    let canceling = create("canceling", json!({})).await?;
    let checkpoint = create("checkpoint", json!({})).await?;

    // The manager is gone: nothing is done about what follows.
    fleet.kill_manager(0)?;
    let holder = Guard::Holder(ports.claim(noticed, LEASE).await?);
    ports.change(noticed, Event::Succeed, holder, None).await?;
    let holder = Guard::Holder(ports.claim(retried, LEASE).await?);
    let retry = Event::Retry {
        fault: fault(),
        after: None,
        jitter: ports.ids.jitter(),
    };
    ports.change(retried, retry, holder, None).await?;
    for id in [locked, pausing, canceling, checkpoint] {
        ports.claim(id, LEASE).await?;
    }
    ports
        .change(pausing, Event::Pause, Guard::None, None)
        .await?;
    ports
        .change(canceling, Event::Cancel, Guard::None, None)
        .await?;
    let body = |name: &str| Body {
        name: name.to_owned(),
        data: Some(json!({"token": 0, "index": 0, "ms": 0, "retries": 0}).to_string()),
        ..Body::new("Step", Timestamp::from_millis(0))
    };
    // In the outbox alone, and in the broker alone.
    let new = ports.prepare(Rules::default(), body("in the outbox"));
    ports.create(new).await?;
    let new = ports.prepare(Rules::default(), body("in the broker"));
    let in_broker = new.id;
    let stamp = ports.create(new).await?.context("an offer")?;
    let offer = Offer::of(&ports.get(in_broker).await?);
    let message = (offer.route(), Message::Offers(vec![offer]));
    for answer in ports.broker.publish(&[message]).await {
        answer?;
    }
    ports
        .store
        .remove_from_outbox(&[(in_broker, stamp)])
        .await?;
    // Due, and the process that would wake it is gone.
    let new = ports.prepare(Rules::default(), body("due"));
    let due = new.id;
    let soon = new
        .body
        .created_on
        .saturating_add(Duration::from_millis(100));
    ports.create(new).await?;
    ports
        .change(due, Event::Postpone(soon), Guard::None, None)
        .await?;

    let (_connection, channel) = channel(&fleet.rabbit).await?;
    let request = step("requested", &json!({})).to_string();
    publish(&channel, REQUESTS, JSON, request.as_bytes()).await?;
    // Of no release: it goes to the quarantine.
    publish(&channel, "drumline.work.default", "", b"no message").await?;

    let mut redis = Redis::connect(&fleet.redis.address()).await?;
    let mut lines: Vec<Line> = redis.commands("drumline:{").await?;
    // Members of a release that has ended.
    lines.retain(|line| !line.iter().any(|word| word.starts_with(b"drumline:{m}:")));
    lines.extend(messages(&fleet.rabbit, &channel).await?);
    let head = format!(
        "# The data of a fleet with format {} of the store and {} of messages.\n",
        CURRENT.store, CURRENT.wire
    );
    std::fs::write(path(), head + &data_set::to_text(&lines))?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_of_a_data_set_goes_its_way() -> Result<()> {
    let mut lines = data_set::from_text(&std::fs::read_to_string(path())?)?;
    let receiver = TcpListener::bind("127.0.0.1:0").await?;
    let address = receiver.local_addr()?.to_string();
    // The system gives out ports of five digits.
    data_set::replace(&mut lines, RECEIVER.as_bytes(), address.as_bytes());
    let (messages, commands): (Vec<Line>, Vec<Line>) = lines
        .into_iter()
        .partition(|line| line.first().is_some_and(|word| word == MESSAGE.as_bytes()));
    ensure!(commands.len() > 50 && messages.len() > 5, "a data set");

    let (redis, rabbit) = tokio::try_join!(RedisServer::start(), RabbitServer::start())?;
    let mut bare = Redis::connect(&redis.address()).await?;
    for command in &commands {
        bare.call(command).await?;
    }
    let ports = Ports::connect(&redis.url(), &rabbit.url()).await?;
    let (_connection, channel) = channel(&rabbit).await?;
    let (requests, offers): (Vec<&Line>, Vec<&Line>) = messages.iter().partition(|line| {
        line.get(1)
            .is_some_and(|queue| queue == REQUESTS.as_bytes())
    });
    for line in offers {
        declare(&ports, &text(line, 1)?).await?;
        send(&channel, line).await?;
    }
    let size = Size {
        managers: 2,
        workers: 2,
        ..SIZE
    };
    let fleet = Fleet::start_on("data-set", size, redis, rabbit, environment()).await?;
    for line in &requests {
        exists(&fleet.rabbit, REQUESTS).await?;
        send(&channel, line).await?;
    }
    let api = fleet.api(0);
    let named = named(&api).await?;
    let id = |name: &str| {
        let found = named.get(name).with_context(|| format!("no {name:?}"));
        found.map(String::as_str)
    };

    // Goes on, or waits for a person as before.
    for name in [
        "ready",
        "chain 1",
        "chain 2",
        "chain 3",
        "keyed",
        "retried",
        "locked",
        "checkpoint",
        "in the outbox",
        "in the broker",
        "due",
    ] {
        let done = api.wait(id(name)?, WAIT).await.context(name.to_owned())?;
        ensure!(done["statusCode"] == 30, "{done}");
    }
    // By the journal, whose clock all workers share.
    let runs = fleet.history()?.runs;
    let mut moments = Vec::new();
    for name in ["chain 1", "chain 2", "chain 3"] {
        let id = id(name)?;
        for event in [journal::Event::Start, journal::Event::End] {
            let mut of_one = runs.iter().filter(|run| run.id == id && run.event == event);
            moments.push(of_one.next().context("a run")?.at_ns);
        }
    }
    ensure!(moments.is_sorted(), "{moments:?}");
    let locked = read(&api, id("locked")?).await?;
    ensure!(
        locked["lostCount"] == 1 && locked["startCount"] == 2,
        "{locked}"
    );
    let retried = read(&api, id("retried")?).await?;
    ensure!(retried["retryCount"] == 1, "{retried}");
    until_status(&api, id("pausing")?, 10).await?;
    until_status(&api, id("canceling")?, 32).await?;
    until_status(&api, id("paused")?, 10).await?;
    for name in ["paused", "pausing"] {
        let (status, answer) = api.act(id(name)?, "resume", &Value::Null).await?;
        ensure!(status == 200, "{answer}");
        let done = api.wait(id(name)?, WAIT).await?;
        ensure!(done["statusCode"] == 30, "{done}");
    }

    // Completed operations stay as they were, with their history.
    let succeeded = read(&api, id("succeeded")?).await?;
    ensure!(succeeded["result"]["rows"] == 7, "{succeeded}");
    let failed = read(&api, id("failed")?).await?;
    ensure!(failed["statusCode"] == 31, "{failed}");
    ensure!(failed["message"] == "ECONNREFUSED", "{failed}");
    let canceled = read(&api, id("canceled")?).await?;
    ensure!(canceled["statusCode"] == 32, "{canceled}");
    let path = format!("/v1/operations/{}/history", id("retried")?);
    let history = api.read(&path).await?;
    let events: Vec<&str> = history["entries"]
        .as_array()
        .context("entries")?
        .iter()
        .filter_map(|entry| entry["event"].as_str())
        .collect();
    ensure!(
        events.starts_with(&["create", "claim", "retry", "due", "claim"]),
        "{history}"
    );

    // A chain that is held, until a person resumes it.
    let behind = read(&api, id("behind the hold")?).await?;
    ensure!(
        behind["statusCode"] == 0 && behind["startCount"] == 0,
        "{behind}"
    );
    let (status, answer) = api
        .act(id("holds its chain")?, "resume", &Value::Null)
        .await?;
    ensure!(status == 200, "{answer}");
    let done = api.wait(id("behind the hold")?, WAIT).await?;
    ensure!(done["statusCode"] == 30, "{done}");

    // A key that was used stands for its operation.
    let again = api.create("the key", &keyed()).await?;
    ensure!(again["id"] == id("keyed")?, "{again}");
    // The series still has times to come, and an earlier one has passed or is next.
    let series = read(&api, id("series")?).await?;
    ensure!(
        series["statusCode"] == 10 && !series["postponeUntil"].is_null(),
        "{series}"
    );
    // The request over AMQP was executed.
    let requested = until_named(&api, "requested").await?;
    let done = api.wait(&requested, WAIT).await?;
    ensure!(done["statusCode"] == 30, "{done}");
    // The notice arrives.
    let notice = tokio::time::timeout(WAIT, notice(receiver)).await??;
    ensure!(notice.contains(id("notice owed")?), "{notice}");
    // The message of no release is where an operator finds it.
    exists(&fleet.rabbit, "drumline.quarantine").await?;
    until_quarantined(&fleet.rabbit).await
}

async fn read(api: &Api, id: &str) -> Result<Value> {
    until(api, id, |_| true).await
}

/// The ids of all operations by name.
async fn named(api: &Api) -> Result<BTreeMap<String, String>> {
    let mut named = BTreeMap::new();
    for operation in api.list("").await? {
        let word = |key: &str| operation[key].as_str().unwrap_or_default().to_owned();
        named.insert(word("name"), word("id"));
    }
    Ok(named)
}

/// Waits for an operation with this name.
async fn until_named(api: &Api, name: &str) -> Result<String> {
    let deadline = tokio::time::Instant::now() + WAIT;
    loop {
        if let Some(id) = named(api).await?.remove(name) {
            return Ok(id);
        }
        ensure!(tokio::time::Instant::now() < deadline, "no {name:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A notice, as its receiver reads it.
async fn notice(receiver: TcpListener) -> Result<String> {
    let (mut stream, _) = receiver.accept().await?;
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let head = head.to_lowercase();
            let length = head.split("content-length: ").nth(1);
            let length = length.and_then(|rest| rest.split("\r\n").next());
            if body.len() >= length.context("a length")?.parse()? {
                stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await?;
                return Ok(text);
            }
        }
        let read = stream.read(&mut chunk).await?;
        ensure!(read > 0, "{text}");
        bytes.extend_from_slice(&chunk[..read]);
    }
}
