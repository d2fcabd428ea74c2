//! A post office: an intake without a broker. It has the properties of a
//! broker: a queue that keeps its order, deliveries that come again, and a
//! reader of the answers.

use std::collections::BTreeMap;
use std::num::NonZeroU16;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use drumline_backend::broker::{self, Receipt};
use drumline_backend::intake::{Envelope, Intake, Refused, Reply, Request, Requests};
use tokio::sync::Notify;

/// Cheap to clone; all clones are one office.
#[derive(Clone, Debug, Default)]
pub(crate) struct Post {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    news: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// In the order of publishing; those in hand too.
    queue: BTreeMap<u64, Letter>,
    published: u64,
    opened: u64,
    /// The connection is gone: requests in hand come again.
    is_cut: bool,
    answers_fail: bool,
    replies: Vec<Reply>,
    refused: Vec<Refused>,
}

#[derive(Clone, Debug)]
struct Letter {
    envelope: Envelope,
    payload: Vec<u8>,
    /// The opening that has it in hand.
    holder: Option<u64>,
}

impl Post {
    /// Publishes a request.
    pub(crate) fn publish(&self, envelope: Envelope, payload: impl Into<Vec<u8>>) {
        let letter = Letter {
            envelope,
            payload: payload.into(),
            holder: None,
        };
        let mut state = self.state();
        state.published += 1;
        let number = state.published;
        state.queue.insert(number, letter);
        drop(state);
        self.shared.news.notify_waiters();
    }

    /// Cuts the connection: unacknowledged requests come again.
    pub(crate) fn cut(&self) {
        self.state().is_cut = true;
        self.shared.news.notify_waiters();
    }

    /// Lets the sending of answers fail, or succeed again.
    pub(crate) fn answers_fail(&self, fail: bool) {
        self.state().answers_fail = fail;
    }

    /// The number of requests that are not acknowledged.
    pub(crate) fn waiting(&self) -> usize {
        self.state().queue.len()
    }

    /// The number of requests that a manager has in hand.
    pub(crate) fn in_hand(&self) -> usize {
        let state = self.state();
        let held = state
            .queue
            .values()
            .filter(|letter| letter.holder.is_some());
        held.count()
    }

    /// The number of times that the intake was opened.
    pub(crate) fn opened(&self) -> u64 {
        self.state().opened
    }

    /// The answers so far.
    pub(crate) fn replies(&self) -> Vec<Reply> {
        self.state().replies.clone()
    }

    /// The requests that were quarantined so far.
    pub(crate) fn refused(&self) -> Vec<Refused> {
        self.state().refused.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        let state = &self.shared.state;
        state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn away() -> broker::Error {
    broker::Error::Unavailable {
        message: "switched off by the test".to_owned(),
        source: None,
    }
}

#[async_trait]
impl Intake for Post {
    async fn open(&self, prefetch: NonZeroU16) -> broker::Result<Box<dyn Requests>> {
        let mut state = self.state();
        state.is_cut = false;
        state.opened += 1;
        for letter in state.queue.values_mut() {
            letter.holder = None;
        }
        Ok(Box::new(Opening {
            post: self.clone(),
            number: state.opened,
            prefetch: usize::from(prefetch.get()),
        }))
    }

    async fn reply(&self, reply: Reply) -> broker::Result<()> {
        let mut state = self.state();
        if state.answers_fail {
            return Err(away());
        }
        state.replies.push(reply);
        Ok(())
    }

    async fn quarantine(&self, refused: Refused) -> broker::Result<()> {
        self.state().refused.push(refused);
        Ok(())
    }
}

struct Opening {
    post: Post,
    number: u64,
    prefetch: usize,
}

impl Opening {
    /// The next one, unless there is none now; `Some(None)` at the end.
    fn take(&self) -> Option<Option<Request>> {
        let mut state = self.post.state();
        if state.is_cut || state.opened != self.number {
            return Some(None);
        }
        let held = state
            .queue
            .values()
            .filter(|letter| letter.holder.is_some());
        if held.count() >= self.prefetch {
            return None;
        }
        let mut letters = state.queue.iter_mut();
        let (number, letter) = letters.find(|(_, letter)| letter.holder.is_none())?;
        letter.holder = Some(self.number);
        Some(Some(Request {
            envelope: letter.envelope.clone(),
            payload: letter.payload.clone(),
            receipt: Box::new(Stub {
                post: self.post.clone(),
                number: *number,
                opening: self.number,
            }),
        }))
    }
}

#[async_trait]
impl Requests for Opening {
    async fn next(&mut self) -> Option<Request> {
        loop {
            let news = self.post.shared.news.notified();
            match self.take() {
                Some(next) => return next,
                None => news.await,
            }
        }
    }

    async fn close(self: Box<Self>) {
        let mut state = self.post.state();
        for letter in state.queue.values_mut() {
            if letter.holder == Some(self.number) {
                letter.holder = None;
            }
        }
    }
}

struct Stub {
    post: Post,
    number: u64,
    opening: u64,
}

#[async_trait]
impl Receipt for Stub {
    async fn acknowledge(self: Box<Self>) -> broker::Result<()> {
        let mut state = self.post.state();
        if state.is_cut || state.opened != self.opening {
            return Err(away());
        }
        state.queue.remove(&self.number);
        drop(state);
        self.post.shared.news.notify_waiters();
        Ok(())
    }
}
