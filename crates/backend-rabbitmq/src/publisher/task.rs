//! The publisher's task: starts batches, and answers what has come of them.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use drumline_backend::broker::{Error, Result, Trouble};
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use lapin::Channel;
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;
use tokio_util::task::TaskTracker;

use super::Call;
use super::backlog::Backlog;
use crate::confirm::Verdict;
use crate::connection::Connection;
use crate::connection_supervisor::State;
use crate::options::{Namespace, Options};
use crate::overdue::Overdue;
use crate::publish_batch::{Answered, BatchResult, Item, Kind, Outcome, PublishBatch};
use crate::topology::Target;
use crate::unresponsive_queues::{UnresponsiveQueues, refusal};

/// Batches at a time. One would leave the broker idle for the time that an
/// answer travels; with many, batches stay small and cost more.
const BATCHES: usize = 4;

/// Batches at a time that have queues to declare.
const DECLARING: usize = 4;

/// The number of times that a refused message is published again. A queue that
/// another process is just creating refuses messages until it has a leader.
const REFUSALS: u8 = 5;

/// The first pause before a refused message is published again; it doubles. Five
/// pauses are 1.5 s: an election takes milliseconds, or on a busy machine some
/// hundreds of them.
const REFUSAL_PAUSE: Duration = Duration::from_millis(50);

/// The task.
pub(super) struct Task {
    incoming: mpsc::Receiver<Call>,
    backlog: Backlog,
    batches: FuturesUnordered<BoxFuture<'static, BatchResult>>,
    /// Batches under way without a declaration.
    plain: usize,
    /// Batches under way with one.
    declaring: usize,
    /// Channels that wait for a batch, and the connections that they are of.
    idle: Vec<(Arc<Connection>, Channel)>,
    state: watch::Receiver<State>,
    unresponsive: Arc<UnresponsiveQueues>,
    tasks: TaskTracker,
    namespace: Namespace,
    patience: Duration,
    given_up_after: Duration,
}

impl Task {
    pub(super) fn new(
        options: &Options,
        incoming: mpsc::Receiver<Call>,
        state: watch::Receiver<State>,
        unresponsive: &Arc<UnresponsiveQueues>,
        tasks: &TaskTracker,
    ) -> Self {
        Self {
            incoming,
            backlog: Backlog::new(Arc::clone(unresponsive)),
            batches: FuturesUnordered::new(),
            plain: 0,
            declaring: 0,
            idle: Vec::new(),
            state,
            unresponsive: Arc::clone(unresponsive),
            tasks: tasks.clone(),
            namespace: options.namespace.clone(),
            patience: options.patience,
            given_up_after: options.replace_queue_after,
        }
    }

    /// Runs until all handles are gone and every message is answered.
    pub(super) async fn run(mut self) {
        let mut is_open = true;
        while is_open || !self.backlog.is_empty() || !self.batches.is_empty() {
            self.start_batches();
            let has_room = self.backlog.has_room();
            tokio::select! {
                call = self.incoming.recv(), if is_open && has_room => match call {
                    Some(call) => self.accept_all(call),
                    None => is_open = false,
                },
                Some(result) = self.batches.next() => self.finish(result),
                changed = self.state.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
            }
        }
    }

    /// Takes a call, and the calls that wait behind it.
    fn accept_all(&mut self, call: Call) {
        let mut next = Some(call);
        while let Some(call) = next {
            let items = call.into_iter().map(|(message, answer)| Item {
                message,
                answer,
                alone: false,
                refused: 0,
            });
            self.backlog.extend(items);
            let has_room = self.backlog.has_room();
            next = has_room.then(|| self.incoming.try_recv().ok()).flatten();
        }
    }

    /// Starts as many batches as there may be now.
    fn start_batches(&mut self) {
        let state = self.state.borrow_and_update().clone();
        match state {
            State::Down(_) => {}
            State::Blocked(_, reason) => {
                self.backlog.refuse_all(&Error::Blocked { reason });
            }
            // Its end is known here before the supervisor reports it.
            State::Up(connection) if connection.is_doubted() => {}
            State::Up(connection) => {
                self.idle.retain(|(of, _)| Arc::ptr_eq(of, &connection));
                while self.plain < BATCHES {
                    let Some(items) = self.backlog.next_declared(&connection) else {
                        break;
                    };
                    self.plain += 1;
                    self.start(&connection, items, Kind::Plain);
                }
                while self.declaring < DECLARING {
                    let Some(items) = self.backlog.next_undeclared() else {
                        break;
                    };
                    self.declaring += 1;
                    self.start(&connection, items, Kind::Declaring);
                }
            }
        }
    }

    fn start(&mut self, connection: &Arc<Connection>, items: Vec<Item>, kind: Kind) {
        let batch = PublishBatch {
            connection: Arc::clone(connection),
            channel: self.idle.pop().map(|(_, channel)| channel),
            items,
            state: self.state.clone(),
            namespace: self.namespace.clone(),
            patience: self.patience,
            kind,
        };
        self.batches.push(Box::pin(batch.run()));
    }

