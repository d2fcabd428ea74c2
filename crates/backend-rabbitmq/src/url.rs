//! The addresses of a broker: one, or several nodes of one cluster.
//!
//! All connections of a process share the place in the list. A node that cannot be
//! reached moves it on, and a node that works keeps it.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use drumline_backend::{Random, broker};
use lapin::uri::{AMQPScheme, AMQPUri};

use crate::error::describe;
use crate::{Error, Result};

/// One or several `amqp://` or `amqps://` URLs, separated by commas: the nodes of one
/// cluster. Passwords are never printed.
#[derive(Clone)]
pub struct AmqpUrl {
    /// At least one.
    nodes: Vec<AMQPUri>,
    /// The place of the node that is used, shared by all clones.
    place: Arc<AtomicUsize>,
}

impl AmqpUrl {
    /// The URL of each node.
    #[must_use]
    pub fn nodes(&self) -> Vec<Self> {
        let one = |node: &AMQPUri| Self::of(vec![node.clone()]);
        self.nodes.iter().map(one).collect()
    }

    /// The number of nodes.
    pub(crate) fn len(&self) -> u32 {
        u32::try_from(self.nodes.len()).unwrap_or(u32::MAX)
    }

    /// Begins with another node than other processes do, so that they spread.
    pub(crate) fn begin_anywhere(&self, random: &Random) {
        let place = random.below(u64::from(self.len()));
        self.place
            .store(usize::try_from(place).unwrap_or(0), Ordering::Relaxed);
    }

    /// Begins with the node that has worked last.
    pub(crate) fn turns(&self) -> Turns<'_> {
        Turns {
            url: self,
            place: self.place(),
            failures: Vec::new(),
        }
    }

    fn place(&self) -> usize {
        self.place.load(Ordering::Relaxed) % self.nodes.len()
    }

    fn of(nodes: Vec<AMQPUri>) -> Self {
        Self {
            nodes,
            place: Arc::default(),
        }
    }
}

/// The nodes in turn, each once.
#[derive(Debug)]
pub(crate) struct Turns<'a> {
    url: &'a AmqpUrl,
    place: usize,
    /// The failures of the nodes before this one.
    failures: Vec<broker::Error>,
}

impl<'a> Turns<'a> {
    /// The node to try.
    pub(crate) fn node(&self) -> &'a AMQPUri {
        &self.url.nodes[self.place]
    }

    /// Leaves a node that has failed. All connections leave it, unless one of them has
    /// done so.
    ///
    /// # Errors
    /// After the last node: with the reason of each.
    pub(crate) fn leave(&mut self, failure: broker::Error) -> broker::Result<()> {
        let nodes = self.url.nodes.len();
        let (from, to) = (self.place, (self.place + 1) % nodes);
        let order = Ordering::Relaxed;
        // A failure means that another connection has moved on.
        let place = &self.url.place;
        let _moved_on = place.compare_exchange(from, to, order, order);
        self.place = to;
        self.failures.push(failure);
        if self.failures.len() < nodes {
            return Ok(());
        }
        Err(of_all(std::mem::take(&mut self.failures)))
    }
}

/// One error for the failures of all nodes, at least one.
fn of_all(mut failures: Vec<broker::Error>) -> broker::Error {
    match failures.pop() {
        Some(only) if failures.is_empty() => only,
        last => {
            let reasons: Vec<String> = failures.iter().chain(&last).map(describe).collect();
            broker::Error::Unavailable {
                message: format!("none of {} nodes: {}", reasons.len(), reasons.join("; ")),
                // Each reason has its own causes.
                source: None,
            }
        }
    }
}

impl PartialEq for AmqpUrl {
    fn eq(&self, other: &Self) -> bool {
        self.nodes == other.nodes
    }
}

impl Eq for AmqpUrl {}

