//! Beats: members that have beaten are alive.

use std::collections::BTreeSet;
use std::sync::Arc;

use drumline_backend::membership::all_members;
use drumline_backend::{Ids, Member, MemberId, Membership, Profile, Role, Roster};
use drumline_protocol::QueueName;
use tokio::task::JoinSet;

use crate::MembershipHarness;

/// A beat returns the live members, through any process.
pub async fn a_member_that_beats_is_listed_by_all(harness: &dyn MembershipHarness) {
    let (one, other) = (harness.connect().await, harness.connect().await);
    assert!(read(&*one).await.is_empty());
    assert!(one.roster().await.expect("roster").is_empty());
    let mut all = vec![member(Role::Worker), member(Role::Manager)];
    let first = one.beat(&all[0]).await.expect("beat");
    assert_roster(&first, &all[..1]);
    let both = other.beat(&all[1]).await.expect("beat");
    all.sort_by_key(|one| one.id);
    assert_roster(&both, &all);
    assert_roster(&one.roster().await.expect("roster"), &all);
    assert_eq!(read(&*one).await, all);
}

/// The latest report of a member counts.
pub async fn the_latest_beat_counts(harness: &dyn MembershipHarness) {
    let (one, other) = (harness.connect().await, harness.connect().await);
    let mut worker = member(Role::Worker);
    one.beat(&worker).await.expect("beat");
    assert_roster(
        &other.roster().await.expect("roster"),
        std::slice::from_ref(&worker),
    );
    worker.running = 3;
    worker.profile.draining = true;
    let beaten = one.beat(&worker).await.expect("beat");
    assert_roster(&beaten, std::slice::from_ref(&worker));
    assert_roster(
        &other.roster().await.expect("roster"),
        std::slice::from_ref(&worker),
    );
    assert_eq!(read(&*other).await, [worker]);
}

/// While no profile changes, the roster is the one of the beat before.
pub async fn a_beat_that_changes_no_profile_brings_nothing_new(harness: &dyn MembershipHarness) {
    let (one, other) = (harness.connect().await, harness.connect().await);
    let (mut busy, idle) = (member(Role::Worker), member(Role::Worker));
    one.beat(&busy).await.expect("beat");
    other.beat(&idle).await.expect("beat");
    let before = one.beat(&busy).await.expect("beat");
    for running in 1..4 {
        busy.running = running;
        other.beat(&idle).await.expect("beat");
        let again = one.beat(&busy).await.expect("beat");
        assert!(Arc::ptr_eq(&before, &again));
    }
    let mut all = [busy, idle];
    all.sort_by_key(|one| one.id);
    assert_eq!(read(&*other).await, all, "people see the latest number");
}

/// A member that leaves need not be waited for; leaving twice is no error.
pub async fn a_member_that_leaves_is_gone(harness: &dyn MembershipHarness) {
    let (one, other) = (harness.connect().await, harness.connect().await);
    let (stays, goes) = (member(Role::Worker), member(Role::Worker));
    one.beat(&stays).await.expect("beat");
    one.beat(&goes).await.expect("beat");
    for _ in 0..2 {
        other.leave(goes.id).await.expect("leave");
        assert_eq!(read(&*one).await, std::slice::from_ref(&stays));
        let beaten = one.beat(&stays).await.expect("beat");
        assert_roster(&beaten, std::slice::from_ref(&stays));
    }
    // Its next life is another member; but the leave may also have been a
    // mistake.
    let back = one.beat(&goes).await.expect("beat");
    assert_eq!(back.len(), 2);
    assert_eq!(other.roster().await.expect("roster").len(), 2);
}

/// A member that is asked to drain hears of that with its next beat, and with each one
/// until it leaves. Other members do not, and an unknown one is not asked.
pub async fn a_member_hears_with_its_beat_that_it_is_to_drain(harness: &dyn MembershipHarness) {
    let (one, other) = (harness.connect().await, harness.connect().await);
    let (mut asked, stays) = (member(Role::Worker), member(Role::Worker));
    assert!(!other.ask_to_drain(asked.id).await.expect("asks"));
    one.beat(&asked).await.expect("beat");
    one.beat(&stays).await.expect("beat");
    assert!(!one.is_asked_to_drain(asked.id));
    for _ in 0..2 {
        assert!(other.ask_to_drain(asked.id).await.expect("asks"));
    }
    assert!(!one.is_asked_to_drain(asked.id), "the beat brings it");
    // With a beat that changes nothing, and with one that changes its profile.
    for draining in [false, true, true] {
        asked.profile.draining = draining;
        one.beat(&asked).await.expect("beat");
        one.beat(&stays).await.expect("beat");
        assert!(one.is_asked_to_drain(asked.id));
        assert!(!one.is_asked_to_drain(stays.id));
    }
    // Beside the changes of another one.
    other.beat(&member(Role::Manager)).await.expect("beat");
    let roster = one.beat(&asked).await.expect("beat");
    assert_eq!(roster.len(), 3);
    assert!(one.is_asked_to_drain(asked.id));
    one.leave(asked.id).await.expect("leave");
    assert!(!one.is_asked_to_drain(asked.id));
    one.beat(&asked).await.expect("beat");
    assert!(
        !one.is_asked_to_drain(asked.id),
        "its next life is not asked"
    );
}

