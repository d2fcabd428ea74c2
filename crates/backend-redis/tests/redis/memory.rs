//! The memory that a waiting operation costs.

use drumline_backend::store::{Created, NewOperation};
use drumline_backend::{Ids, Store};
use drumline_backend_redis::RedisStore;
use drumline_test_servers::RedisServer;

use crate::common::{self, draft};

/// Enough that the fixed costs do not show.
const OPERATIONS: u64 = 10_000;
/// The most bytes of a waiting operation with a small payload. With more, the
/// layout has lost its shape: some 700 to 750 bytes are known.
const MOST: u64 = 900;

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_operation_costs_less_than_a_kilobyte() {
    let server = RedisServer::start().await.expect("a Redis");
    for (kind, chains) in [("independent", 0), ("in chains of ten", OPERATIONS / 10)] {
        let store = common::connect(&common::options_on(&server.url())).await;
        let before = used(&store).await;
        fill(&store, chains).await;
        let each = (used(&store).await - before) / OPERATIONS;
        println!("{each} bytes of Redis per waiting operation, {kind}");
        assert!(each < MOST, "{each} bytes, {kind}");
    }
}

async fn used(store: &RedisStore) -> u64 {
    store.inspect().await.expect("inspect").used_memory
}

/// Creates operations and has them all confirmed by a broker.
async fn fill(store: &RedisStore, chains: u64) {
    let ids = Ids::random();
    let drafts: Vec<NewOperation> = (0..OPERATIONS)
        .map(|number| {
            let token = number
                .checked_rem(chains)
                .map(|chain| format!("token {chain}"));
            draft(store, &ids, token.as_deref())
        })
        .collect();
    for batch in drafts.chunks(500) {
        let created = store.create(batch.to_vec()).await.expect("create");
        let mut confirmed = Vec::new();
        for (new, created) in batch.iter().zip(created) {
            let Created::New { offer, .. } = created else {
                panic!("expected a new operation: {created:?}");
            };
            confirmed.extend(offer.map(|stamp| (new.id, stamp)));
        }
        store
            .remove_from_outbox(&confirmed)
            .await
            .expect("dispatched");
    }
    assert_eq!(store.counts().await.expect("counts").undispatched, 0);
}
