//! Waiters hear of Completed operations, in the process that completed them at
//! least.

use drumline_backend::store::Guard;
use drumline_protocol::{Event, OperationId};
use tokio::sync::broadcast::Receiver;

use super::commit::{commit, commit_done};
use crate::StoreHarness;
use crate::scene::{Scene, independent, of_token};
use crate::wait::soon;

/// Every kind of completion is heard.
pub async fn a_completion_is_heard(harness: &dyn StoreHarness) {
    let scene = Scene::new(harness).await;
    let mut heard = scene.store.completions();
    let run = scene.create(independent()).await.id;
    scene.run(run).await;
    expect(&mut heard, run).await;
    let cancelled = scene.create(of_token("a")).await.id;
    scene.client(cancelled, Event::Cancel).await;
    expect(&mut heard, cancelled).await;
}

/// The repetition of a completion may be heard again; nothing else is.
pub async fn only_completions_are_heard(harness: &dyn StoreHarness) {
    let scene = Scene::new(harness).await;
    let mut heard = scene.store.completions();
    let id = scene.create(independent()).await.id;
    scene.client(id, Event::Pause).await;
    scene.client(id, Event::Resume).await;
    let fence = scene.claim(id).await;
    scene.holder(id, fence, Event::Release).await;
    let other = scene.create(independent()).await.id;
    let fence = scene.claim(other).await;
    let header = scene.read(other).await.header;
    let guard = Guard::Holder(fence);
    let succeed = commit(&scene, other, &header, Event::Succeed, guard);
    commit_done(&scene, succeed.clone()).await;
    commit_done(&scene, succeed).await;
    expect(&mut heard, other).await;
}

/// Waits until an operation is heard of; nothing else may come before it.
async fn expect(heard: &mut Receiver<OperationId>, id: OperationId) {
    let first = soon("its completion is heard", heard.recv()).await;
    assert_eq!(first, Ok(id));
}
