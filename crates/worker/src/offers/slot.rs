//! One slot: claims the operation of an offer, runs it, and goes on along its
//! chain.
//!
//! ```text
//! offer ─→ throttle ─→ claim ─→ execute ─→ next of the chain ─→ throttle ─→ …
//!             └─ fails too often ─→ postpone      └─ enough in a row ─→ publisher
//! ```

use std::sync::Arc;
use std::sync::atomic::Ordering;

use drumline_backend::store::{Promoted, Record};
use drumline_protocol::message::Offer;
use drumline_protocol::pause::scope_keys_of;
use drumline_protocol::{Header, OperationId, ScopeKey};
use tokio::sync::OwnedSemaphorePermit;

use super::delivery_ack::Pending;
use crate::run::claim::{Claim, Claimed, claim};
use crate::run::execute::execute;
use crate::run::finish::release_unstarted;
use crate::run::shared::Shared;
use crate::throttle::Ticket;
use crate::throttle::postpone::postpone;

/// The number of operations of one chain that a slot runs in a row while other
/// offers wait for a slot. A long chain must not keep the slot for itself.
const IN_A_ROW: u32 = 16;

/// The result of taking an offer.
enum Taken {
    /// This worker holds the operation. The ticket counts the end of the run.
    Granted(Box<Claimed>, Ticket),
    /// This worker has nothing more to do with the operation.
    Dropped,
    /// The operation may or may not be claimed, because the worker has been
    /// stopped meanwhile.
    Unknown,
}

/// Runs the operation of one offer, and the operations that its end makes
/// runnable.
pub(crate) async fn occupy(shared: Arc<Shared>, pending: Pending, slot: OwnedSemaphorePermit) {
    let scopes = pending.offer.scope_keys();
    let Offer {
        id,
        header,
        message_name,
        ..
    } = pending.offer.clone();
    // The delivery is held until the claim is decided, and acknowledged before
    // the handler runs.
    let mut next = match take(&shared, id, header, &message_name, scopes, None).await {
        Taken::Granted(claimed, ticket) => {
            pending.decided();
            Some((claimed, ticket))
        }
        Taken::Dropped => {
            pending.decided();
            None
        }
        Taken::Unknown => None,
    };
    let mut in_a_row = 1;
    let mut slot = Some(slot);
    while let Some((claimed, ticket)) = next {
        let promoted = work(&shared, *claimed, ticket, &mut slot).await;
        next = match promoted {
            // In a box: it is large, and seldom.
            Some(promoted) => Box::pin(go_on(&shared, promoted, in_a_row)).await,
            None => None,
        };
        in_a_row += 1;
    }
    drop(slot);
}

/// Claims an operation, or postpones it if its handler fails too often.
async fn take(
    shared: &Arc<Shared>,
    id: OperationId,
    header: Header,
    message_name: &str,
    scopes: Vec<ScopeKey>,
    known: Option<Record>,
) -> Taken {
    match shared.admit(message_name) {
        Ok(ticket) => match claim(shared, id, header, scopes, known).await {
            Claim::Granted(claimed) => Taken::Granted(claimed, ticket),
            Claim::Dropped => Taken::Dropped,
            Claim::Expired(promoted) => {
                if let Some(promoted) = promoted {
                    shared.publisher.hand_on(&promoted);
                }
                Taken::Dropped
            }
            Claim::Unknown => Taken::Unknown,
        },
        Err(_tried_in) => {
            postpone(
                &*shared.backend.store,
                shared.signature(),
                &shared.random,
                id,
            )
            .await;
            Taken::Dropped
        }
    }
}

async fn work(
    shared: &Arc<Shared>,
    claimed: Claimed,
    ticket: Ticket,
    slot: &mut Option<OwnedSemaphorePermit>,
) -> Option<Promoted> {
    let name = &claimed.operation.body.message_name;
    if let Some(registered) = shared.handlers.find(name) {
        execute(shared, registered, claimed, ticket, slot).await
    } else {
        // The offer named another message than the record does, so no worker and
        // no manager of this service has written it.
        tracing::warn!(id = %claimed.operation.id, "an offer named the wrong message");
        release_unstarted(shared, claimed).await;
        None
    }
}

/// Claims the next operation of the chain, if this worker should run it.
async fn go_on(
    shared: &Arc<Shared>,
    promoted: Promoted,
    in_a_row: u32,
) -> Option<(Box<Claimed>, Ticket)> {
    let body = &promoted.operation.body;
    let ours = shared.options.queues.contains(&body.queue)
        && shared.handlers.find(&body.message_name).is_some();
    let others_wait = shared.waiting.load(Ordering::Relaxed) > 0;
    let enough = in_a_row >= IN_A_ROW && others_wait;
    if !ours || enough || shared.draining.is_cancelled() {
        shared.publisher.hand_on(&promoted);
        return None;
    }
    let Promoted {
        operation, record, ..
    } = promoted;
    let scopes = scope_keys_of(&operation.header, &operation.body);
    let message_name = &operation.body.message_name;
    match take(
        shared,
        operation.id,
        operation.header,
        message_name,
        scopes,
        record,
    )
    .await
    {
        Taken::Granted(claimed, ticket) => Some((claimed, ticket)),
        // The operation is in the outbox until a worker has claimed it.
        Taken::Dropped | Taken::Unknown => None,
    }
}
