//! A timeout is not a failure: if the answer to a request was lost, its
//! repetition gets the same answer.

use std::sync::Arc;
use std::time::Duration;

use drumline_backend::store::{Commit, Committed, Created, Guard, Stamp, Transacted};
use drumline_backend::{Ids, Store};
use drumline_backend_redis::{Options, RedisStore};
use drumline_protocol::{Event, OperationId};
use drumline_test_servers::{Direction, RedisServer, TcpProxy};
use tokio::task::JoinSet;

use crate::common::{self, claim, commit, create, draft, make};

/// Two stores in one namespace: one through a bad line, one through a good one.
struct Line {
    far: Arc<RedisStore>,
    near: RedisStore,
    proxy: TcpProxy,
    ids: Ids,
    _server: RedisServer,
}

impl Line {
    async fn new() -> Self {
        let server = RedisServer::start().await.expect("a Redis");
        let proxy = TcpProxy::start(&server.address()).await.expect("a proxy");
        let good = common::options_on(&server.url());
        let bad = Options {
            url: proxy.url(&server.url(), &server.address()),
            response_timeout: Duration::from_millis(200),
            patience: Duration::from_secs(20),
            ..good.clone()
        };
        Self {
            far: Arc::new(common::connect(&bad).await),
            near: common::connect(&good).await,
            proxy,
            ids: Ids::random(),
            _server: server,
        }
    }

    /// Runs `ask` on the far store while no answer comes through, until `done`
    /// sees on the near store that it was executed; then the line is healed.
    async fn with_lost_answer<T, R>(
        &self,
        ask: impl FnOnce(Arc<RedisStore>) -> R,
        done: impl AsyncFn(&RedisStore) -> bool,
    ) -> T
    where
        T: Send + 'static,
        R: Future<Output = T> + Send + 'static,
    {
        self.proxy.silence(Direction::ToClient);
        let mut asking = JoinSet::new();
        asking.spawn(ask(Arc::clone(&self.far)));
        while !done(&self.near).await {
            assert!(asking.try_join_next().is_none(), "nothing was answered yet");
        }
        self.proxy.heal();
        asking
            .join_next()
            .await
            .expect("it was asked")
            .expect("it ended")
    }

