//! Sentinels: asks them where the primary is, and hears from them when another server
//! becomes it.
//!
//! ```text
//! sentinel 1 ─┐ ask: all at a time                    ┌─→ each new connection
//! sentinel 2 ─┼─ the latest election (epoch) ─→ known ┼─→ requests of a link: leave the old one
//! sentinel 3 ─┘ +switch-master: ask again             └─→ the subscription to completions
//! ```
//!
//! Sentinels disagree for a moment after an election, and for long where a network is
//! cut in two. Each election has a greater epoch than the one before. So the answer with the
//! greatest epoch counts, and a minority that knows only an earlier election is not
//! believed.

use std::io;
use std::time::Duration;

use drumline_tls::Encryption;
use futures_util::StreamExt as _;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use parking_lot::Mutex;
use redis::aio::{MultiplexedConnection, PubSub};
use redis::{
    AsyncConnectionConfig, ErrorKind, FromRedisValue as _, RedisConnectionInfo, RedisError,
    RedisResult, Value,
};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout, timeout_at};

use super::open_tcp;
use super::url::SentinelPlaces;

/// The longest time for the answer of a sentinel, connection included.
const ANSWER: Duration = Duration::from_secs(1);
/// The time that further answers have after the first: enough on a busy network, and
/// little where a sentinel is dead.
const FURTHER: Duration = Duration::from_millis(300);
/// The age up to which an answer is taken for a new connection. A primary that is gone is
/// tried many times in a second, by each process, and news come by themselves.
const RECENT: Duration = Duration::from_secs(1);
/// The pause before a lost subscription is made again.
const PAUSE: Duration = Duration::from_secs(1);
/// The interval at which a subscription is probed, so that its end is noticed.
const PING: Duration = Duration::from_secs(2);
/// The channel on which a sentinel tells of a new primary.
const SWITCHED: &str = "+switch-master";

/// A primary, as sentinels name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Primary {
    pub(crate) host: String,
    pub(crate) port: u16,
    /// The number of the election that made it the primary.
    pub(crate) epoch: u64,
}

/// The view that a sentinel has of the primary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentinelView {
    /// Host and port of the sentinel.
    pub sentinel: String,
    /// Host and port of the primary; the reason if the sentinel did not name it.
    pub primary: Result<String, String>,
    /// The number of sentinels that must agree that the primary is down.
    pub quorum: u64,
    /// The number of other sentinels that it knows.
    pub others: u64,
    /// The number of replicas that it knows.
    pub replicas: u64,
}

/// The sentinels of an installation, and the primary that they have named last.
pub(crate) struct Sentinels {
    hosts: Vec<(String, u16)>,
    name: String,
    settings: RedisConnectionInfo,
    encryption: Option<Encryption>,
    known: watch::Sender<Option<Primary>>,
    /// One question at a time.
    gate: Semaphore,
    /// The last answer, and its time. The lock is held for a moment, never across an await.
    last: Mutex<Option<(Instant, RedisResult<Primary>)>>,
}

/// The answer of one sentinel.
struct Answer {
    primary: Primary,
    quorum: u64,
    others: u64,
    replicas: u64,
}

impl Sentinels {
    pub(super) fn new(places: SentinelPlaces, encryption: Option<Encryption>) -> Self {
        Self {
            hosts: places.hosts,
            name: places.name,
            settings: places.settings,
            encryption,
            known: watch::Sender::new(None),
            gate: Semaphore::new(1),
            last: Mutex::new(None),
        }
    }

    /// The primary for a new connection: one that was named a moment ago, or asks.
    pub(crate) async fn primary(&self) -> RedisResult<Primary> {
        // A semaphore that is never closed has always a permit in the end.
        let _one = self.gate.acquire().await;
        let last = self.last.lock().clone();
        match last {
            Some((asked, answer)) if asked.elapsed() < RECENT => answer,
            Some(_) | None => self.ask().await,
        }
    }

    /// Asks, unless the answer is a moment old: the primary may be another one.
    pub(crate) async fn doubt(&self) {
        if let Err(error) = self.primary().await {
            tracing::debug!(%error, "the sentinels name no primary");
        }
    }

    /// Returns true if another server is the primary than at that time.
    pub(crate) fn has_moved(&self, from: &Primary) -> bool {
        self.known
            .borrow()
            .as_ref()
            .is_some_and(|known| known != from)
    }

    /// Waits until another server is the primary. Cancel-safe.
    pub(crate) async fn moved(&self, from: &Primary) {
        let mut known = self.known.subscribe();
        let other = known.wait_for(|known| known.as_ref().is_some_and(|known| known != from));
        // The sender lives as long as this value.
        drop(other.await);
    }

