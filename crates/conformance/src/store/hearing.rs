//! Waiters hear of Completed operations, in the process that completed them at
//! least.

use drumline_backend::store::Guard;
use drumline_protocol::{Event, OperationId};
use tokio::sync::broadcast::Receiver;

use super::commit::{commit, commit_done};
use crate::StoreHarness;
use crate::fixtures::{Fixture, independent, of_token};
use crate::wait::soon;

/// Every kind of completion is heard.
pub async fn a_completion_is_heard(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let mut heard = fixture.store.completions();
    let run = fixture.create(independent()).await.id;
    fixture.run(run).await;
    expect(&mut heard, run).await;
    let cancelled = fixture.create(of_token("a")).await.id;
    fixture.client(cancelled, Event::Cancel).await;
    expect(&mut heard, cancelled).await;
}

/// The repetition of a completion may be heard again; nothing else is.
pub async fn only_completions_are_heard(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let mut heard = fixture.store.completions();
    let id = fixture.create(independent()).await.id;
    fixture.client(id, Event::Pause).await;
    fixture.client(id, Event::Resume).await;
    let fence = fixture.claim(id).await;
    fixture.holder(id, fence, Event::Release).await;
    let other = fixture.create(independent()).await.id;
    let fence = fixture.claim(other).await;
    let header = fixture.read(other).await.header;
    let guard = Guard::Holder(fixture.holding(fence));
    let succeed = commit(&fixture, other, &header, Event::Succeed, guard);
    commit_done(&fixture, succeed.clone()).await;
    commit_done(&fixture, succeed).await;
    expect(&mut heard, other).await;
}

/// Waits until an operation is heard of; nothing else may come before it.
async fn expect(heard: &mut Receiver<OperationId>, id: OperationId) {
    let first = soon("its completion is heard", heard.recv()).await;
    assert_eq!(first, Ok(id));
}
