//! Commits: compare and set, once, however often they are tried.

use drumline_backend::apply_event::Applied;
use drumline_backend::store::{Commit, Committed, Done, Guard};
use drumline_protocol::transition::{At, Transition};
use drumline_protocol::{Event, Header, OperationId, Progress, Report, State, Status, apply};
use tokio::task::JoinSet;

use crate::StoreHarness;
use crate::fixtures::{Fixture, Fresh, author_of, claim_event, independent, of_token};

/// The header of a commit is read afterwards.
pub async fn a_commit_writes_its_header(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let fresh = fixture.create(independent()).await;
    let (header, _) = fixture.client(fresh.id, Event::Pause).await;
    assert_eq!(header.status, Status::Waiting);
    let found = fixture.another(harness).await.read(fresh.id).await;
    assert_eq!(found.header, header);
    assert_eq!(found.sequence, fresh.sequence);
}

/// A commit made on an old version writes nothing and gets the current header.
pub async fn a_commit_on_an_old_version_is_told_the_current_header(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let fresh = fixture.create(independent()).await;
    let stale = commit(
        &fixture,
        fresh.id,
        &fresh.header,
        claim_event(),
        fixture.taking(),
    );
    let (current, _) = fixture.client(fresh.id, Event::Pause).await;
    let answer = commit_one(&fixture, stale).await;
    let Committed::Conflict(header) = answer else {
        panic!("expected a conflict: {answer:?}");
    };
    assert_eq!(*header, current);
    assert_eq!(fixture.read(fresh.id).await.header, current);
}

/// A store that lost its last writes gives out version numbers twice. A header
/// of the lost past still travels in some message. It must not pass for the
/// header that has the same number now, or it would take the lock from its
/// holder.
pub async fn a_header_of_a_lost_past_is_told_the_current_one(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    for held in [true, false] {
        let fresh = fixture.create(independent()).await;
        let fence = if held {
            Some(fixture.claim(fresh.id).await)
        } else {
            fixture.client(fresh.id, Event::Pause).await;
            None
        };
        let current = fixture.read(fresh.id).await.header;
        let lost = Header {
            version: current.version,
            commit: fixture.ids.commit(),
            ..fresh.header
        };
        let claim = commit(&fixture, fresh.id, &lost, claim_event(), fixture.taking());
        let answer = commit_one(&fixture, claim).await;
        let Committed::Conflict(header) = answer else {
            panic!("expected a conflict: {answer:?}");
        };
        assert_eq!(*header, current);
        assert_eq!(fixture.read(fresh.id).await.header, current);
        let locks = fixture.store.locks(fresh.id.partition()).await;
        let mut locks = locks.expect("locks").into_iter();
        let lock = locks.find(|lock| lock.id == fresh.id);
        assert_eq!(lock.map(|lock| lock.fence), fence);
    }
}

/// A commit on an operation that does not exist is reported as missing.
pub async fn a_commit_of_an_unknown_operation_is_missing(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let new = fixture.prepare(independent());
    let claim = commit(
        &fixture,
        new.id,
        &new.header,
        claim_event(),
        fixture.taking(),
    );
    assert!(matches!(
        commit_one(&fixture, claim).await,
        Committed::Missing
    ));
}

/// A batch of commits is answered in order, each for itself.
pub async fn commits_of_a_batch_are_answered_in_order(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let good = fixture.create(independent()).await;
    let gone = fixture.prepare(independent());
    let parked = {
        fixture.create(of_token("a")).await;
        fixture.create(of_token("a")).await
    };
    let claim = |id, header: &Header| commit(&fixture, id, header, claim_event(), fixture.taking());
    let batch = vec![
        claim(gone.id, &gone.header),
        claim(parked.id, &parked.header),
        claim(good.id, &good.header),
    ];
    let answers = fixture.store.commit(batch).await.expect("commit");
    assert!(
        matches!(
            answers.as_slice(),
            [Committed::Missing, Committed::NotHead, Committed::Done(_)]
        ),
        "{answers:?}"
    );
}

/// A claim that is repeated after an unclear answer gets its first lock.
pub async fn a_repeated_claim_is_answered_like_the_first(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let fresh = fixture.create(of_token("a")).await;
    let mut claim = commit(
        &fixture,
        fresh.id,
        &fresh.header,
        claim_event(),
        fixture.taking(),
    );
    claim.want_record = true;
    let first = commit_done(&fixture, claim.clone()).await;
    let again = commit_done(&fixture.another(harness).await, claim).await;
    assert!(first.fence.is_some());
    assert_eq!(again.fence, first.fence);
    let body = |done: &Done| done.record.as_ref().map(|record| record.body.clone());
    assert!(body(&first).is_some());
    assert_eq!(body(&again), body(&first));
    assert_eq!(fixture.read(fresh.id).await.header.starts, 1);
    let locks = fixture.store.locks(fresh.id.partition()).await;
    assert_eq!(locks.expect("locks").len(), 1);
}

