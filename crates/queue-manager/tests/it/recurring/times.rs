//! Due times and their occurrences: one for each, also when managers die.

use std::collections::HashSet;
use std::time::Duration;

use drumline_protocol::message::Source;
use drumline_protocol::{OperationId, Status, Timestamp};
use drumline_queue_manager::Maintenance;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::{A_WHILE, Fixture, MINUTE, occurrences};
use crate::support::client::Client;
use crate::support::faulty::{Faults, faulty};
use crate::support::worker::{Listener, Worker};
use crate::support::{backend, manager, stored, until};

#[tokio::test(start_paused = true)]
async fn a_series_waits_and_its_occurrences_run() {
    let mut fixture = Fixture::new().await;
    let body = json!({
        "messageName": "a", "name": "report", "data": {"x": 1}, "operationType": 203,
        "recurrencePattern": "FREQ=MINUTELY;INTERVAL=2;", "recurrenceStartTime": "2026-11-18T11:10:00.000Z",
    });
    let series = fixture.client.create(&body).await;
    let view = fixture.view(series).await;
    assert_eq!(view["status"], json!("Waiting"));
    assert_eq!(view["postponeUntil"], json!("2026-11-18T11:10:00.000Z"));
    assert_eq!(view["recurrencePattern"], body["recurrencePattern"]);
    assert_eq!(view["recurrenceStartTime"], body["recurrenceStartTime"]);
    let five = [10, 12, 14, 16, 18].map(|minute| format!("2026-11-18T11:{minute}:00.000Z"));
    assert_eq!(view["nextOccurrences"], json!(five));
    assert_eq!(view["legalActions"], json!(["cancel", "pause", "postpone"]));

    let first = fixture.occurrence(4 * MINUTE).await.expect("an occurrence");
    let found = fixture.view(first).await;
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
    let second = fixture.occurrence(3 * MINUTE).await.expect("an occurrence");
    assert_ne!(first, second);
    let view = fixture.view(series).await;
    assert_eq!(view["status"], json!("Waiting"));
    assert_eq!(view["postponeUntil"], json!(five[2]));
    assert_eq!(view["startCount"], json!(0));
    assert_eq!(fixture.metric("occurrences_created_total").await, "2");
}

