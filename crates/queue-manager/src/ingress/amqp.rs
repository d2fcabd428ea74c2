//! Requests that come over AMQP: the same as `POST /v1/operations` and
//! `POST /v1/execute`, answered to the producer's queue.
//!
//! ```text
//! Intake (port) ── requests ── session ─┬─ translate ── door ── the HTTP face, in process
//!                                       │                             │
//!       ◄── reply, quarantine, acknowledge ◄──────── verdict ◄────────┘
//! ```
//!
//! A message is turned into the HTTP request that it stands for and given to
//! the very handlers that HTTP has. There are no separate rules here, and the
//! answers are those of HTTP because they come from there. This module decides
//! what a queue needs in addition: the order in which requests are done
//! (`session`), the choice between another try, an answer, and putting aside
//! (`verdict`), and that a repeated message creates nothing twice
//! (`translate`).
//!
//! One manager of a fleet takes requests at a time, because the order of a
//! producer's requests would not survive several; another takes over when it
//! goes away. This needs no agreement: each of them opens the intake, and the
//! broker chooses.

mod disposition;
mod in_process_http;
mod session;
mod translate;

use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use drumline_backend::Intake;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::service::QueueManager;

use in_process_http::Door;
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
    /// be called on a tokio runtime.
    #[must_use]
    pub fn start(manager: &QueueManager, intake: Arc<dyn Intake>) -> Self {
        let reception = Self {
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        let clerk = Clerk {
            door: Door::of(manager),
            manager: manager.clone(),
            intake,
            stop: reception.stop.clone(),
        };
        reception.tasks.spawn(clerk.run());
        reception
    }

    /// Takes no more requests, and waits until those in progress are answered;
    /// the others go back to their queue.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// The task.
struct Clerk {
    door: Door,
    manager: QueueManager,
    intake: Arc<dyn Intake>,
    stop: CancellationToken,
}

impl Clerk {
    async fn run(self) {
        let stop = self.stop.clone();
        let mut told = false;
        while !stop.is_cancelled() {
            // Requests that cannot be done now are better off in their queue.
            if self.manager.health().await.is_ready() {
                match stop.run_until_cancelled(self.intake.open(PREFETCH)).await {
                    Some(Ok(requests)) => {
                        told = false;
                        Session::new(&self.manager, &self.door, &self.intake, &stop)
                            .run(requests)
                            .await;
                    }
                    Some(Err(error)) if !told => {
                        told = true;
                        tracing::warn!(%error, "no requests can be taken over AMQP");
                    }
                    Some(Err(_)) | None => {}
                }
            }
            stop.run_until_cancelled(tokio::time::sleep(PAUSE)).await;
        }
    }
}
