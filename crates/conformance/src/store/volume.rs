//! Many operations, and many workers at once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use drumline_backend::apply_event::Applied;
use drumline_backend::store::{Commit, Committed, Filter, Guard, NewOperation, Promoted};
use drumline_protocol::{Event, OperationId, Partition, State};
use tokio::task::JoinSet;

use super::commit::commit;
use super::listing::all_pages;
use crate::StoreHarness;
use crate::fixtures::{Fixture, claim_event, independent, of_token};

/// Operations of the large case.
const MANY: usize = 10_000;
/// Operations in one call.
const BATCH: usize = 250;

/// Ten thousand are created, found, run in order, counted and listed.
pub async fn ten_thousand_operations(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let drafts = (0..MANY).map(|number| draft(&fixture, number));
    let batches: Vec<Vec<NewOperation>> = {
        let all: Vec<_> = drafts.collect();
        all.chunks(BATCH).map(<[_]>::to_vec).collect()
    };
    let mut runnable = Vec::new();
    for batch in batches {
        let news: BTreeMap<_, _> = batch.iter().map(|new| (new.id, new.clone())).collect();
        let mut confirmed = Vec::new();
        for fresh in fixture.store_all(batch).await {
            if let Some(stamp) = fresh.offer {
                confirmed.push((fresh.id, stamp));
                runnable.push((fresh.id, news[&fresh.id].header.clone()));
            }
        }
        fixture
            .store
            .remove_from_outbox(&confirmed)
            .await
            .expect("dispatched");
    }
    let counts = fixture.store.counts().await.expect("counts");
    assert_eq!((counts.ready, counts.undispatched), (MANY as u64, 0));

    let mut ran = Vec::new();
    while !runnable.is_empty() {
        let wave: Vec<_> = runnable.drain(..runnable.len().min(BATCH)).collect();
        for next in run_all(&fixture, &wave).await {
            runnable.push((next.operation.id, next.operation.header));
        }
        ran.extend(wave.into_iter().map(|(id, _)| id));
    }
    assert_eq!(ran.len(), MANY);
    let counts = fixture.store.counts().await.expect("counts");
    assert_eq!((counts.completed, counts.undispatched), (MANY as u64, 0));

    let filter = Filter {
        state: Some(State::Completed),
        ..Filter::default()
    };
    let listed = all_pages(&fixture, &filter, 500).await;
    assert!(listed.is_sorted_by(|a, b| a > b));
    assert_eq!(listed.len(), MANY);
}

/// Eight workers of two processes race for the operations of some chains and
/// for independent ones: each runs once, each chain in its order.
pub async fn racing_workers_keep_every_chain_in_order(harness: &dyn StoreHarness) {
    const WORKERS: usize = 8;
    const CHAINS: usize = 6;
    const EACH: usize = 8;
    let fixture = Fixture::new(harness).await;
    let other = fixture.another(harness).await;
    let mut chains = vec![Vec::new(); CHAINS];
    for _ in 0..EACH {
        for (number, chain) in chains.iter_mut().enumerate() {
            let fresh = fixture.create(of_token(&format!("chain {number}"))).await;
            chain.push(fresh.id);
        }
    }
    let todo: Vec<_> = chains.iter().flatten().copied().collect();
    let left = Arc::new(AtomicUsize::new(todo.len()));
    let mut tasks = JoinSet::new();
    for (number, process) in [&fixture, &other]
        .into_iter()
        .cycle()
        .take(WORKERS)
        .enumerate()
    {
        let mut worker = process.clone();
        worker.worker = worker.ids.member();
        let (todo, left) = (todo.clone(), Arc::clone(&left));
        tasks.spawn(async move {
            let mut ran = Vec::new();
            // Each in another order, over and over, until nothing is left.
            for at in number * 7.. {
                let id = todo[at % todo.len()];
                if left.load(Ordering::Relaxed) == 0 {
                    break;
                }
                let Applied::Done(claimed, done) = worker.try_claim(id).await else {
                    continue;
                };
                let fence = done.fence.expect("a claim takes a lock");
                ran.push((id, claimed.starts, fence));
                worker.holder(id, fence, Event::Succeed).await;
                left.fetch_sub(1, Ordering::Relaxed);
            }
            ran
        });
    }
    let mut ran: Vec<_> = tasks.join_all().await.into_iter().flatten().collect();
    ran.sort_by_key(|(id, _, fence)| (id.partition(), *fence));
    for chain in &chains {
        let order: Vec<_> = ran
            .iter()
            .filter(|(id, ..)| chain.contains(id))
            .map(|(id, starts, _)| (*id, *starts))
            .collect();
        let expected: Vec<_> = chain.iter().map(|id| (*id, 1)).collect();
        assert_eq!(order, expected);
    }
}

/// Every other one independent, the rest in a hundred chains.
fn draft(fixture: &Fixture, number: usize) -> NewOperation {
    let mut draft = if number.is_multiple_of(2) {
        independent()
    } else {
        of_token(&format!("chain {}", number % 200))
    };
    // Runs of one partition, as managers make them.
    let run = u16::try_from(number / 64).unwrap_or(0);
    draft.partition = Partition::new(run % fixture.store.partitions().get());
    fixture.prepare(draft)
}

/// Claims and completes a wave; returns the heads that were promoted.
async fn run_all(
    fixture: &Fixture,
    wave: &[(OperationId, drumline_protocol::Header)],
) -> Vec<Promoted> {
    let claims: Vec<Commit> = wave
        .iter()
        .map(|(id, header)| commit(fixture, *id, header, claim_event(), fixture.taking()))
        .collect();
    let headers: Vec<_> = claims.iter().map(|claim| claim.header.clone()).collect();
    let mut completions = Vec::new();
    let answers = fixture.store.commit(claims).await.expect("commit");
    for (((id, _), header), answer) in wave.iter().zip(headers).zip(answers) {
        let Committed::Done(done) = answer else {
            panic!("{id}: {answer:?}");
        };
        let fence = done.fence.expect("a claim takes a lock");
        let guard = Guard::Holder(fixture.holding(fence));
        completions.push(commit(fixture, *id, &header, Event::Succeed, guard));
    }
    let mut promoted = Vec::new();
    for answer in fixture.store.commit(completions).await.expect("commit") {
        let Committed::Done(done) = answer else {
            panic!("a holder completes: {answer:?}");
        };
        promoted.extend(done.promoted);
    }
    promoted
}
