//! The intake: requests that come as messages, from producers that already
//! speak to a broker.
//!
//! An adapter of the [`Broker`](crate::Broker)'s product may offer it besides;
//! the embedded backend does not, for there is nobody who could publish to it.
//!
//! Unlike a hint, a request is all that there is of it until the store has it.
//! So it stays unacknowledged until whatever it asks for is done, and comes
//! again when this process dies before: at least once. Requests are delivered
//! to one process at a time, in the order in which they were published.

use std::collections::BTreeMap;
use std::num::NonZeroU16;

use async_trait::async_trait;

use crate::broker::{Receipt, Result};

/// What a producer has written on a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Envelope {
    /// Which kind of request it is: the routing key.
    pub kind: String,
    /// The type of the payload.
    pub content_type: Option<String>,
    /// How the payload is encoded, if it is.
    pub content_encoding: Option<String>,
    /// Where the answer is expected; without it, nowhere.
    pub reply_to: Option<String>,
    /// What tells the producer's requests apart in his answers.
    pub correlation_id: Option<String>,
    /// What tells a request from every other, also when it comes again.
    pub message_id: Option<String>,
    /// The headers that are texts or numbers, under the names as given.
    pub headers: BTreeMap<String, String>,
}

impl Envelope {
    /// A header, however its name is capitalised.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        let (_, value) = headers.find(|(found, _)| found.eq_ignore_ascii_case(name))?;
        Some(value)
    }
}

/// A request that was delivered and waits to be acknowledged.
pub struct Request {
    /// What is written on it.
    pub envelope: Envelope,
    /// What is in it.
    pub payload: Vec<u8>,
    /// Takes it off the queue for good. Dropped instead, it stays with
    /// [`Requests`] until they are closed, and is then delivered again.
    pub receipt: Box<dyn Receipt>,
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Payloads may be large, and are nobody's business in a log.
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

/// A request that nobody can do, for a person to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// What is written on it.
    pub envelope: Envelope,
    /// What is in it, or its beginning.
    pub payload: Vec<u8>,
    /// How many bytes it had.
    pub bytes: usize,
    /// The kind of error: `0x8D000006`, say.
    pub code: String,
    /// What is wrong with it, for people.
    pub reason: String,
}

/// Requests as they come in.
#[async_trait]
pub trait Requests: Send {
    /// The next request; `None` when there will be none, for whatever reason:
    /// open the intake again, after a pause. Cancel-safe.
    async fn next(&mut self) -> Option<Request>;

    /// Lets another process take over: what was delivered and not acknowledged
    /// goes back to its place in the queue.
    async fn close(self: Box<Self>);
}

/// The intake: see the module's text.
#[async_trait]
pub trait Intake: Send + Sync + 'static {
    /// Starts to take requests, with at most `prefetch` in hand. While another
    /// process takes them, none come here.
    ///
    /// # Errors
    /// When the broker is away.
    async fn open(&self, prefetch: NonZeroU16) -> Result<Box<dyn Requests>>;

    /// Sends an answer. That nobody waits for it any more is no error. Bounded
    /// in time.
    ///
    /// # Errors
    /// [`Unavailable`](crate::broker::Error::Unavailable) and
    /// [`Blocked`](crate::broker::Error::Blocked) when it may be sent later;
    /// anything else when it cannot be.
    async fn reply(&self, reply: Reply) -> Result<()>;

    /// Keeps a request aside, and does not acknowledge it. Bounded in time.
    ///
    /// # Errors
    /// When it is not kept.
    async fn quarantine(&self, refused: Refused) -> Result<()>;
}
