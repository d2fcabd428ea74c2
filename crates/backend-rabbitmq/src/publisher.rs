//! The one task that owns the confirm channels; everybody else sends it
//! messages.
//!
//! ```text
//! publish() ─┐                         ┌─ channel, batch ─┐
//! publish() ─┼─ bounded queue ─ task ──┼─ channel, batch ─┼─ result ─ answers
//! publish() ─┘            ▲            └─ …               ┘    │
//!                         └────── connection lost: once more ──┘
//! ```
//!
//! A [`PublishBatch`] is one batch on one channel; there are a few at a time. While
//! they are under way the messages behind them gather into the next batch, so
//! that nothing waits for company and a burst is still sent in few writes.
//! Messages whose queues are still to be declared go apart from the others:
//! a declaration that takes long, or never ends, must cost nobody else time.
//!
//! A batch that is lost with its connection is published again on the next one,
//! as long as the caller waits for it: a message may be published twice, which
//! the claim sorts out. Each message has an answer of its own; the queues that
//! are silent, or cannot be declared, become [`suspects`](crate::suspects), and
//! messages for suspects are answered at once.
//!
//! A caller that has waited too long gets its answer from
//! [`Publisher::publish`].

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use drumline_backend::broker::{Error, Result, Trouble};
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use lapin::Channel;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::task::TaskTracker;

use crate::confirm::{Outgoing, Verdict};
use crate::connection::Connection;
use crate::connection_supervisor::{ConnectionSupervisor, State};
use crate::error::{silent, stopped};
use crate::options::{Namespace, Options};
use crate::overdue::Overdue;
use crate::publish_batch::{Answered, BatchResult, Item, Kind, Outcome, PublishBatch};
use crate::publish_results::{Answer, again, answers, for_each};
use crate::suspects::{Suspects, refusal};
use crate::topology::Target;

/// Calls that may wait for the task. Over it, callers wait in line.
const WAITING: usize = 1024;

/// Messages that may wait in the task. Over it, no further call is taken.
const MESSAGES: usize = 16 * 1024;

/// Messages in one batch: about what the broker confirms in some milliseconds.
const BATCH: usize = 1024;

/// Batches at a time. One would leave the broker idle for the time that an
/// answer travels; with many, batches stay small and cost more.
const BATCHES: usize = 4;

/// Batches at a time that have queues to declare.
const DECLARING: usize = 4;

/// The number of times that a refused message is published again. A queue that somebody else
/// is just creating refuses what comes before it has a leader.
const REFUSALS: u8 = 5;

/// The first pause before that; it doubles. Five of them are 1.5 s: an election
/// takes milliseconds, or on a busy machine some hundreds of them.
const REFUSAL_PAUSE: Duration = Duration::from_millis(50);

/// The messages of one call.
type Call = Vec<(Outgoing, Answer)>;

/// A handle to the task; cheap to clone. The task ends when all are gone.
#[derive(Clone, Debug)]
pub(crate) struct Publisher {
    calls: mpsc::Sender<Call>,
    supervisor: ConnectionSupervisor,
    suspects: Arc<Suspects>,
    patience: Duration,
}

impl Publisher {
    pub(crate) fn start(
        options: &Options,
        supervisor: &ConnectionSupervisor,
        suspects: &Arc<Suspects>,
        tasks: &TaskTracker,
    ) -> Self {
        let (calls, incoming) = mpsc::channel(WAITING);
        let task = Task {
            incoming,
            waiting: VecDeque::new(),
            undeclared: VecDeque::new(),
            batches: FuturesUnordered::new(),
            plain: 0,
            declaring: 0,
            idle: Vec::new(),
            state: supervisor.watch(),
            suspects: Arc::clone(suspects),
            tasks: tasks.clone(),
            namespace: options.namespace.clone(),
            patience: options.patience,
            given_up_after: options.replace_queue_after,
        };
        tasks.spawn(task.run());
        Self {
            calls,
            supervisor: supervisor.clone(),
            suspects: Arc::clone(suspects),
            patience: options.patience,
        }
    }

