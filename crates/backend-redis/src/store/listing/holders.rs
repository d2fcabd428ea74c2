//! Operations that hold their chain, as far as they are known.
//!
//! No index has them. But an operation begins to hold when it ends, and it enters the ends of
//! its partition then, under a stamp that is greater than all before. So each end is
//! looked at once. Those that hold are remembered, and the next look asks what has ended since:
//!
//! ```text
//! ends of a partition    17 18 21 │ 25 …
//!           looked at ────────────┘ └──── the next look reads on here
//! ```
//!
//! Until all ends were looked at, a listing goes through all that failed or were canceled,
//! newest first. Most of these do not hold, and never will ([`Header::is_settled`]). The ids of
//! those are remembered meanwhile, so that it reads each header once.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use drumline_backend::store::{Filter, Result, Stamp};
use drumline_protocol::transition::EndClass;
use drumline_protocol::{Header, IndexKey, IndexKind, OperationId, Partition};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::MOST;
use crate::record;
use crate::reply;
use crate::scripts::SCRIPTS;
use crate::store::RedisStore;
use crate::store::read::Head;

/// The ids that are remembered, of those that hold and of those that do not: some 2 MB.
const REMEMBERED: usize = 1 << 16;
/// The time after which all are forgotten. An end that was missing may have been repaired, or
/// the last ones of a primary lost: such a holder is unknown until then.
const KEPT: Duration = Duration::from_secs(60 * 60);
/// The most headers that one look reads, and the most ends of one partition.
const HEADERS: usize = 1_024;
const ENDS: usize = 16;

#[derive(Debug, Default)]
pub(in crate::store) struct Holders {
    // The lock is held for a moment, never across an await.
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// The time of the first look.
    since: Option<Instant>,
    /// The last end of each partition that was looked at.
    until: HashMap<Partition, Stamp>,
    /// Operations that hold their chain, or did so when they were looked at; with the key of
    /// their organization, if the record has one.
    holding: BTreeMap<OperationId, Option<IndexKey>>,
    /// Operations that have ended and do not hold their chain.
    settled: HashSet<OperationId>,
}

impl Holders {
    /// The place from which a look reads on in each partition, and the time since which
    /// these places count; `None` if there are too many operations to remember.
    fn places(&self) -> Option<(Instant, HashMap<Partition, Stamp>)> {
        let mut known = self.known.lock();
        if known.since.is_some_and(|since| since.elapsed() >= KEPT) {
            *known = Known::default();
        }
        if known.holding.len() >= REMEMBERED {
            return None;
        }
        let since = *known.since.get_or_insert_with(Instant::now);
        Some((since, known.until.clone()))
    }

    /// Remembers operations that hold their chain, and how far the ends of the partitions
    /// were looked at for them. A look that began before all was forgotten says nothing.
    fn learn(
        &self,
        since: Instant,
        until: impl Iterator<Item = (Partition, Stamp)>,
        holding: impl Iterator<Item = (OperationId, Option<IndexKey>)>,
    ) {
        let mut known = self.known.lock();
        if known.since != Some(since) {
            return;
        }
        known.holding.extend(holding);
        for (partition, stamp) in until {
            let place = known.until.entry(partition).or_insert(stamp);
            *place = stamp.max(*place);
        }
    }

    /// Notes those among some operations that have ended and do not hold their chain.
    pub(super) fn note<'a>(&self, headers: impl Iterator<Item = (OperationId, &'a Header)>) {
        let mut known = self.known.lock();
        for (id, _) in headers.filter(|(_, header)| header.is_settled()) {
            known.holding.remove(&id);
            if known.settled.len() < REMEMBERED {
                known.settled.insert(id);
            }
        }
    }

    /// Forgets operations that are not there any more.
    pub(super) fn forget(&self, gone: impl Iterator<Item = OperationId>) {
        let mut known = self.known.lock();
        for id in gone {
            known.holding.remove(&id);
        }
    }

    /// Removes those that do not hold their chain from a list, and returns their number.
    pub(super) fn remove_settled(&self, ids: &mut Vec<OperationId>) -> usize {
        let known = self.known.lock();
        let all = ids.len();
        ids.retain(|id| !known.settled.contains(id));
        all - ids.len()
    }

    /// The operations that may hold their chain and are older than this one, newest first. A
    /// filter for one organization gets those of others only if their records do not say.
    /// `None` if all was forgotten since the look began.
    fn below(
        &self,
        since: Instant,
        filter: &Filter,
        before: Option<OperationId>,
    ) -> Option<Vec<OperationId>> {
        let wanted = filter.organization.as_ref().map(IndexKey::outcome);
        let may_be = |key: &Option<IndexKey>| wanted.is_none() || key.is_none() || *key == wanted;
        let known = self.known.lock();
        if known.since != Some(since) {
            return None;
        }
        let newest_first = known.holding.iter().rev();
        let found = newest_first
            .filter(|(id, key)| before.is_none_or(|before| **id < before) && may_be(key))
            .map(|(id, _)| *id);
        Some(found.collect())
    }
}

