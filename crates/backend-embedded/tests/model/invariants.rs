//! The invariants of every world, and of a world at rest.

use drumline_protocol::{OperationId, State as StateCode, Status, Timestamp};

use crate::fixtures::{CHAIN, body, partition};
use crate::step::Broken;
use crate::world::{Worker, World};

impl World {
    /// Checks the invariants of every world.
    pub(crate) fn check(&self) -> Result<(), Broken> {
        self.order()?;
        self.one_holder()?;
        for &id in &self.created {
            self.somebody_offers(id)?;
            self.held_is_ready(id)?;
            self.one_place_of_a_ready_operation(id)?;
            self.expired_before_its_start(id)?;
            self.all_is_on_record(id)?;
        }
        self.due_set_is_what_waits_for_a_time()?;
        self.chain_is_what_is_not_over()
    }

    /// Checks a world that is at rest: everything is Completed, or waits for a
    /// person (or behind an operation that does, or that holds the chain).
    pub(crate) fn check_at_rest(&self) -> Result<(), Broken> {
        for &id in &self.created {
            let header = self.header(id);
            let settled = match header.status.state() {
                StateCode::Completed => true,
                StateCode::Suspended => header.due_on().is_none(),
                StateCode::Ready => self.predecessors(id).any(|before| {
                    let before = self.header(before);
                    let state = before.status.state();
                    let waits = state == StateCode::Suspended && before.due_on().is_none();
                    waits || before.holding
                }),
                StateCode::Locked => false,
            };
            if !settled {
                return Err(format!("{id} is {:?}, and all is at rest", header.status));
            }
        }
        Ok(())
    }

    /// No operation runs before all its predecessors are Completed, and none of
    /// them holds the chain.
    fn order(&self) -> Result<(), Broken> {
        for &id in &self.created {
            if self.state(id) != StateCode::Locked {
                continue;
            }
            for before in self.predecessors(id) {
                if !self.is_over(before) {
                    return Err(format!("{id} is Locked before {before} is over"));
                }
            }
        }
        Ok(())
    }

    /// Every Locked operation has a lock, no other operation has one, and at
    /// most one worker has its fence.
    fn one_holder(&self) -> Result<(), Broken> {
        for &id in &self.created {
            let held = self.store.lock(id);
            if held.is_some() != (self.state(id) == StateCode::Locked) {
                return Err(format!("{id}: its lock does not fit its state"));
            }
            let holders = self.workers.iter().filter(|worker| match worker {
                Worker::Running { id: own, fence } => {
                    *own == id && held.is_some_and(|held| held.fence == *fence)
                }
                Worker::Idle
                | Worker::Offered { .. }
                | Worker::ClaimUnclear { .. }
                | Worker::FinishUnclear { .. } => false,
            });
            if holders.count() > 1 {
                return Err(format!("{id} has two valid holders"));
            }
        }
        Ok(())
    }

    /// Only a Ready operation that would be offered is held, and a held one is not
    /// in the outbox.
    fn held_is_ready(&self, id: OperationId) -> Result<(), Broken> {
        let is_held = self.store.held_by(id).is_some();
        let waits = self.state(id) == StateCode::Ready && !self.is_parked(id);
        if is_held && (!waits || self.store.outbox_entry(id).is_some()) {
            return Err(format!("{id} is held, and is not what a pause holds"));
        }
        Ok(())
    }

    /// A Ready operation is in one of the outbox, the offered set, the held set, or
    /// parked. No other operation is in one of the sets.
    fn one_place_of_a_ready_operation(&self, id: OperationId) -> Result<(), Broken> {
        let places = [
            self.store.outbox_entry(id).is_some(),
            self.store.is_offered(id),
            self.store.held_by(id).is_some(),
            self.is_parked(id),
        ];
        let found = places.iter().filter(|is_there| **is_there).count();
        let expected = usize::from(self.state(id) == StateCode::Ready);
        if found == expected {
            Ok(())
        } else {
            let state = self.state(id);
            Err(format!("{id} is {state:?}, and in the places {places:?}"))
        }
    }

