//! Saying that this worker is alive, and hearing who else is.

use std::sync::Arc;

use drumline_backend::membership::BEAT;
use drumline_backend::{Member, Role};
use drumline_protocol::Timestamp;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use crate::engine::Engine;

/// Who is alive, as far as this worker knows.
pub(crate) type Members = watch::Receiver<Arc<[Member]>>;

/// Beats until it is dropped; at once when the worker begins to drain, so that
/// others take its lanes.
pub(crate) async fn beat(engine: Arc<Engine>, members: watch::Sender<Arc<[Member]>>) {
    let started_on = engine.backend.store.now();
    let mut ticks = tokio::time::interval(BEAT);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut was_draining = false;
    loop {
        tokio::select! {
            _now = ticks.tick() => {}
            () = engine.draining.cancelled(), if !was_draining => was_draining = true,
        }
        match engine
            .backend
            .membership
            .beat(&describe(&engine, started_on))
            .await
        {
            Ok(all) => drop(members.send_replace(all.into())),
            // We go on with the members that we knew.
            Err(error) => tracing::warn!(%error, "no sign of life could be given"),
        }
    }
}

fn describe(engine: &Engine, started_on: Timestamp) -> Member {
    let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    Member {
        id: engine.member,
        role: Role::Worker,
        host: engine.options.host.clone(),
        queues: engine.options.queues.clone(),
        messages: engine.handlers.names(),
        concurrency: count(engine.options.concurrency),
        running: count(engine.running()),
        draining: engine.draining.is_cancelled(),
        started_on_ms: started_on.as_millis(),
    }
}
