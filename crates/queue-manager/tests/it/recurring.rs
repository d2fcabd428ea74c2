//! Series: one occurrence for each time, and the actions of clients.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use axum::http::StatusCode;
use drumline_backend::Backend;
use drumline_backend::store::Filter;
use drumline_protocol::message::Source;
use drumline_protocol::{Operation, OperationId, Status, Timestamp};
use drumline_queue_manager::{Maintenance, QueueManager};
use serde_json::{Value, json};
use tokio::time::sleep;
use uuid::Uuid;

use crate::support::client::Client;
use crate::support::faulty::{Faults, faulty};
use crate::support::worker::{Listener, Worker};
use crate::support::{backend, manager, stored, until};

const MINUTE: Duration = Duration::from_secs(60);
const A_WHILE: Duration = Duration::from_secs(5);

/// A backend with one manager that maintains it.
struct Scene {
    backend: Backend,
    manager: QueueManager,
    client: Client,
    worker: Worker,
    listener: Listener,
    maintenance: Maintenance,
}

impl Scene {
    async fn new() -> Self {
        let backend = backend();
        let manager = manager(&backend);
        Self {
            client: Client::of(&manager),
            worker: Worker::new(&backend),
            listener: Listener::of_work(&backend).await,
            maintenance: Maintenance::start(&manager),
            manager,
            backend,
        }
    }

    /// Creates a series of message `a` with this rule.
    async fn series(&self, rule: &str) -> OperationId {
        let body = json!({"messageName": "a", "recurrencePattern": rule});
        self.client.create(&body).await
    }

    async fn view(&self, id: OperationId) -> Value {
        self.client.get(&format!("/v1/operations/{id}")).await.json
    }

    async fn ask(&self, id: OperationId, action: &str) {
        let path = format!("/v1/operations/{id}/{action}");
        let answer = self.client.send("POST", &path, &[], "").await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    }

    async fn patch(&self, id: OperationId, body: &Value) -> (StatusCode, Value) {
        let path = format!("/v1/operations/{id}");
        let answer = self.client.json("PATCH", &path, body).await;
        (answer.status, answer.json)
    }

    /// The occurrence that comes within a time, if one does; it is run.
    async fn occurrence(&mut self, wait: Duration) -> Option<OperationId> {
        let heard = self.listener.hear(wait).await;
        assert!(heard.len() < 2, "several at once: {heard:?}");
        let id = heard.into_iter().next()?;
        self.worker.run(id).await;
        Some(id)
    }

    async fn metric(&self, name: &str) -> String {
        let text = self.client.get("/metrics").await.text;
        let mut lines = text.lines();
        let line = lines.find_map(|line| line.strip_prefix(&format!("drumline_{name} ")));
        line.expect("a metric").to_owned()
    }
}

