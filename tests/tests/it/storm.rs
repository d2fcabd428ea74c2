//! The storm: 200 tokens × 50 operations with random durations, retries,
//! postponements, pauses and cancels, on four workers and two managers; once
//! in peace, once while workers are killed, stopped past their lease, and
//! drained, and managers are killed.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use drumline_oracle::Needs;
use drumline_tests::fleet::{Fleet, Size};
use drumline_tests::load::{Load, create, request, settle};
use rustix::process::Signal;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

const STORM: Load = Load {
    first: 0,
    alone: 0,
    tokens: 200,
    per_token: 50,
    ms_max: 25,
    disturbed: true,
};

/// The time that a step takes whose worker is stopped: it is found before it ends.
const LONG_MS: u64 = 10_000;

/// The longest that workers may need to come to such a step.
const TAKEN_OVER: Duration = Duration::from_secs(60);

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
    let (mut hurts, mut stops) = (0, 0);
    let mut creator = JoinSet::new();
    let creating = creator.spawn(create(fleet.apis(), STORM));
    // At least a dozen workers are hurt, and the storm goes on for as long as
    // there is anything to create. Both managers are killed while they create.
    let mut killed = 0;
    while hurts < 12 || !creating.is_finished() {
        hurt_one(&mut fleet, &mut random, &mut stops).await?;
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
    // The long steps are numbered behind the tokens.
    let long = Load {
        first: STORM.tokens,
        tokens: 0,
        alone: stops,
        ..STORM
    };
    settle(&fleet, &[STORM, long], &disturbed, needs).await?;
    Ok(())
}

/// Kills, stops or drains one worker, and starts a replacement if needed.
async fn hurt_one(fleet: &mut Fleet, random: &mut fastrand::Rng, stops: &mut usize) -> Result<()> {
    sleep(Duration::from_millis(random.u64(300..1500))).await;
    let at = random.usize(0..fleet.workers.len());
    match random.u8(0..3) {
        0 => {
            let worker = fleet.workers.swap_remove(at);
            worker.signal(Signal::KILL)?;
            fleet.add_worker()?;
        }
        1 => {
            let number = STORM.tokens + *stops;
            *stops += 1;
            stop_one(fleet, number).await?;
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

/// Stops a worker in the middle of a long step until another worker runs the step and has
/// written to the sink: when the stopped one goes on, its write is refused.
async fn stop_one(fleet: &Fleet, number: usize) -> Result<()> {
    let api = fleet.api(0);
    let step = request(number, 0, LONG_MS, false);
    let created = api.create(&format!("long/{number}"), &step).await?;
    let id = created["id"].as_str().context("an id")?;
    let first = written_after(fleet, number, 0).await?;
    let running = api.read_patiently(&format!("/v1/operations/{id}")).await?;
    let host = running["hostId"].as_str().context("it runs")?;
    let worker = fleet
        .workers
        .iter()
        .find(|worker| host == format!("chaos-{}", worker.pid()));
    let worker = worker.with_context(|| format!("no worker is {host}"))?;
    worker.signal(Signal::STOP)?;
    written_after(fleet, number, first).await?;
    worker.signal(Signal::CONT)
}

/// Waits until a step has written to the sink with a greater fence, and returns it.
async fn written_after(fleet: &Fleet, number: usize, fence: u64) -> Result<u64> {
    let deadline = Instant::now() + TAKEN_OVER;
    loop {
        let greatest = fleet.sink.fence(number);
        if greatest > fence {
            return Ok(greatest);
        }
        ensure!(Instant::now() < deadline, "step {number} does not run");
        sleep(Duration::from_millis(50)).await;
    }
}
