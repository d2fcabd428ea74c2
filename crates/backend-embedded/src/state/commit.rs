//! Commit: "if this is still version 7, write this header and do these effects".
//!
//! First everything is checked, then everything is written. A commit with any
//! answer but `Done` has changed nothing, except that `NotHead` takes the
//! operation out of the outbox (it is parked), and `Held` moves it to the held set. A
//! claim that is [put back](State::put_back) goes into the outbox.

use std::sync::Arc;
use std::time::Duration;

use drumline_backend::store::{Commit, Committed, Done, Guard, Promoted, Stamp};
use drumline_protocol::history;
use drumline_protocol::transition::{ChainEffect, DueEffect, LockEffect, OfferEffect};
use drumline_protocol::{Fence, OperationId, ScopeKey, State as StateCode, Timestamp};

use super::kept::KeptHeader;
use super::locks::Held;
use super::touched::Parts;
use super::{Contents, State};

/// The least time for which a removal is remembered: longer than a caller repeats a
/// commit that it has no answer to.
const REPEATED: Duration = Duration::from_secs(60);

impl State {
    /// Makes a commit, or returns the reason why not.
    pub fn commit(&mut self, commit: Commit, now: Timestamp) -> Committed {
        let contents = self.contents_mut(commit.id.partition());
        match contents.check(&commit, now) {
            Verdict::Make => Committed::Done(Box::new(contents.make(commit, now))),
            Verdict::Made => Committed::Done(Box::new(contents.made(&commit))),
            Verdict::NotHead => {
                contents.park(commit.id);
                Committed::NotHead
            }
            Verdict::Held(scope) => {
                contents.hold(commit.id, scope, now);
                Committed::Held(scope)
            }
            Verdict::Answer(answer) => answer,
        }
    }
}

impl State {
    /// Answers a claim for whose outcome there is no room: one that could be made puts the
    /// operation into the outbox, which is not looked at until there is room. The claimant
    /// has nothing more to do with it, as with one that is parked.
    pub fn put_back(&mut self, claim: Commit, now: Timestamp) -> Committed {
        let contents = self.contents_mut(claim.id.partition());
        if matches!(contents.check(&claim, now), Verdict::Make) {
            contents.offer(claim.id, now, now);
            return Committed::NotHead;
        }
        self.commit(claim, now)
    }
}

/// The result of checking a commit against the record.
pub(super) enum Verdict {
    Make,
    /// The commit was made before: a caller repeats it after an unclear answer.
    Made,
    NotHead,
    /// The scope is paused.
    Held(ScopeKey),
    Answer(Committed),
}

impl Contents {
    pub(super) fn check(&self, commit: &Commit, now: Timestamp) -> Verdict {
        let Some(record) = self.records.get(&commit.id) else {
            let removed_by = self.removed.get(commit.id, now);
            return if removed_by == Some(commit.header.commit) {
                Verdict::Made
            } else {
                Verdict::Answer(Committed::Missing)
            };
        };
        if record.header.commit == commit.header.commit {
            return Verdict::Made;
        }
        if (record.header.version, record.header.commit) != (commit.expected, commit.after) {
            return Verdict::Answer(Committed::Conflict(Box::new(record.header())));
        }
        if !self.guarded(commit) {
            return Verdict::Answer(Committed::Fenced);
        }
        let needs_head = match commit.effects.chain {
            ChainEffect::RequireHead | ChainEffect::Hold => true,
            ChainEffect::Keep | ChainEffect::Leave => false,
        };
        if needs_head && !self.travels(commit.id, record.header.chain) {
            return Verdict::NotHead;
        }
        let takes = commit.effects.lock == LockEffect::Take;
        match self.paused.in_force(&commit.scopes, now) {
            Some(scope) if takes => Verdict::Held(scope),
            Some(_) | None => Verdict::Make,
        }
    }

    /// Keeps an operation that is not the head from being published.
    pub(super) fn park(&mut self, id: OperationId) {
        self.withdraw(id);
    }

    /// Returns true if the lock is as the guard requires.
    fn guarded(&self, commit: &Commit) -> bool {
        let held = self.locks.get(commit.id);
        match commit.guard {
            // A lock needs an owner.
            Guard::None => commit.effects.lock != LockEffect::Take,
            Guard::Acquire { .. } => held.is_none(),
            Guard::Holder(holding) => held.is_some_and(|held| held.is_of(holding)),
            Guard::Unchanged { holding, beat } => {
                held.is_some_and(|held| held.is_of(holding) && held.beat == beat)
            }
        }
    }

