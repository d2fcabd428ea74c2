//! Settings for reaching a broker.

use std::fmt;
use std::num::{NonZeroU16, NonZeroUsize};
use std::str::FromStr;
use std::time::Duration;

use drumline_backend::{CriticalTasks, Random};
use drumline_tls::Encryption;

use crate::url::AmqpUrl;
use crate::{Error, Result};

/// The settings of a [`RabbitBroker`](crate::RabbitBroker). Only the URL has
/// no default.
#[derive(Clone, Debug)]
pub struct Options {
    /// The address of the broker, with user and password; or those of several nodes of one
    /// cluster, which are tried in turn.
    pub url: AmqpUrl,
    /// The CAs, the client certificate and the server name for `amqps://`. Default:
    /// the CAs of the system, no certificate, and the host of the URL.
    pub encryption: Encryption,
    /// Begins the name of every queue, so that installations can share a
    /// broker. Default `drumline`.
    pub namespace: Namespace,
    /// Shown for our connections in RabbitMQ's management page. Default
    /// `drumline`; a process would add its role, host and process id.
    pub connection_name: String,
    /// The longest that a call waits for the broker, reconnections and
    /// repetitions included, before it answers
    /// [`Unavailable`](drumline_backend::broker::Error::Unavailable). Default
    /// 5 s. Less than a broker's restart takes (4–5 s) shows every restart to
    /// the callers; more lets them wait on a broker that is gone.
    pub patience: Duration,
    /// The longest that connecting may take: name, TCP, TLS and handshake.
    /// Default 5 s. A broker that has been stopped accepts and says nothing. Several nodes
    /// share it, but each has 2 s at least.
    pub connect_timeout: Duration,
    /// Seconds between heartbeats. A connection over which nothing has come
    /// for two of them is taken for dead. Default 10; the server's own default
    /// of 60 would leave a lane with a dead worker for two minutes. A
    /// `heartbeat` in the URL wins.
    pub heartbeat_seconds: NonZeroU16,
    /// The first pause before connecting again; it doubles, with jitter, up to
    /// `reconnect_max`. Default 100 ms.
    pub reconnect_min: Duration,
    /// The longest pause before connecting again. Default 3 s: less than the
    /// patience of a caller, which then profits from a broker that is back.
    pub reconnect_max: Duration,
    /// The time after which a queue that confirms nothing, while others do, is
    /// deleted and declared again. It loses hints only, and the store offers
    /// them again. Default 30 s. A shorter time might take a slow queue for a
    /// lost one; a longer time leaves the tokens of a lost lane waiting.
    pub replace_queue_after: Duration,
    /// The time without a delivery after which a consumer asks whether RabbitMQ still
    /// knows it, and that between two questions, with up to half of it for jitter.
    /// Default 60 s: a call a second for a worker with a hundred quiet lanes. It is nearly all
    /// that an idle worker says to RabbitMQ.
    pub ask_after: Duration,
    /// The channels on which lanes are consumed. While there are no more lanes than these,
    /// each has a channel of its own; from then on lanes share them. Default 200: a worker with
    /// three queues shares none, and one with thirty stays far below the 2,047 channels that RabbitMQ
    /// allows on a connection.
    pub consumer_channels: NonZeroUsize,
    /// The source of the jitter in pauses. Default: the operating system.
    pub random: Random,
    /// Reports a task of the broker that has panicked. Default: one that nothing
    /// reads.
    pub critical: CriticalTasks,
}

/// The shortest time for connecting to one of several nodes.
const NODE_TIMEOUT_MIN: Duration = Duration::from_secs(2);

impl Options {
    /// The longest that connecting to one node may take.
    pub(crate) fn node_timeout(&self) -> Duration {
        let share = self.connect_timeout / self.url.len().max(1);
        share.max(NODE_TIMEOUT_MIN.min(self.connect_timeout))
    }

    /// The defaults, for a broker at `url`.
    #[must_use]
    pub fn new(url: AmqpUrl) -> Self {
        Self {
            url,
            encryption: Encryption::default(),
            namespace: Namespace::default(),
            connection_name: "drumline".to_owned(),
            patience: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(5),
            heartbeat_seconds: NonZeroU16::MIN.saturating_add(9),
            reconnect_min: Duration::from_millis(100),
            reconnect_max: Duration::from_secs(3),
            replace_queue_after: Duration::from_secs(30),
            ask_after: Duration::from_secs(60),
            consumer_channels: NonZeroUsize::MIN.saturating_add(199),
            random: Random::from_entropy(),
            critical: CriticalTasks::default(),
        }
    }
}

/// The beginning of every queue's name: 1 to 64 of `a-z`, `A-Z`, `0-9`, `-`,
/// `_`, `.` and `:`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace(String);

impl Namespace {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Namespace {
    fn default() -> Self {
        Self("drumline".to_owned())
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Namespace {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let fits = matches!(text.len(), 1..=64)
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte));
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err(Error::Namespace {
                text: text.to_owned(),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_is_short_and_plain() {
        assert!(Namespace::from_str("team-a.Drumline_1:x").is_ok());
        for text in ["", "a b", "ä", "a/b", &"x".repeat(65)] {
            assert!(Namespace::from_str(text).is_err(), "{text}");
        }
    }
}