impl FromStr for AmqpUrl {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = |reason: &str| Error::Url {
            reason: reason.to_owned(),
        };
        let mut nodes: Vec<AMQPUri> = Vec::new();
        for text in text.split(',') {
            if let Some(reason) = mistake(text) {
                return Err(wrong(reason));
            }
            nodes.push(text.parse().map_err(|_may_repeat_it| {
                wrong("in a user name or a password, / @ : ? , and % are written as %2F %40 %3A %3F %2C and %25")
            })?);
        }
        if nodes.windows(2).any(|pair| pair[0].vhost != pair[1].vhost) {
            return Err(wrong(
                "several URLs are nodes of one cluster: name the same virtual host in each",
            ));
        }
        Ok(Self::of(nodes))
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
        return Some("several URLs are separated by commas");
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

/// The URL of a node without its password.
pub(crate) fn shown(node: &AMQPUri) -> String {
    let AMQPUri {
        scheme,
        authority,
        vhost,
        query: _,
    } = node;
    let scheme = match scheme {
        AMQPScheme::AMQP => "amqp",
        AMQPScheme::AMQPS => "amqps",
    };
    let user = &authority.userinfo.username;
    let (host, port) = (&authority.host, authority.port);
    format!("{scheme}://{user}@{host}:{port}/{vhost}")
}

impl fmt::Display for AmqpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nodes: Vec<String> = self.nodes.iter().map(shown).collect();
        f.write_str(&nodes.join(","))
    }
}

impl fmt::Debug for AmqpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_its_password() {
        let url: AmqpUrl = "amqps://ada:secret@rabbit:5671/%2f,amqps://ada:secret@other/%2f"
            .parse()
            .unwrap();
        assert_eq!(
            url.to_string(),
            "amqps://ada@rabbit:5671//,amqps://ada@other:5671//"
        );
        assert!(!format!("{url:?}").contains("secret"));
    }

    #[test]
    fn what_is_not_a_url_is_refused() {
        for text in [
            "",
            "rabbit:5672",
            "http://me:hush@rabbit",
            "amqp://me:hush@one,",
            "amqp://me:hush@one,other",
            "amqp://me:hush@one;amqp://me:hush@other",
            "amqp://me:hush@one/hush,amqp://me:hush@other/v",
            "amqp://me:hush,hush@one",
            "amqps://me:hush@rabbit/#insecure",
            "amqps://me:hush@one,amqps://me:hush@rabbit?cacertfile=/ca.pem",
            "amqp://me:hush#hush@rabbit",
            "amqp://me:hush/hush@rabbit",
            "amqp://me:hush@rabbit:port",
        ] {
            let reason = AmqpUrl::from_str(text).expect_err(text).to_string();
            assert!(!reason.contains("hush"), "{text}: {reason}");
        }
        let others = AmqpUrl::from_str("amqp://one/v,amqp://other/w").unwrap_err();
        assert!(others.to_string().contains("same virtual host"), "{others}");
    }

    fn unavailable(message: &str) -> broker::Error {
        broker::Error::Unavailable {
            message: message.to_owned(),
            source: None,
        }
    }

    #[test]
    fn each_node_is_tried_once_from_the_one_that_worked_last() {
        let url: AmqpUrl = "amqp://a,amqp://b,amqp://c".parse().unwrap();
        let try_until = |works: &str| {
            let (mut turns, mut tried) = (url.turns(), String::new());
            loop {
                let host = &turns.node().authority.host;
                tried.push_str(host);
                if host == works || turns.leave(unavailable("refused")).is_err() {
                    return tried;
                }
            }
        };
        assert_eq!(try_until("b"), "ab");
        assert_eq!(try_until("b"), "b");
        assert_eq!(try_until("a"), "bca");
        assert_eq!(try_until("nowhere"), "abc");
        assert_eq!(url.nodes().len(), 3);
    }

    #[test]
    fn connections_that_fail_at_the_same_time_try_each_node_and_tell_all_reasons() {
        let url: AmqpUrl = "amqp://a,amqp://b".parse().unwrap();
        let mut both = [url.turns(), url.turns()];
        for turns in &mut both {
            assert_eq!(turns.node().authority.host, "a");
            turns.leave(unavailable("a is down")).unwrap();
        }
        for turns in &mut both {
            assert_eq!(turns.node().authority.host, "b");
            let error = turns.leave(unavailable("b refuses us")).unwrap_err();
            let error = error.to_string();
            assert!(error.contains("a is down; b refuses us"), "{error}");
        }
    }
}
