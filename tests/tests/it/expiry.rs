//! Operations that wait for too long expire, whichever queue manager is there to
//! notice, and the operations behind them go on.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use drumline_protocol::Timestamp;
use drumline_tests::api::Api;
use drumline_tests::fleet::{Fleet, Size};
use serde_json::{Value, json};

use crate::running::until_status;

/// Chains, spread over the partitions, so that each manager looks after some.
const CHAINS: usize = 16;
/// The time that the middle of each chain has to start.
const PATIENCE: Duration = Duration::from_secs(5);
/// The time in which the managers notice that one of them is gone, and everything comes to
/// its end, on a busy machine, too.
const LIMIT: Duration = Duration::from_secs(180);
/// The most that the clocks of two workers differ: each knows the time of Redis from an answer
/// that takes a moment.
const CLOCKS: Duration = Duration::from_millis(100);

#[tokio::test(flavor = "multi_thread")]
async fn the_middle_of_a_chain_expires_while_a_manager_is_killed_and_the_last_runs() -> Result<()> {
    let size = Size {
        managers: 2,
        workers: 2,
        ..Size::default()
    };
    let mut fleet = Fleet::start("expiry", size).await?;
    let api = fleet.api(0);
    let mut chains = Vec::new();
    for number in 0..CHAINS {
        // It runs until all middles have expired.
        let head = create(&api, number, "head", None).await?;
        let created = time(&head["createdOn"])?;
        let not_after = Some(created.saturating_add(PATIENCE));
        let middle = create(&api, number, "middle", not_after).await?;
        let last = create(&api, number, "last", None).await?;
        chains.push([id(&head)?, id(&middle)?, id(&last)?]);
    }
    // Before the first of them expires.
    fleet.kill_manager(0)?;
    let api = fleet.api(0);
    for [head, middle, _] in &chains {
        let expired = api.wait(middle, LIMIT).await?;
        ensure!(
            expired["statusCode"] == 31 && expired["errorCode"] == "0x8D00000C",
            "{expired}"
        );
        ensure!(expired["startCount"] == 0, "{expired}");
        let completed = time(&expired["completedOn"])?;
        ensure!(completed >= time(&expired["notAfter"])?, "{expired}");
        // A manager did it: no worker had a reason to look at it.
        until_status(&api, head, 20).await?;
    }
    fleet.release()?;
    for [head, _, last] in &chains {
        let last = api.wait(last, LIMIT).await?;
        ensure!(last["statusCode"] == 30, "{last}");
        let head = api.read(&format!("/v1/operations/{head}")).await?;
        ensure!(
            time(&last["startedOn"])?.saturating_add(CLOCKS) >= time(&head["completedOn"])?,
            "{last} overtook {head}"
        );
    }
    Ok(())
}

async fn create(
    api: &Api,
    chain: usize,
    name: &str,
    not_after: Option<Timestamp>,
) -> Result<Value> {
    let request = json!({
        "messageName": "Step",
        "name": name,
        "dependencyToken": format!("chain {chain}"),
        "notAfter": not_after.map(|time| time.to_string()),
        "data": {"token": chain, "index": 0, "ms": 0, "retries": 0, "held": name == "head"},
    });
    api.create(&format!("{chain} {name}"), &request).await
}

fn id(operation: &Value) -> Result<String> {
    Ok(operation["id"].as_str().context("an id")?.to_owned())
}

fn time(value: &Value) -> Result<Timestamp> {
    Ok(Timestamp::parse_rfc3339(value.as_str().context("a time")?)?)
}
