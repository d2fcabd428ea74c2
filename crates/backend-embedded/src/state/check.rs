//! The check of the state: each operation and the places where it is, then the entries
//! that have no operation, then the counts.
//!
//! Nothing outside can damage the state, so a fault that is found here is one of this
//! code. A partition's operations are counted in one step, whatever their number.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use drumline_backend::MemberId;
use drumline_backend::store::{
    CheckPage, CheckPlace, CheckStep, Fault, FaultKind, belongs_to_chain,
};
use drumline_protocol::transition::EndClass;
use drumline_protocol::{ChainKey, Fence, OperationId, Partition, State as StateCode, Timestamp};
use uuid::Uuid;

use super::locks::Held;
use super::record::Record;
use super::touched::Parts;
use super::{Contents, State};

/// The lease of a lock without a known holder. A worker may still run the operation: it
/// notices within its own lease, 30 s unless it is set, that it has lost it.
const LEASE_WITHOUT_HOLDER: Duration = Duration::from_secs(60);

/// The stages of a check of a partition, as a place has them.
const OPERATIONS: u8 = 0;
const CHAINS: u8 = 1;
const ENTRIES: u8 = 2;
const USAGE: u8 = 3;

/// The faults of one step, and the mode.
struct Findings<'a> {
    partition: Partition,
    repair: bool,
    page: &'a mut CheckPage,
}

impl Findings<'_> {
    /// Notes a fault; returns true if it is to be repaired.
    fn note(&mut self, kind: FaultKind, id: Option<OperationId>, detail: &str) -> bool {
        self.page.faults.push(Fault {
            kind,
            partition: self.partition,
            id,
            detail: detail.to_owned(),
            is_repaired: self.repair,
        });
        self.repair
    }
}

impl State {
    /// Makes one step of a check.
    pub fn check_step(&mut self, step: &CheckStep, now: Timestamp) -> CheckPage {
        let mut page = CheckPage::default();
        let start = CheckPlace(vec![0, 0, OPERATIONS]);
        let place = step.place.as_ref().unwrap_or(&start);
        let [high, low, stage, rest @ ..] = place.0.as_slice() else {
            return page;
        };
        let at = u16::from_be_bytes([*high, *low]);
        let Some(partition) = step.partitions.get(usize::from(at)).copied() else {
            return page;
        };
        let mut findings = Findings {
            partition,
            repair: step.repair,
            page: &mut page,
        };
        self.touched.visit(partition);
        let mut contents = self.partitions.get_mut(&partition);
        let next: Option<Vec<u8>> = contents.as_mut().and_then(|contents| match *stage {
            OPERATIONS => {
                let after = rest.try_into().ok().and_then(OperationId::from_bytes);
                let last = contents.check_operations(after, step.limit.max(1), now, &mut findings);
                Some(match last {
                    Some(last) => [&[OPERATIONS], last.as_bytes().as_slice()].concat(),
                    None => vec![CHAINS],
                })
            }
            CHAINS => {
                let after = rest.try_into().ok().map(ChainKey::from_bytes);
                let last = contents.check_chain(after, now, &mut findings);
                Some(match last {
                    Some(last) => [&[CHAINS], last.as_bytes().as_slice()].concat(),
                    None => vec![ENTRIES],
                })
            }
            ENTRIES => {
                contents.check_entries(&mut findings);
                Some(vec![USAGE])
            }
            _ => {
                contents.check_usage(&mut findings);
                None
            }
        });
        if let Some(contents) = contents {
            let repaired = page.faults.iter().filter(|fault| fault.is_repaired);
            for id in repaired.filter_map(|fault| fault.id) {
                contents.touched.operation(id, Parts::STATE);
            }
        }
        page.next = match next {
            Some(next) => Some(CheckPlace([&[*high, *low], next.as_slice()].concat())),
            None => {
                let at = at.saturating_add(1);
                let [high, low] = at.to_be_bytes();
                let is_there = usize::from(at) < step.partitions.len();
                is_there.then(|| CheckPlace(vec![high, low, OPERATIONS]))
            }
        };
        page
    }
}

