//! The reason that an operation waits, as the API shows it.

use std::time::Duration;

use drumline_api::view::OperationView;
use drumline_backend::broker::Bypassed;
use drumline_protocol::text::counted;
use drumline_protocol::{Pause, PauseKind, Status, Timestamp};
use humantime::format_duration;
use serde::Serialize;
use utoipa::ToSchema;

use crate::service::{Explanation, Root, WaitingFor};

/// The time for which an offer may well be on its way: a worker decides within
/// it.
const ON_ITS_WAY: Duration = drumline_backend::broker::UNDECIDED_MAX;

/// The reason of an operation that is not the first of its order.
const PREDECESSOR: &str = "predecessor";

/// The reason of an operation whose handler has suspended it.
pub(super) const ASKED_FOR_A_PERSON: &str = "its handler asked for a person (see `message`)";

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
    pub(super) detail: String,
    /// The earlier operation that it waits for, if it waits for one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "uuid")]
    pub(super) operation_id: Option<String>,
    /// The time since which the operation has its status.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "date-time")]
    since: Option<String>,
    /// The number of operations of the same order that are before it.
    before: u64,
    /// The number of operations of the same order that wait behind it.
    behind: u64,
    /// The operation that all of the order wait for, if it is another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    root: Option<RootView>,
}

/// The operation that all of an order wait for.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RootView {
    /// Its id.
    #[schema(format = "uuid")]
    operation_id: String,
    /// Its status.
    #[schema(example = "Waiting")]
    status: &'static str,
    /// The time since which it has this status.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "date-time")]
    since: Option<String>,
    /// The reason as a word, as in `waitingFor`; none if it runs, or holds the
    /// order.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    /// The reason for people, with a remedy.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

impl From<Explanation> for WaitingView {
    fn from(explanation: Explanation) -> Self {
        let Explanation {
            waiting_for,
            since,
            before,
            behind,
            root,
        } = explanation;
        let operation_id = root.as_ref().map(|root| root.id.to_string());
        let (reason, mut detail) = words(waiting_for);
        let root = root.map(RootView::from);
        if let Some(root) = root.as_ref().filter(|_| reason == PREDECESSOR) {
            detail.push_str(&root.clause());
        }
        detail.push_str(&match before.saturating_sub(1) {
            0 => String::new(),
            1 => "; 1 more is before it".to_owned(),
            more => format!("; {more} more are before it"),
        });
        detail.push_str(&match behind {
            0 => String::new(),
            1 => "; 1 operation waits behind it".to_owned(),
            more => format!("; {more} operations wait behind it"),
        });
        Self {
            reason,
            detail,
            operation_id,
            since: since.map(|since| since.to_string()),
            before,
            behind,
            root,
        }
    }
}

impl From<Root> for RootView {
    fn from(root: Root) -> Self {
        let (reason, detail) = match (root.waiting_for, root.host) {
            (Some(waiting), _) => {
                let (reason, detail) = words(waiting);
                (Some(reason), Some(detail))
            }
            (None, Some(host)) => (None, Some(format!("it runs on {host}"))),
            (None, None) => (None, None),
        };
        Self {
            operation_id: root.id.to_string(),
            status: root.status.name(),
            since: root.since.map(|since| since.to_string()),
            reason,
            detail,
        }
    }
}

impl RootView {
    /// The part of a sentence that says since when, and why.
    fn clause(&self) -> String {
        let since = self.since.as_ref().map(|since| format!(" since {since}"));
        let why = self.detail.as_ref().map(|detail| format!(": {detail}"));
        since.unwrap_or_default() + &why.unwrap_or_default()
    }
}

/// The reason as a word, and for people.
fn words(waiting: WaitingFor) -> (&'static str, String) {
    match waiting {
        WaitingFor::Time(until) => (
            "time",
            format!("it is postponed until {until}; resume it to let it go on now"),
        ),
        WaitingFor::Occurrence(next) => (
            "occurrence",
            format!("it recurs and never runs itself; it waits for its next time, {next}"),
        ),
        WaitingFor::Person { paused_by: Some(name) } => (
            "person",
            format!("{name} paused it; resume it to let it go on"),
        ),
        WaitingFor::Person { paused_by: None } => (
            "person",
            format!("{ASKED_FOR_A_PERSON}; resume it to let it go on"),
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
            PREDECESSOR,
            format!("it waits for {id}, which is the first of the same order (of a token, or of asynchronous requests) and is {} ({})", status.state().name(), status.name()),
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
            format!("all workers that have a handler for it are busy; they run {} at the same time", counted(slots, "operation", "operations")),
        ),
        WaitingFor::Dispatch { bypassed } => ("dispatch", dispatch(bypassed)),
        WaitingFor::Delivery {
            offered_ago,
            bypassed,
        } => ("delivery", delivery(offered_ago, bypassed)),
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
    if scope.is_everything() {
        return format!(
            "the service is frozen, by {author} since {since}: {reason}; {end} `drumline thaw`"
        );
    }
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
