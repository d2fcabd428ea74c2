//! The common parts of the tests: namespaces of their own, and operations to
//! store.

use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use drumline_backend::store::{
    Commit, Committed, Created, Done, Guard, Holding, NewOperation, Stamp,
};
use drumline_backend::{Ids, MemberId, Store};
use drumline_backend_redis::{Options, RedisStore};
use drumline_protocol::operation::first_header;
use drumline_protocol::transition::At;
use drumline_protocol::{
    Author, Body, ChainKey, DependencyToken, Event, Fence, Header, OperationId, Organization,
    Partition, Rules, apply,
};

/// A lease that no test waits for.
pub(crate) const LEASE: Duration = Duration::from_secs(30);

/// The time that an answer may take beside other tests.
const PATIENCE: Duration = Duration::from_secs(60);

/// The text of a script, or the one that a measurement has put in its place: a debug build
/// takes scripts from `DRUMLINE_TEST_LUA`, and so does a test that runs one by itself.
pub(crate) fn script(name: &str, text: &str) -> String {
    #[expect(clippy::disallowed_methods, reason = "a measurement is no setting")]
    let folder = std::env::var("DRUMLINE_TEST_LUA");
    let replaced = folder.map(|folder| Path::new(&folder).join("is").join(name));
    match replaced {
        Ok(path) if path.exists() => std::fs::read_to_string(path).expect("a text"),
        Ok(_) | Err(_) => text.to_owned(),
    }
}

/// A fresh namespace on this server.
pub(crate) fn options_on(url: &str) -> Options {
    Options {
        url: url.to_owned(),
        namespace: format!("test-{}", Ids::random().uuid().simple()),
        ..Options::default()
    }
}

/// A fresh namespace on the server of the whole test run.
pub(crate) async fn options() -> Options {
    options_on(&drumline_test_servers::redis_url().await.expect("a Redis"))
}

/// A store that must be fit.
pub(crate) async fn connect(options: &Options) -> RedisStore {
    RedisStore::connect(options).await.expect("connect")
}

/// An operation to be created, in the chain of a token or in partition 0.
pub(crate) fn draft(store: &dyn Store, ids: &Ids, token: Option<&str>) -> NewOperation {
    let now = store.now();
    let organization = Organization::default();
    let token: Option<DependencyToken> =
        token.map(|text| text.to_owned().try_into().expect("a short token"));
    let chain = token
        .as_ref()
        .map(|token| ChainKey::new(&organization, token));
    let partition = chain.map_or(Partition::new(0), |key| key.partition(store.partitions()));
    let rules = Rules {
        chain,
        ..Rules::default()
    };
    NewOperation {
        id: ids.operation(now, partition),
        header: first_header(rules, None, ids.commit(), now),
        body: Body {
            name: "a name".to_owned(),
            dependency_token: token,
            data: Some("{\"some\":\"data\"}".to_owned()),
            correlation_id: ids.uuid(),
            organization,
            owner: "somebody".to_owned(),
            ..Body::new("DoIt", now)
        },
        key: None,
    }
}

/// Creates one operation, which must be new; returns its offer.
pub(crate) async fn create(store: &dyn Store, new: &NewOperation) -> Option<Stamp> {
    let created = store.create(vec![new.clone()]).await.expect("create");
    match created.as_slice() {
        [Created::New { offer, .. }] => *offer,
        other => panic!("expected a new operation: {other:?}"),
    }
}

/// The host id of the workers.
const HOST: &str = "host:1";

/// The commit of an event.
pub(crate) fn commit(
    store: &dyn Store,
    ids: &Ids,
    id: OperationId,
    header: &Header,
    event: Event,
    guard: Guard,
) -> Commit {
    let at = At {
        now: store.now(),
        commit: ids.commit(),
    };
    let transition = apply(header, event, at).expect("a legal event");
    let author = Author::worker(HOST);
    Commit::new(id, header, &transition, guard, &author)
}

/// The owner of the locks that [`claim`] takes.
static OWNER: LazyLock<MemberId> = LazyLock::new(|| Ids::random().member());

/// The holding of a lock that [`claim`] has taken.
pub(crate) fn holding(fence: Fence) -> Holding {
    Holding {
        owner: *OWNER,
        fence,
    }
}

/// The commit of a claim.
pub(crate) fn claim(store: &dyn Store, ids: &Ids, id: OperationId, header: &Header) -> Commit {
    let guard = Guard::Acquire {
        owner: *OWNER,
        lease: LEASE,
    };
    let event = Event::Claim {
        host: HOST.to_owned(),
    };
    commit(store, ids, id, header, event, guard)
}

/// Makes one commit, which must be possible.
pub(crate) async fn make(store: &dyn Store, commit: Commit) -> Done {
    let mut answers = store.commit(vec![commit]).await.expect("commit");
    match answers.pop() {
        Some(Committed::Done(done)) => *done,
        other => panic!("expected it to be made: {other:?}"),
    }
}

/// A connection past the store, to look at its work or to disturb it.
pub(crate) async fn raw(url: &str) -> redis::aio::MultiplexedConnection {
    let client = redis::Client::open(url).expect("a URL");
    // The client's own half a second is too little beside other tests: a scan
    // over the keys of all of them takes longer.
    let patient = redis::AsyncConnectionConfig::new()
        .set_connection_timeout(Some(PATIENCE))
        .set_response_timeout(Some(PATIENCE));
    let connecting = client.get_multiplexed_async_connection_with_config(&patient);
    connecting.await.expect("connect")
}
