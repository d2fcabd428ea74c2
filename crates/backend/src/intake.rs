//! The intake: requests that come as messages, from producers that already
//! speak to a broker.
//!
//! An adapter of the [`Broker`](crate::Broker)'s product may offer an intake
//! besides; the embedded backend does not, because no producer could publish to
//! it.
//!
//! Unlike a hint, a request exists only in its message until the store has it.
//! So the message stays unacknowledged until the request is done, and comes
//! again if this process dies before: at least once. Requests are delivered to
//! one process at a time, in the order in which they were published.

use std::collections::BTreeMap;
use std::num::NonZeroU16;

use async_trait::async_trait;

use crate::broker::{Receipt, Result};

/// The metadata that a producer has put on a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Envelope {
    /// The kind of request: the routing key.
    pub kind: String,
    /// The type of the payload.
    pub content_type: Option<String>,
    /// The encoding of the payload, if it is encoded.
    pub content_encoding: Option<String>,
    /// The queue that the answer is sent to; without it, no answer is sent.
    pub reply_to: Option<String>,
    /// True if the answer goes to the connection that has published the request, and
    /// can reach no other program.
    pub replies_to_sender: bool,
    /// The user that has published the request, if the request names its user. The
    /// broker has refused requests that name another one.
    pub user_id: Option<String>,
    /// The producer's name for the request, repeated in the answer.
    pub correlation_id: Option<String>,
    /// The unique name of the request, the same when the request comes again.
    pub message_id: Option<String>,
    /// The headers that are texts or numbers, under the names as given.
    pub headers: BTreeMap<String, String>,
    /// The other headers, and what each is instead, for people.
    pub unreadable: BTreeMap<String, &'static str>,
}

impl Envelope {
    /// Returns a header; the name's capitalisation does not matter.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        let (_, value) = headers.find(|(found, _)| found.eq_ignore_ascii_case(name))?;
        Some(value)
    }

    /// Returns what a header is that is neither text nor number.
    #[must_use]
    pub fn unreadable(&self, name: &str) -> Option<&'static str> {
        let mut unreadable = self.unreadable.iter();
        let (_, kind) = unreadable.find(|(found, _)| found.eq_ignore_ascii_case(name))?;
        Some(kind)
    }

    /// Returns how often a header is given: names that differ in their
    /// capitalisation only are one header.
    #[must_use]
    pub fn count(&self, name: &str) -> usize {
        let names = self.headers.keys().chain(self.unreadable.keys());
        names
            .filter(|found| found.eq_ignore_ascii_case(name))
            .count()
    }
}

/// A request that was delivered and waits to be acknowledged.
pub struct Request {
    /// The metadata of the request.
    pub envelope: Envelope,
    /// The content of the request.
    pub payload: Vec<u8>,
    /// Takes the request off the queue for good. If the receipt is dropped
    /// instead, the request stays with [`Requests`] until they are closed, and
    /// is then delivered again.
    pub receipt: Box<dyn Receipt>,
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Payloads may be large, and must not be logged.
        f.debug_struct("Request")
            .field("envelope", &self.envelope)
            .field("bytes", &self.payload.len())
            .finish_non_exhaustive()
    }
}

/// An answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The `reply_to` of the request.
    pub to: String,
    /// The `correlation_id` of the request.
    pub correlation_id: Option<String>,
    /// The HTTP status that the same request would have had.
    pub status: u16,
    /// The type of the payload.
    pub content_type: &'static str,
    /// The answer.
    pub payload: Vec<u8>,
}

/// A request that cannot be done, for a person to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The metadata of the request.
    pub envelope: Envelope,
    /// The content of the request, or its beginning.
    pub payload: Vec<u8>,
    /// The size of the content in bytes.
    pub bytes: usize,
    /// The kind of error: `0x8D000006`, say.
    pub code: String,
    /// The reason why it cannot be done, for people.
    pub reason: String,
}

/// The stream of incoming requests.
#[async_trait]
pub trait Requests: Send {
    /// Returns the next request, or `None` when there will be none, for any
    /// reason: open the intake again, after a pause. Cancel-safe.
    async fn next(&mut self) -> Option<Request>;

    /// Lets another process take over: requests that were not acknowledged go
    /// back to their places in the queue.
    async fn close(self: Box<Self>);
}

/// The intake takes requests that come as messages, and sends the answers.
#[async_trait]
pub trait Intake: Send + Sync + 'static {
    /// Starts to take requests, with at most `prefetch` in hand. While another
    /// process takes them, none come here.
    ///
    /// # Errors
    /// When the broker is unavailable.
    async fn open(&self, prefetch: NonZeroU16) -> Result<Box<dyn Requests>>;

    /// Sends an answer. Succeeds also if no producer waits for the answer any
    /// more. Bounded in time.
    ///
    /// # Errors
    /// [`Unavailable`](crate::broker::Error::Unavailable) and
    /// [`Blocked`](crate::broker::Error::Blocked) when it may be sent later;
    /// anything else when it cannot be.
    async fn reply(&self, reply: Reply) -> Result<()>;

    /// Keeps a request aside, and does not acknowledge it. Bounded in time.
    ///
    /// # Errors
    /// When the request is not kept.
    async fn quarantine(&self, refused: Refused) -> Result<()>;
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nothing;

    #[async_trait]
    impl Receipt for Nothing {
        async fn acknowledge(self: Box<Self>) -> Result<()> {
            Ok(())
        }
    }

    fn envelope() -> Envelope {
        let headers = [("Name", "a"), ("name", "b"), ("other", "c")];
        Envelope {
            headers: headers
                .map(|(name, text)| (name.to_owned(), text.to_owned()))
                .into(),
            unreadable: [
                ("NAME".to_owned(), "a list"),
                ("Table".to_owned(), "a table"),
            ]
            .into(),
            ..Envelope::default()
        }
    }

    #[test]
    fn a_header_is_found_under_any_capitalisation() {
        let envelope = envelope();
        assert_eq!(envelope.header("OTHER"), Some("c"));
        assert_eq!(envelope.header("table"), None, "it is no text");
        assert_eq!(envelope.unreadable("table"), Some("a table"));
        assert_eq!(envelope.unreadable("other"), None);
        assert_eq!(envelope.count("nAME"), 3, "readable or not");
        assert_eq!(envelope.count("other"), 1);
        assert_eq!(envelope.count("none"), 0);
    }

    #[test]
    fn a_payload_is_not_logged() {
        let request = Request {
            envelope: envelope(),
            payload: b"secret".to_vec(),
            receipt: Box::new(Nothing),
        };
        let shown = format!("{request:?}");
        assert!(
            shown.contains("bytes: 6") && shown.contains("a table"),
            "{shown}"
        );
        assert!(!shown.contains("115"), "{shown}");
        assert!(!shown.contains("secret"), "{shown}");
    }
}
