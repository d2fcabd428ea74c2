//! A record that cannot be decoded is left out, counted and named: it does not keep the
//! others from being listed, published or committed.

use std::time::Duration;

use drumline_backend::store::{
    ActionStore, Committed, Created, Filter, Guard, IdempotencyKey, NewOperation, OutboxLook,
    PauseStore, Reservation, Reserved,
};
use drumline_backend::{Ids, Store};
use drumline_protocol::{
    ActionId, ActionStage, Author, BulkAction, BulkChange, BulkCounts, Event, Extensions, Fence,
    OperationId, Organization, Partition, Pause, PauseKind, PauseScope, ScopeKey, Timestamp,
};
use redis::aio::MultiplexedConnection;

use crate::common::{self, claim, commit, draft, holding, make};

/// The version of a header, in front of it.
const HEADER: u8 = 0x14;

/// Writes a version into the record that no release reads.
async fn break_header(raw: &mut MultiplexedConnection, namespace: &str, id: OperationId) {
    let pattern = format!("{namespace}:*op:*");
    let keys: Vec<Vec<u8>> = redis::cmd("KEYS")
        .arg(pattern)
        .query_async(raw)
        .await
        .expect("an answer");
    let key = keys.into_iter().find(|key| key.ends_with(id.as_bytes()));
    let key = key.expect("the record");
    let record: Vec<u8> = redis::cmd("GET")
        .arg(&key)
        .query_async(raw)
        .await
        .expect("an answer");
    // The header has its length in front.
    let place = (65..record.len() - 2).find(|at| {
        let length = usize::from(u16::from_be_bytes([record[at - 2], record[at - 1]]));
        record[*at] == HEADER && (40..400).contains(&length)
    });
    let place = place.expect("a header");
    let mut set = redis::cmd("SETRANGE");
    set.arg(&key).arg(place).arg([0x1f_u8].as_slice());
    let _length: usize = set.query_async(raw).await.expect("an answer");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_cannot_be_decoded_hides_no_other() {
    let options = common::options().await;
    let (store, ids) = (common::connect(&options).await, Ids::random());
    let mut raw = common::raw(&options.url).await;
    let mut all = Vec::new();
    for _ in 0..5 {
        let new = draft(&store, &ids, None);
        common::create(&store, &new).await;
        all.push(new.id);
    }
    // The oldest ones, which the relay meets first, and one in between.
    for broken in [0, 1, 3] {
        break_header(&mut raw, &options.namespace, all[broken]).await;
    }
    let left = [all[2], all[4]];
    let page = store.list(&Filter::default(), None, 10).await.unwrap();
    let listed: Vec<_> = page.operations.iter().map(|listed| listed.id).collect();
    assert_eq!(listed, [left[1], left[0]]);
    assert_eq!(page.next, None);
    assert_eq!(store.take_unreadable(), 3);
    assert_eq!(store.take_unreadable(), 0);

    // Also if a whole answer cannot be read.
    for limit in [1, 2, 10] {
        let mut relayed = Vec::new();
        let mut unreadable = 0;
        let mut look = OutboxLook::oldest(Duration::ZERO, limit);
        loop {
            let page = store.outbox_entries(Partition::new(0), &look);
            let Some(flow) = page.await.unwrap().flows.pop() else {
                break;
            };
            look.behind.insert(flow.flow, flow.last);
            unreadable += flow.unreadable;
            relayed.extend(flow.entries.iter().map(|entry| entry.operation.id));
        }
        assert_eq!(unreadable, 3, "{limit}");
        assert_eq!(relayed, left, "{limit}");
    }
    assert!(store.take_unreadable() > 0);
    // Its own readers are told.
    assert!(store.get(&[all[0]]).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_of_the_outbox_without_a_record_hides_no_other() {
    let options = common::options().await;
    let (store, ids) = (common::connect(&options).await, Ids::random());
    let mut raw = common::raw(&options.url).await;
    let mut all = Vec::new();
    for _ in 0..4 {
        let new = draft(&store, &ids, None);
        common::create(&store, &new).await;
        all.push(new.id);
    }
    for gone in &all[..3] {
        let prefix = format!("{}:{{0}}:op:", options.namespace);
        let mut remove = redis::cmd("DEL");
        remove.arg([prefix.as_bytes(), gone.as_bytes()].concat());
        let removed: usize = remove.query_async(&mut raw).await.expect("an answer");
        assert_eq!(removed, 1);
    }
    let mut relayed = Vec::new();
    let mut look = OutboxLook::oldest(Duration::ZERO, 1);
    while let Some(flow) = store
        .outbox_entries(Partition::new(0), &look)
        .await
        .expect("outbox_entries")
        .flows
        .pop()
    {
        look.behind.insert(flow.flow, flow.last);
        relayed.extend(flow.entries.iter().map(|entry| entry.operation.id));
    }
    assert_eq!(relayed, [all[3]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_next_head_that_cannot_be_decoded_fails_no_commit() {
    let options = common::options().await;
    let (store, ids) = (common::connect(&options).await, Ids::random());
    let mut raw = common::raw(&options.url).await;
    let (first, broken) = (
        draft(&store, &ids, Some("t")),
        draft(&store, &ids, Some("t")),
    );
    let other = draft(&store, &ids, Some("u"));
    for new in [&first, &broken, &other] {
        common::create(&store, new).await;
    }
    let mut ends = Vec::new();
    for new in [&first, &other] {
        let taking = claim(&store, &ids, new.id, &new.header);
        let header = taking.header.clone();
        let fence = make(&store, taking).await.fence.expect("a fence");
        let guard = Guard::Holder(holding(fence));
        ends.push(commit(&store, &ids, new.id, &header, Event::Succeed, guard));
    }
    // A claim of the broken one is decided on another version.
    ends.push(claim(&store, &ids, broken.id, &first.header));
    break_header(&mut raw, &options.namespace, broken.id).await;
    let answers = store.commit(ends).await.expect("each has its answer");
    assert!(
        matches!(
            answers.as_slice(),
            [Committed::Done(first), Committed::Done(_), Committed::Missing]
                if first.promoted.is_none()
        ),
        "{answers:?}"
    );
    assert_eq!(store.unreadable(), [broken.id.to_string()]);
    assert_eq!(store.take_unreadable(), 2);
}

/// A create whose key stands for an operation.
fn keyed(store: &dyn Store, ids: &Ids, key: u8) -> NewOperation {
    let key = IdempotencyKey([key; 16]);
    let partition = key.partition(store.partitions());
    let new = draft(store, ids, None);
    let id = ids.operation(store.now(), partition);
    let reserved = Reserved {
        id,
        content: [1; 16],
    };
    NewOperation {
        id,
        key: Some(Reservation {
            key,
            reserved,
            keep: Duration::from_secs(3_600),
        }),
        ..new
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_create_whose_operation_cannot_be_decoded_fails_no_other() {
    let options = common::options().await;
    let (store, ids) = (common::connect(&options).await, Ids::random());
    let mut raw = common::raw(&options.url).await;
    let (broken, whole) = (keyed(&store, &ids, 1), keyed(&store, &ids, 2));
    for new in [&broken, &whole] {
        common::create(&store, new).await;
    }
    break_header(&mut raw, &options.namespace, broken.id).await;
    let again = [
        keyed(&store, &ids, 1),
        keyed(&store, &ids, 2),
        draft(&store, &ids, None),
    ];
    let created = store.create(again.to_vec()).await.expect("create");
    assert!(
        matches!(
            created.as_slice(),
            [Created::Unreadable(_), Created::Exists(found), Created::New { .. }]
                if found.id == whole.id
        ),
        "{created:?}"
    );
}

async fn set_field(raw: &mut MultiplexedConnection, key: &str, field: &[u8], value: &[u8]) {
    let mut set = redis::cmd("HSET");
    set.arg(key).arg(field).arg(value);
    let _new: usize = set.query_async(raw).await.expect("an answer");
}

fn action(ids: &Ids, at: Timestamp) -> BulkAction {
    let below = ids.operation(at, Partition::new(0));
    BulkAction {
        id: ActionId::new(below),
        organization: Organization::default(),
        change: BulkChange::Postpone(at),
        conditions: Vec::new(),
        reason: String::new(),
        author: Author::Caller("ann".to_owned()),
        started_on: at,
        expected: None,
        stage: ActionStage::Running,
        ended_on: None,
        aborted_by: None,
        below,
        counts: BulkCounts::default(),
        executor: None,
        last_fence: Fence(0),
        revision: 1,
        extensions: Extensions::default(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_action_that_cannot_be_decoded_hides_no_other() {
    let options = common::options().await;
    let (store, ids) = (common::connect(&options).await, Ids::random());
    let mut raw = common::raw(&options.url).await;
    let all: Vec<BulkAction> = (0..5).map(|_| action(&ids, store.now())).collect();
    for action in &all {
        store.put_action(action).await.expect("put_action");
    }
    let records = format!("{}:{{meta}}:actions", options.namespace);
    for broken in [1, 4] {
        let id = all[broken].id;
        let mut value = 1_u64.to_be_bytes().to_vec();
        value.extend([0x1f, 1, 2, 3]);
        let field = id.as_bytes().as_slice();
        set_field(&mut raw, &records, field, &value).await;
    }
    let organization = Organization::default();
    for (limit, expected) in [(1, vec![3]), (2, vec![3, 2]), (10, vec![3, 2, 0])] {
        let listed = store.actions(&organization, None, limit).await;
        let listed: Vec<_> = listed.expect("actions").iter().map(|it| it.id).collect();
        let expected: Vec<_> = expected.into_iter().map(|at: usize| all[at].id).collect();
        assert_eq!(listed, expected, "{limit}");
    }
    // A look reads no record.
    assert_eq!(store.open_actions(10).await.expect("open_actions").len(), 5);
    assert!(store.take_unreadable() > 0);
    assert_eq!(store.unreadable().len(), 2, "{:?}", store.unreadable());
    // Its own readers are told.
    assert!(store.action(all[1].id).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_that_cannot_be_decoded_holds_what_it_holds() {
    let options = common::options().await;
    let store = common::connect(&options).await;
    let mut raw = common::raw(&options.url).await;
    let pause = |name: &str, until| Pause {
        scope: PauseScope {
            kind: PauseKind::MessageName,
            organization: Organization::default(),
            value: name.to_owned(),
        },
        reason: "the mail server is down".to_owned(),
        until,
        author: Author::Caller("ann".to_owned()),
        since: store.now(),
    };
    let end = Timestamp::from_millis(4_000_000_000_000);
    let (broken, other) = (pause("a", Some(end)), pause("b", None));
    for pause in [&broken, &other] {
        store.set_pause(pause).await.expect("set_pause");
    }
    let key: ScopeKey = broken.scope.key();
    let field = key.as_bytes().as_slice();
    let pauses = format!("{}:{{meta}}:pauses", options.namespace);
    let mut get = redis::cmd("HGET");
    get.arg(&pauses).arg(field);
    let mut value: Vec<u8> = get.query_async(&mut raw).await.expect("the pause");
    value[8] = 0x1f;
    set_field(&mut raw, &pauses, field, &value).await;

    let found = store.pauses().await.expect("the others");
    assert_eq!(found.pauses, [other]);
    assert_eq!(found.unreadable, [(key, Some(end))]);
    assert_eq!(store.unreadable().len(), 1);
    // The copy that claims look at has both.
    let partition = Partition::new(0);
    store.copy_pauses(&found, &[partition]).await.expect("copy");
    let mut keys = redis::cmd("KEYS");
    keys.arg(format!("{}:*:pauses", options.namespace));
    let names: Vec<String> = keys.query_async(&mut raw).await.expect("an answer");
    let copy = names.iter().find(|name| !name.contains("meta"));
    let mut copied = redis::cmd("HKEYS");
    copied.arg(copy.expect("a copy"));
    let copied: Vec<Vec<u8>> = copied.query_async(&mut raw).await.expect("an answer");
    assert_eq!(copied.len(), 2, "{names:?}");
}
