//! The counters, and the members that are shown.

use drumline_queue_manager::Maintenance;
use serde_json::json;

use crate::support::client::Client;
use crate::support::{backend, manager, until};

#[tokio::test(start_paused = true)]
async fn metrics_tell_what_was_done_and_what_is_there() {
    let manager = manager(&backend());
    let client = Client::of(&manager);
    let id = client.create(&json!({"messageName": "a"})).await;
    client.post("/v1/operations", &json!({})).await;
    let path = format!("/v1/operations/{id}/pause");
    client.send("POST", &path, &[], "").await;
    let path = format!("/v1/operations/{id}");
    client.send("DELETE", &path, &[], "").await;
    let text = client.get("/metrics").await.text;
    for line in [
        "drumline_operations_created_total 1",
        r#"drumline_actions_total{action="pause",outcome="done"} 1"#,
        r#"drumline_actions_total{action="delete",outcome="refused"} 1"#,
        r#"drumline_http_requests_total{method="POST",route="/v1/operations",status="422"} 1"#,
        r#"drumline_operations{state="Suspended"} 1"#,
        "drumline_undispatched_operations 0",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn managers_are_shown_while_they_live() {
    let backend = backend();
    let (one, two) = (manager(&backend), manager(&backend));
    let client = Client::of(&one);
    let managers = async || {
        let answer = client.get("/v1/workers").await;
        answer.json["managers"].as_array().map_or(0, Vec::len)
    };
    let first = Maintenance::start(&one);
    let second = Maintenance::start(&two);
    until("both are there", async || managers().await == 2).await;
    second.stop().await;
    assert_eq!(managers().await, 1);
    first.stop().await;
    let queues = client.get("/v1/queues").await;
    assert_eq!(queues.json["queues"][0]["name"], json!("default"));
    assert_eq!(queues.json["operations"]["ready"], json!(0));
}
