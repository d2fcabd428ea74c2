//! The fixtures of the store's cases: drafts of operations, and the usual moves of
//! producers, workers and clients, each through [`apply_event`] as in the services.

use std::sync::Arc;
use std::time::Duration;

use drumline_backend::apply_event::{Applied, Signature, apply_event};
use drumline_backend::store::{Created, Done, Guard, Holding, NewOperation, OutboxLook, Stamp};
use drumline_backend::{Ids, MemberId, Store};
use drumline_protocol::operation::{first_header, series_header};
use drumline_protocol::{
    Author, Body, ChainKey, DependencyToken, ErrorCode, Event, Fault, Fence, Header, Operation,
    OperationId, OperationType, Organization, Partition, QueueName, Recurrence, Report,
    RetryPolicy, Rules, Timestamp, TokenPolicy,
};

use crate::StoreHarness;
use crate::wait::eventually;

/// A lease that no case waits for.
pub(crate) const LEASE: Duration = Duration::from_secs(30);

/// The host id of the workers.
pub(crate) const HOST: &str = "host:1";

/// One process that works on the store.
#[derive(Clone)]
pub(crate) struct Fixture {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) ids: Arc<Ids>,
    pub(crate) worker: MemberId,
}

/// An operation that was just created.
#[derive(Clone, Debug)]
pub(crate) struct Fresh {
    pub(crate) id: OperationId,
    pub(crate) header: Header,
    pub(crate) sequence: u64,
    pub(crate) offer: Option<Stamp>,
}

/// The special attributes of a new operation; the rest is the same for all.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub(crate) name: String,
    pub(crate) message_name: String,
    pub(crate) queue: QueueName,
    pub(crate) operation_type: OperationType,
    pub(crate) organization: Organization,
    pub(crate) token: Option<String>,
    /// The partition of an operation without a token.
    pub(crate) partition: Partition,
    pub(crate) postponed_by: Option<Duration>,
    /// The time to start, from its creation on.
    pub(crate) expires_in: Option<Duration>,
    pub(crate) at_most_once: bool,
    pub(crate) token_policy: TokenPolicy,
    pub(crate) transient: bool,
    pub(crate) webhook: bool,
    pub(crate) correlation_id: Option<uuid::Uuid>,
    pub(crate) parent_id: Option<uuid::Uuid>,
    pub(crate) primary_entity_type: Option<String>,
    pub(crate) regarding_object_id: Option<uuid::Uuid>,
    pub(crate) owner: String,
    pub(crate) data: Option<String>,
}

/// An operation without a token.
pub(crate) fn independent() -> Draft {
    Draft {
        name: "a name".to_owned(),
        message_name: "DoIt".to_owned(),
        queue: QueueName::default(),
        operation_type: OperationType::DEFAULT,
        organization: Organization::default(),
        token: None,
        partition: Partition::new(0),
        postponed_by: None,
        expires_in: None,
        at_most_once: false,
        token_policy: TokenPolicy::Continue,
        transient: false,
        webhook: false,
        correlation_id: None,
        parent_id: None,
        primary_entity_type: None,
        regarding_object_id: None,
        owner: "somebody".to_owned(),
        data: None,
    }
}

/// An operation with a token.
pub(crate) fn of_token(token: &str) -> Draft {
    Draft {
        token: Some(token.to_owned()),
        ..independent()
    }
}

/// An operation with a token whose chain stops when it fails or is cancelled.
pub(crate) fn holding(token: &str) -> Draft {
    Draft {
        token_policy: TokenPolicy::Hold,
        ..of_token(token)
    }
}

/// A fault of a handler.
pub(crate) fn fault() -> Fault {
    Fault::new(ErrorCode::NETWORK_ERROR, "the line is down", "ECONNREFUSED")
}

impl Fixture {
    /// The first process.
    pub(crate) async fn new(harness: &dyn StoreHarness) -> Self {
        let ids = Arc::new(Ids::random());
        Self {
            store: harness.connect().await,
            worker: ids.member(),
            ids,
        }
    }

    /// One more process on the same data.
    pub(crate) async fn another(&self, harness: &dyn StoreHarness) -> Self {
        Self {
            store: harness.connect().await,
            ids: Arc::clone(&self.ids),
            worker: self.ids.member(),
        }
    }

    /// The partition of a token of the default organization.
    pub(crate) fn partition_of(&self, token: &str) -> Partition {
        chain_key(&Organization::default(), token).partition(self.store.partitions())
    }

