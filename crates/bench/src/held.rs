//! A pause that holds many operations: what its neighbours notice, and how the held ones
//! go on when it is lifted.
//!
//! ```text
//! nothing held ─ latency ─ pause, fill ─ latency ─ lift ─┬─ latency
//!                                                        └─ until the last has started
//! ```
//!
//! All latencies are those of lone operations of another message name, at 200 per second.

use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context as _;
use drumline_api::CreateOperation;
use drumline_api::pause::SetPause;
use drumline_protocol::PauseKind;
use tokio::time::{Instant, timeout};

use crate::harness::{Harness, Starts};
use crate::latency;
use crate::plan::Plan;
use crate::report::{Reading, share};
use crate::workers::HELD;
use crate::{float, rate};

const BATCH: usize = 500;
/// The bytes of each payload.
const PAYLOAD: usize = 512;
/// The time without any start after which they stand still for good.
const STANDSTILL: Duration = Duration::from_secs(60);

/// Measures one round.
pub(crate) async fn round(
    harness: &Harness,
    plan: &Plan,
    warm_up: Duration,
) -> anyhow::Result<Vec<Reading>> {
    let length = plan.length();
    latency::round(harness, warm_up).await?;
    let alone = latency::round(harness, length).await?;

    let pause = SetPause {
        kind: PauseKind::MessageName,
        name: Some(HELD.to_owned()),
        reason: "drumline bench".to_owned(),
        until: None,
    };
    let (pause, _) = harness.manager.set_pause(&harness.caller, pause).await?;
    fill(harness, plan.held.get()).await?;
    let beside = latency::round(harness, length).await?;

    let lifted = Instant::now();
    let scope = pause.scope.key();
    harness.manager.lift_pause(&harness.caller, scope).await?;
    let wanted = u64::try_from(plan.held.get())?;
    let (meanwhile, drained) = tokio::join!(
        latency::round(harness, length),
        drain(&harness.starts, wanted)
    );
    let meanwhile = meanwhile?;
    let longest_gap = drained?;
    let took = lifted.elapsed();

    let held = plan.held;
    let p99 = |spans: &[f64]| latency::percentile(spans, 99);
    let mut readings = vec![Reading::alone(
        "submit to start, nothing held, p99",
        "ms",
        p99(&alone),
    )];
    for (name, spans) in [
        (format!("submit to start, {held} held, p99"), &beside),
        (format!("submit to start, {held} go on, p99"), &meanwhile),
    ] {
        readings.push(Reading {
            of_baseline: share(p99(spans), p99(&alone)),
            ..Reading::alone(name, "ms", p99(spans))
        });
    }
    readings.push(Reading::alone(
        format!("{held} held that go on"),
        "/s",
        rate(u64::try_from(held.get())?, took),
    ));
    readings.push(Reading::alone(
        "longest time in which none of them started",
        "ms",
        float(u64::try_from(longest_gap.as_micros())?) / 1000.0,
    ));
    Ok(readings)
}

/// Creates operations that the pause holds.
async fn fill(harness: &Harness, count: usize) -> anyhow::Result<()> {
    let mut left = count;
    while left > 0 {
        let some = left.min(BATCH);
        left -= some;
        let request = || {
            let mut request = CreateOperation::new(HELD);
            request.data = Some(format!("\"{}\"", "x".repeat(PAYLOAD - 2)));
            request
        };
        let requests = (0..some).map(|_| request()).collect();
        for created in harness.manager.create_many(&harness.caller, requests).await {
            created?;
        }
    }
    Ok(())
}

/// Waits until so many have started, and returns the longest time in which none did.
async fn drain(starts: &Starts, wanted: u64) -> anyhow::Result<Duration> {
    let mut longest = Duration::ZERO;
    let mut last = Instant::now();
    loop {
        let progress = starts.held_go_on.notified();
        let started = starts.of_held.load(Ordering::Acquire);
        if started >= wanted {
            return Ok(longest);
        }
        timeout(STANDSTILL, progress)
            .await
            .ok()
            .with_context(|| format!("only {started} of {wanted} have started"))?;
        longest = longest.max(last.elapsed());
        last = Instant::now();
    }
}