/// Every occurrence in a store, by its series.
async fn occurrences(backend: &Backend) -> HashMap<Uuid, Vec<Operation>> {
    let mut found: HashMap<Uuid, Vec<Operation>> = HashMap::new();
    let mut before = None;
    loop {
        let listed = backend.store.list(&Filter::default(), before, 500).await;
        let page = listed.expect("the store is there");
        for operation in page.operations {
            if let Some(series) = operation.body.parent_id {
                found.entry(series).or_default().push(operation);
            }
        }
        before = page.next;
        if before.is_none() {
            return found;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_series_waits_and_its_occurrences_run() {
    let mut scene = Scene::new().await;
    let body = json!({
        "messageName": "a", "name": "report", "data": {"x": 1}, "operationType": 203,
        "recurrencePattern": "FREQ=MINUTELY;INTERVAL=2;", "recurrenceStartTime": "2026-11-18T11:10:00.000Z",
    });
    let series = scene.client.create(&body).await;
    let view = scene.view(series).await;
    assert_eq!(view["status"], json!("Waiting"));
    assert_eq!(view["postponeUntil"], json!("2026-11-18T11:10:00.000Z"));
    assert_eq!(view["recurrencePattern"], body["recurrencePattern"]);
    assert_eq!(view["recurrenceStartTime"], body["recurrenceStartTime"]);
    let five = [10, 12, 14, 16, 18].map(|minute| format!("2026-11-18T11:{minute}:00.000Z"));
    assert_eq!(view["nextOccurrences"], json!(five));
    assert_eq!(view["legalActions"], json!(["cancel", "pause", "postpone"]));

    let first = scene.occurrence(4 * MINUTE).await.expect("an occurrence");
    let found = scene.view(first).await;
    for name in [
        "name",
        "data",
        "operationType",
        "messageName",
        "queue",
        "correlationId",
        "depth",
        "retryPolicy",
    ] {
        assert_eq!(found[name], view[name], "{name}");
    }
    assert_eq!(found["parentId"], json!(series.to_string()));
    assert_eq!(found["recurrencePattern"], Value::Null);
    assert_eq!(found.get("nextOccurrences"), None);
    let second = scene.occurrence(3 * MINUTE).await.expect("an occurrence");
    assert_ne!(first, second);
    let view = scene.view(series).await;
    assert_eq!(view["status"], json!("Waiting"));
    assert_eq!(view["postponeUntil"], json!(five[2]));
    assert_eq!(view["startCount"], json!(0));
    assert_eq!(scene.metric("occurrences_created_total").await, "2");
}

#[tokio::test(start_paused = true)]
async fn without_a_start_the_first_time_is_now() {
    let mut scene = Scene::new().await;
    let series = scene.series("FREQ=YEARLY").await;
    assert!(scene.occurrence(A_WHILE).await.is_some());
    let view = scene.view(series).await;
    assert_eq!(view["postponeUntil"], json!("2027-11-18T11:06:41.000Z"));
}

#[tokio::test(start_paused = true)]
async fn a_start_in_the_past_sets_the_rhythm_and_makes_up_for_nothing() {
    let mut scene = Scene::new().await;
    let body = json!({
        "messageName": "a", "recurrencePattern": "FREQ=HOURLY",
        "recurrenceStartTime": "2000-01-01T00:30:00Z",
    });
    let series = scene.client.create(&body).await;
    let view = scene.view(series).await;
    assert_eq!(view["postponeUntil"], json!("2026-11-18T11:30:00.000Z"));
    assert_eq!(scene.occurrence(A_WHILE).await, None);
}

/// Two managers maintain everything, and one of them dies at any moment and
/// comes back; handlers are quick. Ten series, fifty times each.
#[tokio::test(start_paused = true)]
async fn every_time_has_one_occurrence_while_managers_die() {
    const TIMES: usize = 50;
    let backend = backend();
    let managers = [manager(&backend), manager(&backend)];
    let client = Client::of(&managers[0]);
    let mut all = Vec::new();
    for number in 0..10 {
        let start = backend
            .store
            .now()
            .saturating_add(Duration::from_secs(60 + number));
        let mut body = json!({
            "messageName": "a", "recurrenceStartTime": start.to_string(),
            "recurrencePattern": format!("FREQ=MINUTELY;COUNT={TIMES}"),
        });
        if number % 2 == 0 {
            body["dependencyToken"] = json!(format!("token {number}"));
        }
        all.push(client.create(&body).await);
    }
    let worker = Worker::new(&backend);
    let mut random = fastrand::Rng::with_seed(500);
    let mut running = managers
        .each_ref()
        .map(|manager| Some(Maintenance::start(manager)));
    let mut done: HashSet<OperationId> = HashSet::new();
    while done.len() < 10 * TIMES {
        // As a process that is killed: everything that it awaits is dropped.
        let victim = random.usize(0..2);
        drop(running[victim].take());
        sleep(Duration::from_millis(random.u64(0..4000))).await;
        running[victim] = Some(Maintenance::start(&managers[victim]));
        sleep(Duration::from_millis(random.u64(0..4000))).await;
        for operation in occurrences(&backend).await.into_values().flatten() {
            if operation.header.status == Status::WaitingForResources {
                worker.run(operation.id).await;
                done.insert(operation.id);
            }
        }
        let limit = Timestamp::from_millis(1_795_000_000_000 + 70 * 60_000);
        assert!(
            backend.store.now() < limit,
            "{} of {}",
            done.len(),
            10 * TIMES
        );
    }
    until("all series are over", || async {
        let mut statuses = HashSet::new();
        for id in &all {
            statuses.insert(stored(&backend, *id).await.header.status);
        }
        statuses == HashSet::from([Status::Succeeded])
    })
    .await;
    let found = occurrences(&backend).await;
    for id in all {
        let mine = &found[&Uuid::from_bytes(*id.as_bytes())];
        let start = stored(&backend, id)
            .await
            .header
            .recurrence
            .expect("a series")
            .start;
        let times: HashSet<u128> = mine
            .iter()
            .map(|one| one.body.created_on.since(start).as_millis() / 60_000)
            .collect();
        assert_eq!(mine.len(), TIMES, "{id}");
        assert_eq!(times, (0..TIMES as u128).collect(), "{id}");
    }
}

#[tokio::test(start_paused = true)]
async fn times_that_were_missed_have_one_occurrence_together() {
    let backend = backend();
    let manager = manager(&backend);
    let client = Client::of(&manager);
    let mut listener = Listener::of_work(&backend).await;
    let body = json!({"messageName": "a", "recurrencePattern": "FREQ=MINUTELY"});
    let series = client.create(&body).await;
    sleep(10 * MINUTE + A_WHILE).await;
    let maintenance = Maintenance::start(&manager);
    assert_eq!(listener.hear(A_WHILE).await.len(), 1);
    let next = stored(&backend, series).await.header.postpone_until;
    assert!(next.is_some_and(|next| next > backend.store.now()));
    assert_eq!(listener.hear(A_WHILE).await.len(), 0);
    maintenance.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_time_is_skipped_while_the_occurrence_before_runs() {
    let mut scene = Scene::new().await;
    let series = scene.series("FREQ=MINUTELY").await;
    let heard = scene.listener.hear(A_WHILE).await;
    sleep(Duration::from_secs(150)).await;
    let found = occurrences(&scene.backend).await;
    assert_eq!(found[&Uuid::from_bytes(*series.as_bytes())].len(), 1);
    assert_eq!(scene.metric("occurrences_skipped_total").await, "2");
    scene.worker.run(heard[0]).await;
    sleep(MINUTE).await;
    let found = occurrences(&scene.backend).await;
    assert_eq!(found[&Uuid::from_bytes(*series.as_bytes())].len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_series_ends_with_its_last_time() {
    let mut scene = Scene::new().await;
    let counted = scene.series("FREQ=MINUTELY;COUNT=2").await;
    assert!(scene.occurrence(A_WHILE).await.is_some());
    assert_eq!(scene.client.status(counted).await, "Waiting");
    assert!(scene.occurrence(2 * MINUTE).await.is_some());
    until("it is over", || async {
        scene.client.status(counted).await == "Succeeded"
    })
    .await;
    assert_eq!(scene.occurrence(10 * MINUTE).await, None);
    let view = scene.view(counted).await;
    assert_eq!(view.get("nextOccurrences"), None);
    assert_eq!(view["legalActions"], json!(["delete"]));
}

#[tokio::test(start_paused = true)]
async fn an_occurrence_that_could_not_be_published_is_relayed() {
    let (backend, faults) = faulty(&backend());
    let manager = manager(&backend);
    let client = Client::of(&manager);
    let mut listener = Listener::of_work(&backend).await;
    let maintenance = Maintenance::start(&manager);
    let body = json!({"messageName": "a", "recurrencePattern": "FREQ=DAILY"});
    client.create(&body).await;
    Faults::set(&faults.publishes_fail, true);
    assert!(listener.hear(MINUTE).await.is_empty());
    Faults::set(&faults.publishes_fail, false);
    assert_eq!(listener.hear(A_WHILE).await.len(), 1);
    maintenance.stop().await;
}

#[tokio::test(start_paused = true)]
async fn occurrences_are_in_the_chain_and_the_series_is_not() {
    let scene = Scene::new().await;
    let mut lanes = Vec::new();
    for partition in scene.backend.store.partitions().all() {
        lanes.push(Listener::of(&scene.backend, Source::Lane(partition)).await);
    }
    let token = json!({"messageName": "a", "dependencyToken": "t"});
    let mut body = token.clone();
    body["recurrencePattern"] = json!("FREQ=DAILY;COUNT=1");
    let series = scene.client.create(&body).await;
    let before = scene.client.create(&token).await;
    // No operation waits behind a series.
    let fence = scene.worker.claim(before).await;
    until("the series is over", || async {
        scene.client.status(series).await == "Succeeded"
    })
    .await;
    let found = occurrences(&scene.backend).await;
    let occurrence = &found[&Uuid::from_bytes(*series.as_bytes())][0];
    assert_eq!(
        occurrence.header.rules.chain,
        stored(&scene.backend, before).await.header.rules.chain
    );
    let path = format!("/v1/operations/{}?explain=true", occurrence.id);
    let explained = scene.client.get(&path).await.json;
    assert_eq!(
        explained["waitingFor"]["operationId"],
        json!(before.to_string())
    );
    scene.worker.succeed(before, fence).await;
    scene.worker.run(occurrence.id).await;
}

#[tokio::test(start_paused = true)]
async fn a_series_is_paused_resumed_postponed_and_cancelled() {
    let mut scene = Scene::new().await;
    let series = scene.series("FREQ=MINUTELY").await;
    assert!(scene.occurrence(A_WHILE).await.is_some());
    scene.ask(series, "pause").await;
    let view = scene.view(series).await;
    assert_eq!(view["postponeUntil"], Value::Null);
    assert_eq!(view["nextOccurrences"], json!([]));
    assert_eq!(
        view["legalActions"],
        json!(["cancel", "resume", "postpone"])
    );
    assert_eq!(scene.occurrence(10 * MINUTE).await, None);

    scene.ask(series, "resume").await;
    assert_eq!(scene.occurrence(Duration::from_millis(100)).await, None);
    assert!(scene.occurrence(MINUTE + A_WHILE).await.is_some());
    let path = format!("/v1/operations/{series}/resume");
    let answer = scene.client.send("POST", &path, &[], "").await;
    assert_eq!(answer.status, StatusCode::CONFLICT, "{answer:?}");

    let later = scene.backend.store.now().saturating_add(30 * MINUTE);
    let body = json!({"stateCode": 1, "postponeUntil": later.to_string()});
    let (status, answer) = scene.patch(series, &body).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(scene.occurrence(29 * MINUTE).await, None);
    let heard = scene.listener.hear(2 * MINUTE).await;
    assert_eq!(heard.len(), 1);

    // A running occurrence goes on.
    let fence = scene.worker.claim(heard[0]).await;
    scene.ask(series, "cancel").await;
    scene.worker.succeed(heard[0], fence).await;
    assert_eq!(scene.client.status(heard[0]).await, "Succeeded");
    assert_eq!(scene.client.status(series).await, "Canceled");
    assert_eq!(scene.occurrence(10 * MINUTE).await, None);
}

#[tokio::test(start_paused = true)]
async fn the_rule_of_a_series_can_be_changed() {
    let mut scene = Scene::new().await;
    let series = scene.series("FREQ=MINUTELY").await;
    assert!(scene.occurrence(A_WHILE).await.is_some());
    let rule = json!({"recurrencePattern": "FREQ=HOURLY;BYMINUTE=0;BYSECOND=0"});
    let (status, view) = scene.patch(series, &rule).await;
    assert_eq!(status, StatusCode::OK, "{view}");
    assert_eq!(view["recurrencePattern"], rule["recurrencePattern"]);
    assert_eq!(view["postponeUntil"], json!("2026-11-18T12:00:00.000Z"));
    let start =
        json!({"recurrencePattern": "FREQ=HOURLY", "recurrenceStartTime": "2026-11-18T13:15:00Z"});
    let (_, view) = scene.patch(series, &start).await;
    assert_eq!(
        view["recurrenceStartTime"],
        json!("2026-11-18T13:15:00.000Z")
    );
    assert_eq!(view["postponeUntil"], json!("2026-11-18T13:15:00.000Z"));

    // A paused series stays paused.
    scene.ask(series, "pause").await;
    let (_, view) = scene
        .patch(series, &json!({"recurrencePattern": "FREQ=DAILY"}))
        .await;
    assert_eq!(view["recurrencePattern"], json!("FREQ=DAILY"));
    assert_eq!(view["postponeUntil"], Value::Null);
    scene.ask(series, "resume").await;
    let view = scene.view(series).await;
    assert_eq!(view["postponeUntil"], json!("2026-11-18T13:15:00.000Z"));
}

#[tokio::test(start_paused = true)]
async fn changes_of_a_rule_that_make_no_sense_are_refused() {
    let scene = Scene::new().await;
    let series = scene.series("FREQ=DAILY").await;
    let over = scene.series("FREQ=DAILY").await;
    scene.ask(over, "cancel").await;
    let plain = scene.client.create(&json!({"messageName": "b"})).await;
    let daily = json!({"recurrencePattern": "FREQ=DAILY"});
    let cases = [
        (plain, daily.clone(), 422, "CannotUpdateNonrecurring"),
        (
            plain,
            json!({"recurrenceStartTime": "2027-01-01T00:00:00Z"}),
            422,
            "CannotUpdateNonrecurring",
        ),
        (over, daily, 409, "CannotUpdateRecurring"),
        (
            series,
            json!({"recurrencePattern": "FREQ=DAILY", "stateCode": 1}),
            422,
            "CannotUpdateRecurring",
        ),
        (
            series,
            json!({"recurrencePattern": "FREQ=DAILY", "name": "n"}),
            422,
            "AttributeIsReadOnly",
        ),
        (
            series,
            json!({"recurrencePattern": ""}),
            422,
            "InvalidArgument",
        ),
        (
            series,
            json!({"recurrencePattern": null}),
            422,
            "InvalidArgument",
        ),
        (
            series,
            json!({"recurrenceStartTime": null}),
            422,
            "InvalidArgument",
        ),
        (
            series,
            json!({"recurrencePattern": "FREQ=OFTEN"}),
            422,
            "InvalidArgument",
        ),
        (
            series,
            json!({"recurrencePattern": "FREQ=DAILY;UNTIL=20200101"}),
            422,
            "InvalidArgument",
        ),
    ];
    for (id, body, status, name) in cases {
        let (answered, problem) = scene.patch(id, &body).await;
        assert_eq!(answered.as_u16(), status, "{body}: {problem}");
        assert_eq!(problem["name"], json!(name), "{body}: {problem}");
        if status == 422 {
            let attribute = problem["attributes"][0]["name"].as_str().expect("a name");
            assert!(body.get(attribute).is_some(), "{body}: {problem}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn series_that_make_no_sense_are_refused() {
    let scene = Scene::new().await;
    let cases = [
        (
            json!({"recurrenceStartTime": "2027-01-01T00:00:00Z"}),
            "recurrenceStartTime",
        ),
        (
            json!({"recurrencePattern": "FREQ=OFTEN"}),
            "recurrencePattern",
        ),
        (
            json!({"recurrencePattern": "x".repeat(257)}),
            "recurrencePattern",
        ),
        (
            json!({"recurrencePattern": "FREQ=YEARLY;BYMONTHDAY=31;BYMONTH=2"}),
            "recurrencePattern",
        ),
        (
            json!({"recurrencePattern": "FREQ=DAILY", "recurrenceStartTime": "1969-01-01T00:00:00Z"}),
            "recurrenceStartTime",
        ),
        (
            json!({"recurrencePattern": "FREQ=DAILY;COUNT=3", "recurrenceStartTime": "2020-01-01T00:00:00Z"}),
            "recurrencePattern",
        ),
        (
            json!({"recurrencePattern": "FREQ=DAILY", "postponeUntil": "2027-01-01T00:00:00Z"}),
            "postponeUntil",
        ),
    ];
    for (mut body, attribute) in cases {
        body["messageName"] = json!("a");
        let answer = scene.client.post("/v1/operations", &body).await;
        assert_eq!(
            answer.status,
            StatusCode::UNPROCESSABLE_ENTITY,
            "{answer:?}"
        );
        assert_eq!(
            answer.json["attributes"][0]["name"],
            json!(attribute),
            "{answer:?}"
        );
    }
    let body = json!({"messageName": "a", "recurrencePattern": ""});
    let id = scene.client.create(&body).await;
    assert_eq!(scene.client.status(id).await, "WaitingForResources");
}

#[tokio::test(start_paused = true)]
async fn a_repeated_create_gets_the_series_even_when_it_is_over() {
    let mut scene = Scene::new().await;
    let body = json!({"messageName": "a", "recurrencePattern": "FREQ=DAILY;COUNT=1", "recurrenceStartTime": "2026-11-18T11:07:00Z"});
    let headers = [
        ("content-type", "application/json"),
        ("idempotency-key", "k"),
    ];
    let first = scene
        .client
        .send("POST", "/v1/operations", &headers, body.to_string())
        .await;
    assert_eq!(first.status, StatusCode::CREATED, "{first:?}");
    assert!(scene.occurrence(MINUTE).await.is_some());
    sleep(MINUTE).await;
    let again = scene
        .client
        .send("POST", "/v1/operations", &headers, body.to_string())
        .await;
    assert_eq!(again.status, StatusCode::OK, "{again:?}");
    assert_eq!(again.id(), first.id());
}

#[tokio::test(start_paused = true)]
async fn a_series_explains_what_it_waits_for() {
    let scene = Scene::new().await;
    let series = scene.series("FREQ=DAILY").await;
    let path = format!("/v1/operations/{series}?explain=true");
    let explained = scene.client.get(&path).await.json;
    assert_eq!(explained["waitingFor"]["reason"], json!("occurrence"));
    let detail = explained["waitingFor"]["detail"].as_str().expect("a text");
    assert!(detail.contains("waits for its next time"), "{detail}");
    assert_eq!(
        explained["nextOccurrences"].as_array().map(Vec::len),
        Some(5)
    );
    scene.maintenance.stop().await;
    scene.manager.close().await;
}

#[tokio::test(start_paused = true)]
async fn every_answer_about_one_series_has_its_next_times() {
    let scene = Scene::new().await;
    let count = |view: &Value| view["nextOccurrences"].as_array().map(Vec::len);
    let body = json!({"messageName": "a", "recurrencePattern": "FREQ=DAILY;COUNT=9"});
    let created = scene.client.post("/v1/operations", &body).await;
    assert_eq!(count(&created.json), Some(5), "{created:?}");
    let series = created.id();

    let fewer = json!({"recurrencePattern": "FREQ=DAILY;COUNT=3"});
    let (_, changed) = scene.patch(series, &fewer).await;
    let found = count(&changed).expect("the next times");
    assert!((2..=3).contains(&found), "{changed}");

    for (columns, others) in [(Value::Null, true), (json!(["nextOccurrences"]), false)] {
        let mut parameters = json!({"id": series.to_string()});
        if !columns.is_null() {
            parameters["columnSet"] = columns;
        }
        let body = json!({"requestName": "Retrieve", "parameters": parameters});
        let answer = scene.client.post("/v1/execute", &body).await;
        let operation = &answer.json["results"]["operation"];
        assert_eq!(operation["nextOccurrences"], changed["nextOccurrences"]);
        assert_eq!(operation.get("name").is_some(), others, "{operation}");
    }

    let path = format!("/v1/operations/{series}/pause");
    let paused = scene.client.send("POST", &path, &[], "").await;
    assert_eq!(count(&paused.json), Some(0), "{paused:?}");
    let plain = json!({"messageName": "a"});
    let plain = scene.client.post("/v1/operations", &plain).await;
    assert_eq!(plain.json.get("nextOccurrences"), None);
    scene.maintenance.stop().await;
}
