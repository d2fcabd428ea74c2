//! A parked operation that stands in the outbox: no verb of the store leaves one so,
//! but a server that has lost a part of its data may.

use std::time::Duration;

use drumline_backend::store::{Committed, Guard, OutboxLook};
use drumline_backend::{Ids, Store};
use drumline_protocol::{Event, FlowKey};

use crate::common::{self, claim, commit, create, draft, make};

/// One call parks the operation, and then promotes it: the entry that the first commit
/// has taken out must not keep the second from making another one.
#[tokio::test(flavor = "multi_thread")]
async fn an_operation_that_a_call_parks_and_promotes_stays_in_the_outbox() {
    let options = common::options().await;
    let store = common::connect(&options).await;
    let ids = Ids::random();
    let other = draft(&store, &ids, None);
    let head = draft(&store, &ids, Some("a token"));
    let parked = draft(&store, &ids, Some("a token"));
    for new in [&other, &head, &parked] {
        create(&store, new).await;
    }
    let pause = commit(
        &store,
        &ids,
        other.id,
        &other.header,
        Event::Pause,
        Guard::None,
    );
    let paused = pause.header.clone();
    make(&store, pause).await;

    // The layout of prelude.lua: the stamp stands in the record from its 33rd byte on,
    // and in the outbox behind the flow and before the id.
    let stamp = 1_u64.to_be_bytes();
    let prefix = format!("{}:{{{}}}:", options.namespace, parked.id.partition());
    let id = parked.id.as_bytes().as_slice();
    let record = [prefix.as_bytes(), b"op:", id].concat();
    let flow = FlowKey::of(&parked.body);
    let entry = [flow.as_bytes().as_slice(), stamp.as_slice(), id].concat();
    let mut raw = common::raw(&options.url).await;
    let mut spoil = redis::pipe();
    spoil
        .cmd("SETRANGE")
        .arg(record)
        .arg(32)
        .arg(stamp.as_slice());
    spoil
        .cmd("ZADD")
        .arg(format!("{prefix}dispatch"))
        .arg(0)
        .arg(entry);
    spoil.exec_async(&mut raw).await.expect("written");

    let none = Guard::None;
    let commits = vec![
        commit(&store, &ids, other.id, &paused, Event::Resume, none),
        claim(&store, &ids, parked.id, &parked.header),
        commit(&store, &ids, head.id, &head.header, Event::Cancel, none),
    ];
    let answers = store.commit(commits).await.expect("commit");
    let [_, Committed::NotHead, Committed::Done(canceled)] = answers.as_slice() else {
        panic!("expected one to be parked and its head to end: {answers:?}");
    };
    let promoted = canceled.promoted.as_ref().expect("the new head");
    assert_eq!(promoted.operation.id, parked.id);
    let partition = parked.id.partition();
    let look = OutboxLook::oldest(Duration::ZERO, 100);
    let page = store.outbox_entries(partition, &look).await;
    let entries = page.expect("entries").into_entries();
    let found: Vec<_> = entries
        .iter()
        .map(|entry| (entry.operation.id, entry.stamp))
        .collect();
    assert!(found.contains(&(parked.id, promoted.stamp)), "{found:?}");
    make(&store, claim(&store, &ids, parked.id, &parked.header)).await;
}
