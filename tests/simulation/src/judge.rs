//! Collects a history as it happens and notes every violation of a promise.

use std::collections::BTreeMap;
use std::fmt;

use drumline_protocol::{Fence, OperationId, Status};

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violation {
    /// A client was answered with the id of an operation that is in no list.
    Lost(OperationId),
    /// An operation did not come to its end although nothing was in its way any
    /// more.
    NotCompleted(OperationId, Status),
    /// A handler ran for an operation while an earlier one of its token was not
    /// Completed.
    OutOfOrder {
        /// The operation that ran.
        ran: OperationId,
        /// The operation that should have been Completed before.
        before: OperationId,
    },
    /// Two handlers of one token, or of one operation, ran at once, and the link of
    /// neither was to blame.
    TwoAtOnce {
        /// The operation whose handler ran on.
        stale: OperationId,
        /// The fence of the handler that ran on.
        fence: Fence,
    },
    /// Handlers ran more often than starts were counted.
    UncountedStart {
        /// The operation.
        id: OperationId,
        /// The handlers that ran.
        ran: u32,
        /// The starts that the operation shows.
        counted: u32,
    },
    /// An operation that must not start twice did.
    StartedTwice(OperationId),
    /// An operation that was Completed had another end later.
    EndChanged(OperationId, Status, Status),
    /// An operation waits for a person whom no handler and no client asked for.
    NeedsPerson(OperationId),
    /// An operation that was removed is in the list again.
    Returned(OperationId),
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost(id) => write!(f, "{id} was answered and is in no list"),
            Self::NotCompleted(id, status) => write!(f, "{id} stays {status:?}"),
            Self::OutOfOrder { ran, before } => {
                write!(f, "{ran} ran before {before} was Completed")
            }
            Self::TwoAtOnce { stale, fence } => {
                write!(f, "{stale} ran on with the stale fence {fence}")
            }
            Self::UncountedStart { id, ran, counted } => {
                write!(f, "{id} ran {ran} times and counts {counted} starts")
            }
            Self::StartedTwice(id) => write!(f, "{id} started twice and must not"),
            Self::EndChanged(id, was, is) => write!(f, "{id} was {was:?} and is {is:?}"),
            Self::NeedsPerson(id) => write!(f, "{id} waits for a person"),
            Self::Returned(id) => write!(f, "{id} was removed and is there again"),
        }
    }
}

/// The end of an operation, as the store has it when everything is over.
#[derive(Clone, Copy, Debug)]
pub struct Left {
    /// The operation.
    pub id: OperationId,
    /// Its status.
    pub status: Status,
    /// The starts that it counts.
    pub starts: u32,
    /// True if it waits without a time.
    pub waits_for_person: bool,
}

/// A client's view of an operation.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    is_answered: bool,
    is_removed: bool,
    at_most_once: bool,
    ran: u32,
    end: Option<Status>,
}

/// A resource that takes writes in the order of their fences, as users are told to
/// make them: one per token, one per operation without a token.
#[derive(Clone, Copy, Debug)]
struct Resource {
    fence: Fence,
}

/// Counts the deeds of the fleet, for the reader of a run: a run in which nothing went
/// wrong proves nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Operations whose ids were answered.
    pub answered: u64,
    /// Handlers that ran.
    pub runs: u64,
    /// Handlers that ran again after another one had begun.
    pub take_overs: u64,
    /// Handlers that ran behind others of their token: without them, no order was judged.
    pub behind: u64,
    /// Writes that the resource accepted.
    pub accepted: u64,
    /// Writes that the resource refused because of a stale fence.
    pub refused: u64,
}

impl Tally {
    /// Adds another run's.
    pub fn add(&mut self, other: Self) {
        self.answered += other.answered;
        self.runs += other.runs;
        self.take_overs += other.take_overs;
        self.behind += other.behind;
        self.accepted += other.accepted;
        self.refused += other.refused;
    }
}

/// Judges one run.
#[derive(Debug, Default)]
pub struct Judge {
    known: BTreeMap<OperationId, Known>,
    resources: BTreeMap<String, Resource>,
    violations: Vec<Violation>,
    tally: Tally,
}

impl Judge {
    /// A judge who has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A client was answered with this id. Several answers about one operation are
    /// one operation.
    pub fn answered(&mut self, id: OperationId, at_most_once: bool) {
        let known = self.known.entry(id).or_default();
        if !known.is_answered {
            self.tally.answered += 1;
        }
        known.is_answered = true;
        known.at_most_once = at_most_once;
    }

