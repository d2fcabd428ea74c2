//! The load: clients that create operations in bursts and change their minds, tokens that stand
//! still on purpose, and the end of all of it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use drumline_client::{
    Action, Client, Filter, NewOperation, OperationView, RetryPolicy, State, Timestamp,
};
use drumline_oracle::Blocked;
use drumline_oracle::journal::now_ns;
use futures_util::TryStreamExt as _;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use crate::clients::{Acted, Caller, Service};
use crate::plan::Plan;
use crate::recorder::Step;
use crate::worker::MESSAGE;

/// The longest that a step takes, in milliseconds.
const STEP_MS: u64 = 400;
/// The most operations that a client creates one after the other.
const BURST: usize = 6;
/// The time that an operation is postponed for, where nothing is to wait for it.
const HOUR: Duration = Duration::from_secs(3600);
/// The time between two looks at what is left.
const LOOK: Duration = Duration::from_millis(300);

/// The ways in which a token stands still.
const STANDS: [&str; 4] = ["paused", "postponed", "waits for its retry", "runs"];

/// The name of an operation: its token as a number, and its place in it.
pub(crate) fn name(token: usize, index: usize) -> String {
    format!("step {token}/{index}")
}

/// The number of a token and the place in it.
pub(crate) fn numbers(name: &str) -> Option<(usize, usize)> {
    let (token, index) = name.strip_prefix("step ")?.split_once('/')?;
    Some((token.parse().ok()?, index.parse().ok()?))
}

fn step(step: &Step, has_token: bool) -> Result<NewOperation> {
    let retry = RetryPolicy::default()
        .max_retries(20)
        .initial(Duration::from_millis(50))
        .longest(Duration::from_millis(300))
        .max_lost(100);
    let new = NewOperation::new(MESSAGE).data(step)?.retry(retry);
    Ok(if has_token {
        new.token(format!("token {}", step.token))
    } else {
        new
    })
}

/// The end of the load: the faults have ended when this is true.
pub(crate) type Ended = watch::Receiver<bool>;

/// Creates operations of one token in bursts until the end, and disturbs some of them.
pub(crate) async fn produce(
    service: Arc<Service>,
    plan: Arc<Plan>,
    token: usize,
    (mut ended, deadline): (Ended, Instant),
) -> Result<()> {
    let mut caller = Caller::new(&service, plan.seed, token, deadline);
    let mut index = 0;
    let mut ids: Vec<String> = Vec::new();
    // Not all of them at the same moment.
    pause(&mut caller, &plan, 1, &mut ended).await;
    while !*ended.borrow() {
        let burst = caller.random.usize(1..=BURST);
        for _ in 0..burst {
            let retries = if caller.random.u8(0..15) == 0 { 1 } else { 0 };
            let wish = Step {
                token,
                index,
                ms: caller.random.u64(20..=STEP_MS),
                retries,
                held: false,
            };
            let mut new = step(&wish, true)?;
            if retries == 0 && caller.random.u8(0..25) == 0 {
                new = new.at_most_once(true);
            }
            ids.push(caller.create(&name(token, index), new).await?.id);
            index += 1;
            if caller.random.u8(0..12) == 0 {
                disturb(&mut caller, &ids).await?;
            }
        }
        pause(&mut caller, &plan, burst, &mut ended).await;
    }
    Ok(())
}

/// Waits for as long as a burst is to take at the rate of the plan, or until the end.
async fn pause(caller: &mut Caller, plan: &Plan, burst: usize, ended: &mut Ended) {
    let every = plan.tokens as f64 / f64::from(plan.rate.max(1));
    let wait = burst as f64 * every * (0.5 + caller.random.f64());
    until(ended, Duration::from_secs_f64(wait)).await;
}

/// Waits for as long as `wait`, or until the end.
pub(crate) async fn until(ended: &mut Ended, wait: Duration) {
    // The one who says so may be gone, which is an end, too.
    drop(timeout(wait, ended.wait_for(|ended| *ended)).await);
}

/// Pauses, postpones or cancels one of the last operations.
async fn disturb(caller: &mut Caller, ids: &[String]) -> Result<()> {
    let recent = ids.get(ids.len().saturating_sub(4)..).unwrap_or_default();
    let id = caller
        .random
        .choice(recent)
        .context("an operation")?
        .clone();
    match caller.random.u8(0..4) {
        0 => {
            caller.act(&id, Action::Cancel, None).await?;
        }
        1 => {
            let of = id.as_str();
            let look = move |client: Client| async move { client.get(of).await };
            let view = caller.read(look).await?;
            let modified = Timestamp::parse_rfc3339(&view.modified_on)?;
            let until = modified.saturating_add(Duration::from_millis(500));
            caller.act(&id, Action::Postpone, Some(until)).await?;
        }
        _ => {
            if caller.act(&id, Action::Pause, None).await? == Acted::Done {
                let wait = caller.random.u64(0..400);
                sleep(Duration::from_millis(wait)).await;
                // Refused while the handler has not stopped yet: see `rest`.
                caller.act(&id, Action::Resume, None).await?;
            }
        }
    }
    Ok(())
}

/// Creates operations without a token, so many at once that messages wait in the broker. The
/// first has this number, and none takes longer than `longest_ms`.
pub(crate) async fn flood(
    service: &Arc<Service>,
    seed: u64,
    (first, count): (usize, usize),
    longest_ms: u64,
    deadline: Instant,
) -> Result<()> {
    let clients = (0..8).map(async |client| {
        let mut caller = Caller::new(service, seed, first + client, deadline);
        for number in (first + client..first + count).step_by(8) {
            let wish = Step {
                token: number,
                index: 0,
                ms: caller.random.u64(longest_ms / 4..=longest_ms),
                retries: 0,
                held: false,
            };
            caller.create(&name(number, 0), step(&wish, false)?).await?;
        }
        anyhow::Ok(())
    });
    futures_util::future::try_join_all(clients).await?;
    Ok(())
}

