//! A store that a build from before the offered set has written.

use drumline_backend::Ids;
use drumline_backend::Store as _;
use drumline_backend::store::{OfferedPlace, Stamp};
use drumline_backend_redis::RedisStore;
use drumline_protocol::{OperationId, Partition};

use crate::common::{self, claim, create, draft, make};

async fn offered(store: &RedisStore) -> Vec<OperationId> {
    let after: Option<OfferedPlace> = None;
    let (found, _) = store
        .offered(Partition::new(0), after, 100)
        .await
        .expect("offered");
    found.into_iter().map(|(id, _)| id).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_earlier_build_had_confirmed_enters_the_offered_set() {
    let options = common::options().await;
    let store = common::connect(&options).await;
    let ids = Ids::random();
    let mut all: Vec<(OperationId, Stamp)> = Vec::new();
    for _ in 0..7 {
        let new = draft(&store, &ids, None);
        let stamp = create(&store, &new).await.expect("offered");
        all.push((new.id, stamp));
        if all.len() == 7 {
            make(&store, claim(&store, &ids, new.id, &new.header)).await;
        }
    }
    // One is in the outbox, and one runs.
    store
        .remove_from_outbox(&all[..5])
        .await
        .expect("confirmed");
    let confirmed: Vec<_> = all[..5].iter().map(|(id, _)| *id).collect();
    assert_eq!(offered(&store).await, confirmed);

    let mut raw = common::raw(&options.url).await;
    let mut forget = redis::cmd("DEL");
    forget.arg(format!("{}:{{0}}:offered", options.namespace));
    let removed: usize = forget.query_async(&mut raw).await.expect("an answer");
    assert_eq!(removed, 1);
    assert!(offered(&store).await.is_empty());
    for more in [true, true, false, false] {
        let has_more = store.enter_offered(Partition::new(0), 2).await;
        assert_eq!(has_more.expect("entered"), more, "six are Ready");
    }
    assert_eq!(offered(&store).await, confirmed);

    // It was done once, and is not done again.
    let removed: usize = forget.query_async(&mut raw).await.expect("an answer");
    assert_eq!(removed, 1);
    assert!(
        !store
            .enter_offered(Partition::new(0), 2)
            .await
            .expect("entered")
    );
    assert!(offered(&store).await.is_empty());
}