    /// An operation was removed, as it was to be: from now on it is in no list.
    pub fn removed(&mut self, id: OperationId) {
        self.known.entry(id).or_default().is_removed = true;
    }

    /// A client saw this status.
    pub fn saw(&mut self, id: OperationId, status: Status) {
        let known = self.known.entry(id).or_default();
        match known.end {
            Some(end) if end != status => {
                let changed = Violation::EndChanged(id, end, status);
                self.violations.push(changed);
            }
            Some(_) => {}
            None if is_end(status) => known.end = Some(status),
            None => {}
        }
    }

    /// A handler begins. So many operations of its token are `earlier` than its own; `unfinished`
    /// are those of them that are not Completed at this moment.
    pub fn started(&mut self, id: OperationId, earlier: usize, unfinished: &[OperationId]) {
        self.tally.behind += u64::from(earlier > 0);
        let known = self.known.entry(id).or_default();
        known.ran += 1;
        self.tally.runs += 1;
        if known.ran > 1 {
            self.tally.take_overs += 1;
        }
        let early = unfinished.iter().map(|before| Violation::OutOfOrder {
            ran: id,
            before: *before,
        });
        self.violations.extend(early);
    }

    /// A handler writes to the resource of its token, or its own. Returns true if
    /// the resource accepts the write. `excused` is true for a handler whose
    /// process stood still since its start: it cannot have known.
    pub fn wrote(&mut self, resource: &str, id: OperationId, fence: Fence, excused: bool) -> bool {
        let at = self
            .resources
            .entry(resource.to_owned())
            .or_insert(Resource { fence });
        if fence < at.fence {
            self.tally.refused += 1;
            if !excused {
                self.violations
                    .push(Violation::TwoAtOnce { stale: id, fence });
            }
            return false;
        }
        at.fence = fence;
        self.tally.accepted += 1;
        true
    }

    /// Everything is over: compares with what the store has. With `must_end`,
    /// nothing may be left to do.
    pub fn over(&mut self, left: &[Left], must_end: bool) {
        let left: BTreeMap<OperationId, &Left> = left.iter().map(|one| (one.id, one)).collect();
        let known: Vec<_> = self.known.iter().map(|(id, known)| (*id, *known)).collect();
        for (id, known) in known {
            let Some(one) = left.get(&id) else {
                if !known.is_removed {
                    self.violations.push(Violation::Lost(id));
                }
                continue;
            };
            if known.is_removed {
                self.violations.push(Violation::Returned(id));
            }
            if known.ran > one.starts {
                self.violations.push(Violation::UncountedStart {
                    id,
                    ran: known.ran,
                    counted: one.starts,
                });
            }
            if known.at_most_once && known.ran > 1 {
                self.violations.push(Violation::StartedTwice(id));
            }
        }
        for one in left.values() {
            if is_end(one.status) {
                self.saw(one.id, one.status);
            } else if must_end && one.waits_for_person {
                self.violations.push(Violation::NeedsPerson(one.id));
            } else if must_end {
                let stays = Violation::NotCompleted(one.id, one.status);
                self.violations.push(stays);
            }
        }
    }

    /// The violations, in the order in which they were noticed.
    #[must_use]
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// The counts so far.
    #[must_use]
    pub const fn tally(&self) -> Tally {
        self.tally
    }
}

const fn is_end(status: Status) -> bool {
    match status {
        Status::Succeeded | Status::Failed | Status::Canceled => true,
        Status::WaitingForResources
        | Status::Waiting
        | Status::InProgress
        | Status::Pausing
        | Status::Canceling => false,
    }
}

#[cfg(test)]
mod tests {
    use drumline_protocol::{Partition, Timestamp};

    use super::*;

    fn id(number: u8) -> OperationId {
        OperationId::new(
            Timestamp::from_millis(1_795_000_000_000),
            Partition::new(0),
            [number; 16],
        )
    }

    fn left(number: u8, status: Status, starts: u32) -> Left {
        Left {
            id: id(number),
            status,
            starts,
            waits_for_person: false,
        }
    }

