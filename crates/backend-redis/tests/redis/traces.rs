//! The keys that deleted operations leave on the server: none that does not
//! expire by itself.

use std::collections::BTreeMap;
use std::time::Duration;

use drumline_backend::store::{Guard, Stamp};
use drumline_backend::{Ids, Store};
use drumline_protocol::transition::EndClass;
use drumline_protocol::{
    ErrorCode, Event, Fault, Header, OutputParts, PartitionCount, State, TokenPolicy,
};

use crate::common::{self, claim, commit, create, draft, make};

/// The keys of a namespace that stay, with the number of members of each.
async fn staying(url: &str, namespace: &str) -> BTreeMap<String, u64> {
    let mut connection = common::raw(url).await;
    let mut keys = redis::cmd("KEYS");
    keys.arg(format!("{namespace}:*"));
    // The id in a record's key is not text.
    let keys: Vec<Vec<u8>> = keys.query_async(&mut connection).await.expect("KEYS");
    let mut staying = BTreeMap::new();
    for key in keys {
        let ask = async |command: &str| {
            let mut connection = connection.clone();
            let mut asked = redis::cmd(command);
            let asked = asked.arg(&key).query_async(&mut connection);
            asked.await.expect("an answer")
        };
        let ttl: redis::Value = ask("TTL").await;
        if ttl != redis::Value::Int(-1) {
            continue;
        }
        let redis::Value::SimpleString(kind) = ask("TYPE").await else {
            panic!("a type is a word");
        };
        let count = match kind.as_str() {
            "zset" => ask("ZCARD").await,
            "hash" => ask("HLEN").await,
            "set" => ask("SCARD").await,
            "list" => ask("LLEN").await,
            "string" => redis::Value::Int(1),
            other => panic!("{} is a {other}", key.escape_ascii()),
        };
        let redis::Value::Int(count) = count else {
            panic!("a count is a number");
        };
        let key = key.escape_ascii().to_string();
        staying.insert(key, u64::try_from(count).expect("not negative"));
    }
    staying
}

/// An operation's whole life, with every note about it, up to its removal.
async fn live_and_go(store: &dyn Store, ids: &Ids, token: Option<&str>, holds: bool) {
    let mut new = draft(store, ids, token);
    new.body.webhook_url = Some("https://example.com/hook".to_owned());
    new.header.rules.webhook = true;
    if holds {
        new.header.rules.token_policy = TokenPolicy::Hold;
    }
    let id = new.id;
    // The broker has every offer, so the offered set is used, too.
    let confirm = async |offer: Option<Stamp>| {
        if let Some(stamp) = offer {
            let entries = [(id, stamp)];
            store.remove_from_outbox(&entries).await.expect("confirmed");
        }
    };
    confirm(create(store, &new).await).await;
    let step = async |header: &mut Header, event: Event, guard: Guard| {
        let mut made = commit(store, ids, id, header, event, guard);
        *header = made.header.clone();
        if header.status.state() == State::Completed {
            made.output = OutputParts::new(1, b"printed", 0, holds, usize::MAX);
        }
        let done = make(store, made).await;
        confirm(done.offer).await;
        done
    };
    let mut header = new.header;
    let later = store.now().saturating_add(Duration::from_secs(3600));
    step(&mut header, Event::Postpone(later), Guard::None).await;
    step(&mut header, Event::Resume, Guard::None).await;
    let taking = claim(store, ids, id, &header);
    header = taking.header.clone();
    let fence = make(store, taking).await.fence.expect("a fence");
    let end = if holds {
        Event::Fail(Fault::new(ErrorCode::HANDLER_FAILED, "a", "b"))
    } else {
        Event::Succeed
    };
    step(&mut header, end, Guard::Holder(common::holding(fence))).await;
    if holds {
        step(&mut header, Event::Resume, Guard::None).await;
    }
    step(&mut header, Event::Delete, Guard::None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_deleted_leaves_nothing_that_stays() {
    let url = drumline_test_servers::redis_url().await.expect("a Redis");
    let mut options = common::options_on(&url);
    options.partitions = PartitionCount::new(1).expect("1 is in range");
    let store = common::connect(&options).await;
    let ids = Ids::random();
    live_and_go(&store, &ids, None, false).await;
    live_and_go(&store, &ids, Some("first"), true).await;
    let after_two = staying(&url, &options.namespace).await;
    for number in 0..20 {
        let token = format!("token {number}");
        let token = (number % 2 == 0).then_some(token.as_str());
        live_and_go(&store, &ids, token, token.is_some()).await;
    }
    let after_many = staying(&url, &options.namespace).await;
    assert!(
        !after_two.is_empty(),
        "there is always the clock of a partition"
    );
    assert_eq!(after_many, after_two);
    assert!(after_many.len() < 6, "{after_many:?}");

    // The store itself knows none of them either.
    for partition in store.partitions().all() {
        let notices = store.notices(partition, 10).await.expect("notices");
        assert_eq!(notices, []);
        let latest = Stamp(1 << 62);
        for class in EndClass::ALL {
            let after = Stamp(0);
            let ended = store.ended(partition, class, after, latest, 10).await;
            assert_eq!(ended.expect("ended"), []);
        }
    }
}