impl RedisStore {
    /// Looks at what has ended since the last look, and returns the operations that may hold
    /// their chain and are older than this one, newest first. `None` if some may be unknown.
    pub(super) async fn look_for_holders(
        &self,
        filter: &Filter,
        before: Option<OperationId>,
    ) -> Result<Option<Vec<OperationId>>> {
        let Some((since, mut until)) = self.holders.places() else {
            return Ok(None);
        };
        let only = filter.chain.map(|chain| chain.partition(self.partitions));
        let partitions: Vec<Partition> = self
            .partitions
            .all()
            .filter(|partition| only.is_none_or(|only| only == *partition))
            .collect();
        let most = (HEADERS / partitions.len().max(1)).clamp(1, ENDS);
        let mut commands = redis::pipe();
        for partition in &partitions {
            if let Some(keys) = self.keys.partition(*partition) {
                let after = until.get(partition).copied().unwrap_or(Stamp(0));
                let mut command = SCRIPTS.ended.call(&[keys.ends(EndClass::Unsuccessful)]);
                command
                    .arg(record::first_after(after))
                    .arg([u8::MAX; 8].as_slice())
                    .arg(most);
                commands.add_command(command);
            }
        }
        let mut ended = Vec::new();
        let mut is_all = true;
        let answers = self.link.run("ended", &commands).await?;
        for (partition, answer) in partitions.iter().zip(answers) {
            let ends = record::read_stamped_ids(&reply::bytes(answer)?);
            is_all &= ends.len() < most;
            // One of each partition may be too many. The next look reads them.
            if ended.len() + ends.len() > HEADERS {
                is_all = false;
                continue;
            }
            if let Some((last, _)) = ends.last() {
                until.insert(*partition, *last);
            }
            ended.extend(ends.into_iter().map(|(_, id)| id));
        }
        let mut holding = Vec::new();
        for ids in ended.chunks(MOST) {
            let (heads, _unread) = self.heads(ids).await?;
            let found = ids.iter().zip(heads);
            let found = found.filter_map(|(id, head)| Some((*id, head?)));
            let held = found.filter(|(_, head)| head.header.holding);
            holding.extend(held.map(|(id, head)| (id, organization_of(&head))));
        }
        self.holders
            .learn(since, until.into_iter(), holding.into_iter());
        let known = is_all.then(|| self.holders.below(since, filter, before));
        Ok(known.flatten())
    }
}

/// The key of the organization of an operation that has failed or was canceled.
fn organization_of(head: &Head) -> Option<IndexKey> {
    let mut keys = head.keys.iter();
    keys.find(|key| key.kind == IndexKind::Outcome).copied()
}

#[cfg(test)]
mod tests {
    use drumline_protocol::operation::first_header;
    use drumline_protocol::{CommitId, Organization, Rules, Status, Timestamp};
    use tokio::time::advance;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_795_000_000_000);
    const PARTITION: Partition = Partition::new(0);

    fn id(number: u8) -> OperationId {
        OperationId::new(NOW, PARTITION, [number; 16])
    }

    fn header(status: Status, holding: bool) -> Header {
        Header {
            status,
            holding,
            ..first_header(Rules::default(), None, CommitId(1), NOW)
        }
    }

    fn learn(holders: &Holders, since: Instant, until: u64, holding: &[OperationId]) {
        let until = std::iter::once((PARTITION, Stamp(until)));
        let holding = holding.iter().map(|id| (*id, None));
        holders.learn(since, until, holding);
    }

    #[tokio::test(start_paused = true)]
    async fn only_what_has_ended_and_does_not_hold_is_passed_over_for_a_while() {
        let holders = Holders::default();
        holders.places();
        let ready = header(Status::WaitingForResources, false);
        let holder = header(Status::Failed, true);
        let other = header(Status::Failed, false);
        holders.note([(id(1), &ready), (id(2), &holder), (id(3), &other)].into_iter());
        let mut ids = vec![id(3), id(2), id(1)];
        assert_eq!(holders.remove_settled(&mut ids), 1);
        assert_eq!(ids, [id(2), id(1)]);
        // An operation that was removed may have been restored as it was before.
        advance(KEPT).await;
        holders.places();
        let mut again = vec![id(3)];
        assert_eq!(holders.remove_settled(&mut again), 0);
        assert_eq!(again, [id(3)]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_holds_is_known_until_it_is_released_or_gone() {
        let holders = Holders::default();
        let (since, until) = holders.places().unwrap();
        assert!(until.is_empty(), "{until:?}");
        learn(&holders, since, 7, &[id(1), id(2), id(3)]);
        // A look that began earlier ends later.
        learn(&holders, since, 5, &[id(1)]);
        let (_, until) = holders.places().unwrap();
        assert_eq!(until.get(&PARTITION), Some(&Stamp(7)));
        let all = Filter::default();
        assert_eq!(
            holders.below(since, &all, None).unwrap(),
            [id(3), id(2), id(1)]
        );
        assert_eq!(
            holders.below(since, &all, Some(id(3))).unwrap(),
            [id(2), id(1)]
        );
        let released = header(Status::Failed, false);
        holders.note(std::iter::once((id(2), &released)));
        holders.forget(std::iter::once(id(1)));
        assert_eq!(holders.below(since, &all, None).unwrap(), [id(3)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_from_before_all_was_forgotten_says_nothing() {
        let holders = Holders::default();
        let (since, _) = holders.places().unwrap();
        advance(KEPT).await;
        holders.places();
        learn(&holders, since, 7, &[id(1)]);
        let (_, until) = holders.places().unwrap();
        assert!(until.is_empty(), "{until:?}");
        // Nor does what was forgotten mean that nothing holds.
        assert_eq!(holders.below(since, &Filter::default(), None), None);
    }

    #[tokio::test(start_paused = true)]
    async fn organizations_do_not_read_the_holders_of_each_other() {
        let holders = Holders::default();
        let (since, _) = holders.places().unwrap();
        let of = |name: &str| Organization(name.to_owned());
        let key = |name: &str| Some(IndexKey::outcome(&of(name)));
        let holding = [(id(1), key("one")), (id(2), key("other")), (id(3), None)];
        holders.learn(since, std::iter::empty(), holding.into_iter());
        let one = Filter {
            organization: Some(of("one")),
            ..Filter::default()
        };
        // The record of the third one does not say.
        assert_eq!(holders.below(since, &one, None).unwrap(), [id(3), id(1)]);
    }
}
