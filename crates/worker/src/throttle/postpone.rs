//! Suspends the operations that the throttle does not let through.

use drumline_backend::Random;
use drumline_backend::apply_event::{Applied, Signature, apply_event_to_summary};
use drumline_backend::store::{self, Guard, Store};
use drumline_protocol::OperationId;
use drumline_protocol::transition::Event;

use crate::backoff;

/// Suspends an operation that is Ready. A queue manager resumes it when a worker takes
/// its message name. An operation that is not Ready any more is left alone. Tries
/// until the store answers.
pub(crate) async fn postpone(
    store: &dyn Store,
    by: Signature<'_>,
    random: &Random,
    id: OperationId,
) {
    let mut backoff = backoff::for_store(random);
    loop {
        match suspend(store, by, id).await {
            Ok(()) => return,
            Err(error @ store::Error::Unavailable { .. }) => {
                tracing::debug!(%id, %error, "an operation is postponed later");
                backoff.sleep().await;
            }
            // Holding the message back would not make the record readable.
            Err(error @ (store::Error::Corrupt(_) | store::Error::Unfit(_))) => {
                tracing::error!(%id, %error, "an operation cannot be postponed");
                return;
            }
        }
    }
}

async fn suspend(store: &dyn Store, by: Signature<'_>, id: OperationId) -> store::Result<()> {
    let Some(operation) = store.summaries(&[id]).await?.pop().flatten() else {
        return Ok(());
    };
    let event = Event::Throttle;
    match apply_event_to_summary(store, by, &operation, event, Guard::None).await? {
        Applied::Done(..) => tracing::debug!(%id, "suspended: its handler fails too often"),
        // Another worker has claimed the operation, or a client has moved it.
        Applied::Refused(_)
        | Applied::NotHead
        | Applied::Held
        | Applied::Fenced
        | Applied::Missing => {}
    }
    Ok(())
}
