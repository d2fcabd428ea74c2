//! The queues that organizations use: noted, limited, listed and forgotten.

use std::time::Duration;

use drumline_backend::store::{IdleFate, QueueUse};
use drumline_protocol::{Organization, QueueName, Timestamp};

use crate::StoreHarness;
use crate::fixtures::Fixture;
use crate::wait::eventually;

/// Far later than any case notes a use.
fn later(fixture: &Fixture) -> Timestamp {
    fixture
        .store
        .now()
        .saturating_add(Duration::from_secs(3_600))
}

fn queue(name: &str) -> QueueName {
    name.parse().expect("a name")
}

fn use_of(organization: &str, name: &str) -> QueueUse {
    QueueUse::new(&Organization(organization.to_owned()), &queue(name))
}

impl Fixture {
    async fn uses(&self, organization: &str, name: &str, limit: Option<usize>) -> bool {
        let wanted = use_of(organization, name);
        let noted = self.store.use_queue(&wanted, limit).await;
        noted.expect("use_queue")
    }

    async fn queues(&self, after: Option<&str>, limit: usize) -> Vec<String> {
        let after = after.map(queue);
        let found = self.store.queues(after.as_ref(), limit).await;
        let found = found.expect("queues").into_iter();
        found.map(String::from).collect()
    }

    /// The idle uses, and whether each is the last of its queue.
    async fn idle(&self, before: Timestamp) -> Vec<(QueueUse, bool)> {
        let found = self.store.idle_queues(before, 100).await;
        let found = found.expect("idle_queues").into_iter();
        found.map(|one| (one.idle, one.is_last)).collect()
    }

    async fn settle(&self, idle: &QueueUse, before: Timestamp, fate: IdleFate) {
        let settled = self.store.settle_queue(idle, before, fate).await;
        settled.expect("settle_queue");
    }
}

/// An organization uses as many queues as it may; another one's do not count, nor does a
/// queue that it uses already.
pub async fn an_organization_uses_a_limited_number_of_queues(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    assert!(fixture.uses("contoso", "any", None).await, "no limit yet");
    assert!(fixture.uses("contoso", "a", Some(2)).await);
    for _ in 0..2 {
        assert!(!fixture.uses("contoso", "b", Some(2)).await);
        assert!(fixture.uses("contoso", "a", Some(2)).await);
        assert!(fixture.uses("contoso", "any", Some(2)).await);
    }
    assert!(fixture.uses("fabrikam", "b", Some(2)).await);
    // A process without a limit keeps to the one that the store was given.
    assert!(!fixture.uses("contoso", "b", None).await);
    assert!(fixture.uses("contoso", "b", Some(3)).await);
    assert!(!fixture.uses("contoso", "c", None).await);
    // A limit that is lowered takes nothing away.
    assert!(fixture.uses("contoso", "a", Some(1)).await);
    assert!(!fixture.uses("contoso", "c", Some(1)).await);
}

/// Queues are listed once, in the order of their names, in pages.
pub async fn queues_are_listed_in_order(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    assert_eq!(fixture.queues(None, 10).await, [] as [&str; 0]);
    for name in ["b", "a-1", "a", "c"] {
        for organization in ["contoso", "fabrikam", "ü"] {
            assert!(fixture.uses(organization, name, None).await);
        }
    }
    assert_eq!(fixture.queues(None, 10).await, ["a", "a-1", "b", "c"]);
    assert_eq!(fixture.queues(None, 2).await, ["a", "a-1"]);
    assert_eq!(fixture.queues(Some("a-1"), 1).await, ["b"]);
    assert_eq!(fixture.queues(Some("a0"), 10).await, ["b", "c"]);
    assert_eq!(fixture.queues(Some("c"), 10).await, [] as [&str; 0]);
    // Many users of one queue do not hide the next one.
    for number in 0..600 {
        assert!(fixture.uses(&format!("o{number}"), "a", None).await);
    }
    assert_eq!(fixture.queues(None, 3).await, ["a", "a-1", "b"]);
}

/// A use that is old is found, and forgotten or kept; one that was noted since is not.
pub async fn a_queue_that_is_not_used_is_forgotten(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let (ours, theirs, other) = (
        use_of("contoso", "a"),
        use_of("fabrikam", "a"),
        use_of("contoso", "b"),
    );
    for (organization, name) in [("contoso", "a"), ("fabrikam", "a"), ("contoso", "b")] {
        assert!(fixture.uses(organization, name, Some(2)).await);
    }
    let past = Timestamp::from_millis(1_000);
    assert_eq!(fixture.idle(past).await, []);
    let mut idle = fixture.idle(later(&fixture)).await;
    idle.sort_unstable();
    let mut all = vec![
        (ours.clone(), false),
        (theirs.clone(), false),
        (other.clone(), true),
    ];
    all.sort_unstable();
    assert_eq!(idle, all);

    // It was used since.
    fixture.settle(&ours, past, IdleFate::Forget).await;
    assert_eq!(fixture.idle(later(&fixture)).await.len(), 3);
    assert!(!fixture.uses("contoso", "c", Some(2)).await);
    fixture
        .settle(&ours, later(&fixture), IdleFate::Forget)
        .await;
    let idle = fixture.idle(later(&fixture)).await;
    assert!(idle.contains(&(theirs.clone(), true)), "{idle:?}");
    assert_eq!(fixture.queues(None, 10).await, ["a", "b"]);
    assert!(fixture.uses("contoso", "c", Some(2)).await, "there is room");
    fixture
        .settle(&theirs, later(&fixture), IdleFate::Forget)
        .await;
    assert_eq!(fixture.queues(None, 10).await, ["b", "c"]);

    // A use that is kept is idle no more.
    let before = fixture.store.now();
    eventually("the clock goes on", async || {
        (fixture.store.now().since(before) > Duration::from_millis(20)).then_some(())
    })
    .await;
    fixture
        .settle(&other, later(&fixture), IdleFate::Keep)
        .await;
    let idle = fixture.idle(before).await;
    assert!(!idle.contains(&(other.clone(), true)), "{idle:?}");
    let idle = fixture.idle(later(&fixture)).await;
    assert!(idle.contains(&(other, true)), "{idle:?}");
}
