//! Further indexes are switched off and rebuilt, while the store is used.

use drumline_backend::store::{Filter, Guard, NewOperation};
use drumline_backend::{Ids, Store};
use drumline_backend_redis::{IndexUse, Options, RedisStore};
use drumline_protocol::{Event, IndexKind, OperationId, Organization, Partition, State};

use crate::common::{self, claim, commit, draft};

/// More than one step of a rebuild.
const OPERATIONS: u16 = 700;

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_is_switched_off_leaves_nothing_behind() {
    let options = common::options().await;
    let store = common::connect(&options).await;
    let ids = Ids::random();
    let mut expected = fill(&store, &ids, 0).await;
    for (kind, filter) in filters() {
        store.switch_index(kind, false).await.expect("off");
        assert_eq!(used(&store, kind).await, IndexUse::Off);
        rebuild(&store, kind).await;
        assert_eq!(used(&store, kind).await, IndexUse::Off);
        let found = all(&store, &filter).await;
        assert_eq!(found, newest_first(&expected), "{kind:?} is off");
    }
    for letter in ['m', 'o'] {
        assert_eq!(keys_of(&options, letter).await, Vec::<Vec<u8>>::new());
    }
    expected.extend(fill(&store, &ids, 1).await);
    for (kind, filter) in filters() {
        let found = all(&store, &filter).await;
        assert_eq!(found, newest_first(&expected), "{kind:?} is off");
    }
    assert_eq!(
        store
            .indexes()
            .await
            .expect("indexes")
            .iter()
            .filter(|(_, used)| *used == IndexUse::On)
            .count(),
        IndexKind::ALL.len() - filters().len(),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_enters_old_and_new_operations() {
    let store = common::connect(&common::options().await).await;
    let ids = Ids::random();
    let mut expected = fill(&store, &ids, 0).await;
    for (kind, filter) in filters() {
        store.switch_index(kind, false).await.expect("off");
        rebuild(&store, kind).await;
        // Without an entry: only a rebuild can enter these.
        expected.extend(fill(&store, &ids, 1).await);
        store.switch_index(kind, true).await.expect("on");
        let step = store.rebuild_step(kind).await.expect("a step");
        assert!(!step.is_done && step.looked_at > 0, "{step:?}");
        assert_eq!(used(&store, kind).await, IndexUse::Building);
        let found = all(&store, &filter).await;
        assert_eq!(found, newest_first(&expected), "{kind:?} is being built");
        expected.extend(fill(&store, &ids, 2).await);
        rebuild(&store, kind).await;
        assert_eq!(used(&store, kind).await, IndexUse::On);
        let found = all(&store, &filter).await;
        assert_eq!(found, newest_first(&expected), "{kind:?} is on again");
        // One call: it is read from the index again.
        let nobody = Filter {
            organization: Some(Organization("nobody".to_owned())),
            ..filter
        };
        if nobody.chain.is_none() {
            let page = store.list(&nobody, None, 10).await.expect("list");
            assert!(
                page.operations.is_empty() && page.next.is_none(),
                "{kind:?}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_is_given_up_for_a_later_switch() {
    let store = common::connect(&common::options().await).await;
    let ids = Ids::random();
    fill(&store, &ids, 0).await;
    let kind = IndexKind::Owner;
    store.switch_index(kind, true).await.expect("on");
    let step = store.rebuild_step(kind).await.expect("a step");
    assert!(!step.is_done, "{step:?}");
    store.switch_index(kind, false).await.expect("off");
    rebuild(&store, kind).await;
    assert_eq!(used(&store, kind).await, IndexUse::Off);
    // There is nothing to go on with.
    let step = store.rebuild_step(kind).await.expect("a step");
    assert!(step.is_done && step.looked_at == 0, "{step:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn removed_operations_leave_no_entry() {
    let options = common::options().await;
    let store = common::connect(&options).await;
    let ids = Ids::random();
    let news = fill(&store, &ids, 1).await;
    assert!(!index_keys(&options).await.is_empty());
    for new in news {
        let operation = store.get(&[new]).await.expect("get").remove(0);
        let mut header = operation.expect("it is there").header;
        if header.status.state() != State::Completed {
            let cancel = commit(&store, &ids, new, &header, Event::Cancel, Guard::None);
            header = cancel.header.clone();
            common::make(&store, cancel).await;
        }
        let delete = commit(&store, &ids, new, &header, Event::Delete, Guard::None);
        common::make(&store, delete).await;
    }
    assert_eq!(index_keys(&options).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rare_value_of_many_that_run_is_found_in_one_call() {
    // More than one call looks at.
    const RUNNING: usize = 2_500;
    let store = common::connect(&common::options().await).await;
    let ids = Ids::random();
    let mut rare = draft(&store, &ids, None);
    "anna".clone_into(&mut rare.body.owner);
    let id = rare.id;
    let mut news = vec![rare];
    news.extend((0..RUNNING).map(|_| draft(&store, &ids, None)));
    for some in news.chunks(500) {
        store.create(some.to_vec()).await.expect("create");
        let claims = some.iter();
        let claims = claims.map(|new| claim(&store, &ids, new.id, &new.header));
        let made = store.commit(claims.collect()).await.expect("commit");
        assert_eq!(made.len(), some.len());
    }
    let filter = Filter {
        organization: Some(Organization::default()),
        owner: Some("anna".to_owned()),
        state: Some(State::Locked),
        ..Filter::default()
    };
    let page = store.list(&filter, None, 10).await.expect("list");
    let found: Vec<_> = page.operations.iter().map(|one| one.id).collect();
    assert_eq!((found, page.next), (vec![id], None));
}

/// Every key of an index in this namespace.
async fn index_keys(options: &Options) -> Vec<String> {
    let mut redis = common::raw(&options.url).await;
    let mut keys = redis::cmd("KEYS");
    keys.arg(format!("{}:*:index:*", options.namespace));
    keys.query_async(&mut redis).await.expect("keys")
}

/// Those of the index of a kind, by its letter. Bytes are part of them.
async fn keys_of(options: &Options, letter: char) -> Vec<Vec<u8>> {
    let mut redis = common::raw(&options.url).await;
    let mut keys = redis::cmd("KEYS");
    keys.arg(format!("{}:*:index:{letter}*", options.namespace));
    let mut keys: Vec<Vec<u8>> = keys.query_async(&mut redis).await.expect("keys");
    keys.retain(|key| !key.ends_with(b":off"));
    keys
}

fn filters() -> Vec<(IndexKind, Filter)> {
    let base = Filter {
        organization: Some(Organization::default()),
        ..Filter::default()
    };
    let message_name = Some("DoIt".to_owned());
    let owner = Some("somebody".to_owned());
    vec![
        (
            IndexKind::MessageName,
            Filter {
                message_name,
                ..base.clone()
            },
        ),
        (IndexKind::Owner, Filter { owner, ..base }),
    ]
}

/// Creates operations in every partition, and moves some on.
async fn fill(store: &RedisStore, ids: &Ids, round: u16) -> Vec<OperationId> {
    let count = if round == 0 { OPERATIONS } else { 40 };
    let news: Vec<NewOperation> = (0..count)
        .map(|number| {
            let partition = Partition::new(number % store.partitions().get());
            let new = draft(store, ids, None);
            NewOperation {
                id: ids.operation(store.now(), partition),
                ..new
            }
        })
        .collect();
    store.create(news.clone()).await.expect("create");
    for new in news.iter().step_by(7) {
        let cancel = commit(store, ids, new.id, &new.header, Event::Cancel, Guard::None);
        store.commit(vec![cancel]).await.expect("commit");
    }
    news.iter().map(|new| new.id).collect()
}

async fn rebuild(store: &RedisStore, kind: IndexKind) {
    while !store.rebuild_step(kind).await.expect("a step").is_done {}
}

async fn used(store: &RedisStore, kind: IndexKind) -> IndexUse {
    let indexes = store.indexes().await.expect("indexes");
    let found = indexes.into_iter().find(|(found, _)| *found == kind);
    found.expect("every kind").1
}

async fn all(store: &RedisStore, filter: &Filter) -> Vec<OperationId> {
    let (mut found, mut before) = (Vec::new(), None);
    loop {
        let page = store.list(filter, before, 100).await.expect("list");
        found.extend(page.operations.iter().map(|one| one.id));
        before = page.next;
        if before.is_none() {
            return found;
        }
    }
}

fn newest_first(ids: &[OperationId]) -> Vec<OperationId> {
    let mut sorted = ids.to_vec();
    sorted.sort_unstable_by(|a, b| b.cmp(a));
    sorted
}