    /// Hears what the sentinels tell, for as long as it is polled.
    pub(crate) async fn follow(&self) {
        join_all(self.hosts.iter().map(|host| self.follow_one(host))).await;
    }

    /// The view of each sentinel, in the order of the URL.
    pub(crate) async fn views(&self) -> Vec<SentinelView> {
        let views = self.hosts.iter().map(|host| async move {
            let sentinel = format!("{}:{}", host.0, host.1);
            match self.ask_one(host).await {
                Ok(answer) => SentinelView {
                    sentinel,
                    primary: Ok(format!("{}:{}", answer.primary.host, answer.primary.port)),
                    quorum: answer.quorum,
                    others: answer.others,
                    replicas: answer.replicas,
                },
                Err(error) => SentinelView {
                    sentinel,
                    primary: Err(error.to_string()),
                    quorum: 0,
                    others: 0,
                    replicas: 0,
                },
            }
        });
        join_all(views).await
    }

    /// Asks all sentinels at a time.
    async fn ask(&self) -> RedisResult<Primary> {
        let answer = self.ask_all().await;
        *self.last.lock() = Some((Instant::now(), answer.clone()));
        answer
    }

    async fn ask_all(&self) -> RedisResult<Primary> {
        let mut asking: FuturesUnordered<_> =
            self.hosts.iter().map(|host| self.ask_one(host)).collect();
        let (mut best, mut answers, mut failed): (Option<Primary>, usize, _) = (None, 0, None);
        let mut refused = 0;
        let mut until = Instant::now() + ANSWER;
        while let Ok(Some(answer)) = timeout_at(until, asking.next()).await {
            match answer {
                Ok(Answer { primary, .. }) => {
                    until = until.min(Instant::now() + FURTHER);
                    answers += 1;
                    if best.as_ref().is_none_or(|best| best.epoch < primary.epoch) {
                        best = Some(primary);
                    }
                }
                Err(error) => {
                    refused += usize::from(error.kind() == ErrorKind::InvalidClientConfig);
                    failed = Some(error);
                }
            }
        }
        let Some(best) = best else {
            let failed = failed.unwrap_or_else(|| silent("no sentinel answers"));
            // A sentinel that was set up otherwise does not speak for all.
            return Err(match failed.kind() {
                ErrorKind::InvalidClientConfig if 2 * refused <= self.hosts.len() => {
                    silent("the sentinels that answer know no primary of this name")
                }
                _ => failed,
            });
        };
        let known = self.known.borrow().clone();
        let is_behind = known.as_ref().is_some_and(|known| best.epoch < known.epoch);
        if is_behind && 2 * answers <= self.hosts.len() {
            return Err(silent(
                "the few sentinels that answer know an earlier primary only",
            ));
        }
        if known.as_ref() != Some(&best) {
            let Primary { host, port, epoch } = &best;
            tracing::info!(%host, port, epoch, "the sentinels name a primary of Redis");
            self.known.send_replace(Some(best.clone()));
        }
        Ok(best)
    }

    /// Asks one sentinel, on a connection of its own.
    async fn ask_one(&self, host: &(String, u16)) -> RedisResult<Answer> {
        let asking = async {
            let stream = open_tcp(&host.0, host.1, self.encryption.as_ref()).await?;
            let config = AsyncConnectionConfig::new().set_response_timeout(Some(ANSWER));
            let (mut sentinel, driver) =
                MultiplexedConnection::new_with_config(&self.settings, stream, config).await?;
            let mut task = JoinSet::new();
            task.spawn(driver);
            let mut question = redis::pipe();
            // In the middle of an election this one is ahead of the other.
            let address = question.cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME");
            address.arg(&self.name);
            question.cmd("SENTINEL").arg("MASTER").arg(&self.name);
            let answers = sentinel.send_packed_commands(&question, 0, 2).await?;
            self.understand(answers)
        };
        match timeout(ANSWER, asking).await {
            Ok(answer) => answer,
            Err(_elapsed) => Err(silent("the sentinel does not answer")),
        }
    }