impl Contents {
    /// Looks at the operations behind an id; returns the last one if there may be more.
    fn check_operations(
        &mut self,
        after: Option<OperationId>,
        limit: usize,
        now: Timestamp,
        findings: &mut Findings<'_>,
    ) -> Option<OperationId> {
        let after = after.as_ref();
        let start = after.map_or(Bound::Unbounded, |after| Bound::Excluded(*after));
        let range = (start, Bound::Unbounded);
        let mut ids = BTreeSet::new();
        ids.extend(self.records.keys_behind(after).take(limit));
        ids.extend(self.outbox.by_id.keys_behind(after).take(limit));
        ids.extend(self.held.by_id.keys_behind(after).take(limit));
        ids.extend(self.due.by_id.keys_behind(after).take(limit));
        ids.extend(self.ends.by_id.keys_behind(after).take(limit));
        ids.extend(
            self.notices
                .by_id
                .range(range)
                .map(|(id, _)| id)
                .take(limit),
        );
        ids.extend(self.locks.by_id.range(range).map(|(id, _)| id).take(limit));
        for of_state in &self.by_state {
            ids.extend(of_state.range(range).take(limit));
        }
        let some: Vec<OperationId> = ids.into_iter().take(limit).collect();
        for id in &some {
            findings.page.looked_at += 1;
            let record = self.records.get(id).map(Arc::clone);
            self.check_states(*id, record.as_deref(), findings);
            self.check_lock(*id, record.as_deref(), now, findings);
            self.check_times(*id, record.as_deref(), now, findings);
            self.check_offer(*id, record.as_deref(), now, findings);
            if let Some(record) = record {
                self.check_keys(*id, &record, findings);
            }
        }
        some.last().copied().filter(|_| some.len() == limit)
    }

    fn check_states(
        &mut self,
        id: OperationId,
        record: Option<&Record>,
        findings: &mut Findings<'_>,
    ) {
        let own = record.map(|record| record.header.state());
        for state in StateCode::ALL {
            let is_there = self.index(state).contains(&id);
            if own == Some(state) && !is_there {
                let detail = "it is not in the set of its state";
                if findings.note(FaultKind::StateMissing, Some(id), detail) {
                    self.index(state).insert(id);
                }
            } else if own != Some(state) && is_there {
                let detail = format!("set of the state {}", state.name());
                if findings.note(FaultKind::StateEntry, Some(id), &detail) {
                    self.index(state).remove(&id);
                }
            }
        }
    }

    fn check_lock(
        &mut self,
        id: OperationId,
        record: Option<&Record>,
        now: Timestamp,
        findings: &mut Findings<'_>,
    ) {
        let state = record.map(|record| record.header.state());
        let is_locked = state == Some(StateCode::Locked);
        match (is_locked, self.locks.get(id).is_some()) {
            (true, false) => {
                let detail = "it is Locked, and has no lock";
                if findings.note(FaultKind::LockMissing, Some(id), detail) {
                    let fence = Fence(self.tick(now));
                    let no_owner = MemberId(Uuid::nil());
                    self.locks
                        .take(id, Held::new(no_owner, fence, LEASE_WITHOUT_HOLDER));
                }
            }
            (false, true) if findings.note(FaultKind::LockEntry, Some(id), "locks") => {
                self.locks.release(id);
            }
            (true, true) | (false, _) => {}
        }
    }

    fn check_times(
        &mut self,
        id: OperationId,
        record: Option<&Record>,
        now: Timestamp,
        findings: &mut Findings<'_>,
    ) {
        let due = record.and_then(|record| record.header().due_on());
        match (due, self.due.by_id.get(&id).copied()) {
            (Some(due), found) if found != Some(due) => {
                let detail = "it is not in the due set at its time";
                if findings.note(FaultKind::DueMissing, Some(id), detail) {
                    self.due.set(id, due);
                }
            }
            (None, Some(_)) if findings.note(FaultKind::DueEntry, Some(id), "due set") => {
                self.due.clear(id);
            }
            (Some(_) | None, _) => {}
        }
        let class = record.and_then(|record| EndClass::of(&record.header()));
        let found = self.ends.by_id.get(&id).map(|(class, _)| *class);
        if let Some(class) = class
            && found.is_none()
        {
            let detail = "it is Completed, and not among the ends";
            if findings.note(FaultKind::EndMissing, Some(id), detail) {
                let stamp = drumline_backend::store::Stamp(self.tick(now));
                self.ends.add(id, class, stamp);
            }
        } else if found.is_some()
            && found != class
            && findings.note(FaultKind::EndEntry, Some(id), "ends")
        {
            self.ends.remove(id);
        }
        let owed = self.notices.by_id.contains_key(&id);
        if owed && class.is_none() && findings.note(FaultKind::NoticeEntry, Some(id), "notices") {
            self.notices.remove(id);
        }
    }

