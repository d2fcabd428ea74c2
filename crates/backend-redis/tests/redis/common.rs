//! What the tests share: a namespace of one's own.

use drumline_backend::Ids;
use drumline_backend_redis::{Options, RedisStore};

/// A fresh namespace on this server.
pub(crate) fn options_on(url: &str) -> Options {
    Options {
        url: url.to_owned(),
        namespace: format!("test-{}", Ids::random().uuid().simple()),
        ..Options::default()
    }
}

/// A fresh namespace on the server of the whole test run.
pub(crate) async fn options() -> Options {
    options_on(&drumline_test_servers::redis_url().await.expect("a Redis"))
}

/// A store in a fresh namespace on the server of the whole test run.
pub(crate) async fn store() -> RedisStore {
    RedisStore::connect(&options().await)
        .await
        .expect("connect")
}
