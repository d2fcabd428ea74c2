//! Several commits in one call have the same outcome as one by one. A store
//! that puts writes together must not forget that the next commit of the same
//! call may depend on them.

use std::collections::BTreeMap;
use std::time::Duration;

use drumline_backend::store::{Commit, Committed, Guard, Renewal};
use drumline_protocol::transition::{At, apply};
use drumline_protocol::{Event, Fence, Header, OperationId, Partition, Status};

use super::commit::commit;
use crate::StoreHarness;
use crate::fixtures::{Draft, Fixture, Fresh, claim_event, fault, holding, independent, of_token};
use crate::wait::eventually;

/// The number of operations of each kind in each twin.
const OF_EACH: usize = 3;
/// Calls in one walk.
const CALLS: usize = 60;
/// The most commits in one call.
const IN_A_CALL: usize = 12;
/// The span of a postponement: short, so that it is seen among the due
/// operations.
const MOMENT: Duration = Duration::from_millis(2);

/// A second change of an operation, and a change of the head that the first
/// change has promoted, see the state of a moment ago.
pub async fn commits_of_one_call_see_each_other(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let other = fixture.create(independent()).await;
    let changed = fixture.create(independent()).await;
    let token = token_in(&fixture, Partition::new(0), 0);
    let head = fixture.create(of_token(&token)).await;
    let next = fixture.create(of_token(&token)).await;
    let last = fixture.create(of_token(&token)).await;
    let fence = fixture.claim(head.id).await;
    let held = fixture.read(head.id).await.header;

    // Effects that take entries out of the outbox come first: a store
    // that writes by kind would take them out before it has put them in.
    let claim_other = commit(
        &fixture,
        other.id,
        &other.header,
        claim_event(),
        fixture.taking(),
    );
    let pause = commit(
        &fixture,
        changed.id,
        &changed.header,
        Event::Pause,
        Guard::None,
    );
    let resume = commit(
        &fixture,
        changed.id,
        &pause.header,
        Event::Resume,
        Guard::None,
    );
    let pause_again = commit(
        &fixture,
        changed.id,
        &resume.header,
        Event::Pause,
        Guard::None,
    );
    let succeed = commit(
        &fixture,
        head.id,
        &held,
        Event::Succeed,
        Guard::Holder(fixture.holding(fence)),
    );
    let claim_next = commit(
        &fixture,
        next.id,
        &next.header,
        claim_event(),
        fixture.taking(),
    );
    let cancel_next = commit(
        &fixture,
        next.id,
        &claim_next.header,
        Event::Cancel,
        Guard::None,
    );
    let commits = vec![
        claim_other,
        pause,
        resume,
        pause_again,
        succeed,
        claim_next,
        cancel_next,
    ];
    let answers = fixture.store.commit(commits).await.expect("commit");
    let all_made = answers
        .iter()
        .all(|answer| matches!(answer, Committed::Done(_)));
    assert!(all_made, "{answers:?}");

    for (fresh, status) in [
        (&other, Status::InProgress),
        (&changed, Status::Waiting),
        (&head, Status::Succeeded),
        (&next, Status::Canceling),
        (&last, Status::WaitingForResources),
    ] {
        assert_eq!(fixture.read(fresh.id).await.header.status, status);
        assert_eq!(fixture.entry(fresh.id).await, None, "{status:?}");
    }
    let locks = fixture.store.locks(Partition::new(0)).await.expect("locks");
    let mut locked: Vec<(OperationId, bool)> = Vec::new();
    for lock in locks {
        locked.push((
            lock.id,
            is_asked_to_stop(&fixture, lock.id, lock.fence).await,
        ));
    }
    locked.sort_unstable();
    let mut expected = vec![(other.id, false), (next.id, true)];
    expected.sort_unstable();
    assert_eq!(locked, expected);
}

