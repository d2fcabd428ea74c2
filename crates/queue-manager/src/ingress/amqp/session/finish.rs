//! The end of a request: quarantined if it has to be, answered, acknowledged.
//!
//! A request is acknowledged last. If the process dies before, the request comes
//! again: it may be answered or quarantined twice, and is not lost.

use std::sync::Arc;

use drumline_backend::broker::{self, Receipt};
use drumline_backend::intake::{Refused, Reply};
use drumline_protocol::Backoff;
use tokio::time::Instant;

use super::{HOLD, PAUSES, Shared};
use crate::ingress::amqp::disposition::Disposition;

impl Shared {
    /// Puts a request aside, answers it and acknowledges it, while the next ones
    /// are done.
    pub(super) fn finish(
        self: &Arc<Self>,
        disposition: Disposition,
        receipt: Box<dyn Receipt>,
        is_repeatable: bool,
    ) {
        let shared = Arc::clone(self);
        self.finishing.spawn(async move {
            if !shared.put_aside(disposition.refused).await {
                // The request has to come again, and does when the channel is
                // closed.
                shared.over.cancel();
                return;
            }
            let is_answered = shared.reply(disposition.reply).await;
            // The next consumer can answer the request, if that does nothing
            // twice. It gets the request when the channel is closed.
            if !is_answered && is_repeatable {
                shared.over.cancel();
                return;
            }
            if let Err(error) = receipt.acknowledge().await {
                tracing::debug!(%error, "a request that was executed may be delivered again");
            }
        });
    }

    /// Returns true if the quarantine has the request, or does not need it.
    async fn put_aside(&self, refused: Option<Refused>) -> bool {
        let Some(refused) = refused else {
            return true;
        };
        let (code, reason) = (refused.code.clone(), refused.reason.clone());
        tracing::warn!(
            code,
            reason,
            bytes = refused.bytes,
            "a request is put into the quarantine"
        );
        let until = Instant::now() + HOLD;
        let mut backoff = Backoff::new(PAUSES.0, PAUSES.1);
        while let Err(error) = self.intake.quarantine(refused.clone()).await {
            if self.over.is_cancelled() || Instant::now() >= until {
                tracing::warn!(%error, "the quarantine did not accept a request");
                return false;
            }
            self.pause(&mut backoff).await;
        }
        self.manager.metrics().quarantined(code);
        true
    }

    /// Returns true if nothing more is to be done about the answer.
    async fn reply(&self, reply: Option<Reply>) -> bool {
        let Some(reply) = reply else {
            return true;
        };
        let until = Instant::now() + HOLD;
        let mut backoff = Backoff::new(PAUSES.0, PAUSES.1);
        while let Err(error) = self.intake.reply(reply.clone()).await {
            let passes = match &error {
                broker::Error::Unavailable { .. } | broker::Error::Blocked { .. } => true,
                broker::Error::Unroutable { .. }
                | broker::Error::Queue { .. }
                | broker::Error::Refused
                | broker::Error::Encode(_) => false,
            };
            if !passes {
                tracing::warn!(%error, "the queue of a producer did not accept the answer");
                return true;
            }
            if self.over.is_cancelled() || Instant::now() >= until {
                tracing::warn!(%error, "a request could not be answered");
                return false;
            }
            self.pause(&mut backoff).await;
        }
        self.manager.metrics().intake_answered(reply.status);
        true
    }
}
