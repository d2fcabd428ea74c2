//! Postpones the operations that the throttle does not let through.

use std::time::Duration;

use drumline_backend::Random;
use drumline_backend::apply_event::{Applied, Signature, apply_event_unlocked};
use drumline_backend::store::{self, Store};
use drumline_protocol::OperationId;
use drumline_protocol::transition::Event;

use crate::backoff;

/// Suspends an operation that is Ready for `delay` and a little more, so that
/// operations that are postponed together do not come back together. An
/// operation that is not Ready any more is left alone. Tries until the store
/// answers.
pub(crate) async fn postpone(
    store: &dyn Store,
    by: Signature<'_>,
    random: &Random,
    id: OperationId,
    delay: Duration,
) {
    let delay = delay.mul_f64(1.0 + random.f64() / 4.0);
    let mut backoff = backoff::for_store(random);
    loop {
        match suspend(store, by, id, delay).await {
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

async fn suspend(
    store: &dyn Store,
    by: Signature<'_>,
    id: OperationId,
    delay: Duration,
) -> store::Result<()> {
    // The report is needed, too: it keeps the data of earlier runs.
    let Some(operation) = store.get(&[id]).await?.pop().flatten() else {
        return Ok(());
    };
    let until = store.now().saturating_add(delay);
    let event = Event::Throttle { until };
    match apply_event_unlocked(store, by, &operation, event).await? {
        Applied::Done(..) => tracing::debug!(%id, ?delay, "postponed: its handler fails too often"),
        // Another worker has claimed the operation, or a client has moved it.
        Applied::Refused(_)
        | Applied::NotHead
        | Applied::Held
        | Applied::Fenced
        | Applied::Missing => {}
    }
    Ok(())
}
