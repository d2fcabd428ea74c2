//! The harness of these tests: an embedded backend, and the actions of producers,
//! clients and managers on it.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use drumline_backend::apply_event::{Applied, Signature, apply_event_unlocked};
use drumline_backend::dispatch::Dispatcher;
use drumline_backend::store::{Created, Filter, NewOperation};
use drumline_backend::{Backend, Ids};
use drumline_protocol::message::Offer;
use drumline_protocol::operation::{TraceContext, first_header};
use drumline_protocol::{
    Author, Body, ChainKey, DependencyToken, ErrorCode, Event, Operation, OperationId,
    OperationType, Organization, Partition, PartitionCount, QueueName, Report, RetryPolicy, Rules,
    Status, Timestamp,
};
use drumline_worker::{Builder, RunningWorker, Worker};
use tokio_util::task::TaskTracker;

/// Long enough for a busy machine; nothing waits for it when all is well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Clone)]
pub(crate) struct Harness {
    pub(crate) backend: Backend,
    ids: Arc<Ids>,
    dispatcher: Dispatcher,
}

/// An operation that is to be submitted.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub(crate) message_name: String,
    pub(crate) token: Option<String>,
    pub(crate) data: Option<String>,
    pub(crate) queue: QueueName,
    pub(crate) retry: RetryPolicy,
    pub(crate) at_most_once: bool,
    pub(crate) operation_type: OperationType,
    pub(crate) not_after: Option<Timestamp>,
}

pub(crate) fn draft(message_name: &str) -> Draft {
    Draft {
        message_name: message_name.to_owned(),
        token: None,
        data: None,
        queue: QueueName::default(),
        retry: RetryPolicy {
            initial_ms: 1,
            ..RetryPolicy::default()
        },
        at_most_once: false,
        operation_type: OperationType::DEFAULT,
        not_after: None,
    }
}

impl Draft {
    pub(crate) fn token(mut self, token: &str) -> Self {
        self.token = Some(token.to_owned());
        self
    }

    pub(crate) fn data(mut self, data: &serde_json::Value) -> Self {
        self.data = Some(data.to_string());
        self
    }
}

impl Harness {
    pub(crate) fn new() -> Self {
        Self::over(drumline_backend_embedded::backend(PartitionCount::DEFAULT))
    }

    pub(crate) fn over(backend: Backend) -> Self {
        let dispatcher = Dispatcher::start(backend.clone(), &backend.critical, &TaskTracker::new());
        Self {
            backend,
            ids: Arc::new(Ids::random()),
            dispatcher,
        }
    }

    /// A worker's settings that suit a test.
    pub(crate) fn builder() -> Builder {
        Worker::builder()
            .lease(Duration::from_secs(10))
            .grace(Duration::from_secs(5))
    }

    pub(crate) async fn start(&self, builder: Builder) -> RunningWorker {
        let leases = Arc::clone(&self.backend.store);
        let worker = builder.start(self.backend.clone(), leases).await;
        let worker = worker.expect("the worker starts");
        let mut ready = worker.ready();
        in_time("ready", ready.wait_for(|ready| *ready))
            .await
            .expect("the worker lives");
        worker
    }

    /// Stores and publishes an operation, as a manager does.
    pub(crate) async fn submit(&self, draft: Draft) -> OperationId {
        let name = draft.message_name.clone();
        self.submit_as(&name, draft).await
    }

    /// Stores an operation, and publishes an offer that names this message.
    pub(crate) async fn submit_as(&self, offered_as: &str, draft: Draft) -> OperationId {
        let now = self.backend.store.now();
        let organization = Organization::default();
        let token = draft
            .token
            .map(|token| DependencyToken::try_from(token).expect("a token"));
        let chain = token
            .as_ref()
            .map(|token| ChainKey::new(&organization, token));
        let partition = chain.map_or(Partition::new(0), |chain| {
            chain.partition(self.backend.store.partitions())
        });
        let rules = Rules {
            operation_type: draft.operation_type,
            chain,
            at_most_once: draft.at_most_once,
            retry: draft.retry,
            not_after: draft.not_after,
            ..Rules::default()
        };
        let new = NewOperation {
            id: self.ids.operation(now, partition),
            header: first_header(rules, None, self.ids.commit(), now),
            body: Body {
                queue: draft.queue,
                dependency_token: token,
                data: draft.data,
                correlation_id: self.ids.uuid(),
                organization,
                owner: "anna".to_owned(),
                trace: TraceContext {
                    traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
                        .to_owned(),
                    tracestate: String::new(),
                },
                ..Body::new(draft.message_name, now)
            },
            key: None,
        };
        let created = self.backend.store.create(vec![new.clone()]).await;
        let created = created.expect("stored").pop().expect("one answer");
        if let Created::New {
            sequence,
            offer: Some(stamp),
            ..
        } = created
        {
            let body = Body {
                message_name: offered_as.to_owned(),
                ..new.body
            };
            let offer = Offer::of(&Operation {
                id: new.id,
                header: new.header,
                body,
                report: Report::default(),
                sequence,
            });
            self.dispatcher
                .publish(offer, stamp)
                .await
                .expect("published");
        }
        new.id
    }

