//! The limiter's keys in Redis, and its costs.

use std::time::Duration;

use drumline_backend::Limiter;
use drumline_backend::limiter::{Departure, Entered, Limit, Limits, Subject, Visitor};
use drumline_backend_redis::RedisLimiter;
use drumline_test_servers::RedisServer;
use uuid::Uuid;

use crate::common::{self, raw};

const LIMITS: Limits = Limits {
    concurrent: 52,
    requests: 6_000,
    execution: Duration::from_secs(1_200),
    window: Duration::from_secs(300),
    lease: Duration::from_secs(10),
};

fn visitor(number: u64) -> Visitor {
    Visitor(Uuid::from_u128(u128::from(number)))
}

async fn visit(limiter: &RedisLimiter, subject: Subject, number: u64, limits: &Limits) -> Entered {
    let visitor = visitor(number);
    let entered = limiter.enter(subject, Some(visitor), limits).await;
    let departure = Departure {
        subject,
        visitor,
        busy: Duration::from_millis(1),
        limits: *limits,
    };
    limiter.leave(&[departure]).await.expect("leave");
    entered.expect("enter")
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
    let subject = Subject([1; 16]);
    visit(&limiter, subject, 1, &LIMITS).await;
    let inside = limiter.enter(subject, Some(visitor(2)), &LIMITS).await;
    assert_eq!(inside.expect("enter"), Entered::Admitted);
    let renewed = limiter.renew(&[(subject, visitor(2))], LIMITS.lease).await;
    assert_eq!(renewed.expect("renew"), [true]);
    // Refused at once: a window is made, and nothing is counted in it.
    let full = Limits {
        concurrent: 1,
        ..LIMITS
    };
    let refused = limiter.enter(subject, Some(visitor(3)), &full).await;
    let limit = Limit::Concurrent;
    let retry_after = Duration::ZERO;
    let expected = Entered::Refused { limit, retry_after };
    assert_eq!(refused.expect("enter"), expected);
    let keys = keys(&options.url, &options.namespace).await;
    assert_eq!(keys.len(), 2, "{keys:?}");
    let longest = i64::try_from(LIMITS.window.as_millis() * 2).expect("a small number");
    for (key, expires_in) in keys {
        let name = String::from_utf8_lossy(&key);
        assert!((1..=longest).contains(&expires_in), "{name}: {expires_in}");
    }
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
    let subject = Subject([2; 16]);
    for number in 1..=2 {
        let entered = limiter
            .enter(subject, Some(visitor(number)), &largest)
            .await;
        assert_eq!(entered.expect("enter"), Entered::Admitted);
        let departure = Departure {
            subject,
            visitor: visitor(number),
            // A hundred years.
            busy: Duration::from_secs(365 * 24 * 3_600 * 100),
            limits: largest,
        };
        limiter.leave(&[departure]).await.expect("leave");
    }
    let renewed = limiter.renew(&[(subject, visitor(1))], Duration::MAX).await;
    assert_eq!(renewed.expect("renew"), [false]);
}

/// A subject is some counts, and not a list of its requests.
#[tokio::test(flavor = "multi_thread")]
async fn a_busy_subject_takes_no_more_than_a_few_kilobytes() {
    const VISITS: u64 = 500;
    let server = RedisServer::start().await.expect("a Redis");
    let options = common::options_on(&server.url());
    let limiter = RedisLimiter::new(&common::connect(&options).await);
    let subject = Subject([3; 16]);
    // The window is so short that its buckets are all in use by the end.
    let limits = Limits {
        window: Duration::from_millis(150),
        ..LIMITS
    };
    for number in 0..VISITS {
        assert_eq!(
            visit(&limiter, subject, number, &limits).await,
            Entered::Admitted
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