#[tokio::test(start_paused = true)]
async fn each_occurrence_has_a_trace_of_its_own() {
    let mut fixture = Fixture::new().await;
    let series = fixture.series("FREQ=MINUTELY").await;
    let mut traces = HashSet::new();
    let mut ids = vec![series];
    for _ in 0..2 {
        ids.push(fixture.occurrence(2 * MINUTE).await.expect("an occurrence"));
    }
    for id in ids {
        let context = stored(&fixture.backend, id).await.body.trace.traceparent;
        let trace = context.split('-').nth(1).expect("a trace").to_owned();
        assert!(traces.insert(trace), "{id}: {context}");
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_start_the_first_time_is_now() {
    let mut fixture = Fixture::new().await;
    let series = fixture.series("FREQ=YEARLY").await;
    assert!(fixture.occurrence(A_WHILE).await.is_some());
    let view = fixture.view(series).await;
    assert_eq!(view["postponeUntil"], json!("2027-11-18T11:06:41.000Z"));
}

#[tokio::test(start_paused = true)]
async fn a_start_in_the_past_sets_the_rhythm_and_makes_up_for_nothing() {
    let mut fixture = Fixture::new().await;
    let body = json!({
        "messageName": "a", "recurrencePattern": "FREQ=HOURLY",
        "recurrenceStartTime": "2000-01-01T00:30:00Z",
    });
    let series = fixture.client.create(&body).await;
    let view = fixture.view(series).await;
    assert_eq!(view["postponeUntil"], json!("2026-11-18T11:30:00.000Z"));
    assert_eq!(fixture.occurrence(A_WHILE).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_series_that_is_refused_holds_up_nothing_else() {
    let (backend, faults) = faulty(&backend());
    let manager = manager(&backend);
    let client = Client::of(&manager);
    let maintenance = Maintenance::start(&manager);
    let mut listener = Listener::of_work(&backend).await;
    Faults::set(&faults.transactions_are_refused, true);
    let series = json!({"messageName": "a", "recurrencePattern": "FREQ=YEARLY"});
    client.create(&series).await;
    let mut created = Vec::new();
    for _ in 0..12 {
        let time = backend.store.now().saturating_add(A_WHILE);
        let body = json!({"messageName": "b", "postponeUntil": time.to_string()});
        let id = client.create(&body).await;
        created.push(id);
        // Nothing claims what is offered, so earlier ones are offered again meanwhile.
        loop {
            let heard = listener.hear(2 * A_WHILE).await;
            assert!(!heard.is_empty(), "{id} is not offered");
            if heard.contains(&id) {
                break;
            }
        }
        let late = backend.store.now().since(time);
        assert!(late < Duration::from_millis(500), "{late:?} late");
    }
    Faults::set(&faults.transactions_are_refused, false);
    let begun = Instant::now();
    loop {
        let heard = listener.hear(Duration::from_millis(500)).await;
        assert!(!heard.is_empty(), "the occurrence comes with the next look");
        if heard.iter().any(|id| !created.contains(id)) {
            break;
        }
    }
    assert!(begun.elapsed() < Duration::from_millis(500));
    maintenance.stop().await;
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
    let mut fixture = Fixture::new().await;
    let series = fixture.series("FREQ=MINUTELY").await;
    let heard = fixture.listener.hear(A_WHILE).await;
    sleep(Duration::from_secs(150)).await;
    let found = occurrences(&fixture.backend).await;
    assert_eq!(found[&Uuid::from_bytes(*series.as_bytes())].len(), 1);
    assert_eq!(fixture.metric("occurrences_skipped_total").await, "2");
    fixture.worker.run(heard[0]).await;
    sleep(MINUTE).await;
    let found = occurrences(&fixture.backend).await;
    assert_eq!(found[&Uuid::from_bytes(*series.as_bytes())].len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_series_ends_with_its_last_time() {
    let mut fixture = Fixture::new().await;
    let counted = fixture.series("FREQ=MINUTELY;COUNT=2").await;
    assert!(fixture.occurrence(A_WHILE).await.is_some());
    assert_eq!(fixture.client.status(counted).await, "Waiting");
    assert!(fixture.occurrence(2 * MINUTE).await.is_some());
    until("it is over", || async {
        fixture.client.status(counted).await == "Succeeded"
    })
    .await;
    assert_eq!(fixture.occurrence(10 * MINUTE).await, None);
    let view = fixture.view(counted).await;
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
    let fixture = Fixture::new().await;
    let mut lanes = Vec::new();
    for partition in fixture.backend.store.partitions().all() {
        lanes.push(Listener::of(&fixture.backend, Source::Lane(partition)).await);
    }
    let token = json!({"messageName": "a", "dependencyToken": "t"});
    let mut body = token.clone();
    body["recurrencePattern"] = json!("FREQ=DAILY;COUNT=1");
    let series = fixture.client.create(&body).await;
    let before = fixture.client.create(&token).await;
    // No operation waits behind a series.
    let fence = fixture.worker.claim(before).await;
    until("the series is over", || async {
        fixture.client.status(series).await == "Succeeded"
    })
    .await;
    let found = occurrences(&fixture.backend).await;
    let occurrence = &found[&Uuid::from_bytes(*series.as_bytes())][0];
    assert_eq!(
        occurrence.header.rules.chain,
        stored(&fixture.backend, before).await.header.rules.chain
    );
    let path = format!("/v1/operations/{}?explain=true", occurrence.id);
    let explained = fixture.client.get(&path).await.json;
    assert_eq!(
        explained["waitingFor"]["operationId"],
        json!(before.to_string())
    );
    fixture.worker.succeed(before, fence).await;
    fixture.worker.run(occurrence.id).await;
}