    fn check_offer(
        &mut self,
        id: OperationId,
        record: Option<&Record>,
        now: Timestamp,
        findings: &mut Findings<'_>,
    ) {
        let may = record.is_some_and(|record| {
            record.header.state() == StateCode::Ready && self.travels(id, record.header.chain)
        });
        let (is_held, is_waiting) = (self.held.has(id), self.outbox.stamp(id).is_some());
        if is_held && !may && findings.note(FaultKind::HeldEntry, Some(id), "held set") {
            self.held.remove(id);
        }
        if is_waiting
            && (!may || is_held)
            && findings.note(FaultKind::OutboxEntry, Some(id), "outbox")
        {
            self.outbox.remove(id);
        }
        let is_offered = record.is_some_and(|record| self.offered.contains(&(record.flow, id)));
        if may && !is_held && !is_waiting && !is_offered {
            let detail = "it is Ready, and neither in the outbox nor offered nor held";
            if findings.note(FaultKind::NotOffered, Some(id), detail) {
                self.offer(id, now, now);
            }
        }
    }

    /// Looks at the place of an operation in its chain, and at its further indexes.
    fn check_keys(&mut self, id: OperationId, record: &Record, findings: &mut Findings<'_>) {
        for key in record.keys.iter() {
            if let Some(shelf) = key.kind.shelf(record.header.status)
                && !self.indexes.0.contains(&(*key, shelf, id))
            {
                let detail = format!("it is not in the index {}", key.kind.name());
                if findings.note(FaultKind::IndexMissing, Some(id), &detail) {
                    self.indexes.0.insert((*key, shelf, id));
                }
            }
        }
        if let Some(key) = record.header.chain
            && belongs_to_chain(&record.header())
        {
            let chain = self.chains.0.get(&key);
            if chain.is_none_or(|chain| !chain.contains(&(record.sequence, id))) {
                let detail = "it is not in its chain at its sequence";
                if findings.note(FaultKind::ChainOrder, Some(id), detail) {
                    self.chains.enter(key, record.sequence, id);
                }
            }
        }
    }

    /// Looks at the members of the chain behind another one; returns its key if there is
    /// one.
    fn check_chain(
        &mut self,
        after: Option<ChainKey>,
        now: Timestamp,
        findings: &mut Findings<'_>,
    ) -> Option<ChainKey> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let (key, members) = self.chains.0.range((start, Bound::Unbounded)).next()?;
        let (key, members) = (*key, members.iter().copied().collect::<Vec<_>>());
        if members.is_empty() && findings.note(FaultKind::ChainEntry, None, "an empty chain") {
            self.chains.0.remove(&key);
        }
        for (sequence, id) in members {
            findings.page.looked_at += 1;
            let belongs = self.records.get(&id).is_some_and(|record| {
                let own = record.header.chain == Some(key) && record.sequence == sequence;
                own && belongs_to_chain(&record.header())
            });
            if !belongs && findings.note(FaultKind::ChainEntry, Some(id), "chain") {
                let next = self.chains.leave(key, sequence, id);
                let waits = next.filter(|next| {
                    let is_ready = self.index(StateCode::Ready).contains(next);
                    is_ready && !self.held.has(*next) && self.outbox.stamp(*next).is_none()
                });
                if let Some(next) = waits {
                    self.offer(next, now, now);
                }
            }
        }
        Some(key)
    }

    /// Looks at the entries of the offered set and of the further indexes.
    fn check_entries(&mut self, findings: &mut Findings<'_>) {
        let offered: Vec<_> = self.offered.iter().copied().collect();
        for (flow, id) in offered {
            findings.page.looked_at += 1;
            let belongs = self.records.get(&id).is_some_and(|record| {
                let may = record.header.state() == StateCode::Ready
                    && record.flow == flow
                    && self.travels(id, record.header.chain);
                may && !self.held.has(id) && self.outbox.stamp(id).is_none()
            });
            if !belongs && findings.note(FaultKind::OfferedEntry, Some(id), "offered set") {
                self.offered.remove(&(flow, id));
            }
        }
        let entries: Vec<_> = self.indexes.0.iter().copied().collect();
        for entry in entries {
            let (key, shelf, id) = entry;
            findings.page.looked_at += 1;
            let belongs = self.records.get(&id).is_some_and(|record| {
                record.keys.contains(&key) && key.kind.shelf(record.header.status) == Some(shelf)
            });
            let detail = format!("index {}", key.kind.name());
            if !belongs && findings.note(FaultKind::IndexEntry, Some(id), &detail) {
                self.indexes.0.remove(&entry);
            }
        }
    }

    fn check_usage(&mut self, findings: &mut Findings<'_>) {
        let heads = self.chains.0.values().filter_map(|chain| {
            let (_, id) = chain.first()?;
            self.records.get(id)
        });
        let records = self.records.values().map(AsRef::as_ref);
        let fresh = self.usage.recount(records, heads.map(AsRef::as_ref));
        let detail = format!("counted as {:?}, and there are {fresh:?}", self.usage);
        if fresh != self.usage && findings.note(FaultKind::Usage, None, &detail) {
            self.usage = fresh;
        }
    }
}
