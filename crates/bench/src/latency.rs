//! From submit to start, at a gentle rate: the time that a lone operation waits
//! when nothing is in its way.

use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use drumline_api::CreateOperation;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use crate::harness::Harness;
use crate::report::{Reading, share};
use crate::workers::MESSAGE;

/// 200 per second.
pub(crate) const EVERY: Duration = Duration::from_millis(5);
/// The time that the last operation may take to start.
pub(crate) const TAIL: Duration = Duration::from_secs(10);

/// The spans of one round, in milliseconds, sorted.
pub(crate) async fn round(harness: &Harness, length: Duration) -> anyhow::Result<Vec<f64>> {
    let first = usize::try_from(harness.starts.noted.load(Ordering::Acquire))?;
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let end = Instant::now() + length;
    let mut submitted = Vec::new();
    let mut creating = JoinSet::new();
    while Instant::now() < end {
        ticks.tick().await;
        let mut request = CreateOperation::new(MESSAGE);
        request.data = Some((first + submitted.len()).to_string());
        let (manager, caller) = (harness.manager.clone(), harness.caller.clone());
        submitted.push(harness.starts.now());
        creating.spawn(async move { manager.create(&caller, request, None).await });
    }
    while let Some(created) = creating.join_next().await {
        created??;
    }
    let all = u64::try_from(first + submitted.len())?;
    let end = Instant::now() + TAIL;
    while harness.starts.noted.load(Ordering::Acquire) < all {
        ensure!(Instant::now() < end, "not all operations were started");
        sleep(EVERY).await;
    }
    let mut spans = Vec::with_capacity(submitted.len());
    for (number, submitted) in submitted.into_iter().enumerate() {
        let started = harness.starts.of(first + number).context("never started")?;
        let micros = u32::try_from(started.saturating_sub(submitted))?;
        spans.push(f64::from(micros) / 1000.0);
    }
    spans.sort_by(f64::total_cmp);
    Ok(spans)
}

/// The median and the slowest hundredth, beside those of the bare libraries.
pub(crate) fn readings(spans: &[f64], bare: Option<&[f64]>) -> Vec<Reading> {
    let mut readings = Vec::new();
    for (percent, name) in [(50, "p50"), (99, "p99")] {
        let name = format!("submit to start at 200/s, {name}");
        let mut reading = Reading::alone(&name, "ms", percentile(spans, percent));
        if let Some(bare) = bare {
            let baseline = percentile(bare, percent);
            reading.of_baseline = share(reading.value, baseline);
            readings.push(Reading::alone(format!("floor: {name}"), "ms", baseline));
        }
        readings.push(reading);
    }
    readings
}

/// The value that so many percent of sorted values do not exceed.
pub(crate) fn percentile(sorted: &[f64], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(rank).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_not_exceeded_by_its_share() {
        let hundred: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!(percentile(&hundred, 50), 50.0);
        assert_eq!(percentile(&hundred, 99), 99.0);
        assert_eq!(percentile(&[7.0], 99), 7.0);
        assert_eq!(percentile(&[], 99), 0.0);
    }
}
