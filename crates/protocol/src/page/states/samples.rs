//! Every status and every event, with the headers that make a difference.
//!
//! The two lists are made together with exhaustive matches, so that what is
//! added to [`Status`] or [`Event`] does not compile before it is here. The
//! tests of the transitions use the same samples.

use crate::error_code::ErrorCode;
use crate::id::{CommitId, OperationId, Partition};
use crate::kind::OperationType;
use crate::operation::{Fault, Header, Recurrence, Rules, StopRequest, TokenPolicy, first_header};
use crate::retry::{Exhausted, Jitter, RetryPolicy};
use crate::status::Status;
use crate::time::Timestamp;
use crate::token::ChainKey;
use crate::transition::{At, Event};

/// The time of every transition.
pub const NOW: Timestamp = Timestamp::from_millis(1_000_000);
/// A minute after [`NOW`].
pub const LATER: Timestamp = Timestamp::from_millis(1_060_000);

/// Returns when a transition is made, and its name.
#[must_use]
pub const fn at() -> At {
    At {
        now: NOW,
        commit: CommitId(7),
    }
}

macro_rules! statuses {
    ($($status:ident = $meaning:literal;)*) => {
        /// Returns every status, in the order of the numbers.
        #[must_use]
        pub fn statuses() -> Vec<Status> {
            vec![$(Status::$status),*]
        }

        /// Returns the meaning of a status, for the page.
        pub(super) const fn meaning(status: Status) -> &'static str {
            match status {
                $(Status::$status => $meaning,)*
            }
        }
    };
}

statuses! {
    WaitingForResources = "waits for a worker, or for its predecessors";
    Waiting = "waits for a time (`postponeUntil`), or for a person";
    InProgress = "a worker holds it, and its handler runs";
    Pausing = "the handler was asked to stop; the operation will wait";
    Canceling = "the handler was asked to stop; the operation will end";
    Succeeded = "the handler succeeded, or the last time of a series has passed";
    Failed = "the handler failed, its retries are used up, or the operation expired before its first start";
    Canceled = "a client cancelled it";
}

macro_rules! events {
    ($($event:pat = [$($sample:expr),*], $source:literal, $note:literal;)*) => {
        /// Returns every event, an event with several results once for each.
        #[must_use]
        pub fn events() -> Vec<Event> {
            vec![$($($sample),*),*]
        }

        /// Returns the process that an event comes from, for the page.
        pub(super) const fn source(event: &Event) -> &'static str {
            match event {
                $($event => $source,)*
            }
        }

        /// Returns the mark of the note that explains an event on the page;
        /// empty for most.
        pub(super) const fn note(event: &Event) -> &'static str {
            match event {
                $($event => $note,)*
            }
        }
    };
}

events! {
    Event::Claim { .. } = [Event::Claim { host: "w1".to_owned() }], "worker", "";
    Event::Succeed = [Event::Succeed], "handler", "";
    Event::Fail(_) = [Event::Fail(fault())], "handler", "";
    Event::Retry { .. } = [Event::Retry { fault: fault(), after: None, jitter: Jitter(0) }],
        "handler", "¹";
    Event::Suspend(_) = [Event::Suspend(fault())], "handler", "";
    Event::Stopped = [Event::Stopped], "handler", "";
    Event::Release = [Event::Release], "draining worker", "²";
    Event::ReleaseUnstarted = [Event::ReleaseUnstarted], "worker", "¹¹";
    Event::LeaseExpired = [Event::LeaseExpired], "queue manager", "³";
    Event::Pause = [Event::Pause], "client", "⁴";
    Event::Resume = [Event::Resume], "client", "";
    Event::Postpone(_) = [Event::Postpone(LATER)], "client", "";
    Event::Cancel = [Event::Cancel], "client", "⁵";
    Event::Discard = [Event::Discard], "queue manager", "⁵";
    Event::Due = [Event::Due], "queue manager", "⁶";
    Event::Expire = [Event::Expire], "queue manager, worker", "⁷";
    Event::Occur { .. } = [
        Event::Occur { last: Some(occurrence()), next: Some(LATER) },
        Event::Occur { last: Some(occurrence()), next: None }
    ], "queue manager", "⁸";
    Event::Reschedule { .. } = [
        Event::Reschedule { recurrence: recurrence(), next: Some(LATER) }
    ], "client", "⁹";
    Event::Unhandled = [Event::Unhandled], "worker", "";
    Event::Throttle = [Event::Throttle], "worker", "¹⁰";
    Event::Delete = [Event::Delete], "client, retention", "";
}

