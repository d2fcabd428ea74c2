//! A worker by hand, which acts on operations as a worker does.

use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use drumline_backend::apply_event::{Applied, Signature, apply_end_through, apply_event};
use drumline_backend::broker::{Delivery, Subscription};
use drumline_backend::store::{Guard, Holding};
use drumline_backend::{Backend, Ids, MemberId, Random, Tally};
use drumline_protocol::message::{Message, Route, Source};
use drumline_protocol::{Author, Event, Fence, OperationId, OutputParts, QueueName, Report};
use tokio::time::timeout;
use uuid::Uuid;

use super::stored;

/// The lease of the locks that it takes.
pub(crate) const LEASE: Duration = Duration::from_secs(10);

/// A worker by hand.
pub(crate) struct Worker {
    backend: Backend,
    ids: Ids,
    member: MemberId,
    tally: Tally,
}

impl Worker {
    pub(crate) fn new(backend: &Backend) -> Self {
        Self {
            backend: backend.clone(),
            tally: Tally::new(Arc::clone(&backend.store), Random::from_entropy()),
            ids: Ids::random(),
            member: MemberId(Uuid::from_u128(7)),
        }
    }

    /// Claims an operation, and returns the fence of its lock.
    pub(crate) async fn claim(&self, id: OperationId) -> Fence {
        let event = Event::Claim {
            host: "test".to_owned(),
        };
        let guard = Guard::Acquire {
            owner: self.member,
            lease: LEASE,
        };
        match self.apply(id, event, guard).await {
            Applied::Done(_, done) => done.fence.expect("a claim gives a fence"),
            other => unreachable!("not claimed: {other:?}"),
        }
    }

    /// The holding of a lock that it has taken.
    pub(crate) const fn holding(&self, fence: Fence) -> Holding {
        Holding {
            owner: self.member,
            fence,
        }
    }

    /// Applies an event to an operation that it holds.
    pub(crate) async fn say(&self, id: OperationId, fence: Fence, event: Event) -> Applied {
        self.apply(id, event, Guard::Holder(self.holding(fence)))
            .await
    }

    /// Applies the event that ends an attempt whose handler has printed this.
    pub(crate) async fn say_printing(
        &self,
        id: OperationId,
        fence: Fence,
        event: Event,
        printed: &str,
    ) {
        let operation = stored(&self.backend, id).await;
        let attempt = operation.header.attempt();
        let has_failed = event != Event::Succeed;
        let printed = printed.as_bytes();
        let output = OutputParts::new(attempt, printed, 0, has_failed, usize::MAX);
        let author = Author::worker("test");
        let said = apply_end_through(
            self.backend.store.as_ref(),
            Signature::new(&self.ids, &author),
            id,
            operation.header,
            event,
            self.holding(fence),
            &operation.report,
            &|_header| output.clone(),
        )
        .await
        .expect("the store is there");
        assert!(matches!(said, Applied::Done(..)), "{said:?}");
    }

    /// Writes what it has counted, as a worker does once a minute.
    pub(crate) async fn write_counts(&self) {
        self.tally.write_all().await;
    }

    /// Claims an operation and succeeds at once.
    pub(crate) async fn run(&self, id: OperationId) {
        let fence = self.claim(id).await;
        self.succeed(id, fence).await;
    }

    /// Succeeds, and offers the chain's next operation, as a worker would.
    pub(crate) async fn succeed(&self, id: OperationId, fence: Fence) {
        let said = self.say(id, fence, Event::Succeed).await;
        let Applied::Done(_, done) = said else {
            unreachable!("not succeeded: {said:?}");
        };
        if let Some(next) = done.promoted {
            let offer = next.operation.offer();
            let message = (offer.route(), Message::Offers(vec![offer]));
            for published in self.backend.broker.publish(&[message]).await {
                published.expect("the broker is there");
            }
        }
    }

    /// Succeeds with a result, JSON text.
    pub(crate) async fn succeed_with(&self, id: OperationId, fence: Fence, result: String) {
        let guard = Guard::Holder(self.holding(fence));
        let result = |report: &mut Report| report.result = Some(result);
        let said = self.apply_with(id, Event::Succeed, guard, result).await;
        assert!(matches!(said, Applied::Done(..)), "not succeeded: {said:?}");
    }

    async fn apply(&self, id: OperationId, event: Event, guard: Guard) -> Applied {
        self.apply_with(id, event, guard, |_report| {}).await
    }

    async fn apply_with(
        &self,
        id: OperationId,
        event: Event,
        guard: Guard,
        change: impl FnOnce(&mut Report),
    ) -> Applied {
        let mut operation = stored(&self.backend, id).await;
        change(&mut operation.report);
        let author = Author::worker("test");
        let before = operation.header.clone();
        let fault = match &event {
            Event::Fail(fault) => Some(fault.clone()),
            _ => None,
        };
        let decided = apply_event(
            self.backend.store.as_ref(),
            Signature::new(&self.ids, &author),
            id,
            operation.header,
            event,
            guard,
            &operation.report,
        );
        let decided = decided.await.expect("the store is there");
        if let Applied::Done(after, _) = &decided {
            let body = &operation.body;
            self.tally.changed(id, body, &before, after, fault.as_ref());
        }
        decided
    }
}

/// A consumer of one route of the default queue.
pub(crate) struct Listener {
    backend: Backend,
    subscription: Box<dyn Subscription>,
}

impl Listener {
    pub(crate) async fn of_work(backend: &Backend) -> Self {
        Self::of(backend, Source::Work).await
    }

    pub(crate) async fn of(backend: &Backend, source: Source) -> Self {
        Self::with_prefetch(backend, source, 1000).await
    }

    /// A listener that leaves in the queue what it has not asked for.
    pub(crate) async fn with_prefetch(backend: &Backend, source: Source, prefetch: u16) -> Self {
        let route = Route {
            queue: QueueName::default(),
            source,
        };
        let prefetch = NonZeroU16::new(prefetch).expect("not zero");
        let subscription = backend.broker.subscribe(&route, prefetch).await;
        Self {
            backend: backend.clone(),
            subscription: subscription.expect("the broker is there"),
        }
    }

    /// The operations of the next delivery; empty when none comes for `wait`.
    /// Markers are given back to the store and not shown.
    pub(crate) async fn hear(&mut self, wait: Duration) -> Vec<OperationId> {
        loop {
            let Ok(delivery) = timeout(wait, self.subscription.next()).await else {
                return Vec::new();
            };
            let Delivery { message, receipt } = delivery.expect("the subscription lives");
            receipt.acknowledge().await.expect("the broker is there");
            match message {
                Message::Offers(offers) => return offers.into_iter().map(|o| o.id).collect(),
                Message::Marker(marker) => {
                    let returned = self.backend.store.marker_returned(&marker).await;
                    returned.expect("the store is there");
                }
            }
        }
    }
}
