//! The measurements of `drumline bench`: the speed of Drumline, on this machine
//! and these servers.
//!
//! ```text
//! round 1: baseline, create, …, latency     each figure beside the baseline of its round
//! round 2: baseline, create, …, latency
//! …                                         the medians count
//! ```
//!
//! The baseline is taken in the same run, because a number without it says more
//! about the machine than about Drumline. It is taken again in every round,
//! because a shared machine is another one a minute later. Users know it as the
//! *floor*.
//!
//! | module | is |
//! |---|---|
//! | [`plan`] | the measurements to take, and their sizes |
//! | [`target`] | the backend that is measured, as the caller provides it |
//! | [`baseline`] | the same work with the bare libraries |
//! | `harness`, `workers` | a queue manager and workers for one measurement |
//! | `workload`, `latency`, `memory`, `held` | one kind of measurement each |
//! | [`report`] | rounds and medians |
//! | [`compare`] | the difference to an earlier report |
//!
//! No adapter and no client library is named here: stores and brokers come as
//! ports.

pub mod baseline;
mod baseline_latency;
pub mod compare;
mod harness;
mod held;
mod latency;
mod memory;
pub mod plan;
pub mod report;
pub mod target;
mod workers;
mod workload;

use std::time::Duration;

use anyhow::Context as _;

pub use baseline::Baseline;
pub use compare::{Comparison, Verdict};
pub use plan::{Measurement, Plan};
pub use report::Report;
pub use target::{BackendHandle, Target, TargetServers};
pub use workers::worker;

use harness::Harness;
use report::Reading;
use workload::Workload;

/// The time before a round is measured: queues are declared, lanes are spread,
/// caches and allocators have seen the load.
const WARM_UP: Duration = Duration::from_secs(1);

/// Takes all measurements of the plan. `progress` is told about each before it
/// starts.
///
/// Leaves its records on the target when it fails or is dropped:
/// [`Target::remove`] removes them.
///
/// # Errors
/// When a server or a worker fails.
pub async fn run(
    target: &dyn Target,
    plan: &Plan,
    progress: impl Fn(&str),
) -> anyhow::Result<Report> {
    let mut report = Report {
        backend: target.description().to_owned(),
        setup: plan.to_string(),
        figures: Vec::new(),
    };
    let rounds = plan.rounds.get();
    for number in 1..=rounds {
        let mut baseline = None;
        for measurement in plan.measurements(target.servers().is_some()) {
            let title = measurement.title();
            progress(&format!("round {number} of {rounds}: {title}"));
            let readings = one(plan, target, measurement).await.context(title)?;
            if measurement == Measurement::Floor {
                baseline = readings.first().map(|reading| reading.value);
            }
            for reading in readings {
                report.note(reading.beside(baseline));
            }
            target.clean().await?;
        }
    }
    Ok(report)
}

/// Runs one round of one measurement. Managers and workers are made for it and
/// taken down again: beside the baseline they would cost it something, even
/// idle.
async fn one(
    plan: &Plan,
    target: &dyn Target,
    measurement: Measurement,
) -> anyhow::Result<Vec<Reading>> {
    let length = plan.length();
    let readings = match measurement {
        Measurement::Floor => {
            let servers = target.servers().context("no servers")?;
            let baseline = servers.baseline().await?;
            baseline.round(WARM_UP).await?;
            let rate = baseline.round(length).await;
            baseline.close().await?;
            vec![Reading::rate(measurement, rate?)]
        }
        Measurement::Create | Measurement::CreateBatch => {
            let harness = Harness::without_workers(target).await?;
            let workload = Workload::of(plan, measurement);
            workload::create(&harness, &workload, WARM_UP).await?;
            let rate = workload::create(&harness, &workload, length).await;
            harness.take_down().await;
            vec![Reading::rate(measurement, rate?)]
        }
        Measurement::Single | Measurement::Batch | Measurement::Ordered => {
            let harness = Harness::with_workers(target, plan).await?;
            let workload = Workload::of(plan, measurement);
            workload::through(&harness, &workload, WARM_UP).await?;
            let rate = workload::through(&harness, &workload, length).await;
            harness.take_down().await;
            vec![Reading::rate(measurement, rate?)]
        }
        Measurement::Latency => {
            let mut bare = None;
            if let Some(servers) = target.servers() {
                let baseline = servers.baseline().await?;
                baseline.latency_round(WARM_UP).await?;
                let spans = baseline.latency_round(length).await;
                baseline.close().await?;
                bare = Some(spans?);
            }
            // In this process always: two processes have no common clock.
            let harness = Harness::with_worker_here(target, plan).await?;
            latency::round(&harness, WARM_UP).await?;
            let spans = latency::round(&harness, length).await;
            harness.take_down().await;
            latency::readings(&spans?, bare.as_deref())
        }
        Measurement::Memory => {
            let servers = target.servers().context("no servers")?;
            memory::round(target, servers, plan).await?
        }
        Measurement::Held => {
            let harness = Harness::with_worker_here(target, plan).await?;
            let readings = held::round(&harness, plan, WARM_UP).await;
            harness.take_down().await;
            readings?
        }
    };
    Ok(readings)
}

/// Operations per second.
fn rate(count: u64, took: Duration) -> f64 {
    float(count) / took.as_secs_f64()
}

/// The mean of a sum.
fn mean(sum: u64, count: u64) -> f64 {
    float(sum) / float(count)
}

#[expect(clippy::cast_precision_loss, reason = "the counts are far below 2^53")]
const fn float(count: u64) -> f64 {
    count as f64
}
