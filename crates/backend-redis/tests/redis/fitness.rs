//! Servers and stores that must not be used are refused, with the reason.

use drumline_backend::Store;
use drumline_backend::store::Error;
use drumline_backend_redis::{Options, RedisStore, inspect};
use drumline_protocol::PartitionCount;
use drumline_test_servers::{RedisOptions, RedisServer};

use crate::common;

async fn server_with(arguments: &[&str]) -> RedisServer {
    let options = RedisOptions {
        arguments: arguments
            .iter()
            .map(|&argument| argument.to_owned())
            .collect(),
        ..RedisOptions::default()
    };
    RedisServer::start_with(options).await.expect("a Redis")
}

/// The reason why these options are refused.
async fn refusal(options: &Options) -> String {
    match RedisStore::connect(options).await {
        Err(Error::Unfit(why)) => why,
        other => panic!("expected a refusal: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_evicts_is_refused() {
    let server = server_with(&["--maxmemory-policy", "allkeys-lru"]).await;
    let why = refusal(&common::options_on(&server.url())).await;
    assert!(
        why.contains("allkeys-lru") && why.contains("noeviction"),
        "{why}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_refused() {
    let server = server_with(&[]).await;
    let mut set = redis::cmd("CONFIG");
    set.arg("SET").arg("requirepass").arg("right");
    let mut raw = common::raw(&server.url()).await;
    set.exec_async(&mut raw).await.expect("config");
    let address = server.address();
    let with = |password: &str| common::options_on(&format!("redis://{password}{address}"));
    for wrong in ["", ":wrong@"] {
        let why = refusal(&with(wrong)).await;
        assert!(!why.contains("wrong@"), "{why}");
    }
    common::connect(&with(":right@")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_address_is_refused() {
    for url in ["", "nonsense", "http://localhost"] {
        refusal(&common::options_on(url)).await;
    }
    let namespace = "{a}".to_owned();
    refusal(&Options {
        namespace,
        ..common::options().await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_keeps_the_partition_count_that_it_was_made_with() {
    let options = Options {
        partitions: PartitionCount::new(7).expect("between 1 and 4096"),
        ..common::options().await
    };
    assert_eq!(
        common::connect(&options).await.partitions(),
        options.partitions
    );
    let later = Options {
        partitions: PartitionCount::DEFAULT,
        ..options.clone()
    };
    assert_eq!(
        common::connect(&later).await.partitions(),
        options.partitions
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_another_format_is_refused() {
    let options = common::options().await;
    let mut set = redis::cmd("SET");
    set.arg(format!("{}:{{meta}}", options.namespace))
        .arg("format=99 partitions=64");
    let mut raw = common::raw(&options.url).await;
    set.exec_async(&mut raw).await.expect("set");
    let why = refusal(&options).await;
    assert!(why.contains("99"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_facts_of_a_good_server_are_told() {
    let server = server_with(&[]).await;
    let info = inspect(&common::options_on(&server.url()))
        .await
        .expect("inspect");
    assert_eq!(info.objections(), Vec::<String>::new());
    assert_eq!(info.risks(), Vec::<String>::new());
    assert!(info.append_only && info.used_memory > 0, "{info:?}");

    let weak = RedisOptions {
        append_fsync: "everysec".to_owned(),
        ..RedisOptions::default()
    };
    let weak = RedisServer::start_with(weak).await.expect("a Redis");
    let info = inspect(&common::options_on(&weak.url()))
        .await
        .expect("inspect");
    assert_eq!(info.risks().len(), 1, "{info:?}");
}
