//! A server that stands still, or is slow: it gets no more work for that, and goes on
//! by itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use drumline_backend::Store;
use drumline_backend_redis::{Options, RedisStore};
use drumline_protocol::Partition;
use drumline_test_servers::{RedisServer, TcpProxy};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::common;

/// The time in which all processes are answered again after a slow time, besides some times that
/// which they need for it when the server is well: a busy machine needs longer for both.
const BACK: Duration = Duration::from_secs(10);
const TIMES: u32 = 20;

/// One number of `INFO`, 0 if it is not listed.
async fn info(url: &str, section: &str, name: &str) -> u64 {
    let mut raw = common::raw(url).await;
    let mut info = redis::cmd("INFO");
    let text: String = info.arg(section).query_async(&mut raw).await.expect("INFO");
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let digits = line.and_then(|line| line.split(',').next()).unwrap_or("0");
    digits.parse().expect("a number")
}

async fn script_calls(url: &str) -> u64 {
    info(url, "commandstats", "cmdstat_evalsha:calls=").await
}

async fn loads(url: &str) -> u64 {
    info(url, "commandstats", "cmdstat_script|load:calls=").await
}

async fn connections(url: &str) -> u64 {
    info(url, "stats", "total_connections_received:").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_connection_loads_no_script_that_the_server_has() {
    let server = RedisServer::start().await.expect("a Redis");
    let options = common::options_on(&server.url());
    let first = common::connect(&options).await;
    let loaded = loads(&server.url()).await;
    assert!(loaded > 20, "{loaded}");
    let second = common::connect(&options).await;
    let mut raw = common::raw(&server.url()).await;
    let mut kill = redis::cmd("CLIENT");
    kill.arg("KILL")
        .arg("TYPE")
        .arg("normal")
        .arg("SKIPME")
        .arg("yes");
    kill.exec_async(&mut raw).await.expect("kill");
    for store in [&first, &second] {
        store.stamp(Partition::new(0)).await.expect("a stamp");
    }
    assert_eq!(loads(&server.url()).await, loaded);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_answers_a_ping_is_kept_and_a_request_waits_for_that() {
    let server = RedisServer::start().await.expect("a Redis");
    let options = Options {
        // Half of it is for a busy machine, between the two timeouts.
        response_timeout: Duration::from_secs(4),
        patience: Duration::from_secs(60),
        ..common::options_on(&server.url())
    };
    let store = common::connect(&options).await;
    store.stamp(Partition::new(0)).await.expect("a stamp");
    let (before, calls) = (
        connections(&server.url()).await,
        script_calls(&server.url()).await,
    );
    // Longer than the timeout of a request, and shorter than that of its ping.
    server.stop_signal().expect("stop");
    let mut asking = JoinSet::new();
    asking.spawn(async move { store.stamp(Partition::new(0)).await.map(|_| store) });
    sleep(options.response_timeout + options.response_timeout / 2).await;
    server.cont().expect("cont");
    let asked = asking.join_next().await.expect("a task");
    let store = asked.expect("no panic").expect("a stamp");
    let calls = script_calls(&server.url()).await - calls;
    assert!(calls <= 2, "{calls}");
    // Those that count.
    let others = 3;
    assert!(connections(&server.url()).await - before <= others);
    store.stamp(Partition::new(0)).await.expect("a stamp");
}

/// Waits until each of these processes is answered once more.
async fn all_are_answered(answers: &mut [watch::Receiver<u64>]) {
    for count in answers {
        let before = *count.borrow_and_update();
        count.wait_for(|now| *now > before).await.expect("it asks");
    }
}

/// A process that asks all the time.
async fn ask(store: Arc<RedisStore>, requests: Arc<AtomicU64>, answered: watch::Sender<u64>) {
    loop {
        requests.fetch_add(1, Ordering::Relaxed);
        if store.stamp(Partition::new(0)).await.is_ok() {
            answered.send_modify(|count| *count += 1);
        }
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_processes_come_back_after_a_stop_and_a_slow_time() {
    const PROCESSES: usize = 200;
    let server = RedisServer::start().await.expect("a Redis");
    let proxy = TcpProxy::start(&server.address()).await.expect("a proxy");
    let options = Options {
        url: proxy.url(&server.url(), &server.address()),
        ..common::options_on(&server.url())
    };
    let requests = Arc::new(AtomicU64::new(0));
    let mut tasks = JoinSet::new();
    let mut answers = Vec::new();
    for _ in 0..PROCESSES {
        let store = Arc::new(common::connect(&options).await);
        let (answered, count) = watch::channel(0);
        answers.push(count);
        tasks.spawn(ask(store, Arc::clone(&requests), answered));
    }
    let url = server.url();
    let begun = Instant::now();
    all_are_answered(&mut answers).await;
    let calm = begun.elapsed();
    let (connected, called) = (connections(&url).await, script_calls(&url).await);
    let asked = requests.load(Ordering::Relaxed);

    server.stop_signal().expect("stop");
    sleep(Duration::from_secs(3)).await;
    server.cont().expect("cont");
    proxy.delay(Duration::from_millis(300));
    sleep(Duration::from_secs(30)).await;
    proxy.heal();
    let back = timeout(BACK + TIMES * calm, all_are_answered(&mut answers)).await;
    back.expect("every process is answered");

    let made = connections(&url).await - connected;
    assert!(made <= 5 * PROCESSES as u64, "{made} connections");
    let (called, requests) = (
        script_calls(&url).await - called,
        requests.load(Ordering::Relaxed) - asked,
    );
    // Each process may have one request repeated five times while the server
    // stands still; nothing else is asked for twice.
    let repeated = called.saturating_sub(requests);
    assert!(repeated <= 5 * PROCESSES as u64, "{repeated} of {requests}");
}