/// A completion that is repeated names the same new head, once promoted.
pub async fn a_repeated_completion_is_answered_like_the_first(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let first = fixture.create(of_token("a")).await;
    let second = fixture.create(of_token("a")).await;
    let third = fixture.create(of_token("a")).await;
    let fence = fixture.claim(first.id).await;
    let header = fixture.read(first.id).await.header;
    let succeed = commit(
        &fixture,
        first.id,
        &header,
        Event::Succeed,
        Guard::Holder(fixture.holding(fence)),
    );
    let once = commit_done(&fixture, succeed.clone()).await;
    let twice = commit_done(&fixture, succeed).await;
    let promoted = |done: Done| done.promoted.map(|head| (head.operation.id, head.stamp));
    let (once, twice) = (promoted(once), promoted(twice));
    assert_eq!(once.map(|(id, _)| id), Some(second.id));
    assert_eq!(once, twice);
    assert_eq!(fixture.entry(third.id).await, None, "one step, not two");
}

/// A resume that is repeated names the same entry of the outbox.
pub async fn a_repeated_resume_is_answered_like_the_first(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let fresh = fixture.create(independent()).await;
    let (header, _) = fixture.client(fresh.id, Event::Pause).await;
    let resume = commit(&fixture, fresh.id, &header, Event::Resume, Guard::None);
    let first = commit_done(&fixture, resume.clone()).await;
    let again = commit_done(&fixture, resume).await;
    assert!(first.offer.is_some());
    assert_eq!(again.offer, first.offer);
}

/// A repetition is recognised only while nothing has followed it.
pub async fn a_repetition_that_comes_too_late_is_a_conflict(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let fresh = fixture.create(independent()).await;
    let pause = commit(&fixture, fresh.id, &fresh.header, Event::Pause, Guard::None);
    commit_done(&fixture, pause.clone()).await;
    let (current, _) = fixture.client(fresh.id, Event::Resume).await;
    let answer = commit_one(&fixture, pause).await;
    let Committed::Conflict(header) = answer else {
        panic!("expected a conflict: {answer:?}");
    };
    assert_eq!(*header, current);
}

/// Body, report and sequence come along with a commit that wants them.
pub async fn the_record_comes_along_when_it_is_wanted(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    for want_record in [true, false] {
        let new = fixture.prepare(independent());
        let fresh = fixture.store_new(new.clone()).await;
        let mut claim = commit(
            &fixture,
            fresh.id,
            &fresh.header,
            claim_event(),
            fixture.taking(),
        );
        claim.want_record = want_record;
        let done = commit_done(&fixture, claim).await;
        assert_eq!(done.record.is_some(), want_record);
        if let Some(record) = done.record {
            assert_eq!(record.body, new.body);
            assert_eq!(record.report, Report::default());
            assert_eq!(record.sequence, fresh.sequence);
        }
    }
}

