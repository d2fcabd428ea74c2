//! Pauses: scopes whose operations cannot be claimed, the held set, and the way
//! back to the outbox.

mod released;

use std::time::Duration;

use drumline_backend::store::{Commit, Committed, PauseCopy, Released};
use drumline_protocol::pause::scope_keys_of;
use drumline_protocol::{
    Author, Event, OperationId, Organization, Partition, Pause, PauseKind, PauseScope, ScopeKey,
    Status, Timestamp,
};

pub use self::released::{
    a_claim_in_a_transaction_is_held_whole, a_held_claim_refuses_its_transaction,
    a_held_head_holds_its_chain_back, a_held_operation_expires, a_pause_ends_by_itself,
    a_release_passes_the_scopes_that_are_paused, many_are_held_and_released,
    what_is_held_is_not_offered_again, what_is_held_is_released_in_order,
    what_is_released_is_held_by_another_pause, what_leaves_ready_leaves_the_held_set,
};
use super::commit::{commit, commit_one};
use crate::StoreHarness;
use crate::fixtures::{Draft, Fixture, Fresh, claim_event, independent, of_token};

/// An hour: later than any case looks.
const HOUR: Duration = Duration::from_secs(3_600);
/// A span that is far enough to be seen before, and near enough to be waited
/// for.
const SHORT: Duration = Duration::from_millis(300);
/// The most that a step releases in most cases.
const PLENTY: usize = 1_000;

pub(crate) fn scope(kind: PauseKind, value: &str) -> PauseScope {
    let organization = Organization::default();
    match kind {
        PauseKind::Organization => PauseScope::organization(organization),
        PauseKind::Queue | PauseKind::MessageName | PauseKind::DependencyToken => PauseScope {
            kind,
            organization,
            value: value.to_owned(),
        },
    }
}

/// The pause of the message name that drafts have.
pub(crate) fn usual() -> PauseScope {
    scope(PauseKind::MessageName, "DoIt")
}

fn named(message_name: &str) -> Draft {
    Draft {
        message_name: message_name.to_owned(),
        ..independent()
    }
}

/// The partition of operations without a token.
fn partition() -> Partition {
    Partition::new(0)
}

impl Fixture {
    /// Sets a pause and brings it to every partition.
    pub(crate) async fn pause(&self, scope: &PauseScope, until: Option<Timestamp>) -> ScopeKey {
        let pause = Pause {
            scope: scope.clone(),
            reason: "the mail server is down".to_owned(),
            until,
            author: Author::Caller("ann".to_owned()),
            since: self.store.now(),
        };
        self.store.set_pause(&pause).await.expect("set_pause");
        self.copy().await;
        scope.key()
    }

    /// Lifts a pause in every partition.
    pub(crate) async fn lift(&self, key: ScopeKey) {
        assert!(self.store.lift_pause(key).await.expect("lift_pause"));
        self.copy().await;
    }

    async fn copy(&self) {
        let pauses = self.store.pauses().await.expect("pauses");
        let all: Vec<_> = self.store.partitions().all().collect();
        let copied = self.store.copy_pauses(&pauses, &all).await;
        copied.expect("copy_pauses");
    }

    /// A claim as a worker makes it, from the header that it was created with.
    async fn scoped_claim(&self, fresh: &Fresh) -> Commit {
        let body = self.read(fresh.id).await.body;
        Commit {
            scopes: scope_keys_of(&fresh.header, &body),
            ..commit(self, fresh.id, &fresh.header, claim_event(), self.taking())
        }
    }

    async fn claim_scoped(&self, fresh: &Fresh) -> Committed {
        let claim = self.scoped_claim(fresh).await;
        commit_one(self, claim).await
    }

    async fn copy_of(&self, partition: Partition) -> PauseCopy {
        let copies = self.store.pause_copies(&[partition]).await;
        let copies = copies.expect("pause_copies");
        assert_eq!(copies.len(), 1, "an answer for each");
        copies[0]
    }

    async fn held(&self, partition: Partition) -> u64 {
        self.copy_of(partition).await.held
    }

    pub(crate) async fn release(&self, partition: Partition, limit: usize) -> Released {
        let released = self.store.release_held(partition, None, limit).await;
        released.expect("release_held")
    }

    async fn entries(&self, partition: Partition) -> Vec<OperationId> {
        let entries = self.outbox_entries(partition).await.into_iter();
        entries.map(|(id, _)| id).collect()
    }
}

