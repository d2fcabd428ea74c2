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
//! A [`Flight`] is one batch on one channel; there are a few at a time. While
//! they are under way the requests behind them gather into the next batch, so
//! that nothing waits for company and a burst is still sent in few writes.
//!
//! A flight that is lost with its connection is flown again on the next one,
//! as long as somebody waits for it: a message may be published twice, which
//! the claim sorts out. A flight of which a part is not confirmed is answered
//! for what it is, and the queues that are silent become
//! [`suspects`](crate::suspects).
//!
//! Whoever has waited too long gets his answer from [`Publisher::publish`].

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use drumline_backend::broker::{Error, Result};
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use lapin::Channel;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::task::TaskTracker;

use crate::answers::{answer, answer_each, for_each, no_answer, with_verdicts};
use crate::confirm::{Outgoing, Verdict};
use crate::error::{silent, stopped};
use crate::flight::{Flight, Landed, Outcome, Request, messages};
use crate::link::{Link, State};
use crate::live::Live;
use crate::options::{Namespace, Options};
use crate::suspects::Overdue;
use crate::topology::Target;

/// Requests that may wait for the task. Over it, publishers wait in line.
const WAITING: usize = 1024;

/// Messages in one batch, unless one request alone has more: about what the
/// broker confirms in some milliseconds.
const BATCH: usize = 1024;

/// Flights at a time. One would leave the broker idle for the time that an
/// answer travels; with many, batches stay small and cost more.
const FLIGHTS: usize = 4;

/// How often a refused message is published again. A queue that somebody else
/// is just creating refuses what comes before it has a leader.
const REFUSALS: u8 = 5;

/// The first pause before that; it doubles. Five of them are 1.5 s: an election
/// takes milliseconds, or on a busy machine some hundreds of them.
const REFUSAL_PAUSE: Duration = Duration::from_millis(50);

/// A handle to the task; cheap to clone. The task ends when all are gone.
#[derive(Clone, Debug)]
pub(crate) struct Publisher {
    requests: mpsc::Sender<Request>,
    link: Link,
    patience: Duration,
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
            tasks: tasks.clone(),
            namespace: options.namespace.clone(),
            patience: options.patience,
            lost_after: options.replace_queue_after,
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
        // Whoever comes during an alarm need not queue for the answer, nor
        // whoever writes to a queue that is known to be silent.
        match self.link.state() {
            State::Down(_) => {}
            State::Blocked(_, reason) => return for_each(count, Error::Blocked { reason }),
            State::Up(live) if live.suspects.is_empty() => {}
            State::Up(live) => {
                let is_suspect = |message: &Outgoing| live.suspects.contains(&message.target);
                if messages.iter().any(is_suspect) {
                    return self.publish_some(messages, is_suspect).await;
                }
            }
        }
        self.publish_all(messages).await
    }

    /// Publishes all but those that `refused` picks.
    async fn publish_some(
        &self,
        messages: Vec<Outgoing>,
        refused: impl Fn(&Outgoing) -> bool,
    ) -> Vec<Result<()>> {
        let places: Vec<Option<Error>> = messages
            .iter()
            .map(|message| refused(message).then(|| no_answer(&message.target)))
            .collect();
        let rest = messages.into_iter().filter(|message| !refused(message));
        let mut answers = self.publish_all(rest.collect()).await.into_iter();
        places
            .into_iter()
            .map(|place| match place {
                Some(error) => Err(error),
                None => answers.next().unwrap_or(Err(Error::Refused)),
            })
            .collect()
    }

    async fn publish_all(&self, messages: Vec<Outgoing>) -> Vec<Result<()>> {
        let count = messages.len();
        if count == 0 {
            return Vec::new();
        }
        let deadline = Instant::now() + self.patience;
        let (answer, answered) = oneshot::channel();
        let request = Request {
            messages,
            answer,
            alone: false,
            refused: 0,
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

/// The task.
struct Task {
    incoming: mpsc::Receiver<Request>,
    /// What flies next, in this order.
    waiting: VecDeque<Request>,
    flights: FuturesUnordered<BoxFuture<'static, Landed>>,
    /// Channels that wait for a batch, and the connections that they are of.
    idle: Vec<(Arc<Live>, Channel)>,
    state: watch::Receiver<State>,
    tasks: TaskTracker,
    namespace: Namespace,
    patience: Duration,
    lost_after: Duration,
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
            Outcome::Confirmed(channel, verdicts) => {
                let requests = self.keep_refused(&live, requests, verdicts);
                for (request, verdicts) in requests {
                    answer_each(&live, request, verdicts);
                }
                self.idle.push((live, channel));
            }
            Outcome::Partly(channel, pending) => {
                let verdicts = pending.verdicts();
                let silent = verdicts.iter().zip(messages(&requests));
                let silent = silent.filter(|(verdict, _)| verdict.is_none());
                let silent: HashSet<Target> =
                    silent.map(|(_, message)| message.target.clone()).collect();
                let overdue = Overdue {
                    live: Arc::clone(&live),
                    channel,
                    pending,
                    targets: silent.into_iter().collect(),
                    lost_after: self.lost_after,
                };
                // Before anybody is answered: he may come again at once.
                overdue.watch(&self.tasks);
                for (request, verdicts) in with_verdicts(requests, verdicts) {
                    answer_each(&live, request, verdicts);
                }
            }
            Outcome::Undeclared(silent) => {
                let concerned = |request: &Request| {
                    let mut messages = request.messages.iter();
                    messages.any(|message| silent.contains(&message.target))
                };
                let (hit, spared): (Vec<Request>, Vec<Request>) =
                    requests.into_iter().partition(concerned);
                for request in hit {
                    let target = request.messages.first().map(|message| &message.target);
                    let error = target.map_or_else(stopped, no_answer);
                    let count = request.messages.len();
                    answer(request, for_each(count, error));
                }
                self.once_more(spared);
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

    /// Lets requests of which some was refused fly again, after a pause; gives
    /// back the others.
    fn keep_refused(
        &mut self,
        live: &Arc<Live>,
        requests: Vec<Request>,
        verdicts: Vec<Option<Verdict>>,
    ) -> Vec<(Request, Vec<Option<Verdict>>)> {
        let again = |(request, verdicts): &(Request, Vec<Option<Verdict>>)| {
            request.refused < REFUSALS && verdicts.contains(&Some(Verdict::Refused))
        };
        let requests = with_verdicts(requests, verdicts).into_iter();
        let (again, done): (Vec<_>, Vec<_>) = requests.partition(again);
        let tried = again.iter().map(|(request, _)| request.refused).max();
        if let Some(tried) = tried {
            let requests = again.into_iter().map(|(request, _)| Request {
                refused: request.refused.saturating_add(1),
                ..request
            });
            let landed = Landed {
                live: Arc::clone(live),
                requests: requests.collect(),
                outcome: Outcome::Interrupted,
            };
            let pause = REFUSAL_PAUSE.saturating_mul(1 << tried.min(REFUSALS));
            self.flights.push(Box::pin(async move {
                sleep(pause).await;
                landed
            }));
        }
        done
    }

    /// Before everything else that waits, in the same order.
    fn once_more(&mut self, requests: Vec<Request>) {
        for request in requests.into_iter().rev() {
            self.waiting.push_front(request);
        }
    }
}
