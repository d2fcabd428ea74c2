//! The storm: 200 tokens × 50 operations with random durations, retries,
//! postponements, pauses and cancels, on four workers and two managers; once
//! in peace, once while workers are killed, stopped past their lease, and
//! drained, and managers are killed.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use drumline_oracle::Needs;
use drumline_tests::fleet::{Fleet, Size};
use drumline_tests::load::{Load, create, held, settle};
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

/// The least number of workers that are hurt, and the number after which none is hurt any more
/// only because no write was refused yet.
const HURTS: usize = 12;
const HURTS_MAX: usize = 60;

/// The most workers that are stopped: the step that each of them runs is held, and so are as many
/// places until the end of the storm.
const STOPS_MAX: usize = 24;

/// The longest that workers may need to come to such a step.
const TAKEN_OVER: Duration = Duration::from_secs(180);
/// The time between two looks.
const LOOK: Duration = Duration::from_millis(50);

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
    // At least a dozen workers are hurt, until a late write was refused, and the storm goes on
    // for as long as there is anything to create. Both managers are killed while they create.
    let mut killed = 0;
    let is_hurt =
        |fleet: &Fleet, hurts| hurts >= HURTS_MAX || (hurts >= HURTS && fleet.sink.refused() > 0);
    while !is_hurt(&fleet, hurts) || !creating.is_finished() {
        // Before the first worker is hurt, which may take as long as the storm.
        if killed < 2 && !creating.is_finished() {
            sleep(Duration::from_millis(random.u64(300..1500))).await;
            fleet.replace_manager(killed).await?;
            killed += 1;
        }
        hurt_one(&mut fleet, &mut random, &mut stops).await?;
        hurts += 1;
    }
    ensure!(
        killed > 0,
        "everything was created before a manager could be killed"
    );
    fleet.release()?;
    let disturbed = creator.join_next().await.context("a creator")???;
    let needs = Needs {
        take_overs: true,
        refused_writes: true,
        ..Needs::default()
    };
    // The held steps are numbered behind the tokens.
    let held = Load {
        first: STORM.tokens,
        tokens: 0,
        alone: stops,
        ..STORM
    };
    settle(&fleet, &[STORM, held], &disturbed, needs).await?;
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
        1 if *stops < STOPS_MAX => {
            let number = STORM.tokens + *stops;
            *stops += 1;
            stop_one(fleet, number).await?;
        }
        _ => {
            let mut worker = fleet.workers.swap_remove(at);
            worker.signal(Signal::TERM)?;
            fleet.add_worker()?;
            worker.ended(Duration::from_secs(120)).await?;
        }
    }
    Ok(())
}

/// Stops a worker in the middle of a step that is held until another worker runs the step and has
/// written to the sink: when the stopped one goes on, its write is refused.
async fn stop_one(fleet: &Fleet, number: usize) -> Result<()> {
    let api = fleet.api(0);
    let created = api.create(&format!("held/{number}"), &held(number)).await?;
    let id = created["id"].as_str().context("an id")?;
    written_after(fleet, number, 0).await?;
    let deadline = Instant::now() + TAKEN_OVER;
    let (worker, first) = loop {
        let first = fleet.sink.fence(number);
        let running = api.read_patiently(&format!("/v1/operations/{id}")).await?;
        let host = running["hostId"].as_str().unwrap_or_default();
        let mut workers = fleet.workers.iter();
        // It may have lost its worker a moment ago.
        match workers.find(|worker| host == format!("chaos-{}", worker.pid())) {
            Some(worker) => break (worker, first),
            None => ensure!(Instant::now() < deadline, "no worker is {host:?}"),
        }
        sleep(LOOK).await;
    };
    worker.signal(Signal::STOP)?;
    written_after(fleet, number, first).await?;
    worker.signal(Signal::CONT)
}

/// Waits until a step has written to the sink with a greater fence.
async fn written_after(fleet: &Fleet, number: usize, fence: u64) -> Result<()> {
    let deadline = Instant::now() + TAKEN_OVER;
    while fleet.sink.fence(number) <= fence {
        ensure!(Instant::now() < deadline, "step {number} does not run");
        sleep(LOOK).await;
    }
    Ok(())
}
