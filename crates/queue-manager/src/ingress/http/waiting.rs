//! The reason that an operation waits, as the API shows it.

use std::time::Duration;

use drumline_api::view::OperationView;
use drumline_backend::broker::Bypassed;
use drumline_protocol::{Pause, PauseKind, Status, Timestamp};
use humantime::format_duration;
use serde::Serialize;
use utoipa::ToSchema;

use crate::service::WaitingFor;

/// The time for which an offer may well be on its way: a worker decides within
/// it.
const ON_ITS_WAY: Duration = drumline_backend::broker::UNDECIDED_MAX;

/// One operation, and the reason that it does not run or does not end.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Explained {
    #[serde(flatten)]
    pub(crate) operation: OperationView,
    pub(crate) waiting_for: Option<WaitingView>,
}

/// The reason why an operation does not run or does not end, at this moment.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WaitingView {
    /// The reason as a word: `time`, `occurrence`, `person`, `stop`,
    /// `predecessor`, `holder`, `pause`, `worker`, `handler`, `throttle`, `broker`, `slot`,
    /// `dispatch` or `delivery`.
    #[schema(example = "predecessor")]
    reason: &'static str,
    /// The reason for people, with a remedy.
    detail: String,
    /// The earlier operation that it waits for, if it waits for one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "uuid")]
    operation_id: Option<String>,
}

impl From<WaitingFor> for WaitingView {
    fn from(waiting: WaitingFor) -> Self {
        let operation_id = match &waiting {
            WaitingFor::Predecessor { id, .. } | WaitingFor::Holder { id, .. } => {
                Some(id.to_string())
            }
            WaitingFor::Time(_)
            | WaitingFor::Occurrence(_)
            | WaitingFor::Person
            | WaitingFor::PersonForSeries
            | WaitingFor::Stop
            | WaitingFor::Pause(_)
            | WaitingFor::Worker { .. }
            | WaitingFor::Handler { .. }
            | WaitingFor::Throttle { .. }
            | WaitingFor::Broker { .. }
            | WaitingFor::Slot { .. }
            | WaitingFor::Dispatch { .. }
            | WaitingFor::Delivery { .. } => None,
        };
        let (reason, detail) = match waiting {
            WaitingFor::Time(until) => (
                "time",
                format!("it is postponed until {until}; resume it to let it go on now"),
            ),
            WaitingFor::Occurrence(next) => (
                "occurrence",
                format!("it recurs and never runs itself; it waits for its next time, {next}"),
            ),
            WaitingFor::Person => (
                "person",
                "it was paused, or its handler asked for a person (see `message`); resume it to let it go on".to_owned(),
            ),
            WaitingFor::PersonForSeries => (
                "person",
                "the series is paused and creates no occurrences; resume it to let it go on".to_owned(),
            ),
            WaitingFor::Stop => (
                "stop",
                "its handler was asked to stop and has not stopped yet; if its worker is lost, the operation is ended after a lease".to_owned(),
            ),
            WaitingFor::Predecessor { id, status } => (
                "predecessor",
                format!("{id} is earlier in the same order (of a token, or of asynchronous requests) and is {} ({}); look at {id}", status.state().name(), status.name()),
            ),
            WaitingFor::Holder { id, status } => (
                "holder",
                format!(
                    "its token is held by {id}, which {}: resume {id} to skip it, or cancel the rest",
                    match status {
                        Status::Canceled => "was Canceled",
                        Status::Failed
                        | Status::Succeeded
                        | Status::WaitingForResources
                        | Status::Waiting
                        | Status::InProgress
                        | Status::Pausing
                        | Status::Canceling => "Failed",
                    }
                ),
            ),
            WaitingFor::Pause(pause) => ("pause", held_by(&pause)),
            WaitingFor::Worker { queue } => (
                "worker",
                format!("no live worker serves the queue {queue}; start one"),
            ),
            WaitingFor::Handler { queue, message_name } => (
                "handler",
                format!("no live worker of the queue {queue} has a handler for {message_name:?}; start one, and it goes on by itself"),
            ),
            WaitingFor::Throttle { message_name } => (
                "throttle",
                format!("operations of {message_name:?} have failed so often that no worker takes them for a while; it goes on by itself when they succeed again; look at the latest failures"),
            ),
            WaitingFor::Broker { why } => ("broker", format!("the broker takes no messages: {why}")),
            WaitingFor::Slot { slots } => (
                "slot",
                format!("all workers that have a handler for it are busy; they run {slots} operations at the same time"),
            ),
            WaitingFor::Dispatch { bypassed } => ("dispatch", dispatch(bypassed)),
            WaitingFor::Delivery {
                offered_ago,
                bypassed,
            } => ("delivery", delivery(offered_ago, bypassed)),
        };
        Self {
            reason,
            detail,
            operation_id,
        }
    }
}

impl WaitingView {
    /// Adds the time at which the wait ends in any case, if there is one.
    pub(crate) fn until_expiry(mut self, expires_on: Option<Timestamp>) -> Self {
        if let Some(on) = expires_on {
            let expiry = format!("; it expires at {on} unless a worker has started it by then");
            self.detail.push_str(&expiry);
        }
        self
    }
}

/// A pause that holds it, and the way to lift that.
fn held_by(pause: &Pause) -> String {
    let Pause {
        scope,
        reason,
        until,
        author,
        since,
    } = pause;
    let flags = match scope.kind {
        PauseKind::Queue => format!("--queue {}", scope.value),
        PauseKind::MessageName => format!("--message {}", scope.value),
        PauseKind::DependencyToken => format!("--token {}", scope.value),
        PauseKind::Organization => "--all".to_owned(),
    };
    let end = match until {
        Some(until) => format!("it ends at {until}, or with"),
        None => "it ends with".to_owned(),
    };
    let author = author.name();
    format!(
        "held by the pause of {scope}, set by {author} since {since}: {reason}; {end} \
         `drumline resume {flags} --pause`"
    )
}

/// An offer that no queue is known to have.
fn dispatch(bypassed: Option<Bypassed>) -> String {
    let now =
        "its offer is not known to be with the broker yet, and is published again every second";
    match bypassed {
        None => now.to_owned(),
        Some(bypassed) => format!("{now}; {}", round(&bypassed)),
    }
}

/// An offer that a queue has taken. It is known to be on its way only for a
/// moment.
fn delivery(offered_ago: Option<Duration>, bypassed: Option<Bypassed>) -> String {
    let room = "workers that have a handler for it have free slots";
    let offer = match offered_ago {
        Some(ago) if ago < ON_ITS_WAY => "its offer is on its way to one".to_owned(),
        Some(ago) => {
            let ago = format_duration(Duration::from_secs(ago.as_secs()));
            format!("it was offered {ago} ago, and is offered again if the offer was lost")
        }
        None => "it was offered, and is offered again if the offer was lost".to_owned(),
    };
    match bypassed {
        None => format!("{room}; {offer}"),
        Some(bypassed) => format!("{room}; {offer}; {}", round(&bypassed)),
    }
}

fn round(bypassed: &Bypassed) -> String {
    format!("{bypassed} and is by-passed")
}