    /// Writes a checked commit. Cannot fail.
    fn make(&mut self, commit: Commit, now: Timestamp) -> Done {
        let id = commit.id;
        let effects = commit.effects;
        let Some(record) = self.records.get_mut(&id).map(Arc::make_mut) else {
            // It was checked a moment ago, under the same borrow.
            return Done::default();
        };
        self.usage.subtract(record);
        let from = record.header.status;
        record.header = KeptHeader::new(commit.header, &mut self.shared);
        let to = record.header.status;
        let keys = Arc::clone(&record.keys);
        let chain = record.header.chain;
        let made_by = record.header.commit;
        let sequence = record.sequence;
        let parts = Parts {
            body: effects.remove,
            report: effects.remove || commit.report.is_some(),
            outputs: effects.remove || commit.output.is_some(),
        };
        self.touched.operation(id, parts);
        if let Some(report) = commit.report {
            record.set_report(&report);
        }
        if !commit.entries.is_empty() {
            history::store(&mut record.past_mut().entries, commit.entries);
        }
        if let Some(output) = commit.output {
            let outputs = &mut record.past_mut().outputs;
            outputs.get_or_insert_default().store(output);
        }

        self.usage.add(record);
        let usage = record.usage;
        self.index(from.state()).remove(&id);
        self.index(to.state()).insert(id);
        self.indexes.shift(id, &keys, from, to);
        let fence = self.effect_on_lock(id, effects.lock, commit.guard, now);
        match effects.due {
            DueEffect::Keep => {}
            DueEffect::Set(until) => self.due.set(id, until),
            DueEffect::Clear => self.due.clear(id),
        }
        let offer = self.effect_on_offer(id, effects.offer, now);
        let next_head = match (effects.chain, chain) {
            (ChainEffect::Leave, Some(key)) => {
                let had = self.chains.head(key).is_some();
                let next = self.chains.leave(key, sequence, id);
                if had && self.chains.head(key).is_none() {
                    self.usage.end_chain(usage);
                }
                next
            }
            (
                ChainEffect::Leave
                | ChainEffect::Keep
                | ChainEffect::RequireHead
                | ChainEffect::Hold,
                _,
            ) => None,
        };
        if let Some(class) = effects.end {
            let stamp = Stamp(self.tick(now));
            self.ends.add(id, class, stamp);
        }
        if effects.tell {
            self.notices.add(id, now);
        }
        let promoted = next_head.and_then(|head| self.promote(head, now));
        // The data of an operation that goes could not be read any more.
        let is_wanted = commit.want_record && !effects.remove;
        let record = self.records.get(&id).filter(|_| is_wanted);
        let record = record.map(|record| record.parts());
        if effects.remove {
            self.remove(id);
            let until = now.saturating_add(commit.remember.max(REPEATED));
            let ended = self.removed.insert(id, made_by, until, now);
            self.touched.removed(ended.into_iter().chain([id]));
        }
        Done {
            fence,
            record,
            offer,
            promoted,
        }
    }

    /// The answer to a commit that was made before: the same as then, as far as
    /// that still stands.
    fn made(&self, commit: &Commit) -> Done {
        let id = commit.id;
        let record = self.records.get(&id);
        let fence = match commit.effects.lock {
            LockEffect::Take => self.locks.get(id).map(|held| held.fence),
            LockEffect::Keep | LockEffect::Release | LockEffect::AskToStop => None,
        };
        let offer = match commit.effects.offer {
            OfferEffect::Add => self.outbox.stamp(id),
            OfferEffect::Keep | OfferEffect::Withdraw => None,
        };
        let head = match commit.effects.chain {
            ChainEffect::Leave => record
                .and_then(|record| record.header.chain)
                .and_then(|key| self.chains.head(key)),
            ChainEffect::Keep | ChainEffect::RequireHead | ChainEffect::Hold => None,
        };
        let promoted = head.and_then(|head| self.promoted(head, self.outbox.stamp(head)?));
        Done {
            fence,
            record: if commit.want_record {
                record.map(|record| record.parts())
            } else {
                None
            },
            offer,
            promoted,
        }
    }

    fn effect_on_lock(
        &mut self,
        id: OperationId,
        effect: LockEffect,
        guard: Guard,
        now: Timestamp,
    ) -> Option<Fence> {
        match (effect, guard) {
            (LockEffect::Take, Guard::Acquire { owner, lease }) => {
                let fence = Fence(self.tick(now));
                self.locks.take(id, Held::new(owner, fence, lease));
                Some(fence)
            }
            // `guarded` admits no lock without an owner; a holder or watcher
            // never takes a lock that is held.
            (LockEffect::Take, Guard::None | Guard::Holder(_) | Guard::Unchanged { .. })
            | (LockEffect::Keep, _) => None,
            (LockEffect::Release, _) => {
                self.locks.release(id);
                None
            }
            (LockEffect::AskToStop, _) => {
                self.locks.ask_to_stop(id);
                None
            }
        }
    }

    fn effect_on_offer(
        &mut self,
        id: OperationId,
        effect: OfferEffect,
        now: Timestamp,
    ) -> Option<Stamp> {
        match effect {
            OfferEffect::Keep => None,
            OfferEffect::Add => {
                let chain = self.records.get(&id)?.header.chain;
                self.travels(id, chain).then(|| self.offer(id, now, now))
            }
            OfferEffect::Withdraw => {
                self.withdraw(id);
                None
            }
        }
    }

    /// Offers a chain's new head, if it is Ready and not offered already.
    fn promote(&mut self, head: OperationId, now: Timestamp) -> Option<Promoted> {
        let ready = self.index(StateCode::Ready).contains(&head);
        if !ready || self.outbox.stamp(head).is_some() {
            return None;
        }
        let stamp = self.offer(head, now, now);
        self.promoted(head, stamp)
    }

    fn remove(&mut self, id: OperationId) {
        self.withdraw(id);
        for index in &mut self.by_state {
            index.remove(&id);
        }
        if let Some(record) = self.records.remove(&id) {
            self.usage.subtract(&record);
            let status = record.header.status;
            self.indexes.leave(id, &record.keys, status);
        }
        self.locks.release(id);
        self.due.clear(id);
        self.ends.remove(id);
        self.notices.remove(id);
    }
}
