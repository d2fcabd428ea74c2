//! Keeps fences, stamps and sequences growing from one server of a store to the next.
//!
//! They are the time of the server, or the last one + 1. A replica that is promoted
//! may miss the last ones, and its clock may be behind that of the server before. Then it
//! would issue numbers again that have been issued for something else. So a process
//! that has known the server before moves the ticks of the next one past all that
//! it may have issued, before it asks for anything.

use std::sync::Arc;

use parking_lot::Mutex;
use redis::RedisResult;
use redis::aio::MultiplexedConnection;

use super::Life;
use crate::clock::Clock;
use crate::scripts::SCRIPTS;

/// The ticks in one script: it blocks the server for less than a millisecond.
const MOST: usize = 500;
/// A script takes some numbers at once, which may lie ahead of the time: thousands would
/// have to be taken within a millisecond to reach this. In microseconds.
pub(super) const AHEAD: u64 = 1_000;

/// The lives of one server that are remembered. To forget one costs a round trip.
const LIVES: usize = 8;

/// The numbers of a store, which only grow.
#[derive(Debug)]
pub(crate) struct Growth {
    clock: Arc<Clock>,
    probe: String,
    ticks: Vec<String>,
    /// The lives of the last server that the numbers were moved for. A server gets another
    /// life when its first replica comes, and connections from before have the one
    /// before. The lock is held for a moment, never across an await.
    lives: Mutex<Vec<Life>>,
}

impl Growth {
    /// The ticks of a store, and the life of its server now.
    pub(crate) fn new(clock: Arc<Clock>, probe: String, ticks: Vec<String>, life: Life) -> Self {
        Self {
            clock,
            probe,
            ticks,
            lives: Mutex::new(vec![life]),
        }
    }

    /// Returns true if the ticks are to be moved before a server in this life is used.
    pub(super) fn is_due(&self, life: &Life) -> bool {
        !self.lives.lock().contains(life)
    }

    /// Moves the ticks. Harmless to repeat.
    pub(super) async fn ensure(
        &self,
        connection: &mut MultiplexedConnection,
        life: &Life,
    ) -> RedisResult<()> {
        let floor = self.clock.latest().saturating_add(AHEAD);
        let mut moved: usize = 0;
        for ticks in self.ticks.chunks(MOST) {
            let keys: Vec<&String> = std::iter::once(&self.probe).chain(ticks).collect();
            let mut raise = SCRIPTS.raise_ticks.call(&keys);
            raise.arg(floor);
            let some: usize = raise.query_async(connection).await?;
            moved += some;
        }
        let mut lives = self.lives.lock();
        lives.retain(|one| server_of(one) == server_of(life));
        lives.push(Arc::clone(life));
        let too_many = lives.len().saturating_sub(LIVES);
        lives.drain(..too_many);
        drop(lives);
        tracing::debug!(moved, "the numbers of the store go on on another server");
        Ok(())
    }
}

/// The server of a life: the first of its two words.
fn server_of(life: &Life) -> Option<&str> {
    life.split(' ').next()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use drumline_backend::Store as _;
    use drumline_backend::store::Filter;
    use drumline_protocol::Partition;
    use drumline_test_servers::RedisServer;
    use redis::AsyncConnectionConfig;

    use super::*;
    use crate::connect::Address;
    use crate::link::Link;
    use crate::options::Options;
    use crate::store::RedisStore;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_server_whose_clock_is_behind_issues_no_number_again() {
        let server = RedisServer::start().await.expect("a Redis");
        let options = Options {
            url: server.url(),
            ..Options::default()
        };
        let store = RedisStore::connect(&options).await.expect("a store");
        // The server so far was ten seconds ahead of the one that comes.
        let latest = store.clock().latest() + 10_000_000;
        store.clock().at_least(latest);
        server.wipe().expect("wipe");
        server.restart().await.expect("restart");
        for partition in [0, 63] {
            let stamp = store.stamp(Partition::new(partition)).await.expect("stamp");
            assert!(stamp.0 > latest, "{stamp:?} {latest}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn before_its_numbers_are_moved_a_server_is_only_read() {
        let server = RedisServer::start().await.expect("a Redis");
        let options = Options {
            url: server.url(),
            patience: Duration::from_secs(1),
            ..Options::default()
        };
        let store = RedisStore::connect(&options).await.expect("a store");
        // The server so far was ten seconds ahead of the one that comes.
        store.clock().at_least(store.clock().latest() + 10_000_000);
        let address = Address::of(&options).expect("a URL");
        let raw = address.connect(&AsyncConnectionConfig::new()).await;
        let raw = raw.expect("a connection");
        let run = async |words: &str| {
            let mut words = words.split(' ');
            let mut command = redis::cmd(words.next().unwrap_or_default());
            for word in words {
                command.arg(word);
            }
            let answer = command.query_async(&mut raw.connection.clone()).await;
            let answer: redis::Value = answer.expect("a command");
            format!("{answer:?}")
        };
        // Another life of the server, in which no replica follows yet.
        run("CONFIG SET min-replicas-to-write 1").await;
        run("CONFIG SET slowlog-max-len 10000").await;
        run("CONFIG SET slowlog-log-slower-than 0").await;
        run("REPLICAOF 127.0.0.1 1").await;
        run("REPLICAOF NO ONE").await;
        run("CLIENT KILL TYPE normal SKIPME yes").await;
        let partition = Partition::new(0);
        store.stamp(partition).await.expect_err("no replica");
        let listed = store.list_summaries(&Filter::default(), None, 9).await;
        listed.expect("a list");
        let log = run("SLOWLOG GET 10000").await;
        assert!(log.contains(SCRIPTS.raise_ticks.hash()), "{log}");
        assert!(!log.contains(SCRIPTS.stamp.hash()), "{log}");

        run("CONFIG SET min-replicas-to-write 0").await;
        store.stamp(partition).await.expect("a stamp");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_full_server_is_of_use_all_the_same() {
        let server = RedisServer::start().await.expect("a Redis");
        let options = Options {
            url: server.url(),
            ..Options::default()
        };
        let address = Address::of(&options).expect("a URL");
        let connected = address.connect(&AsyncConnectionConfig::new()).await;
        // It lives as long as its parts do.
        let connected = connected.expect("a connection");
        let mut connection = connected.connection.clone();
        let raise = SCRIPTS.raise_ticks.load();
        let loaded = raise.exec_async(&mut connection).await;
        loaded.expect("scripts");
        let mut full = redis::cmd("CONFIG");
        full.arg("SET").arg("maxmemory").arg("1");
        full.exec_async(&mut connection)
            .await
            .expect("a full server");
        let link = Link::new(&options).expect("a URL");
        let clock = Clock::start(&link).await.expect("a clock");
        let ahead = clock.latest() + 10_000_000;
        clock.at_least(ahead);
        let ticks = vec!["tick".to_owned()];
        let life = |text: &str| Life::from(text);
        let growth = Growth::new(Arc::new(clock), "probe".to_owned(), ticks, life("before"));
        assert!(growth.is_due(&life("now")) && !growth.is_due(&life("before")));
        let ensured = growth.ensure(&mut connection, &life("now")).await;
        ensured.expect("a tick");
        let tick: u64 = redis::cmd("GET")
            .arg("tick")
            .query_async(&mut connection)
            .await
            .expect("a tick");
        assert!(tick >= ahead);
        assert!(!growth.is_due(&life("now")));
    }
}
