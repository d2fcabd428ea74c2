//! Actions on many operations: their records, revision by revision, and their lists.

use std::time::Duration;

use drumline_backend::store::{ActionWrite, OpenAction};
use drumline_protocol::{
    ActionId, ActionStage, Author, BulkAction, BulkChange, BulkCounts, BulkRefusal, ErrorCode,
    Extensions, Fence, Organization, Partition, PauseScope, Timestamp, limits,
};
use tokio::task::JoinSet;

use crate::StoreHarness;
use crate::fixtures::Fixture;

/// More than any case starts, except one.
const PLENTY: usize = 100;

fn contoso() -> Organization {
    Organization("contoso".to_owned())
}

impl Fixture {
    /// An action that was started at a time.
    fn draft(&self, organization: Organization, at: Timestamp) -> BulkAction {
        let id = self.ids.operation(at, Partition::new(0));
        BulkAction {
            id: ActionId::new(id),
            organization,
            change: BulkChange::Postpone(Timestamp::from_millis(1_795_000_005_000)),
            conditions: vec![("messageName".to_owned(), "SendMail ✉".to_owned())],
            reason: "the mail server is down".to_owned(),
            author: Author::Caller("ann".to_owned()),
            started_on: at,
            expected: Some(5),
            stage: ActionStage::Running,
            ended_on: None,
            aborted_by: None,
            below: id,
            counts: BulkCounts::default(),
            executor: None,
            last_fence: Fence(0),
            revision: 1,
            extensions: Extensions::default(),
        }
    }

    async fn started(&self, organization: Organization) -> BulkAction {
        let action = self.draft(organization, self.store.now());
        assert_eq!(self.put(&action).await, ActionWrite::Written);
        action
    }

    async fn put(&self, action: &BulkAction) -> ActionWrite {
        self.store.put_action(action).await.expect("put_action")
    }

    async fn end(&self, action: &BulkAction) -> BulkAction {
        let ended = action.ended(ActionStage::Done, self.store.now());
        assert_eq!(self.put(&ended).await, ActionWrite::Written);
        ended
    }

    async fn stored_action(&self, id: ActionId) -> Option<BulkAction> {
        self.store.action(id).await.expect("action")
    }

    async fn open(&self) -> Vec<ActionId> {
        let open = self.store.open_actions(PLENTY).await.expect("open_actions");
        open.into_iter().map(|action| action.id).collect()
    }

    async fn listed(&self, before: Option<ActionId>, limit: usize) -> Vec<ActionId> {
        let actions = self.store.actions(&contoso(), before, limit).await;
        let actions = actions.expect("actions").into_iter();
        actions.map(|action| action.id).collect()
    }
}

/// An action is read back as it was written, by another process, too.
pub async fn an_action_is_kept_with_its_texts(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let action = fixture.started(contoso()).await;
    let page = BulkCounts {
        counted: 3,
        done: 2,
        refused: 1,
        refusals: vec![BulkRefusal {
            id: action.below,
            code: ErrorCode::CANNOT_PAUSE,
            message: "it has ended".to_owned(),
        }],
    };
    let taken = action.taken_by(fixture.worker.0);
    assert_eq!(fixture.put(&taken).await, ActionWrite::Written);
    let next = taken.advanced(&page, Some(action.below), fixture.store.now());
    assert_eq!(fixture.put(&next).await, ActionWrite::Written);
    let other = fixture.another(harness).await;
    assert_eq!(other.stored_action(action.id).await, Some(next));
    let unknown = fixture.draft(contoso(), fixture.store.now());
    assert_eq!(fixture.stored_action(unknown.id).await, None);
}

/// A revision is written on the one before it alone, and a repetition is recognised.
pub async fn an_action_is_written_on_the_revision_before_it(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let action = fixture.started(contoso()).await;
    assert_eq!(fixture.put(&action).await, ActionWrite::Written, "repeated");
    let now = fixture.store.now();
    let aborted = action.aborted(Author::Caller("bob".to_owned()), now);
    let taken = action.taken_by(fixture.worker.0);
    assert_eq!(fixture.put(&aborted).await, ActionWrite::Written);
    assert_eq!(fixture.put(&taken).await, ActionWrite::Changed);
    assert_eq!(fixture.put(&action).await, ActionWrite::Changed);
    assert_eq!(
        fixture.put(&aborted).await,
        ActionWrite::Written,
        "repeated"
    );
    let absent = fixture.draft(contoso(), now).taken_by(fixture.worker.0);
    assert_eq!(
        fixture.put(&absent).await,
        ActionWrite::Changed,
        "not started"
    );
    assert_eq!(fixture.stored_action(action.id).await, Some(aborted));
}

