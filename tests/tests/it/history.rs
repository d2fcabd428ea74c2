//! The history of an operation that goes through everything, on real servers.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use drumline_tests::fleet::{Fleet, Size};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::running::{SMALL, create, step, until, until_status};

/// An operation is paused, resumed, tried again, taken over and completed; its
/// history names the author of each.
#[tokio::test(flavor = "multi_thread")]
async fn an_eventful_life_is_told_with_its_authors() -> Result<()> {
    let size = Size {
        workers: 1,
        // Longer than a busy machine stands still: only the worker that is killed is lost.
        lease: Duration::from_secs(6),
        ..SMALL
    };
    let mut fleet = Fleet::start("history", size).await?;
    let api = fleet.api(0);
    fleet.hold()?;
    let mut request = step("eventful", 0);
    request["data"]["held"] = json!(true);
    request["data"]["retries"] = json!(1);
    // Time to hold the third start.
    request["retryPolicy"] = json!({"initialMs": 5_000, "maxMs": 5_000});
    let id = create(&api, &request).await?;
    until_status(&api, &id, 20).await?;
    api.act(&id, "pause", &Value::Null).await?;
    until_status(&api, &id, 10).await?;
    fleet.release()?;
    api.act(&id, "resume", &Value::Null).await?;
    // The second start fails, and the third loses its worker.
    until(&api, &id, |operation| operation["retryCount"] == 1).await?;
    fleet.hold()?;
    until(&api, &id, |operation| {
        operation["statusCode"] == 20 && operation["startCount"] == 3
    })
    .await?;
    fleet.workers.remove(0).signal(Signal::KILL)?;
    fleet.release()?;
    fleet.add_worker()?;
    let done = api.wait(&id, Duration::from_secs(120)).await?;
    ensure!(done["statusCode"] == 30, "{done}");

    let history = api.read(&format!("/v1/operations/{id}/history")).await?;
    let entries = history["entries"].as_array().context("entries")?;
    let told: Vec<(&str, &str)> = entries
        .iter()
        .map(|entry| {
            let word = |value: &'_ Value| value.as_str().map_or(0, str::len);
            assert!(word(&entry["actor"]["name"]) > 0, "{entry}");
            (
                entry["event"].as_str().unwrap_or(""),
                entry["actor"]["kind"].as_str().unwrap_or(""),
            )
        })
        .collect();
    let expected = [
        ("create", "caller"),
        ("claim", "worker"),
        ("pause", "caller"),
        // The handler said that it had stopped, and nothing more.
        ("release", "worker"),
        ("resume", "caller"),
        ("claim", "worker"),
        ("retry", "worker"),
        ("due", "manager"),
        ("claim", "worker"),
        ("leaseExpired", "manager"),
        ("claim", "worker"),
        ("succeed", "worker"),
    ];
    ensure!(told == expected, "{history}");
    ensure!(history["omitted"] == 0, "{history}");
    let attempts: Vec<u64> = entries
        .iter()
        .filter_map(|entry| entry["attempt"].as_u64())
        .collect();
    ensure!(
        attempts == [0, 1, 1, 1, 1, 2, 2, 2, 3, 3, 4, 4],
        "{history}"
    );
    ensure!(entries[6]["reason"] == "as it was told to", "{history}");
    Ok(())
}