/// A call takes an operation out of the outbox that it offers with a later commit,
/// and it has offered another one before. A store that puts writes together by
/// their kind would take the new head out again, and nothing would offer it.
pub async fn a_parked_operation_is_promoted_by_a_later_commit_of_the_call(
    harness: &dyn StoreHarness,
) {
    let fixture = Fixture::new(harness).await;
    let partition = Partition::new(0);
    let token = token_in(&fixture, partition, 0);
    let other = fixture.create(independent()).await;
    let (paused, _) = fixture.client(other.id, Event::Pause).await;
    let head = fixture.create(of_token(&token)).await;
    let parked = fixture.create(of_token(&token)).await;
    let (none, taking) = (Guard::None, fixture.taking());
    let commits = vec![
        commit(&fixture, other.id, &paused, Event::Resume, none),
        commit(&fixture, parked.id, &parked.header, claim_event(), taking),
        commit(&fixture, head.id, &head.header, Event::Cancel, none),
    ];
    let answers = fixture.store.commit(commits).await.expect("commit");
    let [
        Committed::Done(_),
        Committed::NotHead,
        Committed::Done(canceled),
    ] = answers.as_slice()
    else {
        panic!("expected two to be made and one to be parked: {answers:?}");
    };
    let promoted = canceled.promoted.as_ref().expect("the new head");
    assert_eq!(promoted.operation.id, parked.id);
    assert_eq!(fixture.entry(parked.id).await, Some(promoted.stamp));
    assert!(fixture.entry(other.id).await.is_some());
    assert_eq!(fixture.entry(head.id).await, None);
    fixture.claim(parked.id).await;
}

async fn is_asked_to_stop(fixture: &Fixture, id: OperationId, fence: Fence) -> bool {
    let renewals = fixture
        .store
        .renew(&[(id, fixture.holding(fence))])
        .await
        .expect("renew");
    matches!(
        renewals.as_slice(),
        [Renewal::Held {
            asked_to_stop: true
        }]
    )
}

/// The same create twice in one call is one operation, the same commit twice is
/// made once, and both are answered alike.
pub async fn a_repetition_in_one_call_is_recognised(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let token = token_in(&fixture, Partition::new(0), 0);
    let (first, second) = (
        fixture.prepare(of_token(&token)),
        fixture.prepare(independent()),
    );
    let batch = vec![first.clone(), second.clone(), first.clone(), first.clone()];
    let fresh = fixture.store_all(batch).await;
    for again in [&fresh[2], &fresh[3]] {
        assert_eq!(again.sequence, fresh[0].sequence);
        assert_eq!(again.offer, fresh[0].offer);
    }
    assert_eq!(fixture.outbox_entries(Partition::new(0)).await.len(), 2);
    // Some operations are new, and one was there before the call.
    let third = fixture.prepare(independent());
    let mixed = fixture.store_all(vec![third.clone(), second.clone()]).await;
    assert_eq!(mixed[1].sequence, fresh[1].sequence);
    assert_eq!(fixture.entry(third.id).await, mixed[0].offer);

    let mut claim = commit(
        &fixture,
        first.id,
        &first.header,
        claim_event(),
        fixture.taking(),
    );
    claim.want_record = true;
    let other = commit(
        &fixture,
        second.id,
        &second.header,
        claim_event(),
        fixture.taking(),
    );
    let answers = fixture
        .store
        .commit(vec![claim.clone(), other, claim])
        .await;
    let answers = answers.expect("commit");
    let [
        Committed::Done(once),
        Committed::Done(_),
        Committed::Done(twice),
    ] = answers.as_slice()
    else {
        panic!("expected all to be made: {answers:?}");
    };
    assert!(once.fence.is_some());
    assert_eq!(once.fence, twice.fence);
    assert!(twice.record.is_some());
    assert_eq!(fixture.read(first.id).await.header.starts, 1);
}

/// Two twins are changed in the same way at random, one in calls of several
/// commits and the other one by one: they cannot be told apart.
pub async fn several_commits_come_to_what_single_ones_come_to(harness: &dyn StoreHarness) {
    for seed in 1..=4 {
        walk(&Fixture::new(harness).await, seed).await;
    }
}

