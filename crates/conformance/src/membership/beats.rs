//! Beats: members that have beaten are alive.

use std::sync::Arc;

use drumline_backend::{Build, Ids, Member, Membership, Role};
use drumline_protocol::QueueName;
use tokio::task::JoinSet;

use crate::MembershipHarness;

/// A beat returns the live members, in order of their ids, through any process.
pub async fn a_member_that_beats_is_listed_by_all(harness: &dyn MembershipHarness) {
    let (one, other) = (harness.connect().await, harness.connect().await);
    assert!(one.members().await.expect("members").is_empty());
    let mut all = vec![member(Role::Worker), member(Role::Manager)];
    let first = one.beat(&all[0]).await.expect("beat");
    assert_eq!(first.as_slice(), &all[..1]);
    let both = other.beat(&all[1]).await.expect("beat");
    all.sort_by_key(|one| one.id);
    assert_eq!(both, all);
    assert_eq!(one.members().await.expect("members"), all);
}

/// The latest report of a member counts.
pub async fn the_latest_beat_counts(harness: &dyn MembershipHarness) {
    let membership = harness.connect().await;
    let mut worker = member(Role::Worker);
    membership.beat(&worker).await.expect("beat");
    worker.running = 3;
    worker.draining = true;
    membership.beat(&worker).await.expect("beat");
    assert_eq!(membership.members().await.expect("members"), [worker]);
}

/// A member that leaves need not be waited for; leaving twice is no error.
pub async fn a_member_that_leaves_is_gone(harness: &dyn MembershipHarness) {
    let (one, other) = (harness.connect().await, harness.connect().await);
    let (stays, goes) = (member(Role::Worker), member(Role::Worker));
    one.beat(&stays).await.expect("beat");
    one.beat(&goes).await.expect("beat");
    for _ in 0..2 {
        other.leave(goes.id).await.expect("leave");
        let left = one.members().await.expect("members");
        assert_eq!(left, std::slice::from_ref(&stays));
    }
    // Its next life is another member; but the leave may also have been a
    // mistake.
    let back = one.beat(&goes).await.expect("beat");
    assert_eq!(back.len(), 2);
}

/// Beats of many members at once do not disturb each other.
pub async fn many_members_beat_at_once(harness: &dyn MembershipHarness) {
    const MEMBERS: usize = 20;
    let membership: Arc<dyn Membership> = harness.connect().await;
    let mut tasks = JoinSet::new();
    for _ in 0..MEMBERS {
        let membership = Arc::clone(&membership);
        tasks.spawn(async move {
            let member = member(Role::Worker);
            for _ in 0..5 {
                let all = membership.beat(&member).await.expect("beat");
                assert!(all.contains(&member));
            }
        });
    }
    tasks.join_all().await;
    let all = membership.members().await.expect("members");
    assert_eq!(all.len(), MEMBERS);
    assert!(all.is_sorted_by(|a, b| a.id < b.id));
}

fn member(role: Role) -> Member {
    Member {
        id: Ids::random().member(),
        role,
        host: "host:4711".to_owned(),
        queues: vec![QueueName::default()],
        messages: vec!["*".to_owned()],
        concurrency: 16,
        running: 0,
        draining: false,
        started_on_ms: 1_795_000_000_123,
        bypassed: Vec::new(),
        sends_webhooks: None,
        throttled: Vec::new(),
        build: Build::current(),
    }
}