    /// Commits through the bad line, as above.
    async fn commit(&self, id: OperationId, commit: Commit) -> Committed {
        let version = commit.header.version;
        let ask = |far: Arc<RedisStore>| async move { far.commit(vec![commit]).await };
        let done = async |near: &RedisStore| {
            let found = near.get(&[id]).await.expect("get");
            match found.as_slice() {
                [Some(operation)] => operation.header.version == version,
                // The commit was a delete.
                _ => true,
            }
        };
        let mut answers = self.with_lost_answer(ask, done).await.expect("commit");
        answers.remove(0)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_create_is_answered_as_if_nothing_had_happened() {
    let line = Line::new().await;
    let new = draft(&line.near, &line.ids, Some("a token"));
    let id = new.id;
    let ask = |far: Arc<RedisStore>| async move { far.create(vec![new]).await };
    let done = async |near: &RedisStore| near.get(&[id]).await.expect("get") != [None];
    let created = line.with_lost_answer(ask, done).await.expect("create");
    let [
        Created::New {
            offer: Some(stamp), ..
        },
    ] = created.as_slice()
    else {
        panic!("expected a new operation: {created:?}");
    };
    let counts = line.near.counts().await.expect("counts");
    assert_eq!((counts.ready, counts.undispatched), (1, 1));
    line.near
        .remove_from_outbox(&[(id, *stamp)])
        .await
        .expect("dispatched");
    let counts = line.near.counts().await.expect("counts");
    assert_eq!(counts.undispatched, 0, "it was told the stamp of the entry");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_create_does_not_bring_back_what_was_run_and_deleted_meanwhile() {
    let line = Line::new().await;
    let new = draft(&line.near, &line.ids, Some("a token"));
    let (id, first) = (new.id, new.header.clone());
    let ask = |far: Arc<RedisStore>| async move { far.create(vec![new]).await };
    let ids = Ids::random();
    let done = async |near: &RedisStore| {
        if near.get(&[id]).await.expect("get") == [None] {
            return false;
        }
        let cancel = commit(near, &ids, id, &first, Event::Cancel, Guard::None);
        let cancelled = cancel.header.clone();
        make(near, cancel).await;
        let delete = commit(near, &ids, id, &cancelled, Event::Delete, Guard::None);
        make(near, delete).await;
        true
    };
    let created = line.with_lost_answer(ask, done).await.expect("create");
    assert!(
        matches!(
            created.as_slice(),
            [Created::New {
                sequence: 1..,
                offer: None,
                ..
            }]
        ),
        "{created:?}"
    );
    assert_eq!(line.near.get(&[id]).await.expect("get"), [None]);
    let counts = line.near.counts().await.expect("counts");
    assert_eq!(counts, Default::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_run_is_answered_as_if_nothing_had_happened() {
    let line = Line::new().await;
    let news: Vec<_> = (0..2)
        .map(|_| draft(&line.near, &line.ids, Some("a token")))
        .collect();
    for new in &news {
        create(&line.near, new).await;
    }
    let [first, second] = news.as_slice() else {
        panic!("two were drafted");
    };

    let claim = claim(&line.near, &line.ids, first.id, &first.header);
    let claimed = claim.header.clone();
    let answer = line.commit(first.id, claim).await;
    let Committed::Done(done) = answer else {
        panic!("expected a lock: {answer:?}");
    };
    let fence = done.fence.expect("a claim takes a lock");
    let locks = line.near.locks(first.id.partition()).await.expect("locks");
    assert_eq!(
        locks.iter().map(|lock| lock.fence).collect::<Vec<_>>(),
        [fence]
    );

    let guard = Guard::Holder(common::holding(fence));
    let succeed = commit(
        &line.near,
        &line.ids,
        first.id,
        &claimed,
        Event::Succeed,
        guard,
    );
    let succeeded = succeed.header.clone();
    let answer = line.commit(first.id, succeed).await;
    let Committed::Done(done) = answer else {
        panic!("expected a completion: {answer:?}");
    };
    let promoted = done.promoted.expect("the next head");
    assert_eq!(promoted.operation.id, second.id);

    let delete = commit(
        &line.near,
        &line.ids,
        first.id,
        &succeeded,
        Event::Delete,
        Guard::None,
    );
    let answer = line.commit(first.id, delete).await;
    assert!(matches!(answer, Committed::Done(_)), "{answer:?}");
    assert_eq!(line.near.get(&[first.id]).await.expect("get"), [None]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_is_made_once_and_answered_as_if_nothing_had_happened() {
    let line = Line::new().await;
    let (old, new) = (
        draft(&line.near, &line.ids, Some("a token")),
        draft(&line.near, &line.ids, Some("another token")),
    );
    create(&line.near, &old).await;
    let cancel = commit(
        &line.near,
        &line.ids,
        old.id,
        &old.header,
        Event::Cancel,
        Guard::None,
    );
    let id = new.id;
    let ask = |far: Arc<RedisStore>| async move { far.transact(vec![new], vec![cancel]).await };
    let done = async |near: &RedisStore| near.get(&[id]).await.expect("get") != [None];
    let answer = line.with_lost_answer(ask, done).await.expect("transact");
    let Transacted::Done { created, committed } = answer else {
        panic!("expected it to be made: {answer:?}");
    };
    assert!(
        matches!(created.as_slice(), [Created::New { offer: Some(_), .. }]),
        "{created:?}"
    );
    assert_eq!(committed.len(), 1);
    let counts = line.near.counts().await.expect("counts");
    assert_eq!((counts.ready, counts.completed), (1, 1));
    let ends = line.near.ended_since(Stamp(0), 10).await;
    assert_eq!(ends.expect("ended since").entries.len(), 1, "it ended once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_was_cut_is_built_again() {
    let line = Line::new().await;
    for _ in 0..3 {
        let new = draft(&line.near, &line.ids, None);
        create(&*line.far, &new).await;
        line.proxy.cut();
        let claim = claim(&line.near, &line.ids, new.id, &new.header);
        assert!(make(&*line.far, claim).await.fence.is_some());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_callers_survive_a_black_hole_together() {
    let line = Line::new().await;
    line.proxy.blackhole();
    let mut asking = JoinSet::new();
    let news: Vec<_> = (0..50)
        .map(|_| draft(&line.near, &line.ids, None))
        .collect();
    for new in news {
        let far = Arc::clone(&line.far);
        asking.spawn(async move { create(&*far, &new).await });
    }
    // Nothing can be answered now; the first timeout shows that the line is
    // dark.
    let brief = Options {
        url: format!("redis://{}", line.proxy.address()),
        patience: Duration::from_millis(300),
        ..common::options_on("")
    };
    assert!(RedisStore::connect(&brief).await.is_err());
    line.proxy.heal();
    let offers = asking.join_all().await;
    assert!(offers.iter().all(Option::is_some));
    assert_eq!(line.near.counts().await.expect("counts").ready, 50);
}