async fn walk(fixture: &Fixture, seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut many = Twin::new(fixture, random.u64(..)).await;
    let mut single = Twin::new(fixture, random.u64(..)).await;
    for call in 0..CALLS {
        let events = many.draw(fixture, &mut random);
        let (batch, one_by_one) = (
            many.commits(fixture, &events),
            single.commits(fixture, &events),
        );
        let batch = fixture.store.commit(batch).await.expect("commit");
        let mut alone = Vec::new();
        for commit in one_by_one {
            alone.extend(fixture.store.commit(vec![commit]).await.expect("commit"));
        }
        let told = |twin: &Twin, answers: &[Committed]| -> Vec<String> {
            answers.iter().map(|answer| twin.tell(answer)).collect()
        };
        let at = format!("seed {seed}, call {call}: {events:?}");
        assert_eq!(told(&many, &batch), told(&single, &alone), "{at}");
        many.learn(&events, &batch);
        single.learn(&events, &alone);
        assert_eq!(many.look(fixture).await, single.look(fixture).await, "{at}");
    }
}

/// One of two sets of operations, all in one partition.
struct Twin {
    operations: Vec<Fresh>,
    headers: Vec<Option<Header>>,
    fences: Vec<Option<Fence>>,
}

impl Twin {
    async fn new(fixture: &Fixture, salt: u64) -> Self {
        let partition = Partition::new(0);
        let token = |number: u64| token_in(fixture, partition, salt.wrapping_add(number << 32));
        let (first, second, third) = (token(0), token(1), token(2));
        let mut drafts: Vec<Draft> = Vec::new();
        for _ in 0..OF_EACH {
            drafts.extend([independent(), of_token(&first), of_token(&second)]);
            drafts.push(holding(&third));
            drafts.push(Draft {
                webhook: true,
                ..independent()
            });
        }
        let new = drafts.into_iter().map(|draft| fixture.prepare(draft));
        let operations = fixture.store_all(new.collect()).await;
        Self {
            headers: operations
                .iter()
                .map(|it| Some(it.header.clone()))
                .collect(),
            fences: vec![None; operations.len()],
            operations,
        }
    }

    /// Some events, each legal after those before it if all of them are made.
    fn draw(&self, fixture: &Fixture, random: &mut fastrand::Rng) -> Vec<(usize, Event)> {
        let mut headers = self.headers.clone();
        let mut events = Vec::new();
        for _ in 0..random.usize(1..=IN_A_CALL) {
            let place = random.usize(..headers.len());
            let Some(header) = headers[place].clone() else {
                continue;
            };
            let event = any_event(fixture, random);
            if is_holders(&event) && self.fences[place].is_none() {
                continue;
            }
            if let Ok(transition) = apply(&header, event.clone(), at(fixture)) {
                headers[place] = (event != Event::Delete).then_some(transition.header);
                events.push((place, event));
            }
        }
        events
    }

    /// The commits of these events.
    fn commits(&self, fixture: &Fixture, events: &[(usize, Event)]) -> Vec<Commit> {
        let mut headers = self.headers.clone();
        let mut commits = Vec::new();
        for (place, event) in events {
            let Some(header) = &headers[*place] else {
                continue;
            };
            let guard = match (event, self.fences[*place]) {
                (Event::Claim { .. }, _) => fixture.taking(),
                (event, Some(fence)) if is_holders(event) => Guard::Holder(fixture.holding(fence)),
                _ => Guard::None,
            };
            let mut commit = commit(
                fixture,
                self.operations[*place].id,
                header,
                event.clone(),
                guard,
            );
            commit.want_record = matches!(event, Event::Claim { .. });
            headers[*place] = Some(commit.header.clone());
            commits.push(commit);
        }
        commits
    }

    /// An answer, without the parts that differ between twins.
    fn tell(&self, answer: &Committed) -> String {
        match answer {
            Committed::Done(done) => format!(
                "done: fence {}, offer {}, record {}, promoted {:?}",
                done.fence.is_some(),
                done.offer.is_some(),
                done.record.is_some(),
                done.promoted
                    .as_ref()
                    .map(|promoted| self.place(promoted.operation.id)),
            ),
            Committed::NotHead => "not the head".to_owned(),
            Committed::Held(scope) => format!("held by {scope}"),
            Committed::Conflict(header) => format!("conflict: {}", header.version),
            Committed::Fenced => "fenced".to_owned(),
            Committed::Missing => "missing".to_owned(),
        }
    }