/// A report that comes with a commit is written in the same step; without
/// one, the report stays.
pub async fn a_report_is_written_with_its_commit(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let fresh = fixture.create(independent()).await;
    let fence = fixture.claim(fresh.id).await;
    let report = Report {
        progress: Some(Progress {
            percent: 100,
            text: "done".to_owned(),
        }),
        result: Some(r#"{"rows":7}"#.to_owned()),
        ..Report::default()
    };
    let header = fixture.read(fresh.id).await.header;
    let mut release = commit(
        &fixture,
        fresh.id,
        &header,
        Event::Release,
        Guard::Holder(fixture.holding(fence)),
    );
    release.report = Some(report.clone());
    commit_done(&fixture, release).await;
    assert_eq!(fixture.read(fresh.id).await.report, report);
    fixture.client(fresh.id, Event::Pause).await;
    assert_eq!(fixture.read(fresh.id).await.report, report);
}

/// A checkpoint that comes with a commit is written in the same step, and a report without
/// one removes it.
pub async fn a_checkpoint_is_written_with_its_commit(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let fresh = fixture.create(independent()).await;
    // A small one and a large one, which a store may keep elsewhere.
    for size in [10, 40_000] {
        let with_checkpoint = Report {
            result: Some(r#"{"rows":7}"#.to_owned()),
            checkpoint: Some(format!("\"{}\"", "c".repeat(size))),
            ..Report::default()
        };
        let without = Report {
            checkpoint: None,
            ..with_checkpoint.clone()
        };
        for report in [with_checkpoint, without] {
            let fence = fixture.claim(fresh.id).await;
            let header = fixture.read(fresh.id).await.header;
            let guard = Guard::Holder(fixture.holding(fence));
            let mut release = commit(&fixture, fresh.id, &header, Event::Release, guard);
            release.report = Some(report.clone());
            commit_done(&fixture, release).await;
            assert_eq!(fixture.read(fresh.id).await.report, report);
        }
    }
}

/// Many workers want one operation: one gets it.
pub async fn of_racing_claims_one_wins(harness: &dyn StoreHarness) {
    const WORKERS: usize = 12;
    let fixture = Fixture::new(harness).await;
    let processes = [
        fixture.another(harness).await,
        fixture.another(harness).await,
    ];
    for draft in [independent(), of_token("a")] {
        let fresh = fixture.create(draft).await;
        let mut tasks = JoinSet::new();
        for process in processes.iter().cycle().take(WORKERS) {
            let mut worker = process.clone();
            worker.worker = worker.ids.member();
            let id = fresh.id;
            tasks.spawn(async move { (worker.worker, worker.try_claim(id).await) });
        }
        let mut winners = Vec::new();
        for (worker, decided) in tasks.join_all().await {
            match decided {
                Applied::Done(_, done) => winners.push((worker, done.fence)),
                Applied::Refused(refused) => assert_eq!(refused.status, Status::InProgress),
                other @ (Applied::NotHead | Applied::Held | Applied::Fenced | Applied::Missing) => {
                    panic!("a loser finds it taken: {other:?}")
                }
            }
        }
        let locks = fixture.store.locks(fresh.id.partition()).await;
        let locks = locks.expect("locks").into_iter();
        let held: Vec<_> = locks
            .filter(|lock| lock.id == fresh.id)
            .map(|lock| (lock.owner, Some(lock.fence)))
            .collect();
        assert_eq!(winners, held);
        assert_eq!(winners.len(), 1);
        assert_eq!(fixture.read(fresh.id).await.header.starts, 1);
    }
}

/// Many clients change one operation at once: each change is made on the one
/// before, and none is lost.
pub async fn racing_changes_are_made_one_after_the_other(harness: &dyn StoreHarness) {
    const CLIENTS: usize = 8;
    let fixture = Fixture::new(harness).await;
    let fresh = fixture.create(independent()).await;
    let mut tasks = JoinSet::new();
    for number in 0..CLIENTS {
        let client = fixture.another(harness).await;
        let id = fresh.id;
        tasks.spawn(async move {
            let event = if number % 2 == 0 {
                Event::Pause
            } else {
                Event::Resume
            };
            matches!(
                client.event(id, event, Guard::None).await,
                Applied::Done(..)
            )
        });
    }
    let made = tasks.join_all().await.into_iter().filter(|made| *made);
    let made = made.count() as u64;
    let header = fixture.read(fresh.id).await.header;
    assert!(made > 0);
    assert_eq!(header.version, fresh.header.version + made);
    let ready = header.status.state() == State::Ready;
    assert_eq!(fixture.entry(fresh.id).await.is_some(), ready);
}

/// The commit of an event on a header that was seen.
pub(crate) fn commit(
    fixture: &Fixture,
    id: OperationId,
    seen: &Header,
    event: Event,
    guard: Guard,
) -> Commit {
    let author = author_of(guard);
    Commit::new(id, seen, &transition(fixture, seen, event), guard, &author)
}

fn transition(fixture: &Fixture, seen: &Header, event: Event) -> Transition {
    let at = At {
        now: fixture.store.now(),
        commit: fixture.ids.commit(),
    };
    apply(seen, event, at).expect("a legal event")
}

/// The answer to one commit.
pub(crate) async fn commit_one(fixture: &Fixture, commit: Commit) -> Committed {
    let mut answers = fixture.store.commit(vec![commit]).await.expect("commit");
    assert_eq!(answers.len(), 1, "an answer for each");
    answers.remove(0)
}

/// The answer to one commit that has to be made.
pub(crate) async fn commit_done(fixture: &Fixture, commit: Commit) -> Done {
    match commit_one(fixture, commit).await {
        Committed::Done(done) => *done,
        other @ (Committed::NotHead
        | Committed::Held(_)
        | Committed::Conflict(_)
        | Committed::Fenced
        | Committed::Missing) => panic!("expected it to be made: {other:?}"),
    }
}

/// Claims an operation that was just created, by the header of its create.
pub(crate) async fn claim_fresh(fixture: &Fixture, fresh: &Fresh) -> Committed {
    let claim = commit(
        fixture,
        fresh.id,
        &fresh.header,
        claim_event(),
        fixture.taking(),
    );
    commit_one(fixture, claim).await
}
