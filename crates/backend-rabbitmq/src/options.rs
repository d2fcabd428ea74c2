//! Settings for reaching a broker.

use std::fmt;
use std::num::NonZeroU16;
use std::str::FromStr;
use std::time::Duration;

use drumline_backend::{CriticalTasks, Random};
use drumline_tls::Encryption;
use lapin::uri::{AMQPScheme, AMQPUri};

use crate::{Error, Result};

/// The settings of a [`RabbitBroker`](crate::RabbitBroker). Only the URL has
/// no default.
#[derive(Clone, Debug)]
pub struct Options {
    /// The address of the broker, with user and password.
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
    /// Default 5 s. A broker that has been stopped accepts and says nothing.
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
    /// The source of the jitter in pauses. Default: the operating system.
    pub random: Random,
    /// Reports a task of the broker that has panicked. Default: one that nothing
    /// reads.
    pub critical: CriticalTasks,
}

impl Options {
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
            random: Random::from_entropy(),
            critical: CriticalTasks::default(),
        }
    }
}

/// An `amqp://` or `amqps://` URL. Its password is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct AmqpUrl(AMQPUri);

impl AmqpUrl {
    pub(crate) fn uri(&self) -> &AMQPUri {
        &self.0
    }
}

impl FromStr for AmqpUrl {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match mistake(text) {
            Some(reason) => Err(Error::Url {
                reason: reason.to_owned(),
            }),
            None => text.parse().map(Self).map_err(|_may_repeat_it| Error::Url {
                reason: "in a user name or a password, / @ : ? and % are written as %2F %40 %3A %3F and %25"
                    .to_owned(),
            }),
        }
    }
}

/// The mistake in a URL that would be read as something else. The reason repeats
/// nothing of it: it may hold a password.
fn mistake(text: &str) -> Option<&'static str> {
    /// The parts of a query that other clients read.
    const OF_OTHERS: [&str; 6] = [
        "cacertfile",
        "certfile",
        "keyfile",
        "password",
        "server_name_indication",
        "verify",
    ];
    if text.matches("://").count() > 1 {
        return Some("several URLs: name one, that of a load balancer for example");
    }
    if text.ends_with("#insecure") {
        return Some(
            "#insecure is not supported, because certificates are always verified: \
             name the file with the CA with --amqp-ca-file",
        );
    }
    if text.contains('#') {
        return Some("a # in a user name or a password is written as %23");
    }
    let (_, query) = text.split_once('?')?;
    let mut keys = query.split('&').filter_map(|pair| pair.split('=').next());
    keys.any(|key| OF_OTHERS.contains(&key)).then_some(
        "TLS is not set up in the URL: use --amqp-ca-file, --amqp-cert, --amqp-key and --amqp-server-name",
    )
}

impl fmt::Display for AmqpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let AMQPUri {
            scheme,
            authority,
            vhost,
            query: _,
        } = &self.0;
        let scheme = match scheme {
            AMQPScheme::AMQP => "amqp",
            AMQPScheme::AMQPS => "amqps",
        };
        let user = &authority.userinfo.username;
        let (host, port) = (&authority.host, authority.port);
        write!(f, "{scheme}://{user}@{host}:{port}/{vhost}")
    }
}

impl fmt::Debug for AmqpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
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
    fn a_url_is_shown_without_its_password() {
        let url: AmqpUrl = "amqps://ada:secret@rabbit:5671/%2f".parse().unwrap();
        assert_eq!(url.to_string(), "amqps://ada@rabbit:5671//");
        assert!(!format!("{:?}", Options::new(url)).contains("secret"));
    }

    #[test]
    fn what_is_not_a_url_is_refused() {
        for text in [
            "",
            "rabbit:5672",
            "http://me:hush@rabbit",
            "amqp://me:hush@one,amqp://me:hush@other",
            "amqp://me:hush@one/hush,amqp://me:hush@other",
            "amqps://me:hush@rabbit/#insecure",
            "amqps://me:hush@rabbit?cacertfile=/ca.pem",
            "amqp://me:hush#hush@rabbit",
            "amqp://me:hush/hush@rabbit",
            "amqp://me:hush@rabbit:port",
        ] {
            let reason = AmqpUrl::from_str(text).expect_err(text).to_string();
            assert!(!reason.contains("hush"), "{text}: {reason}");
        }
        let several = AmqpUrl::from_str("amqp://one,amqp://other").unwrap_err();
        assert!(several.to_string().contains("several URLs"), "{several}");
    }

    #[test]
    fn a_namespace_is_short_and_plain() {
        assert!(Namespace::from_str("team-a.Drumline_1:x").is_ok());
        for text in ["", "a b", "ä", "a/b", &"x".repeat(65)] {
            assert!(Namespace::from_str(text).is_err(), "{text}");
        }
    }
}
