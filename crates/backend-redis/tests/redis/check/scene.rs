//! A store with operations, and the way past it.

use drumline_backend::store::{CheckPage, Fault, FaultKind, Guard, NewOperation};
use drumline_backend::{Ids, Store};
use drumline_backend_redis::{Options, RedisStore};
use drumline_conformance::check_all;
use drumline_protocol::{Event, Fence, OperationId};
use redis::aio::MultiplexedConnection;
use redis::{FromRedisValue, ToRedisArgs};

use crate::common::{self, claim, commit, create, draft, holding, make};

/// The keys in a step: the server may have those of other tests.
pub(super) const LIMIT: usize = 5_000;

pub(super) struct Scene {
    pub(super) options: Options,
    pub(super) store: RedisStore,
    pub(super) ids: Ids,
    pub(super) raw: MultiplexedConnection,
}

impl Scene {
    pub(super) async fn new() -> Self {
        Self::on(common::options().await).await
    }

    pub(super) async fn on(options: Options) -> Self {
        let store = common::connect(&options).await;
        let raw = common::raw(&options.url).await;
        // No earlier build has written here.
        for partition in store.partitions().all() {
            store.enter_offered(partition, 1).await.expect("entered");
        }
        Self {
            options,
            store,
            ids: Ids::random(),
            raw,
        }
    }

    pub(super) async fn create(&self, token: Option<&str>) -> NewOperation {
        let new = draft(&self.store, &self.ids, token);
        create(&self.store, &new).await;
        new
    }

    /// An operation that has Succeeded.
    pub(super) async fn completed(&self, token: Option<&str>) -> NewOperation {
        let mut new = self.create(token).await;
        let taking = claim(&self.store, &self.ids, new.id, &new.header);
        new.header = taking.header.clone();
        let fence = make(&self.store, taking).await.fence.expect("a fence");
        self.finish(&mut new, fence).await;
        new
    }

    pub(super) async fn claim(&self, new: &mut NewOperation) -> Fence {
        let taking = claim(&self.store, &self.ids, new.id, &new.header);
        new.header = taking.header.clone();
        make(&self.store, taking).await.fence.expect("a fence")
    }

    pub(super) async fn finish(&self, new: &mut NewOperation, fence: Fence) {
        let guard = Guard::Holder(holding(fence));
        self.event(new, Event::Succeed, guard).await;
    }

    pub(super) async fn event(&self, new: &mut NewOperation, event: Event, guard: Guard) {
        let commit = commit(&self.store, &self.ids, new.id, &new.header, event, guard);
        new.header = commit.header.clone();
        make(&self.store, commit).await;
    }

    /// A key of the partition of an operation.
    pub(super) fn key(&self, id: OperationId, name: impl AsRef<[u8]>) -> Vec<u8> {
        let prefix = format!("{}:{{{}}}:", self.options.namespace, id.partition());
        [prefix.as_bytes(), name.as_ref()].concat()
    }

    pub(super) fn record(&self, id: OperationId) -> Vec<u8> {
        self.key(id, [b"op:".as_slice(), id.as_bytes()].concat())
    }

    pub(super) fn chain(&self, new: &NewOperation) -> Vec<u8> {
        let chain = new.header.rules.chain.expect("a token");
        self.key(new.id, [b"chain:".as_slice(), chain.as_bytes()].concat())
    }

    pub(super) async fn run<T: FromRedisValue>(&self, command: &str, arguments: &[&[u8]]) -> T {
        let mut query = redis::cmd(command);
        for argument in arguments {
            query.arg(*argument);
        }
        let mut raw = self.raw.clone();
        query.query_async(&mut raw).await.expect("an answer")
    }

    /// The record as bytes.
    pub(super) async fn bytes(&self, id: OperationId) -> Vec<u8> {
        self.run("GET", &[&self.record(id)]).await
    }

    /// The entry in the outbox: flow, stamp, id.
    pub(super) async fn outbox_entry(&self, id: OperationId) -> Vec<u8> {
        let record = self.bytes(id).await;
        [&record[67..73], &record[32..40], id.as_bytes()].concat()
    }

    pub(super) async fn zadd(&self, key: &[u8], score: impl ToRedisArgs, member: &[u8]) {
        let mut query = redis::cmd("ZADD");
        query.arg(key).arg(score).arg(member);
        let mut raw = self.raw.clone();
        let _new: usize = query.query_async(&mut raw).await.expect("an answer");
    }

    pub(super) async fn zrem(&self, key: &[u8], member: &[u8]) {
        let removed: usize = self.run("ZREM", &[key, member]).await;
        assert_eq!(removed, 1, "it was there");
    }

    pub(super) async fn check(&self, repair: bool) -> CheckPage {
        let partitions = self.store.partitions().all().collect();
        check_all(&self.store, partitions, LIMIT, repair).await
    }

    /// Asserts that these faults are found, once each and as often as one looks. Then
    /// asserts that they are repaired, and found no more.
    pub(super) async fn mended(&self, expected: &[(FaultKind, Option<OperationId>)]) {
        let mut expected = expected.to_vec();
        expected.sort_unstable();
        for _ in 0..2 {
            let found = self.check(false).await;
            assert_eq!(kinds(&found.faults), expected, "{found:?}");
            assert!(found.faults.iter().all(|fault| !fault.is_repaired));
        }
        let mut repaired = self.check(true).await.faults;
        assert!(
            repaired.iter().all(|fault| fault.is_repaired),
            "{repaired:?}"
        );
        // The counts that could not be compared before.
        repaired.retain(|fault| fault.kind != FaultKind::Usage);
        expected.retain(|(kind, _)| *kind != FaultKind::Usage);
        assert_eq!(kinds(&repaired), expected, "{repaired:?}");
        self.is_sound().await;
    }

    pub(super) async fn is_sound(&self) {
        let left = self.check(false).await;
        assert_eq!((left.faults, left.uncounted), (Vec::new(), Vec::new()));
    }

    /// Runs an operation that is Ready and offered.
    pub(super) async fn run_to_its_end(&self, new: &mut NewOperation) {
        let fence = self.claim(new).await;
        self.finish(new, fence).await;
    }

    pub(super) async fn is_in_outbox(&self, id: OperationId) -> bool {
        let offer = self.store.last_offer(id).await.expect("last_offer");
        offer.is_some_and(|offer| offer.is_in_outbox)
    }
}

pub(super) fn kinds(faults: &[Fault]) -> Vec<(FaultKind, Option<OperationId>)> {
    let mut kinds: Vec<_> = faults.iter().map(|it| (it.kind, it.id)).collect();
    kinds.sort_unstable();
    kinds
}
