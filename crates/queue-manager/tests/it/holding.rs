//! The token policy `hold`: a head that fails or is cancelled stops its chain
//! until a person says how to go on.

use axum::http::StatusCode;
use drumline_backend::Ids;
use drumline_backend::apply_event::Applied;
use drumline_protocol::message::Source;
use drumline_protocol::{ErrorCode, Event, Fault, OperationId, TokenPolicy};
use drumline_queue_manager::{Options, QueueManager};
use serde_json::{Value, json};
use std::time::Duration;

use crate::support::client::Client;
use crate::support::worker::{Listener, Worker};
use crate::support::{backend, manager, stored};

/// A chain of three that holds on failure; the first is the head.
struct Chain {
    client: Client,
    worker: Worker,
    lane: Listener,
    ids: [OperationId; 3],
}

impl Chain {
    async fn new() -> Self {
        let backend = backend();
        let client = Client::of(&manager(&backend));
        let body = json!({"messageName": "a", "dependencyToken": "t", "tokenPolicy": "hold"});
        let ids = [
            client.create(&body).await,
            client.create(&body).await,
            client.create(&body).await,
        ];
        let lane = Source::Lane(ids[0].partition());
        let mut lane = Listener::of(&backend, lane).await;
        assert_eq!(lane.hear(SOON).await, [ids[0]]);
        Self {
            worker: Worker::new(&backend),
            client,
            lane,
            ids,
        }
    }

    async fn fail(&self, id: OperationId) {
        let fence = self.worker.claim(id).await;
        let fault = Fault::new(ErrorCode::HANDLER_FAILED, "it failed", "it failed");
        let said = self.worker.say(id, fence, Event::Fail(fault)).await;
        let Applied::Done(_, done) = said else {
            unreachable!("not failed: {said:?}");
        };
        assert!(done.promoted.is_none(), "the next one was promoted");
    }

    async fn ask(&self, id: OperationId, action: &str) -> Value {
        let path = format!("/v1/operations/{id}/{action}");
        let answer = self.client.send("POST", &path, &[], "").await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        answer.json
    }

    async fn view(&self, id: OperationId) -> Value {
        let path = format!("/v1/operations/{id}?explain=true");
        self.client.get(&path).await.json
    }
}

const SOON: Duration = Duration::from_secs(2);

#[tokio::test(start_paused = true)]
async fn a_failed_head_holds_its_token_until_it_is_resumed() {
    let mut chain = Chain::new().await;
    let [head, next, _] = chain.ids;
    chain.fail(head).await;
    let view = chain.view(head).await;
    assert_eq!(view["status"], json!("Failed"));
    assert_eq!(view["holdsToken"], json!(true));
    assert_eq!(view["tokenPolicy"], json!("hold"));
    assert_eq!(view["legalActions"], json!(["resume"]));
    assert!(chain.lane.hear(SOON).await.is_empty());

    let waiting = chain.view(next).await["waitingFor"].clone();
    assert_eq!(waiting["reason"], json!("holder"));
    assert_eq!(waiting["operationId"], json!(head.to_string()));
    let detail = format!(
        "its token is held by {head}, which Failed: resume {head} to skip it, or cancel the rest; \
         1 operation waits behind it"
    );
    assert_eq!(waiting["detail"], json!(detail));
    let listed = chain
        .client
        .get("/v1/operations?holdsToken=true")
        .await
        .json;
    assert_eq!(listed["operations"][0]["id"], json!(head.to_string()));
    assert_eq!(listed["operations"].as_array().map(Vec::len), Some(1));

    let view = chain.ask(head, "resume").await;
    assert_eq!(view["status"], json!("Failed"));
    assert_eq!(view["holdsToken"], json!(false));
    assert_eq!(view["legalActions"], json!(["delete"]));
    assert_eq!(chain.lane.hear(SOON).await, [next]);
    chain.worker.run(next).await;
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_head_holds_its_token() {
    let mut chain = Chain::new().await;
    let [head, next, _] = chain.ids;
    let view = chain.ask(head, "cancel").await;
    assert_eq!(view["holdsToken"], json!(true));
    assert!(chain.lane.hear(SOON).await.is_empty());
    let path = format!("/v1/operations/{head}");
    let deleted = chain.client.send("DELETE", &path, &[], "").await;
    assert_eq!(deleted.status, StatusCode::CONFLICT, "{deleted:?}");
    chain.ask(head, "resume").await;
    assert_eq!(chain.lane.hear(SOON).await, [next]);
    let deleted = chain.client.send("DELETE", &path, &[], "").await;
    assert_eq!(deleted.status, StatusCode::NO_CONTENT, "{deleted:?}");
}

#[tokio::test(start_paused = true)]
async fn one_that_is_cancelled_behind_the_head_holds_nothing() {
    let mut chain = Chain::new().await;
    let [head, middle, last] = chain.ids;
    let view = chain.ask(middle, "cancel").await;
    assert_eq!(view["status"], json!("Canceled"));
    assert_eq!(view["holdsToken"], json!(false));
    chain.worker.run(head).await;
    assert_eq!(chain.lane.hear(SOON).await, [last]);
}

#[tokio::test(start_paused = true)]
async fn the_rest_of_a_held_chain_can_be_cancelled() {
    let mut chain = Chain::new().await;
    let [head, next, last] = chain.ids;
    chain.fail(head).await;
    for id in [next, last] {
        let view = chain.ask(id, "cancel").await;
        assert_eq!(view["status"], json!("Canceled"));
        assert_eq!(view["holdsToken"], json!(false));
    }
    chain.ask(head, "resume").await;
    let body = json!({"messageName": "a", "dependencyToken": "t"});
    let fresh = chain.client.create(&body).await;
    assert_eq!(chain.lane.hear(SOON).await, [fresh]);
}

#[tokio::test(start_paused = true)]
async fn the_deployment_says_what_is_usual() {
    let backend = backend();
    let options = Options {
        token_policy: TokenPolicy::Hold,
        ..Options::default()
    };
    let manager = QueueManager::new(backend.clone(), Ids::random(), options);
    let client = Client::of(&manager);
    for (given, expected) in [
        (None, "hold"),
        (Some("continue"), "continue"),
        (Some("hold"), "hold"),
    ] {
        let mut body = json!({"messageName": "a", "dependencyToken": "t"});
        if let Some(policy) = given {
            body["tokenPolicy"] = json!(policy);
        }
        let id = client.create(&body).await;
        assert_eq!(
            stored(&backend, id).await.header.rules.token_policy.name(),
            expected
        );
    }
    let body = json!({"messageName": "a", "tokenPolicy": "explode"});
    let refused = client.post("/v1/operations", &body).await;
    assert_eq!(refused.json["attributes"][0]["name"], json!("tokenPolicy"));
}
