//! A message name is paused under load: its operations wait, whichever manager is
//! killed, the others go on, and after the pause everything is Completed.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use drumline_client::{Client, NewPause, PauseKind};
use drumline_tests::api::Api;
use drumline_tests::fleet::{Fleet, Size};
use drumline_tests::load::{self, judged_without_calls};
use serde_json::Value;
use tokio::time::{Instant, sleep};

/// Operations of each of the two message names, in each of three rounds.
const ROUND: usize = 120;
/// Every third operation belongs to one of so many tokens.
const TOKENS: usize = 8;
/// The time that a round may take: some seconds on an idle machine.
const LIMIT: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_message_name_waits_and_its_neighbours_go_on() -> Result<()> {
    let mut fleet = Fleet::start("pauses", Size::default()).await?;
    let api = fleet.api(0);
    // The pause comes while operations wait, run, and are on their way.
    let first = create(&api, "Mail", 0).await?;
    let pause = NewPause::of(PauseKind::MessageName, "Mail", "the mail server is down");
    let set = client(&fleet)?.set_pause(&pause).await?;
    fleet.release()?;
    let started = at_rest(&api).await?;
    ensure!(started < ROUND as u64, "the pause came too late");

    let second = create(&api, "Mail", 1).await?;
    complete(&api, &create(&api, "Step", 1).await?).await?;
    fleet.kill_manager(0)?;
    let api = fleet.api(0);
    let third = create(&api, "Mail", 2).await?;
    complete(&api, &create(&api, "Step", 2).await?).await?;

    ensure!(
        at_rest(&api).await? == started,
        "some started under a pause"
    );
    let newest = third.last().context("an operation")?;
    let why = api
        .read(&format!("/v1/operations/{newest}?explain=true"))
        .await?;
    ensure!(why["stateCode"] == 0, "{why}");
    ensure!(why["waitingFor"]["reason"] == "pause", "{why}");

    client(&fleet)?.lift_pause(&set.id).await?;
    for ids in [&first, &second, &third] {
        complete(&api, ids).await?;
    }
    let operations = api.list("").await?;
    ensure!(operations.len() == 5 * ROUND, "lost or doubled");
    judged_without_calls(&fleet, &operations).await?;
    Ok(())
}

fn client(fleet: &Fleet) -> Result<Client> {
    Ok(Client::builder(fleet.base(0)).build()?)
}

/// Creates a round of operations, and returns their ids.
async fn create(api: &Api, message: &str, round: usize) -> Result<Vec<String>> {
    let kind = if message == "Mail" { 0 } else { 1_000 };
    let mut ids = Vec::new();
    for number in 0..ROUND {
        let has_token = number % 3 == 0;
        let token = kind
            + if has_token {
                number % TOKENS
            } else {
                100 + round * ROUND + number
            };
        let index = round * ROUND + number;
        let mut request = load::request(token, index, 40, has_token);
        // The heads of the chains are held until the pause is there: it meets operations that
        // run, and others that wait behind them, whatever the speed of the machine.
        request["data"]["held"] = (message == "Mail" && has_token).into();
        request["messageName"] = message.into();
        let created = api.create(&format!("{message}/{index}"), &request).await?;
        ids.push(created["id"].as_str().context("an id")?.to_owned());
    }
    Ok(ids)
}

/// Waits until none of the paused operations runs, and returns how many have been
/// started.
async fn at_rest(api: &Api) -> Result<u64> {
    let deadline = Instant::now() + LIMIT;
    while !api.list("messageName=Mail&state=2").await?.is_empty() {
        ensure!(Instant::now() < deadline, "what runs goes on, but ends");
        sleep(Duration::from_millis(50)).await;
    }
    let all = api.list("messageName=Mail").await?;
    let starts = |operation: &Value| operation["startCount"].as_u64();
    all.iter()
        .map(|one| starts(one).context("a number of starts"))
        .sum()
}

async fn complete(api: &Api, ids: &[String]) -> Result<()> {
    for id in ids {
        let ended = api.wait(id, LIMIT).await?;
        ensure!(ended["statusCode"] == 30, "{ended}");
    }
    Ok(())
}
