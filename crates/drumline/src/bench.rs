//! `drumline bench`: the speed of Drumline, on this machine and these servers.
//!
//! ```text
//! round 1: floor, create, …, latency     each figure beside the floor of its round
//! round 2: floor, create, …, latency
//! …                                      the medians count
//! ```
//!
//! The floor is taken in the same run, because a number without it says more
//! about the machine than about Drumline. It is taken again in every round,
//! because a shared machine is another one a minute later. Everything happens
//! in a namespace of its own, which is removed afterwards.

mod crew;
mod floor;
mod latency;
mod load;
mod memory;
mod report;
mod rig;
mod site;

use std::time::Duration;

use anyhow::Context as _;
use clap::ValueEnum as _;

use crate::cli::tools::{Bench, Measurement};
use crate::exit::{Exit, Failure, Result};
use crate::output::Output;
use crate::output::progress::Activity;
use crate::output::time::Now;
use crate::run::signals::Signals;
use report::{Reading, Report, title};
use rig::Rig;
use site::Site;

pub(crate) use crew::work;

/// The time before a round is measured: queues are declared, lanes are spread,
/// caches and allocators have seen the load.
const WARM_UP: Duration = Duration::from_secs(1);

/// Measures, and prints the result.
pub(crate) async fn run(bench: &Bench, now: Now) -> Result<Exit> {
    let out = Output::new(bench.output.output, now);
    let site = Site::prepare(bench)
        .await
        .map_err(|error| Failure::caused(Exit::Unavailable, error))?;
    let mut signals = Signals::catch()?;
    let measured = tokio::select! {
        measured = measure(bench, &site) => {
            measured.map_err(|error| Failure::caused(Exit::Failed, error))
        }
        signal = signals.next() => Err(Failure::new(Exit::Interrupted, signal)),
    };
    // Also after a failure: the leftovers are of no use.
    if let Err(error) = site.remove().await {
        crate::output::hint(&format!(
            "the namespace could not be removed: {}",
            crate::output::reasons(&error)
        ));
    }
    measured?.print(out)?;
    Ok(Exit::Ok)
}

async fn measure(bench: &Bench, site: &Site) -> anyhow::Result<Report> {
    let mut report = Report {
        backend: site.describe().to_owned(),
        setup: setup(bench),
        figures: Vec::new(),
    };
    let activity = Activity::new();
    let rounds = bench.rounds.get();
    for number in 1..=rounds {
        let mut floor = None;
        for measurement in wanted(bench) {
            let title = title(measurement);
            activity.tell(&format!("round {number} of {rounds}: {title}"));
            let readings = one(bench, site, measurement).await.context(title)?;
            if measurement == Measurement::Floor {
                floor = readings.first().map(|reading| reading.value);
            }
            for reading in readings {
                report.note(reading.beside(floor));
            }
            site.clean().await?;
        }
    }
    Ok(report)
}

/// The measurements that were requested and make sense here.
fn wanted(bench: &Bench) -> Vec<Measurement> {
    Measurement::value_variants()
        .iter()
        .copied()
        .filter(|measurement| bench.only.is_empty() || bench.only.contains(measurement))
        .filter(|measurement| match measurement {
            // The embedded backend has no servers to compare with or to fill.
            Measurement::Floor | Measurement::Memory => !bench.embedded,
            Measurement::Create
            | Measurement::CreateBatch
            | Measurement::Single
            | Measurement::Batch
            | Measurement::Ordered
            | Measurement::Latency => true,
        })
        .collect()
}

fn setup(bench: &Bench) -> String {
    let place = match bench.processes {
        0 => "manager and worker in one process".to_owned(),
        1 => "a separate worker process".to_owned(),
        count => format!("{count} separate worker processes"),
    };
    format!(
        "{place}; {} callers, batches of {}, {} operations at the same time, {} tokens; rounds of {} s",
        bench.callers, bench.batch, bench.concurrency, bench.tokens, bench.seconds
    )
}

/// Runs one round of one measurement. Managers and workers are made for it and
/// taken down again: beside the floor they would cost it something, even idle.
async fn one(bench: &Bench, site: &Site, measurement: Measurement) -> anyhow::Result<Vec<Reading>> {
    let length = Duration::from_secs(u64::from(bench.seconds));
    let readings = match measurement {
        Measurement::Floor => {
            let floor = site.floor().await?.context("no servers")?;
            floor.round(WARM_UP).await?;
            let rate = floor.round(length).await;
            floor.close().await?;
            vec![Reading::rate(measurement, rate?)]
        }
        Measurement::Create | Measurement::CreateBatch => {
            let rig = Rig::without_workers(site).await?;
            let way = load::Way::of(bench, measurement);
            load::create(&rig, &way, WARM_UP).await?;
            let rate = load::create(&rig, &way, length).await;
            rig.take_down().await;
            vec![Reading::rate(measurement, rate?)]
        }
        Measurement::Single | Measurement::Batch | Measurement::Ordered => {
            let rig = Rig::with_workers(site, bench).await?;
            let way = load::Way::of(bench, measurement);
            load::through(&rig, &way, WARM_UP).await?;
            let rate = load::through(&rig, &way, length).await;
            rig.take_down().await;
            vec![Reading::rate(measurement, rate?)]
        }
        Measurement::Latency => {
            let mut bare = None;
            if let Some(floor) = site.floor().await? {
                floor.gentle_round(WARM_UP).await?;
                let spans = floor.gentle_round(length).await;
                floor.close().await?;
                bare = Some(spans?);
            }
            // In this process always: two processes have no common clock.
            let rig = Rig::with_worker_here(site, bench).await?;
            latency::round(&rig, WARM_UP).await?;
            let spans = latency::round(&rig, length).await;
            rig.take_down().await;
            latency::readings(&spans?, bare.as_deref())
        }
        Measurement::Memory => {
            let rig = Rig::without_workers(site).await?;
            let size = memory::round(&rig, site).await;
            rig.take_down().await;
            vec![Reading::alone(title(measurement), "bytes", size?)]
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
