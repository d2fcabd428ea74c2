//! Requests that come over AMQP: the same as `POST /v1/operations` and
//! `POST /v1/execute`, answered to the producer's queue.
//!
//! ```text
//! Intake (port) ── requests ── session ── identity ── translate ── execute ── QueueManager
//!                                 │                                   │
//!       ◄── reply, quarantine, acknowledge ◄── disposition ───────────┘
//! ```
//!
//! A message is translated into the typed request that HTTP would have read,
//! and the service answers it (`execute`). The rules are the service's, and
//! problem documents are those of HTTP, so that answers are the same to the
//! letter. This module decides what a queue needs in addition: the order in
//! which requests are done (`session`), the choice between another try, an
//! answer, and putting aside (`disposition`), and that a repeated message
//! creates nothing twice (`translate`).
//!
//! One manager of a fleet takes requests at a time, because the order of a
//! producer's requests would not survive several. Another manager takes over
//! when that one ends. This needs no agreement: each of them opens the intake,
//! and the broker chooses.

mod disposition;
mod execute;
mod identity;
mod session;
mod translate;

use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use drumline_backend::Intake;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::service::QueueManager;

use session::Session;

/// Requests in hand: enough that the next ones are here when these are done.
/// They are held in memory, payloads included, and unfinished ones go back
/// together when this process dies. The number must not shrink from one session
/// to the next: requests that came back in two portions would come again in
/// another order.
const PREFETCH: NonZeroU16 = NonZeroU16::new(64).unwrap();

/// The pause before the intake is opened again: it was closed because the
/// broker or the store is unavailable.
const PAUSE: Duration = Duration::from_millis(500);

/// The task that takes requests. [`AmqpIngress::stop`] ends it in order.
#[derive(Debug)]
pub struct AmqpIngress {
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl AmqpIngress {
    /// Starts to take requests, as soon as store and broker are available. Must
    /// be called on a tokio runtime. A panic is reported by
    /// [`QueueManager::failed`].
    #[must_use]
    pub fn start(manager: &QueueManager, intake: Arc<dyn Intake>) -> Self {
        let ingress = Self {
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        let consumer = Consumer {
            manager: manager.clone(),
            intake,
            stop: ingress.stop.clone(),
        };
        let critical = manager.critical();
        let run = critical.guard("requests over AMQP", &ingress.stop, consumer.run());
        ingress.tasks.spawn(run);
        ingress
    }

    /// Takes no more requests, and waits until those in progress are answered;
    /// the remaining ones go back to their queue.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// Opens the intake, again and again, for one session after the other.
struct Consumer {
    manager: QueueManager,
    intake: Arc<dyn Intake>,
    stop: CancellationToken,
}

impl Consumer {
    async fn run(self) {
        let stop = self.stop.clone();
        let mut is_reported = false;
        while !stop.is_cancelled() {
            // Requests that cannot be done now are better off in their queue.
            if self.manager.health().await.is_ready() {
                match stop.run_until_cancelled(self.intake.open(PREFETCH)).await {
                    Some(Ok(requests)) => {
                        is_reported = false;
                        Session::new(&self.manager, &self.intake, &stop)
                            .run(requests)
                            .await;
                    }
                    Some(Err(error)) if !is_reported => {
                        is_reported = true;
                        tracing::warn!(%error, "no requests can be taken over AMQP");
                    }
                    Some(Err(_)) | None => {}
                }
            }
            stop.run_until_cancelled(tokio::time::sleep(PAUSE)).await;
        }
    }
}