    /// Publishes messages: the answers in order. Answers within the patience of
    /// the options. When the future is dropped, the messages may or may not
    /// have been sent.
    pub(crate) async fn publish(&self, messages: Vec<Outgoing>) -> Vec<Result<()>> {
        let count = messages.len();
        if count == 0 {
            return Vec::new();
        }
        // During an alarm nobody need queue for the answer.
        if let State::Blocked(_, reason) = self.supervisor.state() {
            return for_each(count, &Error::Blocked { reason });
        }
        let deadline = Instant::now() + self.patience;
        let (answers, mut answered) = answers(count);
        let mut call = Vec::with_capacity(count);
        let mut targets = Vec::with_capacity(count);
        let is_calm = self.suspects.is_empty();
        for (message, answer) in messages.into_iter().zip(answers) {
            targets.push(message.target.clone());
            let refusal = (!is_calm).then(|| self.suspects.refusal(&message.target));
            match refusal.flatten() {
                Some(refusal) => answer.give(Err(refusal)),
                None => call.push((message, answer)),
            }
        }
        let asked = async {
            if !call.is_empty() {
                self.calls.send(call).await.ok()?;
            }
            answered.all().await
        };
        match timeout_at(deadline, asked).await {
            Ok(Some(answers)) => answers,
            Ok(None) => for_each(count, &stopped()),
            Err(_elapsed) => {
                let why = self.supervisor.check().err();
                let why = why.unwrap_or_else(|| silent("publishing", self.patience));
                let given = answered.so_far();
                let all = given.into_iter().zip(targets);
                all.map(|(given, target)| {
                    // Suspects are found sooner than this; of the others nothing
                    // is known but that no answer has come.
                    let known = || self.suspects.refusal(&target);
                    given.unwrap_or_else(|| Err(known().unwrap_or_else(|| again(&why))))
                })
                .collect()
            }
        }
    }

    /// A queue is to prove again that it works.
    pub(crate) fn forget_proof(&self, target: &Target) {
        match self.supervisor.state() {
            State::Up(connection) | State::Blocked(connection, _) => {
                connection.forget_proof(target);
            }
            State::Down(_) => {}
        }
    }

    /// Returns true if a queue has confirmed a message on the present connection.
    pub(crate) fn is_proven(&self, target: &Target) -> bool {
        match self.supervisor.state() {
            State::Up(connection) | State::Blocked(connection, _) => connection.is_proven(target),
            State::Down(_) => false,
        }
    }

    /// The link that it publishes over.
    pub(crate) fn supervisor(&self) -> &ConnectionSupervisor {
        &self.supervisor
    }
}

/// The task.
struct Task {
    incoming: mpsc::Receiver<Call>,
    /// The messages that are published next, in this order.
    waiting: VecDeque<Item>,
    /// The same, where the queue is still to be declared.
    undeclared: VecDeque<Item>,
    batches: FuturesUnordered<BoxFuture<'static, BatchResult>>,
    /// Batches under way without a declaration.
    plain: usize,
    /// Batches under way with one.
    declaring: usize,
    /// Channels that wait for a batch, and the connections that they are of.
    idle: Vec<(Arc<Connection>, Channel)>,
    state: watch::Receiver<State>,
    suspects: Arc<Suspects>,
    tasks: TaskTracker,
    namespace: Namespace,
    patience: Duration,
    given_up_after: Duration,
}