    /// The history of one operation that ran once and Succeeded.
    fn good() -> Judge {
        let mut judge = Judge::new();
        judge.answered(id(1), false);
        judge.started(id(1), 0, &[]);
        assert!(judge.wrote("t", id(1), Fence(4), false));
        judge.saw(id(1), Status::Succeeded);
        judge
    }

    fn found(mut judge: Judge, rest: &[Left]) -> Vec<Violation> {
        judge.over(rest, true);
        judge.violations().to_vec()
    }

    #[test]
    fn a_good_history_breaks_no_promise() {
        assert_eq!(found(good(), &[left(1, Status::Succeeded, 1)]), []);
        assert_eq!(good().tally().accepted, 1);
    }

    #[test]
    fn a_create_that_is_lost_is_found_though_another_was_doubled() {
        let rest = [left(2, Status::Succeeded, 1)];
        assert_eq!(found(good(), &rest), [Violation::Lost(id(1))]);
    }

    #[test]
    fn an_operation_that_started_before_its_answer_is_counted_once() {
        let mut judge = Judge::new();
        judge.started(id(1), 0, &[]);
        judge.answered(id(1), false);
        judge.answered(id(1), false);
        assert_eq!(judge.tally().answered, 1);
    }

    #[test]
    fn an_operation_that_returns_after_its_removal_is_found() {
        let mut judge = good();
        judge.removed(id(1));
        assert_eq!(found(judge, &[]), []);
        let mut judge = good();
        judge.removed(id(1));
        let rest = [left(1, Status::Succeeded, 1)];
        assert_eq!(found(judge, &rest), [Violation::Returned(id(1))]);
    }

    #[test]
    fn what_stands_still_is_found() {
        let rest = [
            left(1, Status::Succeeded, 1),
            left(2, Status::WaitingForResources, 0),
        ];
        let stays = Violation::NotCompleted(id(2), Status::WaitingForResources);
        assert_eq!(found(good(), &rest), [stays]);
    }

    #[test]
    fn a_person_who_is_needed_is_found() {
        let waits = Left {
            waits_for_person: true,
            ..left(2, Status::Waiting, 1)
        };
        let rest = [left(1, Status::Succeeded, 1), waits];
        assert_eq!(found(good(), &rest), [Violation::NeedsPerson(id(2))]);
    }

    #[test]
    fn a_successor_that_overtakes_is_found_whatever_its_predecessor_waits_for() {
        let mut judge = good();
        judge.answered(id(2), false);
        judge.started(id(2), 1, &[id(1)]);
        let rest = [left(1, Status::Succeeded, 1), left(2, Status::Succeeded, 1)];
        let early = Violation::OutOfOrder {
            ran: id(2),
            before: id(1),
        };
        assert_eq!(found(judge, &rest), [early]);
    }

    #[test]
    fn two_handlers_at_once_are_found_and_one_that_stood_still_is_excused() {
        for excused in [false, true] {
            let mut judge = good();
            assert!(judge.wrote("t", id(1), Fence(9), false));
            assert!(!judge.wrote("t", id(1), Fence(4), excused));
            assert_eq!(judge.tally().refused, 1);
            let stale = Violation::TwoAtOnce {
                stale: id(1),
                fence: Fence(4),
            };
            let expected = if excused { vec![] } else { vec![stale] };
            assert_eq!(found(judge, &[left(1, Status::Succeeded, 1)]), expected);
        }
    }

    #[test]
    fn a_start_that_is_not_counted_is_found() {
        let mut judge = good();
        judge.started(id(1), 0, &[]);
        let uncounted = Violation::UncountedStart {
            id: id(1),
            ran: 2,
            counted: 1,
        };
        assert_eq!(found(judge, &[left(1, Status::Succeeded, 1)]), [uncounted]);
    }

    #[test]
    fn a_second_start_is_found_where_one_is_all_that_is_allowed() {
        let mut judge = Judge::new();
        judge.answered(id(1), true);
        judge.started(id(1), 0, &[]);
        judge.started(id(1), 0, &[]);
        let rest = [left(1, Status::Succeeded, 2)];
        assert_eq!(found(judge, &rest), [Violation::StartedTwice(id(1))]);
    }

    #[test]
    fn a_second_end_is_found() {
        let rest = [left(1, Status::Failed, 1)];
        let changed = Violation::EndChanged(id(1), Status::Succeeded, Status::Failed);
        assert_eq!(found(good(), &rest), [changed]);
    }
}
