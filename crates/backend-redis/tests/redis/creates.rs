//! The creates of an organization in this minute and in the one before, as they are written.

use std::time::Duration;

use drumline_backend::Ids;
use drumline_backend::Store as _;
use drumline_backend::store::{CREATED_WITHIN, Guard, NewOperation, UsageStore as _};
use drumline_backend_redis::Options;
use drumline_backend_redis::RedisStore;
use drumline_protocol::{Event, Organization, UsageKey};
use redis::aio::MultiplexedConnection;

use crate::common::{self, commit, create, draft, make};

struct Creates {
    options: Options,
    store: RedisStore,
    ids: Ids,
    raw: MultiplexedConnection,
}

impl Creates {
    async fn new() -> Self {
        let options = common::options().await;
        Self {
            store: common::connect(&options).await,
            raw: common::raw(&options.url).await,
            ids: Ids::random(),
            options,
        }
    }

    async fn create(&self) -> NewOperation {
        let new = draft(&self.store, &self.ids, Some("t"));
        create(&self.store, &new).await;
        new
    }

    async fn event(&self, new: &mut NewOperation, event: Event) {
        let commit = commit(
            &self.store,
            &self.ids,
            new.id,
            &new.header,
            event,
            Guard::None,
        );
        new.header = commit.header.clone();
        make(&self.store, commit).await;
    }

    async fn created(&self) -> u64 {
        let usage = self.store.usage(&Organization::default()).await;
        usage.expect("usage").created
    }

    /// Reads, or writes, the creates in the partition of an operation.
    async fn field(&self, of: &NewOperation, value: Option<String>) -> Option<String> {
        let namespace = &self.options.namespace;
        let key = format!("{namespace}:{{{}}}:usage", of.id.partition());
        let organization = UsageKey::of(&Organization::default());
        let field = [organization.as_bytes().as_slice(), b"m"].concat();
        let mut raw = self.raw.clone();
        if let Some(value) = value {
            let mut set = redis::cmd("HSET");
            set.arg(&key).arg(&field).arg(value);
            let _new: usize = set.query_async(&mut raw).await.expect("an answer");
        }
        let mut get = redis::cmd("HGET");
        get.arg(&key).arg(&field);
        get.query_async(&mut raw).await.expect("an answer")
    }

    /// The number of the minute, and of the creates in it and in the one before.
    async fn written(&self, of: &NewOperation) -> [u64; 3] {
        let text = self.field(of, None).await.expect("creates");
        let numbers: Vec<u64> = text
            .split(':')
            .map(|it| it.parse().expect("a number"))
            .collect();
        numbers.try_into().expect("three numbers")
    }

    /// The number of this minute. Waits for the next one shortly before its end, so that it
    /// stays the same for the rest of a test.
    async fn minute(&self) -> u64 {
        let span = CREATED_WITHIN.as_millis();
        loop {
            let now = u128::try_from(self.store.now().as_millis()).expect("after 1970");
            let left = span - now % span;
            if left > 20_000 {
                return u64::try_from(now / span).expect("small");
            }
            tokio::time::sleep(Duration::from_millis(u64::try_from(left).expect("small"))).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_minute_keeps_the_creates_of_the_one_before_and_no_others() {
    let creates = Creates::new().await;
    let minute = creates.minute().await;
    let first = creates.create().await;
    assert_eq!(creates.written(&first).await, [minute, 1, 0]);
    let before = format!("{}:50:9", minute - 1);
    creates.field(&first, Some(before)).await;
    let created = creates.created().await;
    assert!(
        (1..=50).contains(&created),
        "{created} of the minute before"
    );
    creates.create().await;
    assert_eq!(creates.written(&first).await, [minute, 1, 50]);
    // They are too old to count.
    creates
        .field(&first, Some(format!("{}:50:9", minute - 2)))
        .await;
    assert_eq!(creates.created().await, 0);
    creates.create().await;
    assert_eq!(creates.written(&first).await, [minute, 1, 0]);
    // A clock that was set back a little goes on with the minute that it had reached.
    let ahead = |minutes: u64| Some(format!("{}:50:9", minute + minutes));
    creates.field(&first, ahead(1)).await;
    creates.create().await;
    assert_eq!(creates.written(&first).await, [minute + 1, 51, 9]);
    assert_eq!(creates.created().await, 60);
    // A clock that was wrong by an hour is no reason to refuse creates for an hour.
    creates.field(&first, ahead(60)).await;
    assert_eq!(creates.created().await, 0);
    creates.create().await;
    assert_eq!(creates.written(&first).await, [minute, 1, 0]);
}

/// An organization must not create more than it may by deleting at once.
#[tokio::test(flavor = "multi_thread")]
async fn creates_go_with_the_last_operation_once_they_do_not_count() {
    let creates = Creates::new().await;
    let minute = creates.minute().await;
    for (written, stays) in [(None, true), (Some(format!("{}:5:5", minute - 2)), false)] {
        let mut only = creates.create().await;
        creates.event(&mut only, Event::Cancel).await;
        if written.is_some() {
            creates.field(&only, written).await;
        }
        creates.event(&mut only, Event::Delete).await;
        assert_eq!(creates.field(&only, None).await.is_some(), stays);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn creates_since_a_time_are_counted_without_those_that_run() {
    let creates = Creates::new().await;
    let store = &creates.store;
    let before = store.now();
    let waiting = creates.create().await;
    let mut paused = draft(store, &creates.ids, None);
    create(store, &paused).await;
    creates.event(&mut paused, Event::Pause).await;
    let mut ended = draft(store, &creates.ids, None);
    create(store, &ended).await;
    creates.event(&mut ended, Event::Cancel).await;
    let count = async |since| store.created_since(since).await.expect("created since");
    assert_eq!(count(before).await, 3);
    let later = waiting
        .id
        .created()
        .saturating_add(Duration::from_secs(3_600));
    assert_eq!(count(later).await, 0);
    let running = draft(store, &creates.ids, None);
    create(store, &running).await;
    let claim = common::claim(store, &creates.ids, running.id, &running.header);
    make(store, claim).await;
    assert_eq!(count(before).await, 3);
}
