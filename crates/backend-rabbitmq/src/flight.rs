//! One batch on one channel: declare what is not declared, publish, and wait
//! for the confirms.
//!
//! A flight decides nothing for others: it ends with an [`Outcome`], and the
//! publisher sees what follows.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use drumline_backend::broker::{Error, Result};
use lapin::Channel;
use lapin::types::ShortString;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, timeout};

use crate::confirm::{Outgoing, Pending, Verdict};
use crate::error::{failed, is_refusal};
use crate::link::State;
use crate::live::Live;
use crate::options::Namespace;
use crate::topology::Target;

/// How long confirms may fail to come, after others of the batch have come,
/// before their queues are suspected. Far over the time that a busy disk takes;
/// so long a silent lane holds up its batch, once.
const QUIET: Duration = Duration::from_secs(1);

/// Messages that somebody wants to be published.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) messages: Vec<Outgoing>,
    /// Where he waits for what becomes of each.
    pub(crate) answer: oneshot::Sender<Vec<Result<()>>>,
    /// It shared a batch that was refused as a whole; now it flies alone, so
    /// that we see whose fault that was.
    pub(crate) alone: bool,
    /// How often some of it was refused.
    pub(crate) refused: u8,
}

/// A flight that has ended.
pub(crate) struct Landed {
    pub(crate) live: Arc<Live>,
    pub(crate) requests: Vec<Request>,
    pub(crate) outcome: Outcome,
}

/// How a flight can end.
pub(crate) enum Outcome {
    /// All is confirmed, and the channel can be used again.
    Confirmed(Channel, Vec<Option<Verdict>>),
    /// Some queues do not answer.
    Partly(Channel, Pending),
    /// These queues could not be declared, for the broker does not answer.
    Undeclared(HashSet<Target>),
    /// The connection is gone, or blocked.
    Interrupted,
    /// The broker does not want some of it, and has closed a channel.
    Refused(Error),
    /// The connection broke, or there was no answer in time.
    Lost,
}

/// A batch that is about to fly.
pub(crate) struct Flight {
    pub(crate) live: Arc<Live>,
    /// One that is free; a new one is opened otherwise.
    pub(crate) channel: Option<Channel>,
    pub(crate) requests: Vec<Request>,
    pub(crate) state: watch::Receiver<State>,
    pub(crate) namespace: Namespace,
    pub(crate) patience: Duration,
}

impl Flight {
    /// Flies until there is an outcome; bounded in time.
    pub(crate) async fn fly(self) -> Landed {
        let Self {
            live,
            channel,
            requests,
            mut state,
            namespace,
            patience,
        } = self;
        let ours = Arc::clone(&live);
        let other =
            state.wait_for(|state| !matches!(state, State::Up(live) if Arc::ptr_eq(live, &ours)));
        let outcome = tokio::select! {
            _ = other => Outcome::Interrupted,
            outcome = send(&live, channel, &requests, &namespace, patience) => outcome,
        };
        Landed {
            live,
            requests,
            outcome,
        }
    }
}

/// Declares, publishes, and waits for confirms.
async fn send(
    live: &Live,
    channel: Option<Channel>,
    requests: &[Request],
    namespace: &Namespace,
    patience: Duration,
) -> Outcome {
    let undeclared = live.undeclared(messages(requests).map(|message| &message.target));
    match timeout(patience, live.declare(&undeclared)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => return failure(error),
        Err(_elapsed) if live.answers().await => return Outcome::Undeclared(undeclared),
        Err(_elapsed) => return Outcome::Lost,
    }
    let batch: Vec<(ShortString, &Outgoing)> = messages(requests)
        .map(|message| (message.target.name(namespace), message))
        .collect();
    let published = timeout(patience, async {
        let channel = match channel {
            Some(channel) if channel.status().connected() => channel,
            Some(_) | None => live.confirm_channel().await?,
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
    let deadline = Instant::now() + patience;
    loop {
        match pending.settle(QUIET.min(patience)).await {
            Ok(true) => return Outcome::Confirmed(channel, pending.verdicts()),
            // Others answer, and these do not: that will not change soon.
            Ok(false) if some_are_silent(requests, &pending.verdicts()) => {
                return Outcome::Partly(channel, pending);
            }
            // A broker that is slow, or silent; or all queues are.
            Ok(false) if Instant::now() < deadline => {}
            Ok(false) if live.answers().await => return Outcome::Partly(channel, pending),
            Ok(false) => return Outcome::Lost,
            Err(error) => return failure(failed("waiting for confirms", error)),
        }
    }
}

/// Whether some queues have confirmed something, and others nothing at all.
fn some_are_silent(requests: &[Request], verdicts: &[Option<Verdict>]) -> bool {
    let mut all = HashSet::new();
    let mut heard = HashSet::new();
    for (message, verdict) in messages(requests).zip(verdicts) {
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
        tracing::debug!(%error, "a batch is lost, and published again");
        Outcome::Lost
    }
}

/// The messages of all requests, in order.
pub(crate) fn messages(requests: &[Request]) -> impl Iterator<Item = &Outgoing> {
    requests.iter().flat_map(|request| &request.messages)
}
