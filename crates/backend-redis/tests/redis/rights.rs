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

/// A user who may call scripts and nothing else lacks the right to each command in them.
#[tokio::test(flavor = "multi_thread")]
async fn every_command_of_the_scripts_is_tried() {
    const COMMANDS: &str = "
        time set get setrange getrange strlen mget exists expire pexpire pexpireat incrby rpush
        lset lindex lrange hset hincrby hget hmget hgetall hkeys hlen hexists hscan hdel sadd
        smembers srem zadd zcard zscan scan zscore zrank zrange zrevrange zrangebyscore
        zrangebylex zrevrangebylex zlexcount zremrangebyscore zremrangebyrank zrem rename xadd
        xrevrange publish del
    ";
    let server = RedisServer::start().await.expect("a Redis");
    let mut raw = common::raw(&server.url()).await;
    let mut user = redis::cmd("ACL");
    user.arg("SETUSER")
        .arg("limited")
        .arg(["on", ">right", "~*", "&*", "-@all", "+@connection"].as_slice())
        .arg(["+evalsha", "+script", "+info", "+subscribe"].as_slice());
    user.exec_async(&mut raw).await.expect("a user");
    let limited = format!("redis://limited:right@{}", server.address());
    let missing = missing_rights(&common::options_on(&limited)).await;
    let missing = missing.expect("a server");
    let named: Vec<_> = missing.iter().map(|right| right.command.as_str()).collect();
    let expected: Vec<_> = COMMANDS.split_whitespace().collect();
    assert_eq!(named, expected, "{missing:?}");
}
