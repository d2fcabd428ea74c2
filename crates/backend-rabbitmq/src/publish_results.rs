//! Answers for publishers.
//!
//! A call publishes many messages, and each may take a way of its own through
//! the publisher. So each message has an [`Answer`], and the caller is notified
//! when the last answer was given. A caller that stops waiting gets the answers
//! that were given until then.

use std::sync::{Arc, Weak};

use drumline_backend::broker::{Error, Result};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::oneshot;

/// The answers of one call, as they come.
#[derive(Debug)]
struct Collected(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    answers: Vec<Option<Result<()>>>,
    open: usize,
    caller: Option<oneshot::Sender<Vec<Result<()>>>>,
}

/// The right to answer for one message. If it is dropped unused, the caller is
/// told that the publisher has stopped.
#[derive(Debug)]
pub(crate) struct Answer {
    of: Arc<Collected>,
    at: usize,
}

/// The caller's end.
#[derive(Debug)]
pub(crate) struct Answered {
    all: oneshot::Receiver<Vec<Result<()>>>,
    of: Weak<Collected>,
    count: usize,
}

impl Answered {
    /// Waits for all answers; `None` where the publisher has stopped.
    pub(crate) async fn all(&mut self) -> Option<Vec<Result<()>>> {
        (&mut self.all).await.ok()
    }

    /// Takes the answers that were given so far.
    pub(crate) fn so_far(mut self) -> Vec<Option<Result<()>>> {
        if let Ok(all) = self.all.try_recv() {
            return all.into_iter().map(Some).collect();
        }
        let given = self.of.upgrade().map(|collected| {
            let mut inner = collected.inner();
            std::mem::take(&mut inner.answers)
        });
        let mut given = given.unwrap_or_default();
        given.resize_with(self.count, || None);
        given
    }
}

/// An answer for each of so many messages, and the end at which they arrive.
pub(crate) fn answers(count: usize) -> (Vec<Answer>, Answered) {
    let (caller, answered) = oneshot::channel();
    let mut answers = Vec::new();
    answers.resize_with(count, || None);
    let collected = Arc::new(Collected(Mutex::new(Inner {
        answers,
        open: count,
        caller: Some(caller),
    })));
    let answers = (0..count).map(|at| Answer {
        of: Arc::clone(&collected),
        at,
    });
    let answered = Answered {
        all: answered,
        of: Arc::downgrade(&collected),
        count,
    };
    (answers.collect(), answered)
}

impl Answer {
    /// Gives the answer. The caller is free to have gone.
    pub(crate) fn give(self, answer: Result<()>) {
        let mut inner = self.of.inner();
        if let Some(place) = inner.answers.get_mut(self.at) {
            *place = Some(answer);
        }
        inner.open = inner.open.saturating_sub(1);
        if inner.open == 0
            && let Some(caller) = inner.caller.take()
        {
            let answers = std::mem::take(&mut inner.answers).into_iter();
            let answers = answers.map(|answer| answer.unwrap_or(Err(Error::Refused)));
            drop(caller.send(answers.collect()));
        }
    }

    /// Returns true if the caller waits no longer.
    pub(crate) fn is_closed(&self) -> bool {
        let inner = self.of.inner();
        inner.caller.as_ref().is_none_or(oneshot::Sender::is_closed)
    }
}

impl Collected {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock()
    }
}

/// The same error again. Its cause cannot be cloned, so a copy has the text only.
pub(crate) fn again(error: &Error) -> Error {
    match error {
        Error::Blocked { reason } => Error::Blocked {
            reason: reason.clone(),
        },
        Error::Unavailable { message, .. } => Error::Unavailable {
            message: message.clone(),
            source: None,
        },
        Error::Queue { route, trouble } => Error::Queue {
            route: route.clone(),
            trouble: trouble.clone(),
        },
        other @ (Error::Unroutable { .. } | Error::Refused | Error::Encode(_)) => {
            Error::Unavailable {
                message: other.to_string(),
                source: None,
            }
        }
    }
}

/// One error for each of so many messages.
pub(crate) fn for_each(count: usize, error: &Error) -> Vec<Result<()>> {
    (0..count).map(|_| Err(again(error))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_caller_hears_when_the_last_answer_is_given() {
        let (mut given, mut answered) = answers(2);
        let second = given.pop().unwrap();
        let first = given.pop().unwrap();
        second.give(Err(Error::Refused));
        assert!(!first.is_closed(), "one is missing");
        first.give(Ok(()));
        let told = answered.all().await.unwrap();
        assert!(matches!(&told[..], [Ok(()), Err(Error::Refused)]));
    }

    #[tokio::test]
    async fn a_caller_that_went_away_is_noticed() {
        let (mut given, answered) = answers(1);
        drop(answered);
        assert!(given.pop().unwrap().is_closed());
    }

    #[tokio::test]
    async fn answers_that_are_dropped_tell_the_caller_that_nothing_comes() {
        let (given, mut answered) = answers(1);
        drop(given);
        assert!(answered.all().await.is_none());
    }

    #[tokio::test]
    async fn a_caller_that_waits_no_longer_has_what_was_given() {
        let (mut given, answered) = answers(2);
        let late = given.pop().unwrap();
        given.pop().unwrap().give(Ok(()));
        assert!(matches!(&answered.so_far()[..], [Some(Ok(())), None]));
        assert!(late.is_closed());
    }
}
