//! The limiter's keys in Redis, and its costs.

use std::time::Duration;

use drumline_backend::Limiter;
use drumline_backend::limiter::{Acquired, Limit, LimitKey, Limits, PermitId, Release};
use drumline_backend_redis::{Options, RedisLimiter};
use drumline_test_servers::RedisServer;
use redis::aio::MultiplexedConnection;
use uuid::Uuid;

use crate::common::{self, raw};

const LIMITS: Limits = Limits {
    concurrent: 52,
    requests: 6_000,
    execution: Duration::from_secs(1_200),
    window: Duration::from_secs(300),
    lease: Duration::from_secs(10),
};

fn permit(number: u64) -> PermitId {
    PermitId(Uuid::from_u128(u128::from(number)))
}

async fn visit(limiter: &RedisLimiter, key: LimitKey, number: u64, limits: &Limits) -> Acquired {
    let permit = permit(number);
    let acquired = limiter.acquire(key, Some(permit), limits).await;
    let release = Release {
        key,
        permit,
        busy: Duration::from_millis(1),
        limits: *limits,
    };
    limiter.release(&[release]).await.expect("leave");
    acquired.expect("enter")
}

/// Every key of the limiter, and the milliseconds until it expires.
async fn keys(url: &str, namespace: &str) -> Vec<(Vec<u8>, i64)> {
    let mut redis = raw(url).await;
    let mut scan = redis::cmd("KEYS");
    scan.arg(format!("{namespace}:{{l:*"));
    let keys: Vec<Vec<u8>> = scan.query_async(&mut redis).await.expect("keys");
    let mut found = Vec::new();
    for key in keys {
        let mut ttl = redis::cmd("PTTL");
        ttl.arg(&key);
        let ms: i64 = ttl.query_async(&mut redis).await.expect("a time");
        found.push((key, ms));
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_expires() {
    let options = common::options().await;
    let store = common::connect(&options).await;
    let limiter = RedisLimiter::new(&store);
    let key = LimitKey([1; 16]);
    visit(&limiter, key, 1, &LIMITS).await;
    let held = limiter.acquire(key, Some(permit(2)), &LIMITS).await;
    assert_eq!(held.expect("enter"), Acquired::Granted);
    assert_all_expire(&options).await;
    let renewed = limiter.renew(&[(key, permit(2))], LIMITS.lease).await;
    assert_eq!(renewed.expect("renew"), [true]);
    // Refused at once: a window is made, and nothing is counted in it.
    let full = Limits {
        concurrent: 1,
        ..LIMITS
    };
    let refused = limiter.acquire(key, Some(permit(3)), &full).await;
    let limit = Limit::Concurrent;
    let retry_after = Duration::ZERO;
    let expected = Acquired::Refused { limit, retry_after };
    assert_eq!(refused.expect("enter"), expected);
    assert_all_expire(&options).await;
}

/// There are permits and a window, and both will be forgotten.
async fn assert_all_expire(options: &Options) {
    let keys = keys(&options.url, &options.namespace).await;
    assert_eq!(keys.len(), 2, "{keys:?}");
    let longest = i64::try_from(LIMITS.window.as_millis() * 2).expect("a small number");
    for (key, expires_in) in keys {
        let name = String::from_utf8_lossy(&key);
        assert!((1..=longest).contains(&expires_in), "{name}: {expires_in}");
    }
}

/// The key of the only window, and the number of its latest bucket.
async fn window_of(options: &Options, redis: &mut MultiplexedConnection) -> (Vec<u8>, u64) {
    let found = keys(&options.url, &options.namespace).await;
    let mut windows = found.into_iter().map(|(key, _)| key);
    let window = windows.find(|key| key.ends_with(b":window"));
    let window = window.expect("a window");
    let mut latest = redis::cmd("HGET");
    latest.arg(&window).arg("at");
    let latest: u64 = latest.query_async(redis).await.expect("a number");
    (window, latest)
}

/// A request that has left the window gives its room back, though later ones are still in it.
#[tokio::test(flavor = "multi_thread")]
async fn there_is_room_when_the_oldest_requests_leave_the_window() {
    const HOUR: Duration = Duration::from_secs(3_600);
    const BUCKETS: u64 = 30;
    let options = common::options().await;
    let limiter = RedisLimiter::new(&common::connect(&options).await);
    let key = LimitKey([4; 16]);
    let limits = Limits {
        concurrent: 0,
        requests: 2,
        execution: Duration::ZERO,
        window: HOUR,
        lease: HOUR,
    };
    visit(&limiter, key, 1, &limits).await;
    // One more, almost an hour ago: two buckets are between it and the end of the window.
    let mut redis = raw(&options.url).await;
    let (window, latest) = window_of(&options, &mut redis).await;
    let place = format!("r{}", (latest - (BUCKETS - 2)) % (BUCKETS + 1));
    let mut set = redis::cmd("HSET");
    set.arg(&window).arg("r").arg(2).arg(place).arg(1);
    set.exec_async(&mut redis).await.expect("set");
    let refused = limiter
        .acquire(key, None, &limits)
        .await
        .expect("an answer");
    let Acquired::Refused { limit, retry_after } = refused else {
        panic!("both are within the window");
    };
    assert_eq!(limit, Limit::Requests);
    let bucket = HOUR / u32::try_from(BUCKETS).expect("small");
    assert!(retry_after <= bucket * 3, "{retry_after:?}");
}

/// Counts that have left the window are gone, and those that are still in it stay.
#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_leaves_the_window_takes_its_counts_along() {
    const HOUR: Duration = Duration::from_secs(3_600);
    const RING: u64 = 31;
    let options = common::options().await;
    let limiter = RedisLimiter::new(&common::connect(&options).await);
    let key = LimitKey([5; 16]);
    let limits = Limits {
        window: HOUR,
        ..LIMITS
    };
    visit(&limiter, key, 1, &limits).await;
    let mut redis = raw(&options.url).await;
    let (window, latest) = window_of(&options, &mut redis).await;
    // The visit was in the bucket before, and five more were as long ago as the ring is.
    let (here, before) = (latest % RING, (latest - 1) % RING);
    let mut set = redis::cmd("HSET");
    set.arg(&window).arg("at").arg(latest - 1);
    for (field, number) in [
        ("r".to_owned(), 6),
        ("b".to_owned(), 8_000),
        (format!("r{here}"), 5),
        (format!("b{here}"), 7_000),
        (format!("r{before}"), 1),
        (format!("b{before}"), 1_000),
    ] {
        set.arg(field).arg(number);
    }
    set.exec_async(&mut redis).await.expect("set");
    visit(&limiter, key, 2, &limits).await;
    let mut now = redis::cmd("HMGET");
    now.arg(&window).arg(&["r", "b", "at"]);
    let now: (u64, u64, u64) = now.query_async(&mut redis).await.expect("numbers");
    assert_eq!((now.0, now.1), (2, 2_000));
    assert!(now.2 >= latest, "{now:?}");
    let here = now.2 % RING;
    let mut own = redis::cmd("HMGET");
    own.arg(&window)
        .arg(&[format!("r{here}"), format!("b{here}")]);
    let own: (u64, u64) = own.query_async(&mut redis).await.expect("numbers");
    assert_eq!(own, (1, 1_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_as_large_as_they_come_are_no_trouble() {
    let store = common::connect(&common::options().await).await;
    let limiter = RedisLimiter::new(&store);
    let largest = Limits {
        concurrent: u32::MAX,
        requests: u64::MAX,
        execution: Duration::MAX,
        window: Duration::MAX,
        lease: Duration::MAX,
    };
    let key = LimitKey([2; 16]);
    for number in 1..=2 {
        let acquired = limiter.acquire(key, Some(permit(number)), &largest).await;
        assert_eq!(acquired.expect("enter"), Acquired::Granted);
        let release = Release {
            key,
            permit: permit(number),
            // A hundred years.
            busy: Duration::from_secs(365 * 24 * 3_600 * 100),
            limits: largest,
        };
        limiter.release(&[release]).await.expect("leave");
    }
    let renewed = limiter.renew(&[(key, permit(1))], Duration::MAX).await;
    assert_eq!(renewed.expect("renew"), [false]);
}

/// A key is some counts, and not a list of its requests.
#[tokio::test(flavor = "multi_thread")]
async fn a_busy_subject_takes_no_more_than_a_few_kilobytes() {
    const VISITS: u64 = 500;
    let server = RedisServer::start().await.expect("a Redis");
    let options = common::options_on(&server.url());
    let limiter = RedisLimiter::new(&common::connect(&options).await);
    let key = LimitKey([3; 16]);
    // The window is so short that its buckets are all in use by the end.
    let limits = Limits {
        window: Duration::from_millis(150),
        ..LIMITS
    };
    for number in 0..VISITS {
        assert_eq!(
            visit(&limiter, key, number, &limits).await,
            Acquired::Granted
        );
    }
    let mut redis = raw(&options.url).await;
    let mut bytes = 0;
    for (key, _) in keys(&options.url, &options.namespace).await {
        let mut usage = redis::cmd("MEMORY");
        usage.arg("USAGE").arg(&key).arg("SAMPLES").arg(0);
        let used: u64 = usage.query_async(&mut redis).await.expect("a size");
        bytes += used;
    }
    let mut info = redis::cmd("INFO");
    info.arg("commandstats");
    let stats: String = info.query_async(&mut redis).await.expect("figures");
    let scripts = stats.lines().find(|line| line.contains("_evalsha:"));
    println!("{bytes} bytes of Redis after {VISITS} visits; {scripts:?}");
    assert!(bytes < 4_096, "{bytes}");
}