    /// A Ready operation has a way to a worker. Either it is parked behind
    /// another operation, or it is in the outbox, or a pause holds it, or the message of its
    /// last offer is on its way, or the broker has lost that message, which
    /// reconciliation repairs, or the message is in a queue that does not work,
    /// and will be offered round that.
    fn somebody_offers(&self, id: OperationId) -> Result<(), Broken> {
        let entry = self.store.outbox_entry(id);
        if self.state(id) != StateCode::Ready || self.is_parked(id) {
            return match entry {
                Some(_) => Err(format!("{id} is in the outbox and must not travel")),
                None => Ok(()),
            };
        }
        let last = self.store.last_offer(id);
        let covered = entry.is_some()
            || self.store.held_by(id).is_some()
            || last.is_some_and(|stamp| {
                self.on_its_way(id, stamp)
                    || self.lost.contains(&(id, stamp))
                    || self.is_stuck(id, stamp)
            });
        if covered {
            Ok(())
        } else {
            Err(format!("{id} is Ready, and nothing will offer it again"))
        }
    }

    /// No handler fails here: an operation that has Failed has expired. Its time
    /// to start was over, it was never started, and it does not hold its chain.
    fn expired_before_its_start(&self, id: OperationId) -> Result<(), Broken> {
        let header = self.header(id);
        let rightly = self.is_late && header.starts == 0 && !header.holding;
        if header.status == Status::Failed && !rightly {
            return Err(format!("{id} must not have expired"));
        }
        Ok(())
    }

    /// The due set has all operations that wake or expire, and no others, so the
    /// scheduler finds them.
    fn due_set_is_what_waits_for_a_time(&self) -> Result<(), Broken> {
        let end_of_time = Timestamp::from_millis(i64::MAX);
        let mut due = self.store.due(partition(), usize::MAX, end_of_time);
        due.sort_unstable();
        let waits = |id: &OperationId| self.header(*id).due_on().is_some();
        let mut waiting: Vec<_> = self.created.iter().copied().filter(waits).collect();
        waiting.sort_unstable();
        if due == waiting {
            Ok(())
        } else {
            Err(format!("the due set is {due:?}, not {waiting:?}"))
        }
    }

    /// The history has one entry for each commit, in their order, and ends where
    /// the header stands. No life here is so long that entries are dropped.
    fn all_is_on_record(&self, id: OperationId) -> Result<(), Broken> {
        let recorded = self.store.history(id).ok_or("it has no history")?;
        let stored = recorded.entries.clone();
        let header = recorded.header.clone();
        let history = recorded.history(&body());
        let mut versions = history.entries.iter().map(|entry| entry.version);
        let in_order = versions
            .by_ref()
            .zip(1..)
            .all(|(found, wanted)| found == wanted);
        let follow = history.entries.windows(2).all(|two| match two {
            [before, after] => before.status == after.from,
            _ => false,
        });
        let twice = stored.windows(2).any(|two| match two {
            [before, after] => before.version >= after.version,
            _ => true,
        });
        let last = history.entries.last();
        let agrees = last.is_some_and(|last| {
            (last.version, last.status, last.at)
                == (header.version, header.status, header.modified_on)
        });
        if in_order && follow && !twice && agrees && history.omitted == 0 {
            Ok(())
        } else {
            Err(format!("{id}: the history does not fit: {history:?}"))
        }
    }

    fn chain_is_what_is_not_over(&self) -> Result<(), Broken> {
        let waiting = self.in_chain().filter(|id| !self.is_over(*id));
        let waiting: Vec<_> = waiting.collect();
        if self.store.chain(partition(), CHAIN) == waiting {
            Ok(())
        } else {
            Err(format!("the chain is not {waiting:?}"))
        }
    }

    /// Returns true if it is Completed, and its successors may go on.
    fn is_over(&self, id: OperationId) -> bool {
        self.state(id) == StateCode::Completed && !self.header(id).holding
    }

    /// Returns true if it is Ready behind an operation that is not over.
    pub(crate) fn is_parked(&self, id: OperationId) -> bool {
        let waits = |before| !self.is_over(before);
        self.state(id) == StateCode::Ready && self.predecessors(id).any(waits)
    }

    fn state(&self, id: OperationId) -> StateCode {
        self.header(id).status.state()
    }

    /// The operations of the chain, in the order of their creation.
    fn in_chain(&self) -> impl Iterator<Item = OperationId> {
        let created = self.created.iter().zip(self.script.iter());
        created
            .filter(|(_, in_chain)| **in_chain)
            .map(|(id, _)| *id)
    }

    /// The operations that must be over before this one may start.
    fn predecessors(&self, id: OperationId) -> impl Iterator<Item = OperationId> {
        let chained = self.in_chain().any(|other| other == id);
        self.in_chain()
            .take_while(move |other| chained && *other != id)
    }
}