    /// Notes the locks that were taken.
    fn learn(&mut self, events: &[(usize, Event)], answers: &[Committed]) {
        for ((place, _), answer) in events.iter().zip(answers) {
            if let Committed::Done(done) = answer
                && done.fence.is_some()
            {
                self.fences[*place] = done.fence;
            }
        }
    }

    /// Everything that can be seen of the twin; the expected headers are
    /// corrected on the way.
    async fn look(&mut self, fixture: &Fixture) -> BTreeMap<String, Vec<String>> {
        let ids: Vec<OperationId> = self.operations.iter().map(|fresh| fresh.id).collect();
        let found = fixture.store.get(&ids).await.expect("get");
        self.headers = found
            .iter()
            .map(|found| found.as_ref().map(|it| it.header.clone()))
            .collect();
        let partition = Partition::new(0);
        let store = &fixture.store;
        let mut seen = BTreeMap::new();
        let mut note = |what: &str, of: Vec<String>| seen.insert(what.to_owned(), of);
        note(
            "headers",
            self.headers
                .iter()
                .map(|header| match header {
                    Some(header) => format!("{:?} {}", header.status, header.version),
                    None => "gone".to_owned(),
                })
                .collect(),
        );
        let entries = fixture.outbox_entries(partition).await;
        note("dispatch", self.ours(entries.iter().map(|(id, _)| *id)));
        let offered = fixture.offered(partition).await;
        note("offered", self.ours(offered.iter().map(|(id, _)| *id)));
        let locks = store.locks(partition).await.expect("locks");
        note("locks", self.ours(locks.iter().map(|lock| lock.id)));
        let mut stopping = Vec::new();
        for lock in &locks {
            if is_asked_to_stop(fixture, lock.id, lock.fence).await {
                stopping.push(lock.id);
            }
        }
        note("stopping", self.ours(stopping.into_iter()));
        // By the server's clock, which this process does not know to the
        // millisecond.
        let is_due =
            |header: &&Header| header.status == Status::Waiting && header.postpone_until.is_some();
        let expected = self.headers.iter().flatten().filter(is_due).count();
        let due = eventually("what was postponed is due", async || {
            let due = store.due(partition, 1_000).await.expect("due");
            let ours = due.iter().filter(|id| self.place(**id).is_some()).count();
            (ours >= expected).then_some(due)
        })
        .await;
        note("due", self.ours(due.into_iter()));
        let notices = store.notices(partition, 1_000).await.expect("notices");
        note("notices", self.ours(notices.iter().map(|notice| notice.id)));
        seen
    }

    /// The operations of ours, by their places.
    fn ours(&self, ids: impl Iterator<Item = OperationId>) -> Vec<String> {
        let mut places: Vec<usize> = ids.filter_map(|id| self.place(id)).collect();
        places.sort_unstable();
        places.iter().map(usize::to_string).collect()
    }

    fn place(&self, id: OperationId) -> Option<usize> {
        self.operations.iter().position(|fresh| fresh.id == id)
    }
}

fn at(fixture: &Fixture) -> At {
    At {
        now: fixture.store.now(),
        commit: fixture.ids.commit(),
    }
}

fn any_event(fixture: &Fixture, random: &mut fastrand::Rng) -> Event {
    match random.u8(..16) {
        0..=4 => claim_event(),
        5..=7 => Event::Succeed,
        8 => Event::Fail(fault()),
        9 => Event::Release,
        10 => Event::Pause,
        11 | 12 => Event::Resume,
        13 => Event::Postpone(fixture.store.now().saturating_add(MOMENT)),
        14 => Event::Cancel,
        _ => Event::Delete,
    }
}

/// Returns true if only the holder of the lock may bring the event about.
const fn is_holders(event: &Event) -> bool {
    matches!(event, Event::Succeed | Event::Fail(_) | Event::Release)
}

/// A token that belongs to a partition.
fn token_in(fixture: &Fixture, partition: Partition, salt: u64) -> String {
    (0..)
        .map(|number: u64| format!("{salt}-{number}"))
        .find(|token| fixture.partition_of(token) == partition)
        .expect("some token does")
}
