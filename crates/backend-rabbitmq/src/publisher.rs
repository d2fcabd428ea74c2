//! The one task that owns the confirm channels; callers send it messages.
//!
//! ```text
//! publish() ─┐                         ┌─ channel, batch ─┐
//! publish() ─┼─ bounded queue ─ task ──┼─ channel, batch ─┼─ result ─ answers
//! publish() ─┘            ▲            └─ …               ┘    │
//!                         └────── connection lost: once more ──┘
//! ```
//!
//! A [`PublishBatch`](crate::publish_batch::PublishBatch) is one batch on one
//! channel; there are a few at a time. While they are under way, the messages
//! behind them gather into the next batch: nothing waits for company, and a
//! burst is still sent in few writes. Messages whose queues are still to be
//! declared are published apart: a declaration that takes long, or never ends,
//! must not hold up the rest.
//!
//! A batch that is lost with its connection is published again on the next one,
//! as long as the caller waits for it: a message may be published twice, and the
//! claim drops the duplicate. Each message has an answer of its own. Queues that
//! are silent, or cannot be declared, become
//! [unresponsive](crate::unresponsive_queues), and messages for them are
//! answered at once.
//!
//! A caller that has waited too long gets its answer from
//! [`Publisher::publish`].

mod backlog;
mod task;

use std::sync::Arc;
use std::time::Duration;

use drumline_backend::broker::{Error, Result};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};
use tokio_util::task::TaskTracker;

use self::task::Task;
use crate::confirm::Outgoing;
use crate::connection_supervisor::{ConnectionSupervisor, State};
use crate::error::{silent, stopped};
use crate::options::Options;
use crate::publish_results::{Answer, again, answers, for_each};
use crate::topology::Target;
use crate::unresponsive_queues::UnresponsiveQueues;

/// Calls that may wait for the task. Beyond it, callers wait in line.
const WAITING: usize = 1024;

/// The messages of one call.
type Call = Vec<(Outgoing, Answer)>;

/// A handle to the task; cheap to clone. The task ends when all handles are gone.
#[derive(Clone, Debug)]
pub(crate) struct Publisher {
    calls: mpsc::Sender<Call>,
    supervisor: ConnectionSupervisor,
    unresponsive: Arc<UnresponsiveQueues>,
    patience: Duration,
}

impl Publisher {
    pub(crate) fn start(
        options: &Options,
        supervisor: &ConnectionSupervisor,
        unresponsive: &Arc<UnresponsiveQueues>,
        tasks: &TaskTracker,
    ) -> Self {
        let (calls, incoming) = mpsc::channel(WAITING);
        let task = Task::new(options, incoming, supervisor.watch(), unresponsive, tasks);
        tasks.spawn(options.critical.contain("publisher", task.run()));
        Self {
            calls,
            supervisor: supervisor.clone(),
            unresponsive: Arc::clone(unresponsive),
            patience: options.patience,
        }
    }

    /// Publishes messages, and returns the answers in order, within the patience
    /// of the options. If the future is dropped, the messages may or may not have
    /// been sent.
    pub(crate) async fn publish(&self, messages: Vec<Outgoing>) -> Vec<Result<()>> {
        let count = messages.len();
        if count == 0 {
            return Vec::new();
        }
        // During an alarm the answer is known at once.
        if let State::Blocked(_, reason) = self.supervisor.state() {
            return for_each(count, &Error::Blocked { reason });
        }
        let deadline = Instant::now() + self.patience;
        let (answers, mut answered) = answers(count);
        let mut call = Vec::with_capacity(count);
        let mut targets = Vec::with_capacity(count);
        let is_calm = self.unresponsive.is_empty();
        for (message, answer) in messages.into_iter().zip(answers) {
            targets.push(message.target.clone());
            let refusal = (!is_calm).then(|| self.unresponsive.refusal(&message.target));
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
                    // Unresponsive queues are found sooner than this. Of the others
                    // only this is known: no answer has come.
                    let known = || self.unresponsive.refusal(&target);
                    given.unwrap_or_else(|| Err(known().unwrap_or_else(|| again(&why))))
                })
                .collect()
            }
        }
    }

    /// Asks a queue to prove again that it works.
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

    /// The connection that it publishes over.
    pub(crate) fn supervisor(&self) -> &ConnectionSupervisor {
        &self.supervisor
    }
}
