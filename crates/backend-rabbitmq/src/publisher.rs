//! The one task that owns the confirm channels; everybody else sends it
//! requests.
//!
//! ```text
//! publish() ─┐                         ┌─ flight: channel, batch ─┐
//! publish() ─┼─ bounded queue ─ task ──┼─ flight: channel, batch ─┼─ landed ─ answers
//! publish() ─┘            ▲            └─ …                       ┘    │
//!                         └──────── connection lost: once more ────────┘
//! ```
//!
//! A flight is one batch on one channel ([`confirm`]); there are a few at a
//! time. While they are under way the requests behind them gather into the
//! next batch, so that nothing waits for company and a burst is still sent in
//! few writes.
//!
//! A flight that ends without an answer is flown again on the next connection,
//! as long as somebody waits for it: a message may be published twice, which
//! the claim sorts out. Whoever has waited too long gets his answer from
//! [`Publisher::publish`] itself.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use drumline_backend::broker::{Error, Result};
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use lapin::Channel;
use lapin::types::ShortString;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::task::TaskTracker;

use crate::confirm::{self, Outgoing, Verdict};
use crate::error::{failed, is_refusal, silent, stopped};
use crate::link::{Link, State};
use crate::live::Live;
use crate::options::{Namespace, Options};
use crate::topology::Target;

/// Requests that may wait for the task. Over it, publishers wait in line.
const WAITING: usize = 1024;

/// Messages in one batch, unless one request alone has more: about what the
/// broker confirms in some milliseconds.
const BATCH: usize = 1024;

/// Flights at a time. One would leave the broker idle for the time that an
/// answer travels; with many, batches stay small and cost more.
const FLIGHTS: usize = 4;

/// A handle to the task; cheap to clone. The task ends when all are gone.
#[derive(Clone, Debug)]
pub(crate) struct Publisher {
    requests: mpsc::Sender<Request>,
    link: Link,
    patience: Duration,
}

#[derive(Debug)]
struct Request {
    messages: Vec<Outgoing>,
    answer: oneshot::Sender<Vec<Result<()>>>,
    /// It shared a batch that was refused as a whole; now it flies alone, so
    /// that we see whose fault that was.
    alone: bool,
}

impl Publisher {
    pub(crate) fn start(options: &Options, link: &Link, tasks: &TaskTracker) -> Self {
        let (requests, incoming) = mpsc::channel(WAITING);
        let task = Task {
            incoming,
            waiting: VecDeque::new(),
            flights: FuturesUnordered::new(),
            idle: Vec::new(),
            state: link.watch(),
            namespace: options.namespace.clone(),
            patience: options.patience,
        };
        tasks.spawn(task.run());
        Self {
            requests,
            link: link.clone(),
            patience: options.patience,
        }
    }

    /// Publishes messages: the answers in order. Answers within the patience of
    /// the options. Dropping the future leaves it open whether they are sent.
    pub(crate) async fn publish(&self, messages: Vec<Outgoing>) -> Vec<Result<()>> {
        let count = messages.len();
        if count == 0 {
            return Vec::new();
        }
        // Whoever comes during an alarm need not queue for the answer.
        if let Err(blocked @ Error::Blocked { .. }) = self.link.check() {
            return for_each(count, blocked);
        }
        let deadline = Instant::now() + self.patience;
        let (answer, answered) = oneshot::channel();
        let request = Request {
            messages,
            answer,
            alone: false,
        };
        let asked = async {
            self.requests.send(request).await.ok()?;
            answered.await.ok()
        };
        match timeout_at(deadline, asked).await {
            Ok(Some(answers)) => answers,
            Ok(None) => for_each(count, stopped()),
            Err(_elapsed) => {
                let why = self.link.check().err();
                for_each(
                    count,
                    why.unwrap_or_else(|| silent("publishing", self.patience)),
                )
            }
        }
    }

    /// The link that it publishes over.
    pub(crate) fn link(&self) -> &Link {
        &self.link
    }
}

