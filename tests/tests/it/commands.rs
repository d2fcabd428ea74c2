//! A command never runs beside the next attempt, whatever is killed.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use drumline_tests::fleet::{Fleet, Size};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::running::{SMALL, create};

const SIZE: Size = Size {
    workers: 1,
    // Longer than a busy machine stands still: only the worker that is killed is lost.
    lease: Duration::from_secs(6),
    handlers: Some("../tests/fixtures/commands/handlers.toml"),
    ..SMALL
};

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_workers_command_and_what_it_started_are_gone_before_the_next_attempt()
-> Result<()> {
    let mut fleet = Fleet::start("killed-worker", SIZE).await?;
    let (id, _processes) = started(&fleet).await?;
    fleet.workers.remove(0).signal(Signal::KILL)?;
    fleet.add_worker()?;
    let done = ended_on_the_second_attempt(&fleet, &id).await?;
    ensure!(done["result"]["alive"] == json!([]), "{done}");
    Ok(())
}

/// Kills all processes of the program at once, as `killall -9 drumline` does. No
/// process is left then to look for what has left the command's session.
#[tokio::test(flavor = "multi_thread")]
async fn a_command_dies_even_if_its_worker_and_its_supervisor_are_killed_together() -> Result<()> {
    let mut fleet = Fleet::start("killed-supervisor", SIZE).await?;
    let (id, processes) = started(&fleet).await?;
    kill(&processes, "supervisor")?;
    fleet.workers.remove(0).signal(Signal::KILL)?;
    fleet.add_worker()?;
    let done = ended_on_the_second_attempt(&fleet, &id).await?;
    for name in ["child", "escaped"] {
        kill(&processes, name)?;
    }
    let alive = done["result"]["alive"].as_array().context("a list")?;
    ensure!(!alive.contains(&json!("command")), "{done}");
    Ok(())
}

/// Creates an operation, and waits until its command has written down its
/// processes.
async fn started(fleet: &Fleet) -> Result<(String, BTreeMap<String, i32>)> {
    let request = json!({"messageName": "Outlive"});
    let id = create(&fleet.api(0), &request).await?;
    let file: PathBuf = fleet.folder().join(&id);
    let deadline = Instant::now() + Duration::from_secs(120);
    while !file.exists() {
        ensure!(Instant::now() < deadline, "the command has not started");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let processes = std::fs::read_to_string(file)?
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter_map(|(name, pid)| Some((name.to_owned(), pid.parse().ok()?)))
        .collect();
    Ok((id, processes))
}

/// Kills one of the processes. A process that has ended is fine.
fn kill(processes: &BTreeMap<String, i32>, name: &str) -> Result<()> {
    let pid = processes.get(name).context("a process")?;
    let pid = Pid::from_raw(*pid).context("a process id")?;
    match kill_process(pid, Signal::KILL) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(error).context("kill a process"),
    }
}

async fn ended_on_the_second_attempt(fleet: &Fleet, id: &str) -> Result<Value> {
    let api = fleet.api(0);
    let done = api.wait(id, Duration::from_secs(120)).await?;
    ensure!(
        done["statusCode"] == 30 && done["startCount"] == 2 && done["lostCount"] == 1,
        "{done}"
    );
    // The second attempt held a later lock, which the end of the first lease has freed.
    let fences = done["result"]["fences"].as_array().context("fences")?;
    ensure!(
        fences[0].as_u64().context("a fence")? < fences[1].as_u64().context("a fence")?,
        "{done}"
    );
    let history = api.read(&format!("/v1/operations/{id}/history")).await?;
    let events: Vec<_> = history["entries"]
        .as_array()
        .context("entries")?
        .iter()
        .filter_map(|entry| entry["event"].as_str())
        .collect();
    let of_runs: Vec<_> = events
        .into_iter()
        .filter(|event| ["claim", "leaseExpired", "succeed"].contains(event))
        .collect();
    ensure!(
        of_runs == ["claim", "leaseExpired", "claim", "succeed"],
        "{history}"
    );
    Ok(done)
}