/// Returns the rules of an operation with a token.
#[must_use]
pub fn rules() -> Rules {
    Rules {
        operation_type: OperationType::DEFAULT,
        chain: Some(ChainKey::from_bytes([1; 16])),
        token_policy: TokenPolicy::Continue,
        transient: false,
        webhook: false,
        at_most_once: false,
        retry: RetryPolicy {
            jitter_percent: 0,
            ..RetryPolicy::default()
        },
        not_after: None,
    }
}

/// Returns a header that has come to `status` in a plausible way.
#[must_use]
pub fn header(status: Status) -> Header {
    let mut header = first_header(rules(), None, CommitId(1), Timestamp::from_millis(0));
    header.status = status;
    header.version = 5;
    match status {
        Status::WaitingForResources => {}
        Status::Waiting => header.postpone_until = Some(NOW),
        Status::InProgress | Status::Canceling => {
            header.started_on = Some(Timestamp::from_millis(990_000));
        }
        Status::Pausing => {
            header.started_on = Some(Timestamp::from_millis(990_000));
            header.stop = Some(StopRequest::Pause);
        }
        Status::Succeeded | Status::Failed | Status::Canceled => header.completed_on = Some(NOW),
    }
    header
}

/// Returns headers with a status that events may treat differently, the
/// plainest first.
#[must_use]
pub(super) fn headers(status: Status) -> Vec<Header> {
    let variants: [fn(&mut Header); 9] = [
        |_plain| {},
        |header| header.rules.at_most_once = true,
        |header| header.rules.token_policy = TokenPolicy::Hold,
        |header| header.retry_count = header.rules.retry.max_retries,
        |header| {
            header.retry_count = header.rules.retry.max_retries;
            header.rules.retry.exhausted = Exhausted::Suspend;
        },
        |header| header.lost = header.rules.retry.max_lost,
        |header| header.postpone_until = None,
        |header| header.rules.not_after = Some(NOW),
        |header| header.stop = header.stop.map(|_pause| StopRequest::Postpone(LATER)),
    ];
    let header = header(status);
    variants
        .iter()
        .map(|vary| {
            let mut header = header.clone();
            vary(&mut header);
            header
        })
        .collect()
}

/// Returns the header of an operation that has ended and holds its chain.
#[must_use]
pub(super) fn holding(status: Status) -> Vec<Header> {
    let mut header = header(status);
    header.rules.token_policy = TokenPolicy::Hold;
    header.holding = true;
    vec![header]
}

/// Returns the headers of a series: one that waits for its time, and one that
/// is paused.
#[must_use]
pub(super) fn series(status: Status) -> Vec<Header> {
    let mut header = header(status);
    header.rules.chain = None;
    header.recurrence = Some(recurrence());
    let mut paused = header.clone();
    paused.postpone_until = None;
    vec![header, paused]
}

/// Returns a failure of a handler.
#[must_use]
pub fn fault() -> Fault {
    Fault::new(
        ErrorCode::NETWORK_ERROR,
        "the line is down",
        "connect: ECONNREFUSED",
    )
}

/// Returns the id of an occurrence.
#[must_use]
pub fn occurrence() -> OperationId {
    OperationId::new(NOW, Partition::new(1), [2; 16])
}

/// Returns the rule of a series.
#[must_use]
pub fn recurrence() -> Recurrence {
    Recurrence {
        pattern: "FREQ=DAILY".to_owned(),
        start: NOW,
        last: None,
    }
}
