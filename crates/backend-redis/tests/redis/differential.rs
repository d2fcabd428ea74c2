//! The store on Redis and the embedded one are given the same calls, and cannot be told
//! apart.

use std::env;
use std::sync::Arc;

use async_trait::async_trait;
use drumline_backend::{Backend, Store};
use drumline_backend_redis::{Options, RedisStore};
use drumline_conformance::StoreHarness;
use drumline_conformance::differential::{Word, walk};
use drumline_protocol::PartitionCount;
use proptest::collection::vec;
use proptest::prelude::any;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use tokio::runtime::Handle;
use tokio::task::block_in_place;

use crate::common;

/// The walks of one test, which are the same each time. `DRUMLINE_WALKS` sets another number,
/// of random ones.
const WALKS: u32 = 30;
/// The most words of a walk.
const WORDS: usize = 120;

/// Few partitions, so that chains meet in them.
fn partitions() -> PartitionCount {
    PartitionCount::new(4).expect("between 1 and 4096")
}

struct OnRedis(Options);

#[async_trait]
impl StoreHarness for OnRedis {
    async fn connect(&self) -> Arc<dyn Store> {
        Arc::new(RedisStore::connect(&self.0).await.expect("connect"))
    }
}

struct Embedded(Backend);

#[async_trait]
impl StoreHarness for Embedded {
    async fn connect(&self) -> Arc<dyn Store> {
        Arc::clone(&self.0.store)
    }
}

async fn differ(words: &[Word]) -> Result<(), String> {
    let redis = OnRedis(Options {
        partitions: partitions(),
        ..common::options().await
    });
    let embedded = Embedded(drumline_backend_embedded::backend(partitions()));
    walk(&redis, &embedded, words).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stores_cannot_be_told_apart() {
    #[expect(clippy::disallowed_methods, reason = "a test has no other settings")]
    let wanted = env::var("DRUMLINE_WALKS").ok();
    let walks = wanted.as_ref().map(|text| text.parse().expect("a number"));
    let config = Config {
        cases: walks.unwrap_or(WALKS),
        failure_persistence: None,
        max_shrink_iters: 2_000,
        ..Config::default()
    };
    let mut runner = match wanted {
        Some(_) => TestRunner::new(config),
        None => {
            let the_same = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
            TestRunner::new_with_rng(config, the_same)
        }
    };
    let handle = Handle::current();
    let ran = block_in_place(|| {
        runner.run(&vec(any::<Word>(), 1..WORDS), |words| {
            let walked = handle.block_on(differ(&words));
            walked.map_err(TestCaseError::fail)
        })
    });
    if let Err(TestError::Fail(difference, words)) = &ran {
        panic!("{difference}\nfound by the walk {words:?}");
    }
    assert!(ran.is_ok(), "{ran:?}");
}
