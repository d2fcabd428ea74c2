//! The storm: 200 tokens × 50 operations with random durations, retries,
//! postponements, pauses and cancels, on four workers and two managers; once
//! in peace, once while workers are killed, stopped past their lease, and
//! drained, and managers are killed.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use drumline_oracle::Needs;
use drumline_tests::fleet::{Fleet, Size};
use drumline_tests::load::{Load, create, settle};
use rustix::process::Signal;
use tokio::task::JoinSet;
use tokio::time::sleep;

const STORM: Load = Load {
    first: 0,
    alone: 0,
    tokens: 200,
    per_token: 50,
    ms_max: 25,
    disturbed: true,
};

#[tokio::test(flavor = "multi_thread")]
async fn order_and_single_execution_hold_in_peace() -> Result<()> {
    let fleet = Fleet::start("peace", Size::default()).await?;
    let disturbed = create(fleet.apis(), STORM).await?;
    settle(&fleet, &[STORM], &disturbed, Needs::default()).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn order_and_single_execution_hold_while_workers_die() -> Result<()> {
    let mut fleet = Fleet::start("war", Size::default()).await?;
    let mut random = fastrand::Rng::with_seed(4711);
    let mut hurts = 0;
    let mut creator = JoinSet::new();
    let creating = creator.spawn(create(fleet.apis(), STORM));
    // At least a dozen workers are hurt, and the storm goes on for as long as
    // there is anything to create. Both managers are killed while they create.
    let mut killed = 0;
    while hurts < 12 || !creating.is_finished() {
        hurt_one(&mut fleet, &mut random).await?;
        hurts += 1;
        if killed < 2 && !creating.is_finished() {
            fleet.replace_manager(killed).await?;
            killed += 1;
        }
    }
    ensure!(
        killed > 0,
        "everything was created before a manager could be killed"
    );
    let disturbed = creator.join_next().await.context("a creator")???;
    let needs = Needs {
        take_overs: true,
        refused_writes: true,
        ..Needs::default()
    };
    settle(&fleet, &[STORM], &disturbed, needs).await?;
    Ok(())
}

/// Kills, stops or drains one worker, and starts a replacement if needed.
async fn hurt_one(fleet: &mut Fleet, random: &mut fastrand::Rng) -> Result<()> {
    sleep(Duration::from_millis(random.u64(300..1500))).await;
    let at = random.usize(0..fleet.workers.len());
    match random.u8(0..3) {
        0 => {
            let worker = fleet.workers.swap_remove(at);
            worker.signal(Signal::KILL)?;
            fleet.add_worker()?;
        }
        1 => {
            let worker = fleet.workers.get(at).context("a worker")?;
            worker.signal(Signal::STOP)?;
            // Longer than the lease (3 s), so that the others take over.
            sleep(Duration::from_secs(5)).await;
            worker.signal(Signal::CONT)?;
        }
        _ => {
            let mut worker = fleet.workers.swap_remove(at);
            worker.signal(Signal::TERM)?;
            fleet.add_worker()?;
            worker.ended(Duration::from_secs(40)).await?;
        }
    }
    Ok(())
}
