//! `drumline wait`: until every operation is Completed.
//!
//! Long polls, one per operation; each answers at once when the operation is
//! over. Progress that handlers report is shown on the way.

use std::time::Duration;

use drumline_client::OperationView;
use drumline_protocol::Status;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, timeout_at};

use super::Session;
use crate::cli::client::Wait;
use crate::exit::{Exit, Result};
use crate::output::progress::Activity;
use crate::output::{hint, operation, watched};

/// The time that one request waits. Short on a terminal, because progress is
/// seen only when a request is answered.
const POLL_WATCHED: Duration = Duration::from_secs(1);
const POLL: Duration = Duration::from_secs(20);

/// Waits for the operations that the flags name.
pub(crate) async fn run(session: &Session, wait: &Wait) -> Result<Exit> {
    until_completed(session, &wait.ids, wait.timeout).await
}

/// Waits for operations and prints each when it is Completed.
pub(crate) async fn until_completed(
    session: &Session,
    ids: &[String],
    timeout: Option<Duration>,
) -> Result<Exit> {
    let end = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let activity = watched().then(Activity::new);
    let mut waiting: FuturesUnordered<_> = ids
        .iter()
        .map(|id| one(session, id, end, activity.as_ref()))
        .collect();
    let mut worst = Exit::Ok;
    while let Some(operation) = waiting.next().await {
        let operation = operation?;
        let exit = exit_of(&operation);
        if exit == Exit::TimedOut {
            hint(&format!(
                "{}: not Completed in time, {} still",
                operation.id, operation.status
            ));
        }
        session.out.outcome(&operation)?;
        worst = worse(worst, exit);
    }
    Ok(worst)
}

/// Waits for one operation until it is Completed, or until the end of the time.
async fn one(
    session: &Session,
    id: &str,
    end: Option<Instant>,
    activity: Option<&Activity>,
) -> Result<OperationView> {
    let client = session.patient();
    let mut seen = client.get(id).await?;
    let mut told = false;
    while seen.state_code != 3 {
        if let Some(text) = obstacle(&seen).filter(|_| !told) {
            told = true;
            match activity {
                Some(activity) => activity.remark(&text),
                None => hint(&text),
            }
        }
        if let Some(activity) = activity {
            activity.tell(&operation::one_line(&seen, session.out.now()));
        }
        let poll = if activity.is_some() {
            POLL_WATCHED
        } else {
            POLL
        };
        let left = end.map_or(poll, |end| end.saturating_duration_since(Instant::now()));
        if left.is_zero() {
            break;
        }
        let next = client.poll(id, poll.min(left));
        seen = match end {
            // The margin is for the answer to arrive.
            Some(end) => match timeout_at(end + Duration::from_secs(1), next).await {
                Ok(answer) => answer?,
                Err(_elapsed) => break,
            },
            None => next.await?,
        };
    }
    Ok(seen)
}

/// The obstacle that keeps an operation from ever being Completed unless a
/// person acts.
fn obstacle(seen: &OperationView) -> Option<String> {
    let waits = Status::from_code(seen.status_code) == Some(Status::Waiting);
    let id = &seen.id;
    match (&seen.recurrence_pattern, &seen.postpone_until) {
        (_, None) if waits => Some(format!("{id}: it waits for a person: drumline resume {id}")),
        (Some(_), _) => Some(format!(
            "{id}: it is a series, which is Completed when its rule ends, or when it is cancelled"
        )),
        (None, _) => None,
    }
}

/// The exit code for an operation.
fn exit_of(operation: &OperationView) -> Exit {
    match Status::from_code(operation.status_code) {
        Some(Status::Succeeded) => Exit::Ok,
        Some(Status::Failed) => Exit::Failed,
        Some(Status::Canceled) => Exit::Canceled,
        Some(
            Status::WaitingForResources
            | Status::Waiting
            | Status::InProgress
            | Status::Pausing
            | Status::Canceling,
        )
        | None => Exit::TimedOut,
    }
}

/// The exit code for several operations: a failure first, then a cancel, then a
/// timeout.
fn worse(a: Exit, b: Exit) -> Exit {
    [Exit::Failed, Exit::Canceled, Exit::TimedOut]
        .into_iter()
        .find(|exit| *exit == a || *exit == b)
        .unwrap_or(Exit::Ok)
}
