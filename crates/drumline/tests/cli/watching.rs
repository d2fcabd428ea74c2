//! The cost of clients that watch operations, in commands that Redis has counted.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use drumline_api::Control;
use drumline_backend::{Backend, CriticalTasks, Ids};
use drumline_backend_embedded::EmbeddedBroker;
use drumline_backend_redis::{RedisLimiter, RedisMembership, RedisStore};
use drumline_protocol::OperationId;
use drumline_queue_manager::{Actor, Options, QueueManager, Server};
use drumline_test_servers::RedisServer;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Operations that end one after the other.
const ENDS: usize = 10;
/// Longer than everything here takes.
const WAIT: Duration = Duration::from_secs(60);

/// The commands that Redis has executed since its start.
async fn commands(redis: &RedisServer) -> u64 {
    let url = redis.url();
    let address = url.trim_start_matches("redis://").trim_end_matches('/');
    let mut stream = TcpStream::connect(address).await.expect("Redis");
    let ask = b"INFO commandstats\r\nQUIT\r\n";
    stream.write_all(ask).await.expect("it is asked");
    let mut text = String::new();
    stream.read_to_string(&mut text).await.expect("an answer");
    let calls = text.lines().filter_map(|line| {
        let (_, stats) = line.split_once(":calls=")?;
        stats.split(',').next()?.parse::<u64>().ok()
    });
    calls.sum()
}

/// Reads events until the end of an operation is told.
async fn told(stream: &mut reqwest::Response, id: &str) {
    let mut text = String::new();
    while !text.contains(id) {
        let part = stream.chunk().await.expect("a stream").expect("no end");
        text.push_str(std::str::from_utf8(&part).expect("UTF-8"));
    }
}

/// The commands that Redis executes while so many requests wait for each end, and so
/// many streams are told of all.
async fn cost(waiting: usize, streams: usize) -> u64 {
    let redis = RedisServer::start().await.expect("a Redis");
    let options = drumline_backend_redis::Options {
        url: redis.url(),
        ..drumline_backend_redis::Options::default()
    };
    let store = RedisStore::connect(&options).await.expect("a store");
    let backend = Backend {
        membership: Arc::new(RedisMembership::new(&store)),
        limiter: Arc::new(RedisLimiter::new(&store)),
        store: Arc::new(store),
        broker: Arc::new(EmbeddedBroker::new()),
        critical: CriticalTasks::default(),
    };
    let manager = QueueManager::new(backend, Ids::random(), Options::default());
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let server = Server::start(any, manager.clone()).await.expect("a port");
    let url = format!("http://{}", server.address());
    let client = reqwest::Client::new();
    let mut events = Vec::new();
    for _ in 0..streams {
        let stream = client.get(format!("{url}/v1/events")).send().await;
        let mut stream = stream.expect("a stream");
        // The first part says where the stream begins.
        stream.chunk().await.expect("a stream").expect("no end");
        events.push(stream);
    }
    let before = commands(&redis).await;
    for _ in 0..ENDS {
        let create = client.post(format!("{url}/v1/operations"));
        let created = create.json(&json!({"messageName": "a"})).send().await;
        let created: Value = created.expect("an answer").json().await.expect("JSON");
        let text = created["id"].as_str().expect("an id").to_owned();
        let id: OperationId = text.parse().expect("an id");
        let anyone = Actor::default();
        let waits = (0..waiting).map(|_| manager.wait(&anyone, id, WAIT));
        let mut waits: FuturesUnordered<_> = waits.collect();
        // Each is asked once, and waits from then on.
        assert!(waits.next().now_or_never().is_none());
        let cancelled = manager.act(&anyone, id, Control::Cancel).await;
        cancelled.expect("it is Ready");
        let mut answered = 0;
        while let Some(operation) = waits.next().await {
            let operation = operation.expect("it is there");
            assert!(operation.header.completed_on.is_some());
            answered += 1;
        }
        assert_eq!(answered, waiting);
        for stream in &mut events {
            told(stream, &text).await;
        }
    }
    let cost = commands(&redis).await - before;
    drop(events);
    server.shutdown(Duration::from_secs(10)).await;
    manager.close().await;
    cost
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_requests_and_a_hundred_streams_cost_redis_little_more_than_one() {
    // Fails where there is one already, which is as good.
    drop(rustls::crypto::ring::default_provider().install_default());
    let one = cost(1, 1).await;
    let many = cost(1000, 100).await;
    assert!(many <= 2 * one, "{many} commands instead of {one}");
}