    /// Every operation, in order of submission.
    /// Publishes the latest offer of an operation, as the relay of a manager does.
    pub(crate) async fn offer_again(&self, id: OperationId) {
        let offered = self.backend.store.last_offer(id).await.expect("read");
        let stamp = offered.expect("an offer").stamp;
        let offer = Offer::of(&self.get(id).await);
        let published = self.dispatcher.publish(offer, stamp).await;
        published.expect("published");
    }

    pub(crate) async fn all(&self) -> Vec<Operation> {
        let everything = Filter::default();
        let all = self.backend.store.list(&everything, None, 10_000).await;
        let mut all = all.expect("read").operations;
        all.sort_by_key(|operation| (operation.id.partition(), operation.sequence));
        all
    }

    pub(crate) async fn get(&self, id: OperationId) -> Operation {
        let mut found = self.backend.store.get(&[id]).await.expect("read");
        found.pop().flatten().expect("it is there")
    }

    /// A client's action.
    pub(crate) async fn ask(&self, id: OperationId, event: Event) {
        let operation = self.get(id).await;
        let author = Author::Caller("a client".to_owned());
        let by = Signature::new(&self.ids, &author);
        let decided = apply_event_unlocked(&*self.backend.store, by, &operation, event).await;
        let decided = decided.expect("the store is there");
        let done = match decided {
            Applied::Done(header, done) => Ok((header, done)),
            other => Err(other),
        };
        let (header, done) = done.expect("a legal action");
        if let Some(stamp) = done.offer {
            let operation = Operation {
                header,
                ..operation
            };
            let published = self.dispatcher.publish(Offer::of(&operation), stamp);
            published.await.expect("published");
        }
        if let Some(promoted) = done.promoted {
            self.dispatcher.enqueue(&promoted);
        }
    }

    /// Wakes due operations, as a manager does, until the operation is
    /// Completed.
    pub(crate) async fn completed(&self, id: OperationId) -> Operation {
        self.until(id, |operation| {
            matches!(
                operation.header.status,
                Status::Succeeded | Status::Failed | Status::Canceled
            )
        })
        .await
    }

    /// Waits for a status.
    pub(crate) async fn reaches(&self, id: OperationId, status: Status) -> Operation {
        self.until(id, |operation| operation.header.status == status)
            .await
    }

    /// Waits until the operation is as wanted, waking due operations meanwhile.
    pub(crate) async fn until(
        &self,
        id: OperationId,
        wanted: impl Fn(&Operation) -> bool,
    ) -> Operation {
        let looking = async {
            loop {
                let operation = self.get(id).await;
                if wanted(&operation) {
                    return operation;
                }
                self.wake_due(id.partition()).await;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        if let Ok(operation) = tokio::time::timeout(PATIENCE, looking).await {
            return operation;
        }
        let operation = self.get(id).await;
        assert!(wanted(&operation), "it stays {operation:?}");
        operation
    }

    pub(crate) async fn wake_due(&self, partition: Partition) {
        let due = self.backend.store.due(partition, 100).await;
        for id in due.expect("read") {
            let operation = self.get(id).await;
            if operation.header.status == Status::Waiting {
                self.ask(id, Event::Due).await;
            }
        }
        self.resume_throttled().await;
    }

    /// Resumes what a throttle has suspended, if a worker takes it.
    async fn resume_throttled(&self) {
        let waiting = Filter {
            waits_without_time: Some(true),
            ..Filter::default()
        };
        let page = self.backend.store.list(&waiting, None, 100).await;
        let roster = self.backend.membership.roster().await.expect("read");
        for operation in page.expect("read").operations {
            let body = &operation.body;
            let fault = operation.report.fault.as_ref();
            let is_throttled = fault.is_some_and(|fault| fault.code == ErrorCode::THROTTLED);
            let mut groups = roster.groups().iter();
            let is_taken = groups.any(|group| group.profile.takes(&body.queue, &body.message_name));
            if is_throttled && is_taken {
                self.ask(operation.id, Event::Resume).await;
            }
        }
    }
}

/// Waits, but not for ever.
pub(crate) async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect(what)
}