#[track_caller]
fn assert_held(answer: &Committed, scope: ScopeKey) {
    let by = match answer {
        Committed::Held(by) => Some(*by),
        Committed::Done(_)
        | Committed::NotHead
        | Committed::Conflict(_)
        | Committed::Fenced
        | Committed::Missing => None,
    };
    assert_eq!(by, Some(scope), "{answer:?}");
}

#[track_caller]
fn assert_granted(answer: &Committed) {
    let is_granted = matches!(answer, Committed::Done(done) if done.fence.is_some());
    assert!(is_granted, "{answer:?}");
}

/// A pause is read as it was set, by every process, and is gone when it is lifted.
pub async fn a_pause_is_kept_with_its_texts(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let empty = fixture.store.pauses().await.expect("pauses");
    assert_eq!((empty.version, empty.pauses.len()), (0, 0));
    let until = fixture.store.now().saturating_add(HOUR);
    let key = fixture.pause(&usual(), Some(until)).await;
    let other = fixture.another(harness).await;
    let found = other.store.pauses().await.expect("pauses");
    let [pause] = found.pauses.as_slice() else {
        panic!("one pause was set: {found:?}");
    };
    assert_eq!(pause.scope, usual());
    assert_eq!(pause.scope.key(), key);
    assert_eq!(pause.reason, "the mail server is down");
    assert_eq!(pause.until, Some(until));
    assert_eq!(pause.author, Author::Caller("ann".to_owned()));
    assert!(found.version > 0);
    assert!(other.store.lift_pause(key).await.expect("lift_pause"));
    assert!(!fixture.store.lift_pause(key).await.expect("lift_pause"));
    let after = fixture.store.pauses().await.expect("pauses");
    assert!(after.version > found.version);
    assert!(after.pauses.is_empty());
}

/// The latest of the same scope counts.
pub async fn a_pause_that_is_set_again_is_one_pause(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let until = fixture.store.now().saturating_add(HOUR);
    fixture.pause(&usual(), Some(until)).await;
    let first = fixture.store.pauses().await.expect("pauses");
    fixture.pause(&usual(), None).await;
    let second = fixture.store.pauses().await.expect("pauses");
    assert!(second.version > first.version);
    assert_eq!(second.pauses.len(), 1);
    assert_eq!(second.pauses[0].until, None);
}

/// A manager that has read the pauses earlier must not undo a newer copy.
pub async fn an_older_copy_replaces_no_newer_one(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let key = fixture.pause(&usual(), None).await;
    let old = fixture.store.pauses().await.expect("pauses");
    assert_eq!(fixture.copy_of(partition()).await.version, old.version);
    fixture.lift(key).await;
    let copied = fixture.store.copy_pauses(&old, &[partition()]).await;
    copied.expect("copy_pauses");
    assert!(fixture.copy_of(partition()).await.version > old.version);
    let fresh = fixture.create(independent()).await;
    assert_granted(&fixture.claim_scoped(&fresh).await);
}

/// Each kind of scope holds the operations in it: they stay Ready, without a
/// lock, and are in the held set only.
pub async fn every_kind_of_scope_is_held(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    for (kind, value) in [
        (PauseKind::Queue, "default"),
        (PauseKind::MessageName, "DoIt"),
        (PauseKind::Organization, ""),
        (PauseKind::DependencyToken, "a"),
    ] {
        let fresh = fixture.create(of_token("a")).await;
        let key = fixture.pause(&scope(kind, value), None).await;
        let partition = fresh.id.partition();
        assert_eq!(fixture.held(partition).await, 0, "{kind:?}");
        assert_held(&fixture.claim_scoped(&fresh).await, key);
        assert_eq!(
            fixture.read(fresh.id).await.header,
            fresh.header,
            "{kind:?}"
        );
        let locks = fixture.store.locks(partition).await.expect("locks");
        assert!(locks.is_empty(), "{kind:?}");
        assert!(fixture.entries(partition).await.is_empty(), "{kind:?}");
        assert_eq!(fixture.held(partition).await, 1, "{kind:?}");
        let counts = fixture.store.counts().await.expect("counts");
        assert_eq!((counts.ready, counts.undispatched), (1, 0), "{kind:?}");
        fixture.lift(key).await;
        assert_eq!(fixture.release(partition, PLENTY).await.count, 1);
        assert_eq!(fixture.held(partition).await, 0, "{kind:?}");
        assert_granted(&fixture.claim_scoped(&fresh).await);
        let header = fixture.read(fresh.id).await.header;
        assert_eq!(header.status, Status::InProgress);
        let lock = fixture.store.locks(partition).await.expect("locks");
        fixture
            .holder(fresh.id, lock[0].fence, Event::Succeed)
            .await;
    }
}

