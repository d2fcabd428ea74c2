//! `queue-manager`, `worker` and `doctor` on Redis and RabbitMQ, as processes.
//!
//! The servers are those of the whole test run; each test has a namespace of
//! its own on them.

use std::process::Command;

use drumline_test_servers::{RedisOptions, RedisServer};

use crate::run::{Process, drumline, end, file};

/// The servers of this run, and a namespace on them.
pub(crate) struct Place {
    pub(crate) redis: String,
    pub(crate) amqp: String,
    pub(crate) namespace: String,
}

impl Place {
    pub(crate) async fn new(test: &str) -> Self {
        Self {
            redis: drumline_test_servers::redis_url().await.expect("a Redis"),
            amqp: drumline_test_servers::amqp_url().await.expect("a RabbitMQ"),
            namespace: format!("cli-{test}-{}", std::process::id()),
        }
    }

    /// A command on these servers.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = drumline();
        command
            .args(arguments)
            .env("DRUMLINE_REDIS_URL", &self.redis)
            .env("DRUMLINE_AMQP_URL", &self.amqp)
            .env("DRUMLINE_NAMESPACE", &self.namespace);
        command
    }
}

#[tokio::test]
async fn a_manager_and_a_worker_execute_what_is_submitted() {
    let place = Place::new("whole").await;
    let handlers = file(
        "handlers.toml",
        "[[handler]]\nmessage = \"Greet\"\ncommand = [\"sh\", \"-c\", \"cat >/dev/null; echo '{\\\"hello\\\": \\\"you\\\"}'\"]\n",
    );
    let handlers = handlers.display().to_string();
    let manager = Process::start(&mut place.command(&["queue-manager", "--listen=127.0.0.1:0"]));
    let url = manager.url();
    let worker = Process::start(&mut place.command(&["worker", "--handlers", &handlers]));
    let client = |arguments: &[&str]| end(place.command(arguments).env("DRUMLINE_SERVER", &url));
    let submitted = client(&["submit", "Greet", "--token", "t", "--wait", "-o", "json"]);
    assert_eq!(submitted.code, 0, "{submitted:?}");
    assert_eq!(submitted.json()[0]["result"]["hello"], "you");
    let doctor = client(&["doctor", "-o", "json"]);
    assert_eq!(doctor.code, 0, "{doctor:?}");
    let found = |subject: &str, text: &str| {
        doctor.json().iter().any(|finding| {
            finding["subject"] == subject
                && finding["text"]
                    .as_str()
                    .is_some_and(|found| found.contains(text))
        })
    };
    assert!(found("namespace", "1 Completed"), "{doctor:?}");
    assert!(found("managers", "1 alive"), "{doctor:?}");
    assert!(found("workers", "1 alive"), "{doctor:?}");
    assert!(found("builds", "(2 members): one release"), "{doctor:?}");
    assert!(found("queue manager", "ready"), "{doctor:?}");
    assert!(
        found("RabbitMQ", "quorum queues can be declared"),
        "{doctor:?}"
    );
    assert_eq!(worker.terminate(), 0);
    assert_eq!(manager.terminate(), 0);
}

#[tokio::test]
async fn doctor_looks_into_a_namespace_without_making_one() {
    let place = Place::new("unused").await;
    for _ in 0..2 {
        let doctor = end(&mut place.command(&["doctor"]));
        assert_eq!(doctor.code, 0, "{doctor:?}");
        assert!(doctor.out.contains("is unused"), "{doctor:?}");
    }
}

#[tokio::test]
async fn an_index_is_switched_off_and_rebuilt() {
    let place = Place::new("index").await;
    let unused = end(&mut place.command(&["index"]));
    assert_eq!(unused.code, 4, "{unused:?}");
    let url = place.redis.clone();
    let options = drumline_backend_redis::Options {
        url,
        namespace: place.namespace.clone(),
        ..Default::default()
    };
    let store = drumline_backend_redis::RedisStore::connect(&options);
    drop(store.await.expect("a store"));
    let used = |arguments: &[&str]| {
        let all = [&["index", "-o", "json"], arguments].concat();
        let ended = end(&mut place.command(&all));
        assert_eq!(ended.code, 0, "{ended:?}");
        let owner = ended.json().into_iter().find(|one| one["index"] == "owner");
        owner.expect("the index")["used"].clone()
    };
    assert_eq!(used(&[]), "on");
    assert_eq!(used(&["--off", "owner", "--off", "name"]), "off");
    assert_eq!(used(&["--rebuild", "name"]), "off");
    assert_eq!(used(&["--rebuild", "owner"]), "on");
    let unknown = end(&mut place.command(&["index", "--off", "colour"]));
    assert_eq!(unknown.code, 64, "{unknown:?}");
    assert!(unknown.err.contains("message-name, outcome"), "{unknown:?}");
}

#[tokio::test]
async fn a_redis_that_throws_records_away_is_refused_by_all() {
    let redis = RedisServer::start_with(RedisOptions {
        arguments: ["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"]
            .map(str::to_owned)
            .into(),
        ..RedisOptions::default()
    })
    .await
    .expect("a Redis");
    let place = Place {
        redis: redis.url(),
        ..Place::new("evicting").await
    };
    let manager = end(&mut place.command(&["queue-manager", "--listen=127.0.0.1:0"]));
    assert_eq!(manager.code, 64, "{manager:?}");
    assert!(manager.err.contains("noeviction"), "{manager:?}");
    let doctor = end(&mut place.command(&["doctor"]));
    assert_eq!(doctor.code, 1, "{doctor:?}");
    assert!(doctor.out.contains("BAD   Redis"), "{doctor:?}");
}

#[tokio::test]
async fn a_manager_that_ends_takes_requests_while_load_balancers_find_out() {
    let place = Place::new("leaving").await;
    let mut command = place.command(&["queue-manager", "--listen=127.0.0.1:0"]);
    let manager = Process::start(command.env("DRUMLINE_DRAIN_DELAY", "1h"));
    let url = manager.url();
    let client = |arguments: &[&str]| end(place.command(arguments).env("DRUMLINE_SERVER", &url));
    let is_ready = || client(&["health", "--url", &url]).code == 0;
    assert!(is_ready());
    manager.signal_to_end();
    while is_ready() {
        tokio::task::yield_now().await;
    }
    let submitted = client(&["submit", "Greet"]);
    assert_eq!(submitted.code, 0, "{submitted:?}");
    // A second signal ends it at once.
    assert_eq!(manager.terminate(), 130);
}
