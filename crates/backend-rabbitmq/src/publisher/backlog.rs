//! The messages that wait in the publisher's task, and the batches made of them.
//!
//! ```text
//!                 ┌─ next_declared()    batches whose queues are all declared
//! waiting ────────┤
//!                 └─ undeclared ─ next_undeclared()    batches with a declaration
//! ```

use std::collections::VecDeque;
use std::sync::Arc;

use drumline_backend::broker::Error;

use crate::connection::Connection;
use crate::publish_batch::Item;
use crate::publish_results::again;
use crate::unresponsive_queues::UnresponsiveQueues;

/// Messages that may wait in the task. Over it, no further call is taken.
const MESSAGES: usize = 16 * 1024;

/// Messages in one batch: about what the broker confirms in some milliseconds.
const BATCH: usize = 1024;

/// The messages that no batch has yet.
pub(super) struct Backlog {
    /// The messages that are published next, in this order.
    waiting: VecDeque<Item>,
    /// The same, where the queue is still to be declared.
    undeclared: VecDeque<Item>,
    unresponsive: Arc<UnresponsiveQueues>,
}

impl Backlog {
    pub(super) fn new(unresponsive: Arc<UnresponsiveQueues>) -> Self {
        Self {
            waiting: VecDeque::new(),
            undeclared: VecDeque::new(),
            unresponsive,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.undeclared.is_empty()
    }

    /// Returns true if another call may be taken.
    pub(super) fn has_room(&self) -> bool {
        self.waiting.len() + self.undeclared.len() < MESSAGES
    }

    /// Appends messages.
    pub(super) fn extend(&mut self, items: impl Iterator<Item = Item>) {
        self.waiting.extend(items);
    }

    /// Puts messages before everything else that waits, in the same order.
    pub(super) fn put_back(&mut self, items: Vec<Item>) {
        for item in items.into_iter().rev() {
            self.waiting.push_front(item);
        }
    }

    /// Answers all messages with this error.
    pub(super) fn refuse_all(&mut self, error: &Error) {
        for item in self.waiting.drain(..).chain(self.undeclared.drain(..)) {
            item.answer.give(Err(again(error)));
        }
    }

    /// Takes the next batch of messages whose queues are declared. Messages for
    /// other queues wait apart.
    pub(super) fn next_declared(&mut self, connection: &Connection) -> Option<Vec<Item>> {
        let undeclared = &mut self.undeclared;
        next(&mut self.waiting, &self.unresponsive, |item| {
            if connection.is_declared(&item.message.target) {
                return Some(item);
            }
            undeclared.push_back(item);
            None
        })
    }

    /// Takes the batch whose queues are declared next.
    pub(super) fn next_undeclared(&mut self) -> Option<Vec<Item>> {
        next(&mut self.undeclared, &self.unresponsive, Some)
    }
}

/// Takes the next batch of the messages that `select` returns. Skips messages
/// that no caller waits for, and answers those for unresponsive queues.
fn next(
    queue: &mut VecDeque<Item>,
    unresponsive: &UnresponsiveQueues,
    mut select: impl FnMut(Item) -> Option<Item>,
) -> Option<Vec<Item>> {
    let mut batch: Vec<Item> = Vec::new();
    let is_calm = unresponsive.is_empty();
    while batch.len() < BATCH
        && let Some(item) = queue.pop_front()
    {
        if item.answer.is_closed() {
            continue;
        }
        if !is_calm && let Some(refusal) = unresponsive.refusal(&item.message.target) {
            item.answer.give(Err(refusal));
            continue;
        }
        let Some(item) = select(item) else {
            continue;
        };
        let is_alone = item.alone;
        if is_alone && !batch.is_empty() {
            queue.push_front(item);
            break;
        }
        batch.push(item);
        if is_alone {
            break;
        }
    }
    (!batch.is_empty()).then_some(batch)
}

#[cfg(test)]
mod tests {
    use drumline_backend::broker::Trouble;

    use super::*;
    use crate::confirm::Outgoing;
    use crate::publish_results::{Answered, answers};
    use crate::topology::Target;

    /// A message whose first byte is `number`, and its caller.
    fn item(number: u8, alone: bool) -> (Item, Answered) {
        let (mut given, answered) = answers(1);
        let item = Item {
            message: Outgoing {
                target: Target::Quarantine,
                payload: vec![number],
                headers: None,
                expires_after: None,
            },
            answer: given.pop().unwrap(),
            alone,
            refused: 0,
        };
        (item, answered)
    }

    fn numbers(batch: Option<Vec<Item>>) -> Vec<u8> {
        let batch = batch.unwrap_or_default().into_iter();
        batch.map(|item| item.message.payload[0]).collect()
    }

    #[test]
    fn a_message_that_goes_alone_shares_no_batch() {
        let mut backlog = Backlog::new(Arc::default());
        let (items, callers): (Vec<_>, Vec<_>) =
            [(1, false), (2, false), (3, true), (4, false), (5, false)]
                .map(|(number, alone)| item(number, alone))
                .into_iter()
                .unzip();
        backlog.undeclared.extend(items);
        let mut callers = callers;
        drop(callers.pop());
        assert_eq!(numbers(backlog.next_undeclared()), [1, 2]);
        assert_eq!(numbers(backlog.next_undeclared()), [3]);
        assert_eq!(
            numbers(backlog.next_undeclared()),
            [4],
            "no caller waits for 5"
        );
        assert!(backlog.next_undeclared().is_none() && backlog.is_empty());
    }

    #[tokio::test]
    async fn a_message_for_an_unresponsive_queue_is_answered_and_in_no_batch() {
        let unresponsive = Arc::new(UnresponsiveQueues::default());
        let mut backlog = Backlog::new(Arc::clone(&unresponsive));
        let (item, mut caller) = item(1, false);
        backlog.undeclared.push_back(item);
        unresponsive.add(&Target::Quarantine, Trouble::Silent);
        assert!(backlog.next_undeclared().is_none());
        assert!(matches!(&caller.all().await.unwrap()[..], [Err(_)]));
    }
}