/// A freeze holds the operations of every organization, and lets them go on.
pub async fn a_freeze_holds_every_organization(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let before = fixture.create(independent()).await;
    let key = fixture.pause(&PauseScope::everything(), None).await;
    assert_held(&fixture.claim_scoped(&before).await, key);
    let draft = Draft {
        organization: Organization("fabrikam".to_owned()),
        ..independent()
    };
    let other = fixture.create(draft).await;
    assert_eq!(other.offer, None);
    assert_eq!(fixture.held(partition()).await, 2);
    fixture.lift(key).await;
    assert_eq!(fixture.release(partition(), PLENTY).await.count, 2);
    assert_eq!(fixture.held(partition()).await, 0);
    assert_granted(&fixture.claim_scoped(&before).await);
}

/// A create in a paused scope is held at once, and a repetition finds that. It is
/// no offer for the broker. One behind its head is parked, as ever.
pub async fn a_create_in_a_paused_scope_is_held_at_once(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let key = fixture.pause(&usual(), None).await;
    let new = fixture.prepare(independent());
    for _ in 0..2 {
        let fresh = fixture.store_new(new.clone()).await;
        assert_eq!(fresh.offer, None);
        assert_eq!(fixture.held(partition()).await, 1);
        assert!(fixture.entries(partition()).await.is_empty());
        assert!(fixture.offered(partition()).await.is_empty());
    }
    let head = fixture.create(of_token("a")).await;
    let second = fixture.create(of_token("a")).await;
    assert_eq!((head.offer, second.offer), (None, None));
    let other = fixture.partition_of("a");
    let both = fixture.held(partition()).await + fixture.held(other).await;
    assert_eq!(both, if other == partition() { 4 } else { 2 });
    let draft = Draft {
        postponed_by: Some(HOUR),
        ..independent()
    };
    fixture.create(draft).await;
    let elsewhere = fixture.create(named("Another")).await;
    assert_eq!(fixture.entries(partition()).await, [elsewhere.id]);
    fixture.lift(key).await;
    fixture.release(partition(), PLENTY).await;
    fixture.release(other, PLENTY).await;
    assert!(fixture.entry(new.id).await > elsewhere.offer);
    assert!(fixture.entry(head.id).await.is_some());
    assert_eq!(fixture.entry(second.id).await, None);
    let promoted = fixture.run(head.id).await.promoted.expect("promoted");
    assert_eq!(promoted.operation.id, second.id);
    fixture.run(new.id).await;
}

/// Operations beside the scope do not notice the pause: other names, other
/// tokens, other organizations.
pub async fn a_claim_outside_the_scope_is_granted(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let key = fixture.pause(&usual(), None).await;
    fixture
        .pause(&scope(PauseKind::DependencyToken, "a"), None)
        .await;
    let inside = fixture.create(independent()).await;
    assert_held(&fixture.claim_scoped(&inside).await, key);
    let elsewhere = Draft {
        organization: Organization("elsewhere".to_owned()),
        ..of_token("a")
    };
    for draft in [named("Another"), elsewhere] {
        let fresh = fixture.create(draft).await;
        assert_granted(&fixture.claim_scoped(&fresh).await);
    }
}

/// A second delivery, or a repeated request, finds the operation held already.
pub async fn a_claim_that_is_held_twice_is_held_once(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let fresh = fixture.create(independent()).await;
    let key = fixture.pause(&usual(), None).await;
    let claim = fixture.scoped_claim(&fresh).await;
    let answers = fixture
        .store
        .commit(vec![claim.clone(), claim.clone()])
        .await;
    for answer in answers.expect("commit") {
        assert_held(&answer, key);
    }
    assert_held(&commit_one(&fixture, claim).await, key);
    assert_eq!(fixture.held(partition()).await, 1);
    fixture.lift(key).await;
    assert_eq!(fixture.release(partition(), PLENTY).await.count, 1);
    assert_eq!(fixture.entries(partition()).await, [fresh.id]);
}

/// A pause stops no handler.
pub async fn what_runs_goes_on_under_a_pause(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let fresh = fixture.create(of_token("a")).await;
    let next = fixture.create(of_token("a")).await;
    let fence = fixture.claim(fresh.id).await;
    let key = fixture.pause(&usual(), None).await;
    let renewed = fixture
        .store
        .renew(&[(fresh.id, fixture.holding(fence))])
        .await;
    assert_eq!(renewed.expect("renew").len(), 1);
    let done = fixture.holder(fresh.id, fence, Event::Succeed).await;
    assert!(done.promoted.is_some());
    assert_held(&fixture.claim_scoped(&next).await, key);
}
