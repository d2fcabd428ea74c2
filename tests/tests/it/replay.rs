//! The acid test of order and single execution: git histories replayed by a
//! fleet whose workers are killed, this repository's among them. A commit that
//! is applied twice, or out of order, does not fit, and the trees differ.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use drumline_tests::fleet::{Fleet, Process, Size, examples};
use rustix::process::Signal;
use tokio::time::{Instant, sleep};

#[tokio::test(flavor = "multi_thread")]
async fn replayed_histories_end_with_equal_trees_while_workers_are_killed() -> Result<()> {
    let size = Size {
        concurrency: 4,
        handlers: Some("git-replay/handlers.toml"),
        ..Size::default()
    };
    let mut fleet = Fleet::start("replay", size).await?;
    let log = fleet.folder().join("replay.log");
    let mut command = fleet.command("bash");
    command
        .arg(examples().join("git-replay/run.sh"))
        .arg(fleet.folder().join("replay"))
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        // Enough for a dozen kills on a quick machine; `make fleet-demo` replays more.
        .env("COMMITS", "200")
        // This repository grows, and the time of a test must not.
        .env("FIRST", "200");
    let mut replay = Process::start(&mut command, &log)?;
    let mut random = fastrand::Rng::with_seed(42);
    let deadline = Instant::now() + Duration::from_secs(240);
    let mut kills = 0;
    let status = loop {
        if let Ok(status) = replay
            .ended(Duration::from_millis(random.u64(1500..4000)))
            .await
        {
            break status;
        }
        ensure!(Instant::now() < deadline, "not done; see {}", log.display());
        let at = random.usize(0..fleet.workers.len());
        fleet.workers.swap_remove(at).signal(Signal::KILL)?;
        kills += 1;
        // An operator notices, and starts another worker.
        sleep(Duration::from_millis(200)).await;
        fleet.add_worker()?;
    };
    let said = std::fs::read_to_string(&log).context("the log")?;
    ensure!(status.success(), "{status}, after {kills} kills:\n{said}");
    ensure!(kills >= 3, "the replay was over after {kills} kills");
    Ok(())
}