impl Task {
    async fn run(mut self) {
        let mut is_open = true;
        while is_open || self.has_messages() || !self.batches.is_empty() {
            self.start_batches();
            let has_room = self.waiting.len() + self.undeclared.len() < MESSAGES;
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

    fn has_messages(&self) -> bool {
        !self.waiting.is_empty() || !self.undeclared.is_empty()
    }

    /// Takes a call, and those that wait behind it.
    fn accept_all(&mut self, call: Call) {
        let mut next = Some(call);
        while let Some(call) = next {
            let items = call.into_iter().map(|(message, answer)| Item {
                message,
                answer,
                alone: false,
                refused: 0,
            });
            self.waiting.extend(items);
            let has_room = self.waiting.len() + self.undeclared.len() < MESSAGES;
            next = has_room.then(|| self.incoming.try_recv().ok()).flatten();
        }
    }

    /// Starts as many batches as there may be now.
    fn start_batches(&mut self) {
        let state = self.state.borrow_and_update().clone();
        match state {
            State::Down(_) => {}
            State::Blocked(_, reason) => {
                let blocked = Error::Blocked { reason };
                for item in self.waiting.drain(..).chain(self.undeclared.drain(..)) {
                    item.answer.give(Err(again(&blocked)));
                }
            }
            // Its end is known before the link has told it.
            State::Up(connection) if connection.is_doubted() => {}
            State::Up(connection) => {
                self.idle.retain(|(of, _)| Arc::ptr_eq(of, &connection));
                while self.plain < BATCHES {
                    let Some(items) = self.next_batch(&connection) else {
                        break;
                    };
                    self.plain += 1;
                    self.start(&connection, items, Kind::Plain);
                }
                while self.declaring < DECLARING {
                    let Some(items) = self.next_undeclared() else {
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

    /// Takes the next batch: messages whose queues are declared. Those for
    /// others are put aside, those for suspects are answered.
    fn next_batch(&mut self, connection: &Connection) -> Option<Vec<Item>> {
        let mut batch: Vec<Item> = Vec::new();
        let is_calm = self.suspects.is_empty();
        while let Some(item) = self.waiting.pop_front() {
            if item.answer.is_closed() {
                continue;
            }
            if !is_calm && let Some(refusal) = self.suspects.refusal(&item.message.target) {
                item.answer.give(Err(refusal));
                continue;
            }
            if !connection.is_declared(&item.message.target) {
                self.undeclared.push_back(item);
                continue;
            }
            let is_full = batch.len() >= BATCH || (item.alone && !batch.is_empty());
            if is_full {
                self.waiting.push_front(item);
                break;
            }
            let is_alone = item.alone;
            batch.push(item);
            if is_alone {
                break;
            }
        }
        (!batch.is_empty()).then_some(batch)
    }

    /// The batch whose queues are declared next.
    fn next_undeclared(&mut self) -> Option<Vec<Item>> {
        let mut batch: Vec<Item> = Vec::new();
        let is_calm = self.suspects.is_empty();
        while batch.len() < BATCH
            && let Some(item) = self.undeclared.pop_front()
        {
            if item.answer.is_closed() {
                continue;
            }
            if !is_calm && let Some(refusal) = self.suspects.refusal(&item.message.target) {
                item.answer.give(Err(refusal));
                continue;
            }
            if item.alone && !batch.is_empty() {
                self.undeclared.push_front(item);
                break;
            }
            let is_alone = item.alone;
            batch.push(item);
            if is_alone {
                break;
            }
        }
        (!batch.is_empty()).then_some(batch)
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
            Outcome::Interrupted => self.once_more(items),
            Outcome::Lost => {
                connection.doubt();
                self.once_more(items);
            }
            Outcome::Poisoned(targets) => {
                connection.doubt();
                for target in &targets {
                    self.suspects.suspect(target, Trouble::Silent);
                }
                self.once_more(items);
            }
            Outcome::Refused(error) => match <[Item; 1]>::try_from(items) {
                Ok([item]) => {
                    tracing::warn!(queue = %item.message.target, %error, "RabbitMQ has refused to publish");
                    item.answer.give(Err(error));
                }
                Err(items) => {
                    let alone = items.into_iter().map(|item| Item {
                        alone: true,
                        ..item
                    });
                    self.once_more(alone.collect());
                }
            },
        }
    }

    fn answer(&mut self, connection: &Arc<Connection>, items: Vec<Item>, answered: Answered) {
        let Answered {
            verdicts,
            published,
        } = answered;
        // Before anybody is answered: the caller may come again at once.
        let silent = self.note_suspects(connection, &items, &verdicts);
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
                    suspects: Arc::clone(&self.suspects),
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
                    // It goes on refusing: others need not find that out again.
                    self.suspects.suspect(&item.message.target, Trouble::Silent);
                }
                let answer = result(connection, &item.message.target, verdict);
                item.answer.give(answer);
            }
        }
        self.try_refused(refused);
    }

    /// Makes suspects of queues that are silent or cannot be declared, and
    /// notes those that have proved to work. The silent ones.
    fn note_suspects(
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
                    self.suspects.suspect(target, trouble.clone());
                }
                Some(Verdict::Refused | Verdict::Unroutable) => {}
                None => drop(silent.insert(target.clone())),
            }
        }
        for target in &silent {
            self.suspects.suspect(target, Trouble::Silent);
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
            return self.once_more(refused);
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

    /// Before everything else that waits, in the same order.
    fn once_more(&mut self, items: Vec<Item>) {
        for item in items.into_iter().rev() {
            self.waiting.push_front(item);
        }
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