/// One error for each of so many messages.
fn for_each(count: usize, error: Error) -> Vec<Result<()>> {
    let again = |error: &Error| match error {
        Error::Blocked { reason } => Error::Blocked {
            reason: reason.clone(),
        },
        other @ (Error::Unavailable { .. }
        | Error::Unroutable { .. }
        | Error::Refused
        | Error::Encode(_)) => Error::Unavailable {
            message: other.to_string(),
            source: None,
        },
    };
    let mut answers: Vec<Result<()>> = (1..count).map(|_| Err(again(&error))).collect();
    answers.push(Err(error));
    answers
}

struct Task {
    incoming: mpsc::Receiver<Request>,
    /// What flies next, in this order.
    waiting: VecDeque<Request>,
    flights: FuturesUnordered<BoxFuture<'static, Landed>>,
    /// Channels that wait for a batch, and the connections that they are of.
    idle: Vec<(Arc<Live>, Channel)>,
    state: watch::Receiver<State>,
    namespace: Namespace,
    patience: Duration,
}

/// A flight that has ended.
struct Landed {
    live: Arc<Live>,
    requests: Vec<Request>,
    outcome: Outcome,
}

enum Outcome {
    /// The broker has answered, and the channel can be used again.
    Answered(Channel, Vec<Verdict>),
    /// The connection is gone, or blocked.
    Interrupted,
    /// The broker does not want some of it, and has closed a channel.
    Refused(Error),
    /// The connection broke, or there was no answer in time.
    Lost,
}

impl Task {
    async fn run(mut self) {
        let mut open = true;
        let mut arrivals = Vec::new();
        while open || !self.waiting.is_empty() || !self.flights.is_empty() {
            self.launch();
            let room = WAITING.saturating_sub(self.waiting.len());
            tokio::select! {
                count = self.incoming.recv_many(&mut arrivals, room), if open && room > 0 => {
                    open = count > 0;
                    self.waiting.extend(arrivals.drain(..));
                }
                Some(landed) = self.flights.next() => self.land(landed),
                changed = self.state.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
            }
        }
    }

    /// Starts as many flights as there may be now.
    fn launch(&mut self) {
        let state = self.state.borrow_and_update().clone();
        match state {
            State::Down(_) => {}
            State::Blocked(_, reason) => {
                for request in self.waiting.drain(..) {
                    let blocked = Error::Blocked {
                        reason: reason.clone(),
                    };
                    let count = request.messages.len();
                    answer(request, for_each(count, blocked));
                }
            }
            // Its end is known before the link has told it.
            State::Up(live) if live.is_doubted() => {}
            State::Up(live) => {
                self.idle.retain(|(of, _)| Arc::ptr_eq(of, &live));
                while self.flights.len() < FLIGHTS {
                    let Some(requests) = self.next_batch() else {
                        return;
                    };
                    let flight = Flight {
                        live: Arc::clone(&live),
                        channel: self.idle.pop().map(|(_, channel)| channel),
                        requests,
                        state: self.state.clone(),
                        namespace: self.namespace.clone(),
                        patience: self.patience,
                    };
                    self.flights.push(Box::pin(flight.fly()));
                }
            }
        }
    }

    /// What flies next: requests up to the size of a batch, without those that
    /// nobody waits for any more.
    fn next_batch(&mut self) -> Option<Vec<Request>> {
        let mut batch: Vec<Request> = Vec::new();
        let mut count = 0_usize;
        while let Some(request) = self.waiting.pop_front() {
            if request.answer.is_closed() {
                continue;
            }
            let too_many = count.saturating_add(request.messages.len()) > BATCH;
            if !batch.is_empty() && (too_many || request.alone) {
                self.waiting.push_front(request);
                break;
            }
            let alone = request.alone;
            count = count.saturating_add(request.messages.len());
            batch.push(request);
            if alone {
                break;
            }
        }
        (!batch.is_empty()).then_some(batch)
    }