    /// The draft of an operation that may be in one transaction with others: as it is, or in
    /// partition 0 where the store keeps partitions apart.
    pub(crate) fn together(&self, draft: Draft) -> Draft {
        if self.store.spreads_transactions() {
            return draft;
        }
        let partition = Partition::new(0);
        let count = self.store.partitions();
        let token = draft.token.as_deref().map(|token| {
            let mut others = (0..).map(|number| format!("{token}-{number}"));
            let is_there = |token: &String| {
                chain_key(&draft.organization, token).partition(count) == partition
            };
            others.find(is_there).expect("some token is there")
        });
        Draft {
            partition,
            token,
            ..draft
        }
    }

    /// Makes the operation that a queue manager would make of a draft.
    pub(crate) fn prepare(&self, draft: Draft) -> NewOperation {
        let now = self.store.now();
        let chain = draft
            .token
            .as_deref()
            .map(|token| chain_key(&draft.organization, token));
        let partition = chain.map_or(draft.partition, |key| {
            key.partition(self.store.partitions())
        });
        let rules = Rules {
            operation_type: draft.operation_type,
            chain,
            token_policy: draft.token_policy,
            transient: draft.transient,
            webhook: draft.webhook,
            at_most_once: draft.at_most_once,
            retry: RetryPolicy {
                jitter_percent: 0,
                ..RetryPolicy::default()
            },
            not_after: draft.expires_in.map(|span| now.saturating_add(span)),
        };
        let until = draft.postponed_by.map(|span| now.saturating_add(span));
        NewOperation {
            id: self.ids.operation(now, partition),
            header: first_header(rules, until, self.ids.commit(), now),
            body: Body {
                name: draft.name,
                queue: draft.queue,
                dependency_token: draft.token.map(token),
                data: draft.data,
                correlation_id: draft.correlation_id.unwrap_or_else(|| self.ids.uuid()),
                organization: draft.organization,
                parent_id: draft.parent_id,
                primary_entity_type: draft.primary_entity_type,
                regarding_object_id: draft.regarding_object_id,
                owner: draft.owner,
                retain_job_history: !draft.transient,
                webhook_url: draft.webhook.then(|| "https://example.com".to_owned()),
                ..Body::new(draft.message_name, now)
            },
            key: None,
        }
    }

    /// Makes the operation that a queue manager would make of a draft that
    /// recurs.
    pub(crate) fn prepare_series(&self, draft: Draft, first: Option<Timestamp>) -> NewOperation {
        let mut new = self.prepare(draft);
        let now = self.store.now();
        let rules = Rules {
            chain: None,
            ..new.header.rules
        };
        let recurrence = Recurrence {
            pattern: "FREQ=DAILY".to_owned(),
            start: now,
            last: None,
        };
        new.header = series_header(rules, recurrence, first, self.ids.commit(), now);
        new
    }

    /// Stores a prepared operation; it must be new.
    pub(crate) async fn store_new(&self, new: NewOperation) -> Fresh {
        let mut all = self.store_all(vec![new]).await;
        all.remove(0)
    }

    /// Stores a batch; all must be new.
    pub(crate) async fn store_all(&self, batch: Vec<NewOperation>) -> Vec<Fresh> {
        let created = self.store.create(batch.clone()).await.expect("create");
        assert_eq!(created.len(), batch.len(), "an answer for each");
        let mut all = Vec::new();
        for (new, created) in batch.into_iter().zip(created) {
            let Created::New {
                sequence, offer, ..
            } = created
            else {
                panic!("{} exists already", new.id);
            };
            all.push(Fresh {
                id: new.id,
                header: new.header,
                sequence,
                offer,
            });
        }
        all
    }

    /// Creates an operation.
    pub(crate) async fn create(&self, draft: Draft) -> Fresh {
        self.store_new(self.prepare(draft)).await
    }

    /// Reads an operation that must be there.
    pub(crate) async fn read(&self, id: OperationId) -> Operation {
        let mut found = self.store.get(&[id]).await.expect("get");
        assert_eq!(found.len(), 1, "an answer for each");
        found.remove(0).expect("the operation is there")
    }

    /// Makes an event happen, with any outcome.
    pub(crate) async fn event(&self, id: OperationId, event: Event, guard: Guard) -> Applied {
        let header = self.read(id).await.header;
        let report = Report::default();
        let author = author_of(guard);
        let by = Signature::new(&self.ids, &author);
        apply_event(&*self.store, by, id, header, event, guard, &report)
            .await
            .expect("the store answers")
    }

