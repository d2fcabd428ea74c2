//! A steady stream of creates, with and without a token in turn, for tests that hurt the
//! servers of a fleet meanwhile.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::api::Api;
use crate::fleet::Fleet;
use crate::load::request;

/// The operations of a token.
const PER_TOKEN: usize = 20;
/// The token numbers of a client, and the first of its operations without a token.
const NUMBERS: usize = 10_000_000;
const ALONE_FIRST: usize = 5_000_000;
/// The creates that show that the fleet goes on.
const MORE: usize = 50;
/// The time in which it must. On a machine that is idle, a promotion takes some five seconds.
const PATIENCE: Duration = Duration::from_secs(60);
/// The pause between two looks at a metric.
const LOOK: Duration = Duration::from_millis(100);

/// The number of clients, and what each does.
#[derive(Clone, Copy, Debug)]
pub struct Stream {
    /// The number of clients.
    pub callers: usize,
    /// The rest of a client between two creates.
    pub rest: Duration,
    /// The time that the handler of an operation with a token takes, in milliseconds.
    pub token_ms: u64,
    /// The time that the handler of the others takes, in milliseconds.
    pub alone_ms: u64,
}

/// A create that was accepted.
#[derive(Debug)]
pub struct Accepted {
    /// The id of the operation.
    pub id: String,
    /// The time at which the create was begun.
    pub begun: Instant,
    /// The time at which it was answered.
    pub answered: Instant,
}

/// Clients of a fleet.
#[derive(Debug)]
pub struct Clients {
    callers: JoinSet<Result<Vec<Accepted>>>,
    /// The number of creates that were accepted.
    accepted: watch::Receiver<usize>,
    end: watch::Sender<bool>,
}

impl Clients {
    /// Starts clients, whose keys begin with this name.
    #[must_use]
    pub fn start(fleet: &Fleet, name: &'static str, stream: Stream) -> Self {
        let (end, ended) = watch::channel(false);
        let (count, accepted) = watch::channel(0);
        let mut callers = JoinSet::new();
        for number in 0..stream.callers {
            let (api, first) = (fleet.api(number), number * NUMBERS);
            let (count, ended) = (count.clone(), ended.clone());
            callers.spawn(creates(api, name, stream, first, count, ended));
        }
        Self {
            callers,
            accepted,
            end,
        }
    }

    /// Waits until so many creates were accepted.
    ///
    /// # Errors
    /// When they are not for a minute.
    pub async fn reach(&mut self, count: usize) -> Result<()> {
        let reached = self.accepted.wait_for(|accepted| *accepted >= count);
        let reached = timeout(PATIENCE, reached).await;
        let reached = reached.context("too few creates are accepted")?;
        drop(reached.context("all clients have ended")?);
        Ok(())
    }

    /// Waits until some more creates were accepted.
    ///
    /// # Errors
    /// When they are not for a minute.
    pub async fn go_on(&mut self) -> Result<()> {
        let before = *self.accepted.borrow_and_update();
        self.reach(before + MORE).await
    }

    /// Ends the clients. Returns the creates that were accepted, in order of their answers.
    ///
    /// # Errors
    /// When a create was refused.
    pub async fn finish(&mut self) -> Result<Vec<Accepted>> {
        self.end.send_replace(true);
        let mut all = Vec::new();
        while let Some(accepted) = self.callers.join_next().await {
            all.extend(accepted??);
        }
        all.sort_by_key(|one| one.answered);
        Ok(all)
    }
}

/// Creates operations until it is told to end. A create that is refused is made again under
/// its key.
async fn creates(
    api: Api,
    name: &str,
    stream: Stream,
    first: usize,
    count: watch::Sender<usize>,
    end: watch::Receiver<bool>,
) -> Result<Vec<Accepted>> {
    let mut all: Vec<Accepted> = Vec::new();
    while !*end.borrow() {
        let (place, has_token) = (all.len() / 2, all.len().is_multiple_of(2));
        let (token, index, ms) = if has_token {
            let token = first + place / PER_TOKEN;
            (token, place % PER_TOKEN, stream.token_ms)
        } else {
            (first + ALONE_FIRST + place, 0, stream.alone_ms)
        };
        let body = request(token, index, ms, has_token);
        let begun = Instant::now();
        let created = api
            .create(&format!("{name}/{token}/{index}"), &body)
            .await?;
        all.push(Accepted {
            id: created["id"].as_str().context("an id")?.to_owned(),
            begun,
            answered: Instant::now(),
        });
        count.send_modify(|count| *count += 1);
        sleep(stream.rest).await;
    }
    Ok(all)
}

/// The longest time without an accepted create between two moments.
#[must_use]
pub fn gap(accepted: &[Accepted], begun: Instant, ended: Instant) -> Duration {
    let gaps = accepted.windows(2).filter_map(|pair| {
        let (last, next) = (pair[0].answered, pair[1].answered);
        (next >= begun && last <= ended).then(|| next - last)
    });
    gaps.max().unwrap_or_default()
}

/// Waits until the managers have counted so many lost operations. Returns their number.
///
/// # Errors
/// When they have not for a minute.
pub async fn counted_lost(fleet: &Fleet, lost: usize) -> Result<f64> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let counted = fleet.metric("drumline_store_lost_total").await?;
        if counted >= lost as f64 {
            return Ok(counted);
        }
        ensure!(
            Instant::now() < deadline,
            "{lost} are lost, and the managers have counted {counted}"
        );
        sleep(LOOK).await;
    }
}