    fn land(&mut self, landed: Landed) {
        let Landed {
            live,
            requests,
            outcome,
        } = landed;
        match outcome {
            Outcome::Answered(channel, verdicts) => {
                self.idle.push((Arc::clone(&live), channel));
                let mut verdicts = verdicts.into_iter();
                for request in requests {
                    let answers = request
                        .messages
                        .iter()
                        .map(|message| result(&live, message, verdicts.next()))
                        .collect();
                    answer(request, answers);
                }
            }
            Outcome::Interrupted => self.once_more(requests),
            Outcome::Lost => {
                live.doubt();
                self.once_more(requests);
            }
            Outcome::Refused(error) => match <[Request; 1]>::try_from(requests) {
                Ok([request]) => {
                    tracing::warn!(%error, "RabbitMQ has refused to publish");
                    let count = request.messages.len();
                    answer(request, for_each(count, error));
                }
                Err(requests) => {
                    let alone = requests.into_iter().map(|request| Request {
                        alone: true,
                        ..request
                    });
                    self.once_more(alone.collect());
                }
            },
        }
    }

    /// Before everything else that waits, in the same order.
    fn once_more(&mut self, requests: Vec<Request>) {
        for request in requests.into_iter().rev() {
            self.waiting.push_front(request);
        }
    }
}

struct Flight {
    live: Arc<Live>,
    channel: Option<Channel>,
    requests: Vec<Request>,
    state: watch::Receiver<State>,
    namespace: Namespace,
    patience: Duration,
}

impl Flight {
    async fn fly(self) -> Landed {
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
        let batch = batch(&requests, &namespace);
        let outcome = tokio::select! {
            _ = other => Outcome::Interrupted,
            answered = timeout(patience, send(&live, channel, &batch)) => match answered {
                Ok(Ok((channel, verdicts))) => Outcome::Answered(channel, verdicts),
                Ok(Err(error)) if is_refusal(&error) => Outcome::Refused(error),
                Ok(Err(error)) => {
                    tracing::debug!(%error, "a batch is lost, and published again");
                    Outcome::Lost
                }
                Err(_elapsed) => Outcome::Lost,
            },
        };
        Landed {
            live,
            requests,
            outcome,
        }
    }
}

/// The messages of all requests, in order, each with the name of its queue.
fn batch<'a>(requests: &'a [Request], namespace: &Namespace) -> Vec<(ShortString, &'a Outgoing)> {
    requests
        .iter()
        .flat_map(|request| &request.messages)
        .map(|message| (message.target.name(namespace), message))
        .collect()
}

async fn send(
    live: &Live,
    channel: Option<Channel>,
    batch: &[(ShortString, &Outgoing)],
) -> Result<(Channel, Vec<Verdict>)> {
    live.declare(batch.iter().map(|(_, message)| &message.target))
        .await?;
    let channel = match channel {
        Some(channel) if channel.status().connected() => channel,
        Some(_) | None => live.confirm_channel().await?,
    };
    let verdicts = confirm::publish(&channel, batch)
        .await
        .map_err(|error| failed("publishing", error))?;
    Ok((channel, verdicts))
}

/// What a verdict means to whoever published.
fn result(live: &Live, message: &Outgoing, verdict: Option<Verdict>) -> Result<()> {
    match (verdict, &message.target) {
        (Some(Verdict::Taken), _) => Ok(()),
        (Some(Verdict::Unroutable), target) => {
            // The next publish declares it.
            live.forget(target);
            match target {
                Target::Route(route) => Err(Error::Unroutable {
                    route: route.clone(),
                }),
                Target::Quarantine => Err(Error::Refused),
            }
        }
        (Some(Verdict::Refused) | None, _) => Err(Error::Refused),
    }
}

/// Whoever asked may have gone away; that is their right.
fn answer(request: Request, answers: Vec<Result<()>>) {
    drop(request.answer.send(answers));
}
