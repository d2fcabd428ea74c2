//! Transactions: creates and commits of any partitions, all or nothing.

use drumline_backend::store::{
    Commit, Committed, Created, Done, Error, Guard, NewOperation, Transacted,
};
use drumline_protocol::{Event, Fence, OperationId, Partition, Status};

use super::commit::commit;
use crate::StoreHarness;
use crate::fixtures::{Draft, Fixture, Fresh, claim_event, holding, independent, of_token};
use crate::wait::soon;

/// Creates and commits of several partitions are made together.
pub async fn a_transaction_makes_all_of_it(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let paused = fixture.create(in_partition(&fixture, 1)).await;
    let claimed = fixture.create(in_partition(&fixture, 2)).await;
    let cancelled = fixture.create(token(&fixture, "a")).await;
    let creates = vec![
        fixture.prepare(in_partition(&fixture, 3)),
        fixture.prepare(token(&fixture, "b")),
        fixture.prepare(in_partition(&fixture, 1)),
    ];
    let mut claim = commit(
        &fixture,
        claimed.id,
        &claimed.header,
        claim_event(),
        fixture.taking(),
    );
    claim.want_record = true;
    let commits = vec![
        open(&fixture, &paused, Event::Pause),
        claim,
        open(&fixture, &cancelled, Event::Cancel),
    ];
    let (created, committed) = made(&fixture, creates.clone(), commits).await;
    assert_eq!(created.len(), 3);
    for (new, created) in creates.iter().zip(created) {
        let Created::New { offer, .. } = created else {
            panic!("expected a new operation: {created:?}");
        };
        assert!(offer.is_some());
        assert_eq!(fixture.entry(new.id).await, offer);
        assert_eq!(fixture.read(new.id).await.body, new.body);
    }
    let [_, claim, _] = committed.as_slice() else {
        panic!("three were committed");
    };
    assert!(claim.fence.is_some() && claim.record.is_some());
    let status = async |id| fixture.read(id).await.header.status;
    assert_eq!(status(paused.id).await, Status::Waiting);
    assert_eq!(status(claimed.id).await, Status::InProgress);
    assert_eq!(status(cancelled.id).await, Status::Canceled);
    let nothing = made(&fixture, Vec::new(), Vec::new()).await;
    assert!(nothing.0.is_empty() && nothing.1.is_empty());
}

/// A store may keep partitions apart. Then it refuses a transaction over several of them,
/// and writes nothing.
pub async fn a_transaction_over_partitions_is_made_or_refused(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let apart = |number| Draft {
        partition: Partition::new(number),
        ..independent()
    };
    let fresh = fixture.create(apart(1)).await;
    let new = fixture.prepare(apart(2));
    let pause = open(&fixture, &fresh, Event::Pause);
    let answer = fixture.store.transact(vec![new.clone()], vec![pause]).await;
    let is_made = match answer.expect("transact") {
        Transacted::Done { .. } => true,
        Transacted::Spread => false,
        refused @ Transacted::Refused { .. } => panic!("nothing stands against it: {refused:?}"),
    };
    assert_eq!(is_made, fixture.store.spreads_transactions());
    let found = fixture.store.get(&[new.id]).await.expect("get");
    assert_eq!(found[0].is_some(), is_made);
    let status = fixture.read(fresh.id).await.header.status;
    assert_eq!(status == Status::Waiting, is_made);
}

/// If one commit cannot be made, nothing is, neither before nor behind it.
pub async fn a_refused_transaction_writes_nothing(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let first = fixture.create(in_partition(&fixture, 1)).await;
    let changed = fixture.create(in_partition(&fixture, 2)).await;
    let last = fixture.create(in_partition(&fixture, 3)).await;
    let commits = vec![
        open(&fixture, &first, Event::Pause),
        open(&fixture, &changed, Event::Pause),
        open(&fixture, &last, Event::Pause),
    ];
    let (current, _) = fixture.client(changed.id, Event::Cancel).await;
    let create = fixture.prepare(in_partition(&fixture, 1));
    let before = fixture.store.counts().await.expect("counts");
    let (place, answer) = refused(&fixture, vec![create.clone()], commits).await;
    let Committed::Conflict(header) = answer else {
        panic!("expected a conflict: {answer:?}");
    };
    assert_eq!((place, *header), (1, current));
    assert_eq!(fixture.read(first.id).await.header, first.header);
    assert_eq!(fixture.read(last.id).await.header, last.header);
    let found = fixture.store.get(&[create.id]).await.expect("get");
    assert_eq!(found, [None]);
    assert_eq!(fixture.store.counts().await.expect("counts"), before);
}

