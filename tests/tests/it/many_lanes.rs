//! Workers with many queues: their lanes share channels, and move between workers one by
//! one while their neighbours go on.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use drumline_oracle::Needs;
use drumline_tests::fleet::{Fleet, Size, summary};
use drumline_tests::load::{Disturbed, Load, request, settle};
use rustix::process::Signal;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

/// Queues besides `default`.
const QUEUES: [&str; 19] = [
    "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q", "r", "s",
];
const PARTITIONS: u16 = 64;
const LANES: usize = (QUEUES.len() + 1) * PARTITIONS as usize;
/// The channels that a worker may have.
const CHANNELS_MAX: usize = 300;
/// The lines of a log that one end of a worker may cost: no storm.
const WARNINGS_MAX: usize = 20;
const PATIENCE: Duration = Duration::from_secs(120);
const LOAD: Load = Load {
    first: 0,
    tokens: 200,
    per_token: 6,
    alone: 0,
    ms_max: 20,
    disturbed: false,
};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "declares 1,320 queues: `make soak` runs it"]
async fn twenty_queues_share_the_channels_of_a_worker() -> Result<()> {
    let size = Size {
        managers: 1,
        workers: 0,
        partitions: PARTITIONS,
        queues: &QUEUES,
        ..Size::default()
    };
    let mut fleet = Fleet::start("many-lanes", size).await?;
    let mut told = format!(
        "declared and consumed: {:?}\n",
        add_worker(&mut fleet).await?
    );
    told += &format!("channels: {}\n", most_channels(&fleet).await?);

    // A new process finds the queues, as after each roll-out.
    fleet.workers[0].signal(Signal::TERM)?;
    fleet.workers[0].ended(PATIENCE).await?;
    told += &format!("consumed: {:?}\n", add_worker(&mut fleet).await?);

    // Half of the lanes move under load, and come back when their worker is killed.
    let mut creating = JoinSet::new();
    for token in 0..LOAD.tokens {
        creating.spawn(one_token(fleet.apis(), token));
    }
    fleet.add_worker()?;
    fleet.workers_alive(2).await?;
    while let Some(created) = creating.join_next().await {
        created??;
    }
    told += &format!("channels of two: {}\n", most_channels(&fleet).await?);
    fleet.workers[2].signal(Signal::KILL)?;
    until_consumed(&fleet, Instant::now()).await?;
    let needs = Needs::default();
    settle(&fleet, &[LOAD], &Disturbed::new(), needs).await?;
    let log = std::fs::read_to_string(fleet.folder().join("worker-1.log"))?;
    let warnings = log.lines().filter(|line| line.contains("WARN")).count();
    told += &format!("warnings: {warnings}\n");
    std::fs::write(summary("many-lanes.txt"), &told)?;
    ensure!(warnings <= WARNINGS_MAX, "{warnings} warnings: {log}");
    Ok(())
}

/// Creates the operations of a token, in a queue of its own choice.
async fn one_token(apis: Vec<drumline_tests::api::Api>, token: usize) -> Result<()> {
    let api = apis.first().context("a manager")?;
    let queue = QUEUES[token % QUEUES.len()];
    for index in 0..LOAD.per_token {
        let ms = (token + index) as u64 % LOAD.ms_max;
        let mut request = request(token, index, ms, true);
        request["queue"] = json!(queue);
        api.create(&format!("{token}/{index}"), &request).await?;
    }
    Ok(())
}

/// Starts a worker, and returns the time until it consumes all lanes.
async fn add_worker(fleet: &mut Fleet) -> Result<Duration> {
    let began = Instant::now();
    fleet.add_worker()?;
    until_consumed(fleet, began).await
}

/// Waits until all lanes are consumed, and returns the time since `began`.
async fn until_consumed(fleet: &Fleet, began: Instant) -> Result<Duration> {
    let mut ticks = interval(Duration::from_millis(500));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let consumers = fleet
            .rabbit
            .rabbitmqctl(&["-q", "list_consumers", "queue_name", "active"])
            .await?;
        let lanes = consumers.lines().filter(|line| line.contains(".lane."));
        let lanes = lanes.filter(|line| line.contains("true")).count();
        if lanes >= LANES {
            return Ok(began.elapsed());
        }
        ensure!(began.elapsed() < PATIENCE, "{lanes} lanes are consumed");
    }
}

/// The number of channels of the connection that has most.
async fn most_channels(fleet: &Fleet) -> Result<usize> {
    let listed = fleet
        .rabbit
        .rabbitmqctl(&["-q", "list_connections", "channels"]);
    let listed = listed.await?;
    let counts = listed.lines().filter_map(|line| line.trim().parse().ok());
    let most = counts.max().context("a connection")?;
    ensure!(most <= CHANNELS_MAX, "a connection has {most} channels");
    Ok(most)
}