    fn finish(&mut self, result: BatchResult) {
        let BatchResult {
            connection,
            items,
            outcome,
            kind,
        } = result;
        match kind {
            Kind::Plain => self.plain = self.plain.saturating_sub(1),
            Kind::Declaring => self.declaring = self.declaring.saturating_sub(1),
            Kind::Pause => {}
        }
        match outcome {
            Outcome::Answered(answered) => self.answer(&connection, items, answered),
            Outcome::Interrupted => self.backlog.put_back(items),
            Outcome::Lost => {
                connection.doubt();
                self.backlog.put_back(items);
            }
            Outcome::Poisoned(targets) => {
                connection.doubt();
                for target in &targets {
                    self.unresponsive.add(target, Trouble::Silent);
                }
                self.backlog.put_back(items);
            }
            Outcome::Refused(error) => match <[Item; 1]>::try_from(items) {
                Ok([item]) => {
                    tracing::warn!(queue = %item.message.target, %error, "RabbitMQ refused a message");
                    item.answer.give(Err(error));
                }
                Err(items) => {
                    let alone = items.into_iter().map(|item| Item {
                        alone: true,
                        ..item
                    });
                    self.backlog.put_back(alone.collect());
                }
            },
        }
    }

    fn answer(&mut self, connection: &Arc<Connection>, items: Vec<Item>, answered: Answered) {
        let Answered {
            verdicts,
            published,
        } = answered;
        // Before any answer is given: the caller may come again at once.
        let silent = self.note_unresponsive(connection, &items, &verdicts);
        match published {
            None => {}
            Some((channel, _)) if silent.is_empty() => {
                self.idle.push((Arc::clone(connection), channel));
            }
            Some((channel, pending)) => {
                let was_published = |(_, verdict): &(&Item, &Option<Verdict>)| {
                    !matches!(verdict, Some(Verdict::Undeclared(_)))
                };
                let of_messages = items.iter().zip(&verdicts).filter(was_published);
                let overdue = Overdue {
                    connection: Arc::clone(connection),
                    channel,
                    pending,
                    targets: of_messages
                        .map(|(item, _)| item.message.target.clone())
                        .collect(),
                    unresponsive: Arc::clone(&self.unresponsive),
                    given_up_after: self.given_up_after,
                };
                overdue.watch(&self.tasks);
            }
        }
        let mut refused = Vec::new();
        for (item, verdict) in items.into_iter().zip(verdicts) {
            let is_refused = verdict == Some(Verdict::Refused);
            if is_refused && item.refused < REFUSALS && !item.answer.is_closed() {
                refused.push(item);
            } else {
                if is_refused {
                    // It goes on refusing: the next callers need not find out.
                    self.unresponsive.add(&item.message.target, Trouble::Silent);
                }
                let answer = result(connection, &item.message.target, verdict);
                item.answer.give(answer);
            }
        }
        self.try_refused(refused);
    }

    /// Notes queues that are silent or cannot be declared as unresponsive, and
    /// those that have proved to work. Returns the silent ones.
    fn note_unresponsive(
        &self,
        connection: &Connection,
        items: &[Item],
        verdicts: &[Option<Verdict>],
    ) -> HashSet<Target> {
        let mut silent = HashSet::new();
        let mut proven = HashSet::new();
        for (item, verdict) in items.iter().zip(verdicts) {
            let target = &item.message.target;
            match verdict {
                Some(Verdict::Taken) => drop(proven.insert(target)),
                Some(Verdict::Undeclared(trouble)) => {
                    self.unresponsive.add(target, trouble.clone());
                }
                Some(Verdict::Refused | Verdict::Unroutable) => {}
                None => drop(silent.insert(target.clone())),
            }
        }
        for target in &silent {
            self.unresponsive.add(target, Trouble::Silent);
        }
        connection.prove(proven.into_iter().filter(|target| !silent.contains(target)));
        silent
    }

    /// Publishes refused messages again, after a pause.
    fn try_refused(&mut self, refused: Vec<Item>) {
        let Some(tried) = refused.iter().map(|item| item.refused).max() else {
            return;
        };
        let State::Up(connection) = self.state.borrow().clone() else {
            return self.backlog.put_back(refused);
        };
        let items = refused.into_iter().map(|item| Item {
            refused: item.refused.saturating_add(1),
            ..item
        });
        let result = BatchResult {
            connection,
            items: items.collect(),
            outcome: Outcome::Interrupted,
            kind: Kind::Pause,
        };
        let pause = REFUSAL_PAUSE.saturating_mul(1 << tried.min(REFUSALS));
        self.batches.push(Box::pin(async move {
            sleep(pause).await;
            result
        }));
    }
}

/// Translates a verdict for the caller.
fn result(connection: &Connection, target: &Target, verdict: Option<Verdict>) -> Result<()> {
    match verdict {
        Some(Verdict::Taken) => Ok(()),
        Some(Verdict::Unroutable) => {
            // The next publish declares it.
            connection.forget(target);
            match target {
                Target::Route(route) => Err(Error::Unroutable {
                    route: route.clone(),
                }),
                Target::Quarantine | Target::Requests | Target::RefusedRequests => {
                    Err(Error::Refused)
                }
            }
        }
        Some(Verdict::Refused) => Err(Error::Refused),
        Some(Verdict::Undeclared(trouble)) => Err(refusal(target, trouble)),
        // The queue may or may not have the message.
        None => Err(refusal(target, Trouble::Silent)),
    }
}
