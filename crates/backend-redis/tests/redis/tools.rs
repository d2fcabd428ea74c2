//! The tools for a namespace as a whole, and the baseline.

use drumline_backend::baseline::BaselineStore as _;
use drumline_backend::store::{Error, Filter};
use drumline_backend::{Ids, Store as _};
use drumline_backend_redis::{RedisBaseline, remove_operations, remove_store, store_exists};

use crate::common::{self, draft};

#[tokio::test]
async fn looking_for_a_store_makes_none() {
    let options = common::options().await;
    for _ in 0..2 {
        assert!(!store_exists(&options).await.unwrap());
    }
    common::connect(&options).await;
    assert!(store_exists(&options).await.unwrap());
}

#[tokio::test]
async fn operations_are_removed_and_the_store_stays() {
    let options = common::options().await;
    let (store, ids) = (common::connect(&options).await, Ids::random());
    let first = common::create(&store, &draft(&store, &ids, None)).await;
    common::create(&store, &draft(&store, &ids, Some("a token"))).await;
    remove_operations(&options).await.unwrap();
    assert!(store_exists(&options).await.unwrap());
    let left = store.list(&Filter::default(), None, 10).await.unwrap();
    assert!(left.operations.is_empty(), "{left:?}");
    assert_eq!(store.counts().await.unwrap().undispatched, 0);
    // Stamps go on: an old one must not confirm a new offer.
    let next = common::create(&store, &draft(&store, &ids, None)).await;
    assert!(next > first, "{next:?} {first:?}");
}

#[tokio::test]
async fn a_removed_store_leaves_no_key() {
    let options = common::options().await;
    let (store, ids) = (common::connect(&options).await, Ids::random());
    common::create(&store, &draft(&store, &ids, Some("a token"))).await;
    let baseline = RedisBaseline::connect(&options).await.unwrap();
    baseline.create(&[1, 2]).await.unwrap();
    drop(store);
    remove_store(&options).await.unwrap();
    let mut raw = common::raw(&options.url).await;
    let keys: Vec<String> = redis::cmd("KEYS")
        .arg(format!("{}:*", options.namespace))
        .query_async(&mut raw)
        .await
        .unwrap();
    assert_eq!(keys, Vec::<String>::new());
}

#[tokio::test]
async fn a_baseline_that_does_no_work_is_no_baseline() {
    let options = common::options().await;
    let baseline = RedisBaseline::connect(&options).await.unwrap();
    let refused = |done| matches!(done, Err(Error::Unfit(_)));
    assert!(refused(baseline.claim(&[1]).await));
    baseline.create(&[1, 2]).await.unwrap();
    assert!(refused(baseline.create(&[2, 3]).await));
    assert!(refused(baseline.complete(&[1]).await));
    baseline.claim(&[1, 2]).await.unwrap();
    baseline.complete(&[1, 2]).await.unwrap();
    assert!(refused(baseline.complete(&[1]).await));
    remove_store(&options).await.unwrap();
}
