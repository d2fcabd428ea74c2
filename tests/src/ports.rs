//! A member by hand: it acts on a fleet's servers through the ports, as a worker
//! or a manager would, and may do what this release never does.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use drumline_backend::store::{Commit, Committed, Created, Guard, Holding, NewOperation, Stamp};
use drumline_backend::{Ids, MemberId, Membership, Store};
use drumline_backend_rabbitmq::RabbitBroker;
use drumline_backend_redis::{Options, RedisMembership, RedisStore};
use drumline_protocol::operation::first_header;
use drumline_protocol::transition::{At, Event, apply};
use drumline_protocol::{
    Author, Body, Fence, Header, Operation, OperationId, Partition, Report, Rules,
};

/// A member's access to the servers.
pub struct Ports {
    /// The store.
    pub store: RedisStore,
    /// The members.
    pub membership: Arc<dyn Membership>,
    /// The broker.
    pub broker: RabbitBroker,
    /// Names of operations, commits and members.
    pub ids: Ids,
    /// This member.
    pub member: MemberId,
    author: Author,
}

impl std::fmt::Debug for Ports {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ports").finish_non_exhaustive()
    }
}

impl Ports {
    /// Connects to Redis and RabbitMQ.
    ///
    /// # Errors
    /// When a server is unavailable.
    pub async fn connect(redis: &str, rabbit: &str) -> Result<Self> {
        let options = Options {
            url: redis.to_owned(),
            ..Options::default()
        };
        let store = RedisStore::connect(&options).await?;
        let ids = Ids::random();
        Ok(Self {
            membership: Arc::new(RedisMembership::new(&store)),
            store,
            broker: RabbitBroker::start(drumline_backend_rabbitmq::Options::new(rabbit.parse()?)),
            member: ids.member(),
            ids,
            author: Author::worker("by-hand"),
        })
    }

    /// The operation that a manager would make, without a token.
    #[must_use]
    pub fn prepare(&self, rules: Rules, body: Body) -> NewOperation {
        let now = Store::now(&self.store);
        NewOperation {
            id: self.ids.operation(now, Partition::new(0)),
            header: first_header(rules, None, self.ids.commit(), now),
            body: Body {
                created_on: now,
                ..body
            },
            key: None,
        }
    }

    /// Stores an operation; returns its entry in the outbox.
    ///
    /// # Errors
    /// When it was not stored.
    pub async fn create(&self, new: NewOperation) -> Result<Option<Stamp>> {
        let created = self.store.create(vec![new]).await?;
        match created.into_iter().next() {
            Some(Created::New { offer, .. }) => Ok(offer),
            other => bail!("not a new operation: {other:?}"),
        }
    }

    /// Reads an operation.
    ///
    /// # Errors
    /// When there is none.
    pub async fn get(&self, id: OperationId) -> Result<Operation> {
        let found = self.store.get(&[id]).await?.into_iter().next().flatten();
        found.with_context(|| format!("no operation {id}"))
    }

    /// Claims an operation; returns the fence.
    ///
    /// # Errors
    /// When it cannot be claimed.
    pub async fn claim(&self, id: OperationId, lease: Duration) -> Result<Holding> {
        let owner = self.member;
        let host = "by-hand".to_owned();
        let guard = Guard::Acquire { owner, lease };
        let done = self.change(id, Event::Claim { host }, guard, None).await?;
        let fence = done.context("a claim has a fence")?;
        Ok(Holding { owner, fence })
    }

    /// Makes an event happen; returns the fence of a lock that was taken.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn change(
        &self,
        id: OperationId,
        event: Event,
        guard: Guard,
        report: Option<Report>,
    ) -> Result<Option<Fence>> {
        let before: Header = self.get(id).await?.header;
        let at = At {
            now: Store::now(&self.store),
            commit: self.ids.commit(),
        };
        let transition = apply(&before, event, at)?;
        let mut commit = Commit::new(id, &before, &transition, guard, &self.author);
        commit.report = match (report, transition.fault) {
            (report, None) => report,
            (report, Some(fault)) => Some(Report {
                fault: Some(fault),
                ..report.unwrap_or_default()
            }),
        };
        match self.store.commit(vec![commit]).await?.into_iter().next() {
            Some(Committed::Done(done)) => Ok(done.fence),
            other => bail!("{id} was not changed: {other:?}"),
        }
    }
}
