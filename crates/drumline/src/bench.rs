//! `drumline bench`: how fast, on this machine and these servers.
//!
//! ```text
//! measurement ─ rounds ─ median ─ share of the floor
//! ```
//!
//! The floor is taken in the same run, because a number without it says more
//! about the machine than about Drumline. Everything happens in a namespace of
//! its own, which is removed afterwards.

mod crew;
mod floor;
mod latency;
mod load;
mod memory;
mod progress;
mod report;
mod rig;
mod site;

use std::time::Duration;

use anyhow::Context as _;
use clap::ValueEnum as _;

use crate::cli::tools::{Bench, Measurement};
use crate::exit::{Exit, Failure, Result};
use crate::output::Output;
use crate::output::time::Now;
use crate::run::signals::Signals;
use floor::Floor;
use progress::Rounds;
use report::{Figure, PER_SECOND, Report, title};
use rig::Rig;
use site::Site;

pub(crate) use crew::work;

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
    // Also after a failure: nobody wants the leftovers.
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
    let mut figures = Vec::new();
    for measurement in wanted(bench) {
        let measured = one(bench, site, measurement)
            .await
            .with_context(|| title(measurement))?;
        figures.extend(measured);
    }
    let mut report = Report {
        backend: site.describe().to_owned(),
        setup: setup(bench),
        figures,
    };
    report.compare();
    Ok(report)
}

/// The measurements that were asked for and make sense here.
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
        1 => "a worker process of its own".to_owned(),
        count => format!("{count} worker processes"),
    };
    format!(
        "{place}; {} callers, batches of {}, {} operations at once, {} tokens; rounds of {} s",
        bench.callers, bench.batch, bench.concurrency, bench.tokens, bench.seconds
    )
}

async fn one(bench: &Bench, site: &Site, measurement: Measurement) -> anyhow::Result<Vec<Figure>> {
    let length = Duration::from_secs(u64::from(bench.seconds));
    let rounds = Rounds::new(title(measurement), bench.rounds.get());
    let figures = match measurement {
        Measurement::Floor => {
            let (servers, namespace) = site.servers().context("no servers")?;
            let floor = Floor::open(servers, namespace).await?;
            let rates = rounds.run(site, async || floor.round(length).await).await;
            floor.close().await?;
            vec![Figure::new(title(measurement), PER_SECOND, rates?)]
        }
        Measurement::Create | Measurement::CreateBatch => {
            let rig = Rig::without_workers(site).await?;
            let way = load::Way::of(bench, measurement);
            let rates = rounds
                .run(site, async || load::create(&rig, &way, length).await)
                .await;
            rig.take_down().await;
            vec![Figure::new(title(measurement), PER_SECOND, rates?)]
        }
        Measurement::Single | Measurement::Batch | Measurement::Ordered => {
            let rig = Rig::with_workers(site, bench).await?;
            let way = load::Way::of(bench, measurement);
            let rates = rounds
                .run(site, async || load::through(&rig, &way, length).await)
                .await;
            rig.take_down().await;
            vec![Figure::new(title(measurement), PER_SECOND, rates?)]
        }
        Measurement::Latency => {
            let mut figures = Vec::new();
            if let Some((servers, namespace)) = site.servers() {
                let floor = Floor::open(servers, namespace).await?;
                let spans = rounds
                    .run(site, async || floor.gentle_round(length).await)
                    .await;
                floor.close().await?;
                figures = latency::figures("floor: submit to start", &spans?);
            }
            // In this process always: two processes have no common clock.
            let rig = Rig::with_worker_here(site, bench).await?;
            let spans = rounds
                .run(site, async || latency::round(&rig, length).await)
                .await;
            rig.take_down().await;
            figures.extend(latency::figures(title(measurement), &spans?));
            figures
        }
        Measurement::Memory => {
            let rig = Rig::without_workers(site).await?;
            let sizes = rounds
                .run(site, async || memory::round(&rig, site).await)
                .await;
            rig.take_down().await;
            vec![Figure::new(title(measurement), "bytes", sizes?)]
        }
    };
    Ok(figures)
}

/// Operations per second.
fn rate(count: u64, took: Duration) -> f64 {
    float(count) / took.as_secs_f64()
}

/// So much for each.
fn mean(sum: u64, count: u64) -> f64 {
    float(sum) / float(count)
}

#[expect(clippy::cast_precision_loss, reason = "nobody counts to 2^53")]
const fn float(count: u64) -> f64 {
    count as f64
}
