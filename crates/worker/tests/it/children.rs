//! Operations that handlers create.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use drumline_backend::store::QueueUse;
use drumline_backend::{Backend, Store};
use drumline_protocol::{Author, Operation, Organization, PartitionCount, QueueName, Status};
use drumline_worker::{
    Context, CreateError, ErrorCode, HandlerError, NewChild, Outcome, RunningWorker,
};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::faulty_store::FaultyStore;
use crate::harness::{Draft, Harness, draft, in_time};

/// Does nothing; children's message name.
async fn done(_: Value, _: Context) -> Outcome {
    Outcome::Done(None)
}

/// A harness over a faulty store.
fn faulty() -> (Harness, Arc<FaultyStore>) {
    let backend = drumline_backend_embedded::backend(PartitionCount::DEFAULT);
    let faulty = FaultyStore::over(Arc::clone(&backend.store));
    let store: Arc<dyn Store> = Arc::clone(&faulty) as Arc<dyn Store>;
    (Harness::over(Backend { store, ..backend }), faulty)
}

/// All operations but the first.
async fn children(harness: &Harness) -> Vec<Operation> {
    let mut all = harness.all().await;
    all.retain(|operation| operation.body.parent_id.is_some());
    all
}

fn data(operations: &[Operation]) -> Vec<&str> {
    let data = operations.iter().map(|child| child.body.data.as_deref());
    data.map(|data| data.unwrap_or("none")).collect()
}

/// A worker whose operations are created, and never run.
async fn parent_only<F, R>(harness: &Harness, handler: F) -> RunningWorker
where
    F: Fn(Value, Context) -> R + Send + Sync + 'static,
    R: Future<Output = Result<(), HandlerError>> + Send + 'static,
{
    harness
        .start(Harness::builder().handler("Parent", handler))
        .await
}