    /// Makes a client's (or the clock's) event happen; it must be legal.
    pub(crate) async fn client(&self, id: OperationId, event: Event) -> (Header, Done) {
        done(self.event(id, event, Guard::None).await)
    }

    /// Tries to claim an operation.
    pub(crate) async fn try_claim(&self, id: OperationId) -> Applied {
        self.event(id, claim_event(), self.taking()).await
    }

    /// Claims an operation; it must be possible.
    pub(crate) async fn claim(&self, id: OperationId) -> Fence {
        let (_, done) = done(self.try_claim(id).await);
        done.fence.expect("a claim takes a lock")
    }

    /// The holding of a lock that this process has taken.
    pub(crate) const fn holding(&self, fence: Fence) -> Holding {
        Holding {
            owner: self.worker,
            fence,
        }
    }

    /// Makes the holder's event happen; it must be legal.
    pub(crate) async fn holder(&self, id: OperationId, fence: Fence, event: Event) -> Done {
        done(
            self.event(id, event, Guard::Holder(self.holding(fence)))
                .await,
        )
        .1
    }

    /// Claims an operation and completes it.
    pub(crate) async fn run(&self, id: OperationId) -> Done {
        let fence = self.claim(id).await;
        self.holder(id, fence, Event::Succeed).await
    }

    /// The guard that a claim takes its lock with.
    pub(crate) const fn taking(&self) -> Guard {
        Guard::Acquire {
            owner: self.worker,
            lease: LEASE,
        }
    }

    /// The broker has confirmed an operation.
    pub(crate) async fn confirm(&self, id: OperationId, stamp: Stamp) {
        self.store
            .remove_from_outbox(&[(id, stamp)])
            .await
            .expect("dispatched");
    }

    /// The outbox of one partition, oldest first.
    pub(crate) async fn outbox_entries(&self, partition: Partition) -> Vec<(OperationId, Stamp)> {
        let entries = self
            .store
            .outbox_entries(partition, &OutboxLook::oldest(Duration::ZERO, 1_000))
            .await
            .expect("undispatched");
        entries
            .into_entries()
            .into_iter()
            .map(|entry| (entry.operation.id, entry.stamp))
            .collect()
    }

    /// The entry of one operation in the outbox.
    pub(crate) async fn entry(&self, id: OperationId) -> Option<Stamp> {
        let entries = self.outbox_entries(id.partition()).await;
        entries
            .into_iter()
            .find(|(entry, _)| *entry == id)
            .map(|(_, stamp)| stamp)
    }

    /// Checks whether an operation has an entry in the outbox, and waits for one that it is to
    /// have: a store whose numbers were moved up gives stamps that are ahead of its clock
    /// for a moment, and a look at the outbox leaves out what is to come.
    pub(crate) async fn has_entry(&self, id: OperationId, expected: bool, what: &str) {
        if expected {
            eventually(what, async || self.entry(id).await).await;
        } else {
            assert_eq!(self.entry(id).await, None, "{what}");
        }
    }

    /// The Ready operations of one partition that ought to be in the broker.
    pub(crate) async fn offered(&self, partition: Partition) -> Vec<(OperationId, Stamp)> {
        let (found, next) = self
            .store
            .offered(partition, None, 1_000)
            .await
            .expect("offered");
        assert_eq!(next, None, "fewer than were asked for");
        found
    }
}

/// The author of a commit with this guard.
pub(crate) fn author_of(guard: Guard) -> Author {
    match guard {
        Guard::Holder(_) | Guard::Acquire { .. } => Author::worker(HOST),
        Guard::None => Author::Caller("somebody".to_owned()),
        Guard::Unchanged { .. } => Author::manager("lease reaper"),
    }
}

/// The event of a claim.
pub(crate) fn claim_event() -> Event {
    Event::Claim {
        host: HOST.to_owned(),
    }
}

/// The outcome of an event that had to happen.
pub(crate) fn done(decided: Applied) -> (Header, Done) {
    match decided {
        Applied::Done(header, done) => (header, *done),
        other @ (Applied::Refused(_)
        | Applied::NotHead
        | Applied::Held
        | Applied::Fenced
        | Applied::Missing) => {
            panic!("expected it to happen: {other:?}")
        }
    }
}

/// The chain of a token.
pub(crate) fn chain_key(organization: &Organization, text: &str) -> ChainKey {
    ChainKey::new(organization, &token(text.to_owned()))
}

fn token(text: String) -> DependencyToken {
    text.try_into().expect("a short token")
}