    fn understand(&self, answers: Vec<Value>) -> RedisResult<Answer> {
        let mut answers = answers.into_iter().map(Value::extract_error);
        let mut next = || answers.next().unwrap_or(Ok(Value::Nil));
        let address = Option::<(String, u16)>::from_redis_value(next()?)?;
        let Some((host, port)) = address else {
            // A name is wrong for good at the start, and not once it was right.
            return Err(match *self.known.borrow() {
                None => RedisError::from((
                    ErrorKind::InvalidClientConfig,
                    "the sentinels know no primary of this name",
                    self.name.clone(),
                )),
                Some(_) => silent("the sentinel knows no primary of this name"),
            });
        };
        let fields = Vec::<(String, String)>::from_redis_value(next()?)?;
        let number = |name: &str| {
            let field = fields.iter().find(|(found, _)| found == name);
            field.and_then(|(_, value)| value.parse().ok()).unwrap_or(0)
        };
        let epoch = number("config-epoch");
        Ok(Answer {
            primary: Primary { host, port, epoch },
            quorum: number("quorum"),
            others: number("num-other-sentinels"),
            replicas: number("num-slaves"),
        })
    }

    async fn follow_one(&self, host: &(String, u16)) {
        loop {
            if let Err(error) = self.hear(host).await {
                tracing::debug!(%error, host = %host.0, port = host.1, "lost a sentinel");
            }
            sleep(PAUSE).await;
        }
    }

    /// Hears one sentinel until its connection breaks.
    async fn hear(&self, host: &(String, u16)) -> RedisResult<()> {
        let subscribing = async {
            let stream = open_tcp(&host.0, host.1, self.encryption.as_ref()).await?;
            let mut connection = PubSub::new(&self.settings, stream).await?;
            connection.subscribe(SWITCHED).await?;
            RedisResult::Ok(connection)
        };
        let (mut sink, mut messages) = timeout(ANSWER, subscribing)
            .await
            .map_err(|_elapsed| silent("the sentinel does not answer"))??
            .split();
        // The subscription misses an earlier promotion.
        self.ask_again().await;
        let mut pings = interval(PING);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                message = messages.next() => {
                    let Some(message) = message else { return Ok(()) };
                    if let Some(to) = switched(message.get_payload_bytes(), &self.name) {
                        self.on_switch(&to).await;
                    }
                }
                _ = pings.tick() => {
                    let ping = timeout(ANSWER, sink.ping::<Value>()).await;
                    ping.map_err(|_elapsed| silent("the sentinel does not answer"))??;
                }
            }
        }
    }

    /// Asks about a new primary that a sentinel has told of, unless it is known.
    async fn on_switch(&self, to: &(String, u16)) {
        let is_known = self
            .known
            .borrow()
            .as_ref()
            .is_some_and(|known| (&known.host, known.port) == (&to.0, to.1));
        if !is_known {
            self.ask_again().await;
        }
    }

    async fn ask_again(&self) {
        let _one = self.gate.acquire().await;
        if let Err(error) = self.ask().await {
            tracing::debug!(%error, "the sentinels name no primary");
        }
    }
}

/// The new primary in a message `name old-host old-port new-host new-port`.
fn switched(message: &[u8], name: &str) -> Option<(String, u16)> {
    let mut words = std::str::from_utf8(message).ok()?.split(' ');
    if words.next() != Some(name) {
        return None;
    }
    let (host, port) = (words.nth(2)?, words.next()?);
    Some((host.to_owned(), port.parse().ok()?))
}

/// An error that may pass.
fn silent(words: &'static str) -> RedisError {
    io::Error::new(io::ErrorKind::ConnectionAborted, words).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_names_the_new_primary() {
        let told = b"main.1 10.0.0.1 6379 10.0.0.2 6380";
        let to = ("10.0.0.2".to_owned(), 6380);
        assert_eq!(switched(told, "main.1"), Some(to));
        assert_eq!(switched(told, "main"), None);
        assert_eq!(switched(b"main.1 10.0.0.1 6379", "main.1"), None);
        assert_eq!(switched(b"main.1 a 1 b port", "main.1"), None);
    }

    #[tokio::test]
    async fn a_move_wakes_those_that_use_the_old_primary() {
        let places = |hosts| SentinelPlaces {
            hosts,
            name: "main".to_owned(),
            settings: RedisConnectionInfo::default(),
        };
        let sentinels = Sentinels::new(places(Vec::new()), None);
        let old = Primary {
            host: "one".to_owned(),
            port: 1,
            epoch: 1,
        };
        assert!(!sentinels.has_moved(&old), "nothing is known");
        sentinels.known.send_replace(Some(old.clone()));
        assert!(!sentinels.has_moved(&old));
        let new = Primary {
            epoch: 2,
            ..old.clone()
        };
        sentinels.known.send_replace(Some(new));
        assert!(sentinels.has_moved(&old));
        sentinels.moved(&old).await;
    }
}
