//! A short drill on private servers, as `make drill` runs one.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use drumline_oracle::Promise;
use drumline_test_servers::{RabbitServer, RedisServer};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

/// The processes that have the namespace of a drill in their command line.
fn processes(namespace: &str) -> Result<usize> {
    let mut count = 0;
    for entry in std::fs::read_dir("/proc")? {
        // A process may end meanwhile.
        let line = std::fs::read(entry?.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        count += usize::from(line.contains(namespace));
    }
    Ok(count)
}

/// The keys of Redis that belong to a drill.
async fn keys_left(redis: &RedisServer) -> Result<String> {
    let mut command = Command::new("redis-cli");
    command.args(["-u", &redis.url(), "--scan", "--pattern", "*-drill-*"]);
    let output = command
        .output()
        .await
        .context("redis-cli comes with Redis")?;
    // Keys have bytes that are no text.
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_drill_keeps_every_promise_and_leaves_nothing_behind() -> Result<()> {
    let folder = std::env::temp_dir().join(format!("drumline-drilled-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let report = folder.join("drill.html");
    let mut command = Command::new(program("drumline-test-servers"));
    command
        .arg("--")
        .arg(program("drumline"))
        .args(["drill", "--duration", "20s", "--output", "json"])
        .args(["--namespace", "drilled", "--seed", "4711", "--report"])
        .arg(&report)
        .arg("--wipe-broker")
        .arg(format!(
            "{} --wipe-rabbitmq",
            program("drumline-test-servers")
        ))
        .kill_on_drop(true);
    let output = command.output().await?;
    let said = String::from_utf8_lossy(&output.stderr);
    let verdict = String::from_utf8_lossy(&output.stdout);
    // The verdict last: logs are cut from their beginning.
    ensure!(
        output.status.code() == Some(0),
        "{}: {said}{verdict}",
        output.status
    );
    let told: Value = serde_json::from_slice(&output.stdout)?;
    ensure!(told["outcome"] == "kept", "{told}");
    let promises = told["promises"].as_array().context("promises")?;
    ensure!(promises.len() == Promise::ALL.len(), "{told}");
    for promise in promises {
        ensure!(
            promise["tested"].as_u64() > Some(0),
            "not tested: {promise}"
        );
        let violations = promise["violations"].as_array();
        ensure!(violations.is_some_and(Vec::is_empty), "{promise}");
    }
    ensure!(told["tally"]["takeOvers"].as_u64() > Some(0), "{told}");
    let page = std::fs::read_to_string(&report)?;
    ensure!(page.contains("Every promise was kept"), "{page}");
    ensure!(
        !page.contains("src=") && !page.contains("href="),
        "the page loads something"
    );
    ensure!(
        processes("drilled-drill-")? == 0,
        "processes were left behind"
    );
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drill_that_is_interrupted_stops_its_processes_and_removes_its_namespace() -> Result<()> {
    let (redis, rabbit) = tokio::try_join!(RedisServer::start(), RabbitServer::start())?;
    let mut command = Command::new(program("drumline"));
    command
        .args([
            "drill",
            "--redis-url",
            &redis.url(),
            "--amqp-url",
            &rabbit.url(),
        ])
        .args(["--namespace", "interrupted"])
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut drill = command.spawn()?;
    let pid = drill.id().context("it runs")?;
    let mut lines = BufReader::new(drill.stderr.take().context("its progress")?).lines();
    while let Some(line) = lines.next_line().await? {
        if line.contains("killed") {
            break;
        }
    }
    ensure!(
        processes("interrupted-drill-")? > 0,
        "it has started nothing"
    );
    ensure!(
        !keys_left(&redis).await?.is_empty(),
        "it has stored nothing"
    );
    let pid = Pid::from_raw(i32::try_from(pid)?).context("a process id")?;
    kill_process(pid, Signal::INT)?;
    let status = drill.wait().await?;
    ensure!(status.code() == Some(130), "{status}");
    ensure!(
        processes("interrupted-drill-")? == 0,
        "processes were left behind"
    );
    let left = keys_left(&redis).await?;
    ensure!(left.is_empty(), "left behind: {left}");
    let queues = rabbit
        .rabbitmqctl(&["list_queues", "--silent", "name"])
        .await?;
    // RabbitMQ deletes decoys by itself.
    let mut queues = queues.lines().filter(|name| !name.contains(".decoy."));
    let left = queues.find(|name| name.contains("interrupted-drill-"));
    ensure!(left.is_none(), "left behind: {left:?}");
    Ok(())
}

/// A program of this build: beside the folder of this very test.
fn program(name: &str) -> String {
    let test = std::env::current_exe().expect("a test has a path");
    let folder = test
        .parent()
        .and_then(Path::parent)
        .expect("a build folder");
    folder.join(name).display().to_string()
}
