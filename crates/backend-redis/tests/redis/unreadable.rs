//! A record that cannot be decoded is left out, and counted: it does not keep the
//! others from being listed or published.

use std::time::Duration;

use drumline_backend::store::{Filter, OutboxLook};
use drumline_backend::{Ids, Store};
use drumline_protocol::{OperationId, Partition};
use redis::aio::MultiplexedConnection;

use crate::common::{self, draft};

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
