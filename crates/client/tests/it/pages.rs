//! Cursors, and long polls.

use drumline_client::{BulkAction, Filter, Status, Timestamp};
use futures_util::TryStreamExt as _;
use serde_json::{Value, json};

use crate::service::{Act, Service, operation};

fn page(ids: &[&str], next: Option<&str>) -> Act {
    let operations: Vec<Value> = ids.iter().map(|id| operation(id, 30)).collect();
    Act::Answer(
        200,
        "",
        json!({"operations": operations, "nextCursor": next}),
    )
}

#[tokio::test]
async fn all_pages_of_a_listing_are_read_as_one_stream() {
    let service = Service::start([
        page(&["d", "c"], Some("1")),
        page(&[], Some("2")),
        page(&["b"], None),
    ])
    .await;
    let filter = Filter::new().status(Status::Succeeded);
    let found: Vec<_> = service
        .client()
        .list_all(&filter)
        .try_collect()
        .await
        .unwrap();
    let ids: Vec<_> = found
        .iter()
        .map(|operation| operation.id.as_str())
        .collect();
    assert_eq!(ids, ["d", "c", "b"]);
    let requests = service.requests().await;
    assert_eq!(
        requests[2].line,
        "GET /v1/operations?status=30&limit=200&cursor=2"
    );
}

#[tokio::test]
async fn a_bulk_action_goes_on_where_the_service_says() {
    let step = |done: u64, next: Option<&str>| {
        let refused = json!([{"id": "x", "code": "0x80044F00", "message": "no"}]);
        Act::Answer(
            200,
            "",
            json!({"dryRun": false, "matched": done + 1, "done": done, "refused": refused,
                   "refusedCount": 1, "nextCursor": next}),
        )
    };
    let service = Service::start([step(3, Some("c")), step(2, None)]).await;
    let until = BulkAction::Postpone(Timestamp::from_millis(0));
    let bulk = service.client().bulk(until, Filter::new().token("t")).all();
    let total = bulk.run().await.unwrap();
    assert_eq!((total.matched, total.done, total.refused_count), (7, 5, 2));
    assert_eq!(total.refused.len(), 2);
    let requests = service.requests().await;
    assert_eq!(
        requests[1].line,
        "POST /v1/operations/postpone?dependencyToken=t&dryRun=false&all=true&cursor=c"
    );
    assert_eq!(
        requests[1].body,
        json!({"postponeUntil": "1970-01-01T00:00:00.000Z"})
    );
}

#[tokio::test]
async fn waiting_polls_until_it_is_completed() {
    let service = Service::start([
        Act::Answer(200, "", operation("a", 20)),
        Act::Answer(200, "", operation("a", 31)),
    ])
    .await;
    let ended = service.client().wait("a", None).await.unwrap();
    assert_eq!(ended.status_code, 31);
    assert_eq!(
        service.requests().await[0].line,
        "GET /v1/operations/a?wait=30000ms"
    );
}

#[tokio::test]
async fn what_an_operation_waits_for_is_read_beside_it() {
    let mut answer = operation("a", 0);
    answer["data"] = json!({"kept": [1.5]});
    answer["waitingFor"] = json!({"reason": "predecessor", "detail": "d", "operationId": "b"});
    let service = Service::start([Act::Answer(200, "", answer)]).await;
    let explained = service.client().get_explained("a").await.unwrap();
    let waiting_for = explained.waiting_for.as_ref().unwrap();
    assert_eq!(waiting_for.operation_id.as_deref(), Some("b"));
    let shown = serde_json::to_value(&explained).unwrap();
    assert_eq!(shown["data"], json!({"kept": [1.5]}));
    assert_eq!(shown["waitingFor"]["reason"], "predecessor");
}
