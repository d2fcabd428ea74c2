//! One batch on one channel: declare what is not declared, publish, and wait
//! for the confirms.
//!
//! A batch ends with an [`Outcome`], and the publisher decides what follows. The
//! trouble with one queue is a verdict about the messages for that queue, and
//! about no others.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use drumline_backend::broker::{Error, Trouble};
use lapin::Channel;
use lapin::types::ShortString;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use crate::confirm::{Outgoing, Pending, Verdict};
use crate::connection::Connection;
use crate::connection_supervisor::State;
use crate::error::{failed, is_hard, is_refusal};
use crate::options::Namespace;
use crate::publish_results::Answer;
use crate::topology::Target;

/// The time without a confirm, after others of the batch have come, after which
/// the missing ones' queues count as silent. Far longer than a busy disk takes.
/// A silent lane holds up its batch for this time, once.
const QUIET: Duration = Duration::from_secs(1);

/// The same where no queue of the batch has confirmed anything, so that the
/// disk may be busy. A slow queue that is taken for silent costs a duplicate.
const ALL_QUIET: Duration = Duration::from_secs(2);

/// A message that is to be published.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) message: Outgoing,
    pub(crate) answer: Answer,
    /// True if it shared a batch that was refused as a whole: it goes alone now,
    /// which shows if it was at fault.
    pub(crate) alone: bool,
    /// The number of times that it was refused.
    pub(crate) refused: u8,
}

/// The kinds of batches. Each has a limit of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// All of its queues are declared.
    Plain,
    /// It has queues to declare.
    Declaring,
    /// A pause before refused messages are published again. It has no limit.
    Pause,
}

/// A batch that has ended.
pub(crate) struct BatchResult {
    pub(crate) connection: Arc<Connection>,
    pub(crate) items: Vec<Item>,
    pub(crate) outcome: Outcome,
    /// The limit that it counted for.
    pub(crate) kind: Kind,
}

/// The ways in which a batch can end.
pub(crate) enum Outcome {
    /// Each message has its verdict, or its queue is silent.
    Answered(Answered),
    /// The connection is gone, or blocked.
    Interrupted,
    /// The broker does not want some of it, and has closed a channel.
    Refused(Error),
    /// Declaring these queues has ended the connection.
    Poisoned(HashSet<Target>),
    /// The connection broke, or there was no answer in time.
    Lost,
}

/// The answers of the broker.
pub(crate) struct Answered {
    /// For each message; `None` where no confirm has come.
    pub(crate) verdicts: Vec<Option<Verdict>>,
    /// The channel and what is still out on it; `None` where nothing could be
    /// published.
    pub(crate) published: Option<(Channel, Pending)>,
}

/// A batch that is about to be published.
pub(crate) struct PublishBatch {
    pub(crate) connection: Arc<Connection>,
    /// A free channel; a new one is opened otherwise.
    pub(crate) channel: Option<Channel>,
    pub(crate) items: Vec<Item>,
    pub(crate) state: watch::Receiver<State>,
    pub(crate) namespace: Namespace,
    pub(crate) patience: Duration,
    pub(crate) kind: Kind,
}

impl PublishBatch {
    /// Publishes until there is an outcome; bounded in time.
    pub(crate) async fn run(self) -> BatchResult {
        let Self {
            connection,
            channel,
            items,
            mut state,
            namespace,
            patience,
            kind,
        } = self;
        let ours = Arc::clone(&connection);
        let other = state.wait_for(
            |state| !matches!(state, State::Up(connection) if Arc::ptr_eq(connection, &ours)),
        );
        let outcome = tokio::select! {
            _ = other => Outcome::Interrupted,
            outcome = send(&connection, channel, &items, &namespace, patience) => outcome,
        };
        BatchResult {
            connection,
            items,
            outcome,
            kind,
        }
    }
}

/// Declares, publishes, and waits for confirms.
async fn send(
    connection: &Connection,
    channel: Option<Channel>,
    items: &[Item],
    namespace: &Namespace,
    patience: Duration,
) -> Outcome {
    let targets = items.iter().map(|item| &item.message.target);
    let undeclared = connection.undeclared(targets);
    let undeclarable = match connection.declare_each(&undeclared, patience).await {
        Ok(undeclarable) => undeclarable,
        Err(error) if is_hard(&error) => return Outcome::Poisoned(undeclared),
        Err(error) => return failure(error),
    };
    let (places, batch) = publishable(items, &undeclarable, namespace);
    let mut verdicts: Vec<Option<Verdict>> = items
        .iter()
        .map(|item| undeclarable.get(&item.message.target).cloned())
        .map(|trouble| trouble.map(Verdict::Undeclared))
        .collect();
    if batch.is_empty() {
        return Outcome::Answered(Answered {
            verdicts,
            published: None,
        });
    }
    let published = timeout(patience, async {
        let channel = match channel {
            Some(channel) if channel.status().connected() => channel,
            Some(_) | None => connection.confirm_channel().await?,
        };
        let pending = Pending::publish(&channel, &batch).await;
        let pending = pending.map_err(|error| failed("publishing", error))?;
        Ok((channel, pending))
    });
    let (channel, mut pending) = match published.await {
        Ok(Ok(published)) => published,
        Ok(Err(error)) => return failure(error),
        Err(_elapsed) => return Outcome::Lost,
    };
    let all_quiet = Instant::now() + ALL_QUIET.min(patience);
    loop {
        match pending.settle(QUIET.min(patience)).await {
            Ok(true) => break,
            // Other queues answer, and these do not: that will not change soon.
            Ok(false) if some_are_silent(&batch, &pending.verdicts()) => break,
            // The broker, or all queues, are slow or silent.
            Ok(false) if Instant::now() < all_quiet => {}
            Ok(false) if connection.is_responsive().await => break,
            Ok(false) => return Outcome::Lost,
            Err(error) => return failure(failed("waiting for confirms", error)),
        }
    }
    for (place, verdict) in places.into_iter().zip(pending.verdicts()) {
        if let Some(of_message) = verdicts.get_mut(place) {
            *of_message = verdict;
        }
    }
    Outcome::Answered(Answered {
        verdicts,
        published: Some((channel, pending)),
    })
}

/// The messages whose queues are declared, by name, and their places.
fn publishable<'a>(
    items: &'a [Item],
    undeclarable: &HashMap<Target, Trouble>,
    namespace: &Namespace,
) -> (Vec<usize>, Vec<(ShortString, &'a Outgoing)>) {
    let messages = items.iter().map(|item| &item.message).enumerate();
    messages
        .filter(|(_, message)| !undeclarable.contains_key(&message.target))
        .map(|(place, message)| (place, (message.target.name(namespace), message)))
        .unzip()
}

/// Returns true if some queues have confirmed something, and some nothing at all.
fn some_are_silent(batch: &[(ShortString, &Outgoing)], verdicts: &[Option<Verdict>]) -> bool {
    let mut all = HashSet::new();
    let mut heard = HashSet::new();
    for ((_, message), verdict) in batch.iter().zip(verdicts) {
        all.insert(&message.target);
        if verdict.is_some() {
            heard.insert(&message.target);
        }
    }
    !heard.is_empty() && heard.len() < all.len()
}

fn failure(error: Error) -> Outcome {
    if is_refusal(&error) {
        Outcome::Refused(error)
    } else {
        tracing::debug!(%error, "a batch of messages is lost and published again");
        Outcome::Lost
    }
}
