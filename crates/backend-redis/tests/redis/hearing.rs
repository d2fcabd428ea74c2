//! A process hears of the completions of another process.

use std::time::Duration;

use drumline_backend::store::Guard;
use drumline_backend::{Ids, Store};
use drumline_backend_redis::RedisStore;
use drumline_protocol::{Event, OperationId};
use drumline_test_servers::RedisServer;
use tokio::sync::broadcast::Receiver;
use tokio::time::timeout;

use crate::common::{self, commit, create, draft, make};

/// A lost connection is built again within a second, on a machine that is idle.
const DEADLINE: Duration = Duration::from_secs(120);

/// Completes one operation after the other on `there`, until one is heard of:
/// the subscription may not be there yet.
pub(crate) async fn heard(there: &RedisStore, receiver: &mut Receiver<OperationId>) {
    let hearing = until_heard(there, receiver);
    timeout(DEADLINE, hearing)
        .await
        .expect("an end is heard of");
}

async fn until_heard(there: &RedisStore, receiver: &mut Receiver<OperationId>) {
    let ids = Ids::random();
    let mut ended = Vec::new();
    loop {
        let new = draft(there, &ids, None);
        create(there, &new).await;
        make(
            there,
            commit(there, &ids, new.id, &new.header, Event::Cancel, Guard::None),
        )
        .await;
        ended.push(new.id);
        if let Ok(id) = receiver.try_recv() {
            assert!(ended.contains(&id));
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_process_hears_of_an_end() {
    let options = common::options().await;
    let (here, there) = (
        common::connect(&options).await,
        common::connect(&options).await,
    );
    heard(&there, &mut here.completions()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_heard_again_after_a_restart() {
    let server = RedisServer::start().await.expect("a Redis");
    let options = common::options_on(&server.url());
    let (here, there) = (
        common::connect(&options).await,
        common::connect(&options).await,
    );
    let mut receiver = here.completions();
    heard(&there, &mut receiver).await;
    server.restart().await.expect("restart");
    while receiver.try_recv().is_ok() {}
    heard(&there, &mut receiver).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_may_not_publish_completes_all_the_same() {
    let server = RedisServer::start().await.expect("a Redis");
    let mut user = redis::cmd("ACL");
    user.arg("SETUSER").arg("mute").arg("on").arg(">hush");
    user.arg("~*").arg("+@all").arg("resetchannels");
    let mut raw = common::raw(&server.url()).await;
    user.exec_async(&mut raw).await.expect("a user");
    let url = format!("redis://mute:hush@{}", server.address());
    let store = common::connect(&common::options_on(&url)).await;
    let ids = Ids::random();
    let new = draft(&store, &ids, None);
    create(&store, &new).await;
    let mut receiver = store.completions();
    let cancel = commit(
        &store,
        &ids,
        new.id,
        &new.header,
        Event::Cancel,
        Guard::None,
    );
    make(&store, cancel).await;
    assert_eq!(receiver.try_recv(), Ok(new.id));
}