/// The objection to a transaction is reported, with the commit that it
/// concerns.
pub async fn a_refusal_names_its_commit(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let fine = fixture.create(in_partition(&fixture, 1)).await;
    let first = fixture.create(fixture.together(holding("a"))).await;
    let second = fixture.create(fixture.together(holding("a"))).await;
    let gone = fixture.prepare(in_partition(&fixture, 2));
    let claim = |fresh: &Fresh| {
        commit(
            &fixture,
            fresh.id,
            &fresh.header,
            claim_event(),
            fixture.taking(),
        )
    };
    let stale = Commit {
        guard: Guard::Holder(fixture.holding(Fence(1))),
        ..open(&fixture, &first, Event::Pause)
    };
    let missing = commit(&fixture, gone.id, &gone.header, Event::Cancel, Guard::None);
    let wrong = [
        claim(&second),
        open(&fixture, &second, Event::Cancel),
        stale,
        missing,
    ];
    let mut answers = Vec::new();
    for wrong in wrong {
        let commits = vec![open(&fixture, &fine, Event::Pause), wrong];
        let (place, answer) = refused(&fixture, Vec::new(), commits).await;
        assert_eq!(place, 1);
        answers.push(answer);
    }
    assert!(
        matches!(
            answers.as_slice(),
            [
                Committed::NotHead,
                Committed::NotHead,
                Committed::Fenced,
                Committed::Missing
            ]
        ),
        "{answers:?}"
    );
    assert_eq!(fixture.read(fine.id).await.header, fine.header);
}

/// After an unclear answer the same transaction is repeated, and nothing is
/// made twice.
pub async fn a_repeated_transaction_is_answered_like_the_first(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let head = fixture.create(token(&fixture, "a")).await;
    let next = fixture.create(token(&fixture, "a")).await;
    let claimed = fixture.create(in_partition(&fixture, 2)).await;
    let creates = vec![
        fixture.prepare(in_partition(&fixture, 1)),
        fixture.prepare(token(&fixture, "a")),
    ];
    let commits = vec![
        open(&fixture, &head, Event::Cancel),
        commit(
            &fixture,
            claimed.id,
            &claimed.header,
            claim_event(),
            fixture.taking(),
        ),
    ];
    let (created, committed) = made(&fixture, creates.clone(), commits.clone()).await;
    let before = fixture.store.counts().await.expect("counts");
    let (again, also) = made(&fixture.another(harness).await, creates, commits).await;
    let of = |created: &[Created]| -> Vec<_> {
        let each = created.iter().map(|created| match created {
            Created::New {
                sequence, offer, ..
            } => (*sequence, *offer),
            other => panic!("it is new: {other:?}"),
        });
        each.collect()
    };
    assert_eq!(of(&again), of(&created));
    let of = |done: &[Done]| -> Vec<_> {
        let each = done.iter().map(|done| {
            let promoted = done.promoted.as_ref();
            (
                done.fence,
                promoted.map(|head| (head.operation.id, head.stamp)),
            )
        });
        each.collect()
    };
    assert_eq!(of(&also), of(&committed));
    let [(_, promoted), (fence, _)] = of(&also)[..] else {
        panic!("two were committed");
    };
    assert_eq!(promoted.map(|(id, _)| id), Some(next.id));
    assert!(fence.is_some());
    assert_eq!(fixture.store.counts().await.expect("counts"), before);
}

/// Another caller has changed an operation since: the repetition is answered
/// with that conflict, and makes nothing.
pub async fn a_repetition_after_a_change_is_a_conflict(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let fresh = fixture.create(in_partition(&fixture, 1)).await;
    let creates = vec![fixture.prepare(in_partition(&fixture, 2))];
    let commits = vec![open(&fixture, &fresh, Event::Pause)];
    made(&fixture, creates.clone(), commits.clone()).await;
    let (current, _) = fixture.client(fresh.id, Event::Resume).await;
    let before = fixture.store.counts().await.expect("counts");
    let (place, answer) = refused(&fixture, creates, commits).await;
    assert_eq!(place, 0);
    assert!(
        matches!(&answer, Committed::Conflict(header) if **header == current),
        "{answer:?}"
    );
    assert_eq!(fixture.store.counts().await.expect("counts"), before);
}