#[tokio::test]
async fn a_child_belongs_to_its_parent_and_runs() {
    let harness = Harness::new();
    let queue: QueueName = "imports".parse().expect("a queue name");
    let handler = async |_: Value, context: Context| -> Result<String, HandlerError> {
        let child = NewChild::new("Child")
            .name("one of one")
            .data(&json!({"n": 1}));
        Ok(context.create(child).await?.to_string())
    };
    let builder = Harness::builder().queue(queue.clone());
    let builder = builder.handler("Parent", handler).handler("Child", done);
    let worker = harness.start(builder).await;
    let queue = queue.clone();
    let parent = harness
        .submit(Draft {
            queue,
            ..draft("Parent")
        })
        .await;
    let parent = harness.completed(parent).await;
    let child: String =
        serde_json::from_str(parent.report.result.as_deref().expect("an id")).expect("JSON");
    let child = harness.completed(child.parse().expect("an id")).await;
    assert_eq!(child.header.status, Status::Succeeded);
    let (own, parents) = (&child.body, &parent.body);
    assert_eq!(own.name, "one of one");
    assert_eq!(own.data.as_deref(), Some(r#"{"n":1}"#));
    let parent_id = own.parent_id.expect("a parent");
    assert_eq!(parent_id.as_bytes(), parent.id.as_bytes());
    assert_eq!(own.correlation_id, parents.correlation_id);
    assert_eq!(own.organization, parents.organization);
    assert_eq!(own.owner, parents.owner);
    assert_eq!(own.queue, parents.queue);
    assert_eq!(own.depth, parents.depth + 1);
    let recorded = harness.backend.store.history(child.id).await;
    let recorded = recorded.expect("read").expect("it is there");
    let entries = recorded.history(own).entries;
    let authors: Vec<&Author> = entries.iter().map(|entry| &entry.author).collect();
    let host = Author::worker("worker");
    assert_eq!(authors, [&Author::Handler(parent.id), &host, &host]);
    let trace = |traceparent: &str| traceparent.get(3..35).map(str::to_owned);
    assert_eq!(
        trace(&own.trace.traceparent),
        trace(&parents.trace.traceparent)
    );
    worker.drain().await;
}

#[tokio::test]
async fn children_of_one_token_run_in_the_order_of_the_list() {
    const CHILDREN: u32 = 600;
    let harness = Harness::new();
    let handler = async |_: Value, context: Context| -> Result<(), HandlerError> {
        let numbers = (0..CHILDREN).map(|number| NewChild::new("Child").data(&number).token("t"));
        context.create_all(numbers).await?;
        Ok(())
    };
    let ran: Arc<Mutex<Vec<u32>>> = Arc::default();
    let noted = Arc::clone(&ran);
    let child = move |number: u32, _: Context| {
        let mut noted = noted.lock().unwrap_or_else(PoisonError::into_inner);
        noted.push(number);
        std::future::ready(Outcome::Done(None))
    };
    let builder = Harness::builder().handler("Parent", handler);
    let worker = harness.start(builder.handler("Child", child)).await;
    let parent = harness.submit(draft("Parent")).await;
    harness.completed(parent).await;
    let last = children(&harness).await.pop().expect("children");
    harness.completed(last.id).await;
    let ran = ran.lock().unwrap_or_else(PoisonError::into_inner).clone();
    assert_eq!(ran, (0..CHILDREN).collect::<Vec<_>>());
    worker.drain().await;
}

#[tokio::test]
async fn a_later_run_finds_the_children_of_an_earlier_one() {
    let harness = Harness::new();
    let handler = async |_: Value, context: Context| -> Result<(), HandlerError> {
        let twins = || {
            [
                NewChild::new("Child").data(&1),
                NewChild::new("Child").data(&1),
            ]
        };
        let timed = NewChild::new("Child").key("report").data(&context.fence());
        if context.attempt() == 1 {
            context.create_all(twins()).await?;
            context.create(timed).await?;
            return Err(HandlerError::retry("once more"));
        }
        // Another order, and a child that was not there before.
        context.create(timed).await?;
        context.create(NewChild::new("Child").data(&2)).await?;
        context.create_all(twins()).await?;
        Ok(())
    };
    let builder = Harness::builder().handler("Parent", handler);
    let worker = harness.start(builder.handler("Child", done)).await;
    let parent = harness.submit(draft("Parent")).await;
    harness.completed(parent).await;
    let children = children(&harness).await;
    let mut data = data(&children);
    data.sort_unstable();
    // The twins, the new one, and one with a fence, which is a large number.
    assert_eq!(data.len(), 4, "{data:?}");
    assert_eq!(data[..2], ["1", "1"]);
    assert!(data.contains(&"2"), "{data:?}");
    for child in children {
        assert_eq!(harness.completed(child.id).await.header.starts, 1);
    }
    worker.drain().await;
}

#[tokio::test]
async fn a_create_whose_answer_is_lost_is_made_once() {
    let (harness, faulty) = faulty();
    let handler = async |_: Value, context: Context| -> Result<(), HandlerError> {
        let numbers = (0..3).map(|number| NewChild::new("Child").data(&number));
        context.create_all(numbers).await?;
        Ok(())
    };
    let worker = parent_only(&harness, handler).await;
    let parent = harness.submit(draft("Parent")).await;
    faulty.lost_creates.store(2, Ordering::Release);
    let parent = harness.completed(parent).await;
    assert_eq!(parent.header.status, Status::Succeeded);
    let children = children(&harness).await;
    let mut data = data(&children);
    data.sort_unstable();
    assert_eq!(data, ["0", "1", "2"]);
    worker.drain().await;
}

#[tokio::test]
async fn a_handler_that_creates_what_it_is_called_for_comes_to_an_end() {
    let harness = Harness::new();
    let handler = async |_: Value, context: Context| -> Result<(), HandlerError> {
        context.create(NewChild::new("Again")).await?;
        Ok(())
    };
    let builder = Harness::builder().depth(3).handler("Again", handler);
    let worker = harness.start(builder).await;
    let first = harness.submit(draft("Again")).await;
    harness.completed(first).await;
    let deepest = in_time("the deepest", async {
        loop {
            let all = harness.all().await;
            if let Some(deepest) = all.into_iter().find(|each| each.body.depth == 3) {
                return deepest.id;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    let deepest = harness.completed(deepest).await;
    assert_eq!(deepest.header.status, Status::Failed);
    let fault = deepest.report.fault.expect("a fault");
    assert_eq!(fault.code, ErrorCode::INFINITE_LOOP);
    assert_eq!(harness.all().await.len(), 4);
    worker.drain().await;
}

#[tokio::test]
async fn one_bad_child_keeps_all_from_being_created() {
    let harness = Harness::new();
    let handler = async |_: Value, context: Context| -> Result<(), HandlerError> {
        let children = [NewChild::new("Child"), NewChild::new("")];
        context.create_all(children).await?;
        Ok(())
    };
    let worker = parent_only(&harness, handler).await;
    let parent = harness.submit(draft("Parent")).await;
    let parent = harness.completed(parent).await;
    assert_eq!(parent.header.status, Status::Failed);
    let fault = parent.report.fault.expect("a fault");
    assert_eq!(fault.code, ErrorCode::INVALID_ARGUMENT);
    assert_eq!(fault.message, "messageName must not be empty");
    assert!(children(&harness).await.is_empty());
    worker.drain().await;
}

#[tokio::test]
async fn a_postponed_child_waits_for_its_time() {
    let harness = Harness::new();
    let handler = async |_: Value, context: Context| -> Result<(), HandlerError> {
        let hour = Duration::from_secs(3600);
        context
            .create(NewChild::new("Child").postpone_for(hour))
            .await?;
        Ok(())
    };
    let worker = parent_only(&harness, handler).await;
    let parent = harness.submit(draft("Parent")).await;
    harness.completed(parent).await;
    let child = children(&harness).await.pop().expect("a child");
    assert_eq!(child.header.status, Status::Waiting);
    let until = child.header.postpone_until.expect("a time");
    assert_eq!(until.since(child.body.created_on).as_secs(), 3600);
    worker.drain().await;
}

/// A context that has outlived its run, in two ways.
#[tokio::test]
async fn a_run_that_does_not_hold_its_operation_creates_nothing() {
    let (harness, faulty) = faulty();
    let (tell, mut hear) = mpsc::unbounded_channel();
    let handler = move |ends: bool, context: Context| {
        let tell = tell.clone();
        async move {
            tell.send(context).expect("heard");
            if !ends {
                std::future::pending::<()>().await;
            }
            Outcome::Done(None)
        }
    };
    let builder = Harness::builder().lease(Duration::from_secs(2));
    let worker = harness.start(builder.handler("Parent", handler)).await;

    let ended = harness.submit(draft("Parent").data(&json!(true))).await;
    let context = in_time("start", hear.recv()).await.expect("a context");
    harness.completed(ended).await;
    let created = context.create(NewChild::new("Child")).await;
    assert!(matches!(created, Err(CreateError::NotHeld)), "{created:?}");

    harness.submit(draft("Parent").data(&json!(false))).await;
    let context = in_time("start", hear.recv()).await.expect("a context");
    faulty.mute.store(true, Ordering::Release);
    in_time("the loss of the lease", context.stop_requested()).await;
    let created = context.create(NewChild::new("Child")).await;
    assert!(matches!(created, Err(CreateError::NotHeld)), "{created:?}");
    assert!(children(&harness).await.is_empty());
    worker.stop_now().await;
}

#[tokio::test]
async fn children_use_no_more_queues_than_their_organization_may() {
    let harness = Harness::new();
    let handler = async |queue: String, context: Context| -> Result<(), HandlerError> {
        let queue: QueueName = queue.parse().expect("a name");
        context.create(NewChild::new("Child").queue(queue)).await?;
        Ok(())
    };
    let worker = harness
        .start(Harness::builder().handler("Parent", handler))
        .await;
    // As a queue manager has noted it for a create.
    let noted = QueueUse::new(&Organization::default(), &"known".parse().expect("a name"));
    let noted = harness.backend.store.use_queue(&noted, Some(1)).await;
    assert!(noted.expect("the store is there"));
    for (queue, status) in [
        ("known", Status::Succeeded),
        ("default", Status::Succeeded),
        ("further", Status::Failed),
    ] {
        let parent = harness.submit(draft("Parent").data(&json!(queue))).await;
        let parent = harness.completed(parent).await;
        assert_eq!(parent.header.status, status, "{queue}");
        let fault = parent.report.fault.map(|fault| fault.code);
        let expected = (status == Status::Failed).then_some(ErrorCode::TOO_MANY_QUEUES);
        assert_eq!(fault, expected, "{queue}");
    }
    assert_eq!(children(&harness).await.len(), 2);
    worker.drain().await;
}
