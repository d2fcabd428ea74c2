//! Attempts: each start of a handler, and what it has printed.

use std::time::Duration;

use axum::http::StatusCode;
use drumline_protocol::{ErrorCode, Event, Fault, Jitter};
use drumline_queue_manager::Maintenance;
use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::worker::Worker;
use crate::support::{backend, manager, until};

const JSON: (&str, &str) = ("content-type", "application/json");
const PRINTED: &str = "<b>one</b>\n\u{1b}[31mtwo\u{1b}[0m\n";

#[tokio::test(start_paused = true)]
async fn every_attempt_is_shown_with_its_end_and_what_it_has_printed() {
    let backend = backend();
    let manager = manager(&backend);
    let (client, worker) = (Client::of(&manager), Worker::new(&backend));
    let maintenance = Maintenance::start(&manager);
    let body = json!({"messageName": "a"}).to_string();
    let created = client.send("POST", "/v1/operations", &[JSON], body).await;
    let id = created.id();
    let path = format!("/v1/operations/{id}/attempts");
    let none = client.get(&path).await;
    assert_eq!(none.json, json!({"attempts": [], "omitted": 0}), "{none:?}");

    let fence = worker.claim(id).await;
    let retry = Event::Retry {
        fault: Fault::new(ErrorCode::NETWORK_ERROR, "", "ECONNREFUSED"),
        after: Some(Duration::from_secs(60)),
        jitter: Jitter(0),
    };
    worker.say_printing(id, fence, retry, PRINTED).await;
    let is_ready = || async { client.status(id).await == "WaitingForResources" };
    until("it is tried again", is_ready).await;
    worker.claim(id).await;
    until("it is taken over", is_ready).await;
    let fence = worker.claim(id).await;
    let running = client.get(&path).await;
    assert_eq!(running.json["attempts"][2]["outcome"], "running");
    worker
        .say_printing(id, fence, Event::Succeed, "all done")
        .await;

    let answer = client.get(&path).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert_eq!(answer.json["omitted"], 0);
    let attempts = answer.json["attempts"].as_array().expect("attempts");
    let told: Vec<_> = attempts
        .iter()
        .map(|attempt| {
            let word = |name: &str| attempt[name].as_str().unwrap_or("-").to_owned();
            (
                attempt["number"].as_u64().unwrap_or(0),
                word("outcome"),
                word("hostId"),
                word("output"),
            )
        })
        .collect();
    let test = || "test".to_owned();
    assert_eq!(
        told,
        [
            (1, "retried".to_owned(), test(), PRINTED.to_owned()),
            (2, "lost".to_owned(), test(), "-".to_owned()),
            (3, "succeeded".to_owned(), test(), "all done".to_owned()),
        ]
    );
    assert_eq!(attempts[0]["reason"], "ECONNREFUSED");
    assert_eq!(
        attempts[0]["errorCode"],
        ErrorCode::NETWORK_ERROR.to_string()
    );
    assert_eq!(attempts[0]["outputCutBytes"], 0);
    assert_eq!(attempts[1]["outputCutBytes"], Value::Null);
    for attempt in attempts {
        let (from, to) = (&attempt["startedOn"], &attempt["endedOn"]);
        assert!(from.as_str() <= to.as_str(), "{attempt}");
    }

    let page = client.get(&format!("/operations/{id}")).await.text;
    for shown in [
        "3 <strong>succeeded</strong>",
        "all done</pre>",
        "2 <strong>lost</strong>",
        // Without colours, and harmless.
        "&#60;b&#62;one&#60;/b&#62;\ntwo\n</pre>",
    ] {
        assert!(page.contains(shown), "{shown}: {page}");
    }
    assert!(!page.contains("<b>one"), "{page}");
    maintenance.stop().await;
}