/// Of several managers that take an action at the same time one has it.
pub async fn of_racing_executors_one_takes_an_action(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let action = fixture.started(contoso()).await;
    let mut takes = JoinSet::new();
    for _ in 0..4 {
        let manager = fixture.another(harness).await;
        let taken = action.taken_by(manager.worker.0);
        takes.spawn(async move { (manager.put(&taken).await, taken) });
    }
    let takes = takes.join_all().await.into_iter();
    let mut won = takes.filter(|(answer, _)| *answer == ActionWrite::Written);
    let (_, taken) = won.next().expect("one takes it");
    assert!(won.next().is_none(), "two have it");
    assert_eq!(fixture.stored_action(action.id).await, Some(taken));
}

/// A list has the actions of one organization, newest first, page by page.
pub async fn actions_are_listed_newest_first_by_organization(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let mut ours = Vec::new();
    for _ in 0..40 {
        ours.push(fixture.started(contoso()).await.id);
        fixture.started(Organization::default()).await;
    }
    ours.reverse();
    assert_eq!(fixture.listed(None, PLENTY).await, ours);
    let first = fixture.listed(None, 36).await;
    let next = fixture.listed(first.last().copied(), 36).await;
    assert_eq!((first.len(), next.len()), (36, 4));
    assert_eq!([first, next].concat(), ours);
    assert!(fixture.listed(None, 0).await.is_empty());
}

/// Actions of all organizations are found until they have ended.
pub async fn open_actions_are_found_oldest_first(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    assert!(fixture.open().await.is_empty());
    let first = fixture.started(contoso()).await;
    let second = fixture.started(Organization::default()).await;
    let third = fixture.started(contoso()).await;
    assert_eq!(fixture.open().await, [first.id, second.id, third.id]);
    let taken = second.taken_by(fixture.worker.0);
    assert_eq!(fixture.put(&taken).await, ActionWrite::Written);
    let head = |action: &BulkAction| OpenAction {
        id: action.id,
        organization: PauseScope::organization(action.organization.clone()).key(),
        revision: action.revision,
    };
    let two = fixture.store.open_actions(2).await.expect("open_actions");
    assert_eq!(two, [head(&first), head(&taken)]);
    let none = fixture.store.open_actions(0).await.expect("open_actions");
    assert_eq!(none, []);
    fixture.end(&taken).await;
    assert_eq!(fixture.open().await.len(), 2);
    assert!(!fixture.open().await.contains(&second.id));
}

/// An action is removed when it is old enough and has ended.
pub async fn old_actions_are_removed_when_they_have_ended(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let now = fixture.store.now();
    let day = Duration::from_secs(86_400);
    let early = Timestamp::from_millis(now.as_millis() - 2 * 86_400_000);
    let (old, open) = (
        fixture.draft(contoso(), early),
        fixture.draft(contoso(), early),
    );
    for action in [&old, &open] {
        assert_eq!(fixture.put(action).await, ActionWrite::Written);
    }
    let new = fixture.started(contoso()).await;
    fixture.end(&old).await;
    fixture.end(&new).await;
    let remove = async |before: Timestamp| {
        let removed = fixture.store.remove_actions(before).await;
        removed.expect("remove_actions")
    };
    assert_eq!(remove(early).await, 0, "none is older");
    assert_eq!(remove(early.saturating_add(day)).await, 1);
    assert_eq!(fixture.stored_action(old.id).await, None);
    assert_eq!(fixture.listed(None, PLENTY).await, [new.id, open.id]);
    let late = old.ended(ActionStage::Done, now);
    assert_eq!(fixture.put(&late).await, ActionWrite::Changed, "it is gone");
}

/// A store keeps a bounded number of actions: the oldest one that has ended goes.
pub async fn the_oldest_ended_action_makes_room(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let mut kept = Vec::new();
    for _ in 0..limits::ACTIONS {
        kept.push(fixture.started(contoso()).await);
    }
    let new = fixture.draft(contoso(), fixture.store.now());
    assert_eq!(fixture.put(&new).await, ActionWrite::Full);
    for place in [7, 5] {
        fixture.end(&kept[place]).await;
    }
    assert_eq!(fixture.put(&new).await, ActionWrite::Written);
    assert_eq!(fixture.stored_action(kept[5].id).await, None);
    assert!(fixture.stored_action(kept[7].id).await.is_some());
    let all = fixture.listed(None, limits::ACTIONS + 1).await;
    assert_eq!(all.len(), limits::ACTIONS);
    // The next one takes the place of another.
    let next = fixture.started(contoso()).await;
    assert_eq!(fixture.stored_action(kept[7].id).await, None);
    assert!(fixture.stored_action(next.id).await.is_some());
}
