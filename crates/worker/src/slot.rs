//! One slot at work: claim what was offered, run it, and go on along its
//! chain.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use drumline_backend::decide::decide_through;
use drumline_backend::store::{Guard, Promoted, Record};
use drumline_protocol::transition::Event;
use tokio::sync::OwnedSemaphorePermit;

use crate::claim::{Claim, Claimed, claim};
use crate::engine::Engine;
use crate::execute::execute;
use crate::parcel::Pending;

/// How many operations of one chain a slot runs in a row while others wait for
/// a slot: a long chain must not keep the slot from the rest.
const IN_A_ROW: u32 = 16;

/// Works on one offer, and on what becomes runnable by it.
pub(crate) async fn occupy(engine: Arc<Engine>, pending: Pending, slot: OwnedSemaphorePermit) {
    let header = pending.offer.header.clone();
    let claimed = claim(&engine, pending.offer.id, header, None).await;
    // Held until we know; acknowledged before anything runs.
    let mut next = match claimed {
        Claim::Granted(claimed) => {
            pending.decided();
            Some(claimed)
        }
        Claim::Dropped => {
            pending.decided();
            None
        }
        Claim::Unknown => None,
    };
    let mut in_a_row = 1;
    while let Some(claimed) = next {
        let promoted = work(&engine, *claimed).await;
        next = match promoted {
            Some(promoted) => go_on(&engine, promoted, in_a_row).await,
            None => None,
        };
        in_a_row += 1;
    }
    drop(slot);
}

async fn work(engine: &Arc<Engine>, claimed: Claimed) -> Option<Promoted> {
    let name = &claimed.operation.body.message_name;
    if let Some(registered) = engine.handlers.find(name) {
        execute(engine, registered, claimed).await
    } else {
        give_back(engine, claimed).await;
        None
    }
}

/// Claims the chain's next operation, if this worker should be the one.
async fn go_on(engine: &Arc<Engine>, promoted: Promoted, in_a_row: u32) -> Option<Box<Claimed>> {
    let body = &promoted.operation.body;
    let ours = engine.options.queues.contains(&body.queue)
        && engine.handlers.find(&body.message_name).is_some();
    let others_wait = engine.waiting.load(Ordering::Relaxed) > 0;
    let enough = in_a_row >= IN_A_ROW && others_wait;
    if !ours || enough || engine.draining.is_cancelled() {
        engine.hand_on(&promoted);
        return None;
    }
    let operation = promoted.operation;
    let record = Record {
        body: operation.body,
        report: operation.report,
        sequence: operation.sequence,
    };
    match claim(engine, operation.id, operation.header, Some(record)).await {
        Claim::Granted(claimed) => Some(claimed),
        // It stays in the dispatch set unless somebody else has it.
        Claim::Dropped | Claim::Unknown => None,
    }
}

/// Gives back what was claimed on the strength of an offer that named another
/// message than the record does: such an offer is not one of ours.
async fn give_back(engine: &Engine, claimed: Claimed) {
    let Claimed {
        operation, fence, ..
    } = claimed;
    tracing::warn!(id = %operation.id, "an offer named the wrong message");
    let given_back = decide_through(
        &engine.committer,
        &engine.ids,
        operation.id,
        operation.header,
        Event::Release,
        Guard::Holder(fence),
        &operation.report,
    )
    .await;
    if let Err(error) = given_back {
        tracing::warn!(id = %operation.id, %error, "left to whoever takes over");
    }
}