/// Tokens that stand still on purpose.
#[derive(Debug, Default)]
pub(crate) struct Blockers(pub(crate) Vec<Blocked>);

impl Blockers {
    /// The number of tokens.
    pub(crate) const TOKENS: usize = STANDS.len();

    /// Creates them, with operations behind them, and waits until they stand still.
    pub(crate) async fn start(caller: &mut Caller, first: usize) -> Result<Self> {
        let mut blockers = Self::default();
        for (number, why) in STANDS.into_iter().enumerate() {
            let token = first + number;
            let mut head = Step {
                token,
                index: 0,
                ms: 20,
                retries: 0,
                held: false,
            };
            let new = match why {
                "waits for its retry" => {
                    head.retries = 1;
                    let hourly = RetryPolicy::default().initial(HOUR).longest(HOUR);
                    step(&head, true)?.retry(hourly.max_retries(20).max_lost(100))
                }
                _ => {
                    head.held = true;
                    step(&head, true)?
                }
            };
            let view = caller.create(&name(token, 0), new).await?;
            for index in 1..4 {
                let behind = Step {
                    index,
                    retries: 0,
                    held: false,
                    ..head.clone()
                };
                caller
                    .create(&name(token, index), step(&behind, true)?)
                    .await?;
            }
            let id = view.id.clone();
            match why {
                "paused" => {
                    caller.act(&id, Action::Pause, None).await?;
                }
                "postponed" => {
                    let created = Timestamp::parse_rfc3339(&view.created_on)?;
                    let until = Some(created.saturating_add(HOUR));
                    caller.act(&id, Action::Postpone, until).await?;
                }
                _ => {}
            }
            let state = if why == "runs" {
                State::Locked
            } else {
                State::Suspended
            };
            until_state(caller, &id, state).await?;
            blockers.0.push(Blocked {
                id,
                token,
                why: why.to_owned(),
                from_ns: now_ns(),
                until_ns: u64::MAX,
            });
        }
        Ok(blockers)
    }

    /// Returns true if an operation belongs to one of the tokens.
    fn has(&self, view: &OperationView) -> bool {
        let token = numbers(&view.name).map(|(token, _)| token);
        self.0.iter().any(|one| Some(one.token) == token)
    }

    /// Lets the tokens go on. The file lets the one go that runs.
    pub(crate) async fn release(
        &mut self,
        caller: &mut Caller,
        file: &std::path::Path,
    ) -> Result<()> {
        let now = now_ns();
        for one in &mut self.0 {
            one.until_ns = now;
        }
        std::fs::write(file, "").context("let the running operation go")?;
        for one in self.0.iter().filter(|one| one.why != "runs") {
            caller.act(&one.id, Action::Resume, None).await?;
        }
        Ok(())
    }
}

async fn until_state(caller: &mut Caller, id: &str, state: State) -> Result<()> {
    let limit = Instant::now() + Duration::from_secs(60);
    loop {
        let look = move |client: Client| async move { client.get(id).await };
        let view = caller.read(look).await?;
        if view.state_code == state.code() {
            return Ok(());
        }
        ensure!(
            Instant::now() < limit,
            "{id} is {}, not {}",
            view.state,
            state.name()
        );
        sleep(LOOK).await;
    }
}

/// Waits until everything is Completed, but what `standing` tokens hold up. Acts as the person
/// that some operations wait for. Returns false if for as long as `limit` none more has come to
/// its end: however long a busy machine needs for all of them, that is no fault.
pub(crate) async fn rest(
    caller: &mut Caller,
    standing: Option<&Blockers>,
    limit: Duration,
    progress: &dyn Fn(&str),
) -> Result<bool> {
    let mut end = Instant::now() + limit;
    let (mut told, mut least) = (usize::MAX, usize::MAX);
    loop {
        let is_awaited = |one: &OperationView| {
            one.state_code != State::Completed.code()
                && !standing.is_some_and(|blockers| blockers.has(one))
        };
        let mut left = 0;
        for state in [State::Ready, State::Suspended, State::Locked] {
            let open = list(caller, &Filter::new().state(state)).await?;
            for one in open.iter().filter(|one| is_awaited(one)) {
                left += 1;
                // Paused while it ran: its resume came too early and was refused.
                if state == State::Suspended && one.postpone_until.is_none() {
                    caller.act(&one.id, Action::Resume, None).await?;
                }
            }
        }
        if left == 0 {
            // An operation that went from state to state between the lists was in none of them.
            let all = list(caller, &Filter::new()).await?;
            left = all.iter().filter(|one| is_awaited(one)).count();
        }
        if left == 0 {
            return Ok(true);
        }
        if left < least {
            least = left;
            end = Instant::now() + limit;
        }
        if Instant::now() > end {
            return Ok(false);
        }
        if left != told {
            progress(&format!("{left} operations are not Completed yet"));
            told = left;
        }
        sleep(LOOK).await;
    }
}

/// Every operation that matches.
pub(crate) async fn list(caller: &mut Caller, filter: &Filter) -> Result<Vec<OperationView>> {
    for _ in 0..20 {
        let client = caller.client().await?;
        match client.list_all(filter).try_collect().await {
            Ok(all) => return Ok(all),
            Err(error) if error.is_transient() => sleep(LOOK).await,
            Err(error) => return Err(error.into()),
        }
    }
    bail!("the operations cannot be listed")
}