/// The list's order is the token's order.
pub async fn creates_of_one_token_keep_their_order(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let mut creates = Vec::new();
    for _ in 0..5 {
        creates.push(fixture.prepare(token(&fixture, "a")));
        creates.push(fixture.prepare(in_partition(&fixture, 1)));
    }
    // Not the order of their ids.
    creates.reverse();
    let (created, _) = made(&fixture, creates.clone(), Vec::new()).await;
    let of_token: Vec<OperationId> = creates
        .iter()
        .filter(|new| new.header.rules.chain.is_some())
        .map(|new| new.id)
        .collect();
    let offers = created.iter().filter(|created| {
        let Created::New { offer, .. } = created else {
            panic!("expected a new operation: {created:?}");
        };
        offer.is_some()
    });
    assert_eq!(offers.count(), 6, "five without a token, and the head");
    let mut next = of_token.first().copied();
    for id in of_token {
        assert_eq!(next, Some(id));
        next = fixture.run(id).await.promoted.map(|head| head.operation.id);
    }
    assert_eq!(next, None);
}

/// A head ends and another operation of its token is created: that is the next.
pub async fn a_transaction_hands_a_chain_on(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let head = fixture.create(token(&fixture, "a")).await;
    let new = fixture.prepare(token(&fixture, "a"));
    let cancel = open(&fixture, &head, Event::Cancel);
    let (_, committed) = made(&fixture, vec![new.clone()], vec![cancel]).await;
    let promoted = committed.into_iter().find_map(|done| done.promoted);
    let promoted = promoted.expect("the chain goes on");
    assert_eq!(promoted.operation.id, new.id);
    assert_eq!(fixture.entry(new.id).await, Some(promoted.stamp));
    fixture.run(new.id).await;
}

/// The head and the operation behind it end together: the third is the next.
pub async fn neighbours_of_a_chain_may_end_together(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    for order in [[0, 1], [1, 0]] {
        let name = fixture.ids.uuid().to_string();
        let mut chain = Vec::new();
        for _ in 0..3 {
            chain.push(fixture.create(token(&fixture, &name)).await);
        }
        let cancel = |at: usize| open(&fixture, &chain[at], Event::Cancel);
        let commits = order.into_iter().map(cancel).collect();
        made(&fixture, Vec::new(), commits).await;
        let [first, second, third] = chain.as_slice() else {
            panic!("three were created");
        };
        for ended in [first, second] {
            assert_eq!(fixture.entry(ended.id).await, None, "{order:?}");
            let status = fixture.read(ended.id).await.header.status;
            assert_eq!(status, Status::Canceled);
        }
        assert!(fixture.entry(third.id).await.is_some(), "{order:?}");
        fixture.run(third.id).await;
    }
}

/// Two transactions change the same operations, in another order: one of them
/// is made.
pub async fn of_racing_transactions_one_is_made(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let other = fixture.another(harness).await;
    for _ in 0..10 {
        let (one, two) = (
            fixture.create(in_partition(&fixture, 1)).await,
            fixture.create(in_partition(&fixture, 2)).await,
        );
        let pause = vec![
            open(&fixture, &one, Event::Pause),
            open(&fixture, &two, Event::Pause),
        ];
        let cancel = vec![
            open(&fixture, &two, Event::Cancel),
            open(&fixture, &one, Event::Cancel),
        ];
        let (paused, cancelled) = tokio::join!(
            fixture.store.transact(Vec::new(), pause),
            other.store.transact(Vec::new(), cancel),
        );
        let answers = [paused.expect("transact"), cancelled.expect("transact")];
        let done = answers.map(|answer| matches!(answer, Transacted::Done { .. }));
        let expected = match done {
            [true, false] => Status::Waiting,
            [false, true] => Status::Canceled,
            [true, true] | [false, false] => panic!("expected one to be made: {done:?}"),
        };
        for id in [one.id, two.id] {
            assert_eq!(fixture.read(id).await.header.status, expected);
        }
    }
}

