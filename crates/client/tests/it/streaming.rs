//! Events, over connections that break.

use drumline_client::{EventFilter, Status};
use futures_util::TryStreamExt as _;

use crate::service::{Act, Service, operation, refusal};

fn completed(event: &str, id: &str) -> String {
    format!(
        "event: completed\nid: {event}\ndata: {}\n\n",
        operation(id, 31)
    )
}

#[tokio::test]
async fn events_go_on_behind_the_last_one_when_the_connection_breaks() {
    let service = Service::start([
        Act::Events(format!("retry: 2000\n: hello\n\n{}", completed("e1", "a"))),
        // The service's position alone, and the start of an event.
        Act::Events("id: e5\n\nevent: completed\nid: e6\ndata: {".to_owned()),
        refusal(503, "", "0x8004A001"),
        Act::Events(completed("e6", "b") + &completed("e7", "c")),
        refusal(422, "", "0x80040203"),
    ])
    .await;
    let filter = EventFilter::new()
        .message_name("Echo")
        .status(Status::Failed);
    let mut events = service.client().events(filter);
    for (event, id) in [("e1", "a"), ("e6", "b"), ("e7", "c")] {
        let told = events.try_next().await.unwrap().unwrap();
        assert_eq!((told.id.as_str(), told.operation.id.as_str()), (event, id));
    }
    let error = events.try_next().await.unwrap_err();
    assert_eq!(error.status(), Some(422));
    assert!(events.try_next().await.unwrap().is_none(), "it has ended");
    let requests = service.requests().await;
    let places: Vec<_> = requests.iter().map(|r| r.header("last-event-id")).collect();
    assert_eq!(
        places,
        [None, Some("e1"), Some("e5"), Some("e5"), Some("e7")]
    );
    assert_eq!(
        requests[4].line,
        "GET /v1/events?messageName=Echo&status=31"
    );
}

#[tokio::test]
async fn events_begin_where_the_caller_was_before() {
    let service = Service::start([Act::Events(completed("e9", "a"))]).await;
    let mut events = service.client().events(EventFilter::new().after("e8"));
    assert_eq!(events.try_next().await.unwrap().unwrap().id, "e9");
    let requests = service.requests().await;
    assert_eq!(requests[0].header("last-event-id"), Some("e8"));
}
