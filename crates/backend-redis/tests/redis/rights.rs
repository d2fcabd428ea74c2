//! The rights of the user, tried out.

use drumline_backend_redis::missing_rights;
use drumline_test_servers::RedisServer;

use crate::common;

#[tokio::test(flavor = "multi_thread")]
async fn each_command_that_the_user_may_not_run_is_named() {
    let server = RedisServer::start().await.expect("a Redis");
    let url = server.url();
    let all = missing_rights(&common::options_on(&url)).await;
    assert_eq!(all.expect("a server"), []);
    let mut raw = common::raw(&url).await;
    let mut user = redis::cmd("ACL");
    user.arg("SETUSER")
        .arg("limited")
        .arg("on")
        .arg(">right")
        .arg("~*")
        .arg("&*")
        .arg("+@all")
        .arg("-zadd")
        .arg("-publish")
        .arg("-subscribe");
    user.exec_async(&mut raw).await.expect("a user");
    let limited = format!("redis://limited:right@{}", server.address());
    let missing = missing_rights(&common::options_on(&limited)).await;
    let missing = missing.expect("a server");
    let named: Vec<_> = missing.iter().map(|right| right.command.as_str()).collect();
    assert_eq!(named, ["zadd", "publish", "subscribe"], "{missing:?}");
    // Nothing is left of the probe.
    let left: usize = redis::cmd("DBSIZE")
        .query_async(&mut raw)
        .await
        .expect("a size");
    assert_eq!(left, 0);
}