/// An operation that is twice in a transaction is a mistake of the caller, and
/// is reported.
pub async fn an_operation_is_in_a_transaction_once(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let fresh = fixture.create(independent()).await;
    let new = fixture.prepare(independent());
    let pause = || open(&fixture, &fresh, Event::Pause);
    let of_new = commit(&fixture, new.id, &new.header, Event::Cancel, Guard::None);
    for (creates, commits) in [
        (Vec::new(), vec![pause(), pause()]),
        (vec![new.clone(), new.clone()], Vec::new()),
        (vec![new.clone()], vec![of_new]),
    ] {
        let answer = fixture.store.transact(creates, commits).await;
        assert!(matches!(answer, Err(Error::Unfit(_))), "{answer:?}");
    }
    assert_eq!(fixture.read(fresh.id).await.header, fresh.header);
}

/// Another create has used the id: its operation is shown, the rest is made.
pub async fn an_id_that_is_taken_refuses_nothing(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let first = fixture.create(independent()).await;
    let mut same = fixture.prepare(independent());
    same.id = first.id;
    let new = fixture.prepare(in_partition(&fixture, 1));
    let (created, _) = made(&fixture, vec![same, new.clone()], Vec::new()).await;
    assert!(
        matches!(
            created.as_slice(),
            [Created::Exists(found), Created::New { .. }] if found.header == first.header
        ),
        "{created:?}"
    );
    fixture.run(new.id).await;
}

/// A transaction may have as many operations as a batch.
pub async fn a_transaction_of_a_thousand(harness: &dyn StoreHarness) {
    const CREATES: usize = 800;
    const COMMITS: usize = 200;
    let fixture = Fixture::new(harness).await;
    let partitions = fixture.store.partitions().get();
    let draft = |number: usize| {
        let number = u16::try_from(number).unwrap_or(0);
        in_partition(&fixture, number % partitions)
    };
    let old: Vec<NewOperation> = (0..COMMITS).map(|n| fixture.prepare(draft(n))).collect();
    let old = fixture.store_all(old).await;
    let creates = (0..CREATES).map(|n| fixture.prepare(draft(n))).collect();
    let commits = old.iter().map(|old| open(&fixture, old, Event::Cancel));
    let (created, committed) = made(&fixture, creates, commits.collect()).await;
    assert_eq!((created.len(), committed.len()), (CREATES, COMMITS));
    let counts = fixture.store.counts().await.expect("counts");
    assert_eq!(
        (counts.ready, counts.completed, counts.undispatched),
        (CREATES as u64, COMMITS as u64, CREATES as u64)
    );
    // The clock is not ahead of itself: the next create is not delayed.
    let stamp = fixture.store.stamp(Partition::new(0)).await.expect("stamp");
    let now_us = u64::try_from(fixture.store.now().as_millis()).unwrap_or(0) * 1_000;
    assert!(stamp.0 < now_us + 1_000_000, "{stamp:?} at {now_us}");
}

/// Waiters for an end hear of it.
pub async fn the_ends_of_a_transaction_are_heard(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let mut heard = fixture.store.completions();
    let (one, two) = (
        fixture.create(in_partition(&fixture, 1)).await,
        fixture.create(in_partition(&fixture, 2)).await,
    );
    let commits = vec![
        open(&fixture, &one, Event::Pause),
        open(&fixture, &two, Event::Cancel),
    ];
    made(&fixture, Vec::new(), commits).await;
    let first = soon("the end is heard", heard.recv()).await;
    assert_eq!(first, Ok(two.id));
}

fn in_partition(fixture: &Fixture, number: u16) -> Draft {
    fixture.together(Draft {
        partition: Partition::new(number),
        ..independent()
    })
}

fn token(fixture: &Fixture, name: &str) -> Draft {
    fixture.together(of_token(name))
}

/// A client's commit on an operation that was just created.
fn open(fixture: &Fixture, fresh: &Fresh, event: Event) -> Commit {
    commit(fixture, fresh.id, &fresh.header, event, Guard::None)
}

/// A transaction that has to be made.
async fn made(
    fixture: &Fixture,
    creates: Vec<NewOperation>,
    commits: Vec<Commit>,
) -> (Vec<Created>, Vec<Done>) {
    match fixture.store.transact(creates, commits).await {
        Ok(Transacted::Done { created, committed }) => (created, committed),
        other => panic!("expected it to be made: {other:?}"),
    }
}

/// A transaction that has to be refused: the refused commit, and its answer.
async fn refused(
    fixture: &Fixture,
    creates: Vec<NewOperation>,
    commits: Vec<Commit>,
) -> (usize, Committed) {
    match fixture.store.transact(creates, commits).await {
        Ok(Transacted::Refused { commit, answer }) => (commit, answer),
        other => panic!("expected it to be refused: {other:?}"),
    }
}
