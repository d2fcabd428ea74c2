//! Relay: publishes entries of the outbox that were left there.
//!
//! A create, a resume or a promotion publishes its own entry at once. An entry
//! that is still there after a second was left by a crash, by a broker that was
//! unavailable, or by a dispatcher that had no room.
//!
//! The flows of a partition share each look. So one organization's backlog does not
//! delay the first entry of another, nor one queue's that of another queue. Entries
//! that no queue takes stay, and do not hold up the entries of their flow behind them.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::time::Duration;

use drumline_backend::store::{FlowEntries, OutboxLook, OutboxPage, Stamp, Work};
use drumline_backend::{dispatch, store};
use drumline_protocol::{FlowKey, OperationId, Partition};
use futures_util::future::join_all;

use super::MaintenanceOptions;
use super::task::{Look, Task, for_each};
use crate::service::QueueManager;

/// The relay of one manager.
#[derive(Debug)]
pub(super) struct Relay {
    /// Younger entries are left to the process that made them.
    age: Duration,
    batch: usize,
    /// The places at which the next looks start.
    rounds: HashMap<Partition, Round>,
}

/// The round through the flows of one partition.
#[derive(Clone, Debug, Default)]
struct Round {
    /// The flow behind which the next look starts; `None`: at the first.
    after: Option<FlowKey>,
    /// The flows that go on behind an entry, because no queue took some before it.
    behind: BTreeMap<FlowKey, Stamp>,
}

impl Relay {
    pub(super) fn new(options: &MaintenanceOptions) -> Self {
        Self {
            age: options.relay_age,
            batch: options.batch,
            rounds: HashMap::new(),
        }
    }
}

impl Task for Relay {
    const NAME: &'static str = "relay";

    async fn look(&mut self, manager: &QueueManager, share: &[Partition]) -> store::Result<Look> {
        if let Err(error) = manager.backend().broker.check() {
            // No error of the manager, which can do nothing before the broker is
            // back.
            manager.metrics().failed(Self::NAME);
            tracing::debug!(%error, "nothing can be relayed now");
            return Ok(Look::Clear);
        }
        let with_entries = manager.store().with_work(Work::Outbox, share).await?;
        if with_entries.partitions.is_empty() {
            self.rounds.clear();
            return Ok(Look::Nothing(None));
        }
        let this = &*self;
        let relayed = for_each(&with_entries.partitions, |partition| async move {
            let round = this.rounds.get(&partition).cloned().unwrap_or_default();
            Ok((partition, this.relay(manager, partition, round).await?))
        });
        let relayed = relayed.await?;
        self.rounds.clear();
        let mut look = Look::Clear;
        for (partition, (then, round)) in relayed {
            self.rounds.insert(partition, round);
            if then == Look::More {
                look = Look::More;
            }
        }
        Ok(look)
    }
}

impl Relay {
    async fn relay(
        &self,
        manager: &QueueManager,
        partition: Partition,
        mut round: Round,
    ) -> store::Result<(Look, Round)> {
        let look = OutboxLook {
            age: self.age,
            limit: self.batch,
            after: round.after,
            behind: round.behind_in(self.batch),
        };
        let page = manager.store().outbox_entries(partition, &look).await?;
        let entries = page.flows.iter().flat_map(|flow| &flow.entries);
        let published = entries.map(|entry| {
            manager
                .dispatcher()
                .publish(entry.operation.offer(), entry.stamp)
        });
        let mut answers = join_all(published).await.into_iter();
        round.forget_ends(&page);
        let mut taken = Vec::new();
        let mut then = Look::Clear;
        for flow in &page.flows {
            let answers: Vec<_> = answers.by_ref().take(flow.entries.len()).collect();
            taken.extend(taken_of(flow, &answers));
            if round.note(flow, &answers) && flow.has_more {
                then = Look::More;
            }
        }
        round.after = page.next;
        if round.after.is_some() {
            then = Look::More;
        }
        manager.metrics().relayed.inc_by(taken.len() as u64);
        // At once and not by the dispatcher, lazily: the next look may begin now,
        // and would publish them again.
        manager.store().remove_from_outbox(&taken).await?;
        Ok((then, round))
    }
}

/// The entries that the broker has taken.
fn taken_of(
    flow: &FlowEntries,
    answers: &[Result<(), dispatch::Error>],
) -> impl Iterator<Item = (OperationId, Stamp)> {
    let answered = flow.entries.iter().zip(answers);
    let taken = answered.filter(|(_, answer)| answer.is_ok());
    taken.map(|(entry, _)| (entry.operation.id, entry.stamp))
}

impl Round {
    /// The places in the next `most` flows. A look goes through no more flows than it
    /// has entries.
    fn behind_in(&self, most: usize) -> BTreeMap<FlowKey, Stamp> {
        let start = self.after.map_or(Bound::Unbounded, Bound::Excluded);
        let next = self.behind.range((start, Bound::Unbounded)).take(most);
        next.map(|(flow, stamp)| (*flow, *stamp)).collect()
    }

    /// Lets the flows begin again that had no entries left behind their place.
    fn forget_ends(&mut self, page: &OutboxPage) {
        let after = self.after;
        self.behind.retain(|flow, _| {
            let was_looked_at = after.is_none_or(|after| *flow > after)
                && page.next.is_none_or(|next| *flow <= next);
            !was_looked_at || page.flows.iter().any(|found| found.flow == *flow)
        });
    }

    /// Notes the answers to the entries of a flow. Returns true if all were taken.
    fn note(&mut self, flow: &FlowEntries, answers: &[Result<(), dispatch::Error>]) -> bool {
        let is_refused = |answer: &Result<(), dispatch::Error>| match answer {
            Err(dispatch::Error::Broker(error)) => error.is_of_queue(),
            Err(dispatch::Error::Stopped) | Ok(()) => false,
        };
        let all_taken = answers.iter().all(Result::is_ok);
        // Entries that no queue takes, or that no process can read, must not be all
        // that is ever looked at: the relay goes on behind them, and at the end
        // begins again with the oldest.
        let stays = flow.unreadable > 0 || answers.iter().any(is_refused);
        if stays || (all_taken && self.behind.contains_key(&flow.flow)) {
            self.behind.insert(flow.flow, flow.last);
        }
        all_taken
    }
}