/// Members with equal profiles are one group, and it has no members that left.
pub async fn members_are_grouped_by_their_profiles(harness: &dyn MembershipHarness) {
    let membership = harness.connect().await;
    let workers: Vec<Member> = (0..3).map(|_| member(Role::Worker)).collect();
    let manager = member(Role::Manager);
    for one in workers.iter().chain([&manager]) {
        membership.beat(one).await.expect("beat");
    }
    let roster = membership.roster().await.expect("roster");
    assert_eq!(roster.groups().len(), 2, "{roster:?}");
    assert_eq!(roster.count(Role::Worker), 3);
    assert_eq!(roster.count(Role::Manager), 1);
    for one in &workers {
        membership.leave(one.id).await.expect("leave");
    }
    let roster = membership.roster().await.expect("roster");
    assert_roster(&roster, &[manager]);
}

/// Beats of many members at once do not disturb each other.
pub async fn many_members_beat_at_once(harness: &dyn MembershipHarness) {
    const MEMBERS: usize = 20;
    let membership: Arc<dyn Membership> = harness.connect().await;
    let mut tasks = JoinSet::new();
    for _ in 0..MEMBERS {
        let membership = Arc::clone(&membership);
        tasks.spawn(async move {
            let mut member = member(Role::Worker);
            for number in 0..5 {
                member.profile.concurrency = number;
                let all = membership.beat(&member).await.expect("beat");
                let same = |profile: &Profile| *profile == member.profile;
                assert!(all.ids(same).contains(&member.id));
            }
        });
    }
    tasks.join_all().await;
    let all = read(&*membership).await;
    assert_eq!(all.len(), MEMBERS);
    assert!(all.is_sorted_by(|a, b| a.id < b.id));
    assert_roster(&membership.roster().await.expect("roster"), &all);
}

/// A fleet of any size: each member sees itself and all others, those that left
/// are gone, and a process that comes late reads everything.
pub async fn a_member_of_a_large_fleet_sees_all_others(harness: &dyn MembershipHarness) {
    const MEMBERS: usize = 1_500;
    let (one, other) = (harness.connect().await, harness.connect().await);
    let mut all: Vec<Member> = (0..MEMBERS)
        .map(|number| {
            let mut member = member(Role::Worker);
            member.profile.concurrency = u32::try_from(number % 20).expect("small");
            member
        })
        .collect();
    // The second beat is for a busy machine, on which the first of them would be
    // silent for too long by now.
    for _ in 0..2 {
        beat_all(&one, &all).await;
    }
    assert_roster(&other.roster().await.expect("roster"), &all);
    // More leave than any store remembers one by one.
    let left: Vec<Member> = all.drain(..1_050).collect();
    let mut tasks = JoinSet::new();
    for member in &left {
        let (one, id) = (Arc::clone(&one), member.id);
        tasks.spawn(async move { one.leave(id).await.expect("leave") });
    }
    tasks.join_all().await;
    beat_all(&one, &all).await;
    for member in [&all[0], &all[all.len() - 1]] {
        assert_roster(&other.beat(member).await.expect("beat"), &all);
    }
    let late = harness.connect().await;
    assert_roster(&late.beat(&all[7]).await.expect("beat"), &all);
    all.sort_by_key(|member| member.id);
    assert_eq!(read(&*late).await, all);
}

/// A page is as long as it may be, and no member that stays is missed, whatever
/// changes between two pages.
pub async fn the_pages_hold_every_member(harness: &dyn MembershipHarness) {
    let membership = harness.connect().await;
    let mut all: Vec<Member> = (0..9).map(|_| member(Role::Worker)).collect();
    for member in &all {
        membership.beat(member).await.expect("beat");
    }
    let mut seen = BTreeSet::new();
    let mut place = None;
    for round in 0.. {
        assert!(round < 9, "the pages come to an end");
        let page = membership.members(place, 4).await.expect("members");
        assert!(page.members.len() <= 4);
        seen.extend(page.members.iter().map(|member| member.id));
        place = page.next;
        if place.is_none() {
            break;
        }
        if round == 0 {
            // The changed members are one that was listed and one that was not.
            for at in [0, 8] {
                all[at].profile.draining = true;
                membership.beat(&all[at]).await.expect("beat");
            }
        }
    }
    let ids: BTreeSet<MemberId> = all.iter().map(|member| member.id).collect();
    assert_eq!(seen, ids);
}

/// The members of all pages.
async fn read(membership: &dyn Membership) -> Vec<Member> {
    all_members(membership).await.expect("members")
}

/// Beats for all of them, many at a time.
async fn beat_all(membership: &Arc<dyn Membership>, all: &[Member]) {
    for some in all.chunks(100) {
        let mut tasks = JoinSet::new();
        for member in some {
            let (membership, member) = (Arc::clone(membership), member.clone());
            tasks.spawn(async move { membership.beat(&member).await.expect("beat") });
        }
        tasks.join_all().await;
    }
}

/// Checks that a roster holds these members, each with its profile.
fn assert_roster(roster: &Roster, members: &[Member]) {
    let listed = roster.groups().iter().flat_map(|group| {
        let with_profile = |id| (id, &*group.profile);
        group.ids.iter().map(with_profile)
    });
    let mut listed: Vec<_> = listed.collect();
    listed.sort_by_key(|(id, _)| *id);
    let mut wanted: Vec<_> = members
        .iter()
        .map(|member| (&member.id, &member.profile))
        .collect();
    wanted.sort_by_key(|(id, _)| *id);
    assert_eq!(listed.len(), wanted.len());
    assert!(listed == wanted, "some members have other profiles");
}

fn member(role: Role) -> Member {
    Member {
        id: Ids::random().member(),
        host: "host:4711".to_owned(),
        running: 0,
        started_on_ms: 1_795_000_000_123,
        profile: Profile {
            queues: vec![QueueName::default()],
            messages: vec!["*".to_owned()],
            concurrency: 16,
            ..Profile::new(role)
        },
    }
}
