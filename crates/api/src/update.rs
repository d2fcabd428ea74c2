//! The request to change an operation: two attributes that stand for actions.
//!
//! `stateCode`, `statusCode` and `postponeUntil` are how users of the Dynamics
//! service pause, resume, cancel and postpone. Everything else about an
//! operation is fixed.

use drumline_protocol::{ErrorCode, State, Status, Timestamp};

use crate::deployment::Grammar;
use crate::error::{Error, Invalid};
use crate::fields::Fields;
use crate::is_attribute;
use crate::kinds::{Kind as _, StateCode, StatusCode};
use crate::recurrence::RuleChange;

/// A client's action on an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// End as Canceled.
    Cancel,
    /// Wait for a person.
    Pause,
    /// Go on.
    Resume,
    /// Wait for a time.
    Postpone(Timestamp),
}

impl Control {
    /// Reads the time to postpone to: `{"postponeUntil": …}`. An empty body is
    /// one without attributes.
    ///
    /// # Errors
    /// As [`UpdateOperation::from_json`].
    pub fn postpone_from_json(body: &[u8]) -> Result<Self, Error> {
        let mut given = if body.is_empty() {
            Fields::empty("")
        } else {
            Fields::of_body(body)?
        };
        let until = given.time("postponeUntil");
        given.refuse_rest(|_name| "is unknown");
        if until.is_none() && given.errors.is_empty() {
            given.note("postponeUntil", "is required");
        }
        match until {
            Some(until) if given.errors.is_empty() => Ok(Self::Postpone(until)),
            Some(_) | None => Err(Invalid::arguments(given.errors).into()),
        }
    }

    /// Checks the body of an action without arguments: none, `{}`, or the
    /// `null` that clients send for nothing.
    ///
    /// # Errors
    /// As [`UpdateOperation::from_json`].
    pub fn nothing_from_json(body: &[u8]) -> Result<(), Error> {
        if body.is_empty() || body.trim_ascii() == b"null" {
            return Ok(());
        }
        let mut given = Fields::of_body(body)?;
        given.refuse_rest(|_name| "is unknown");
        Ok(given.finish()?)
    }
}

/// A change that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpdateOperation {
    /// It is an action.
    Control(Control),
    /// It is another rule for a series.
    Rule(RuleChange),
    /// It names a state that clients cannot bring about (Locked, Succeeded,
    /// Failed): refused whatever the operation's state is.
    Unreachable(Status),
}

impl UpdateOperation {
    /// Reads a change from JSON.
    ///
    /// # Errors
    /// [`Error::Syntax`] when it is not JSON; [`Error::Invalid`] with all
    /// attributes that are read-only, unknown, or contradict each other.
    pub fn from_json(body: &[u8], grammar: &Grammar) -> Result<Self, Error> {
        Ok(Self::of(Fields::of_body(body)?, grammar)?)
    }

    /// Reads a change from the attributes that are left.
    pub(crate) fn of(mut given: Fields<'_>, grammar: &Grammar) -> Result<Self, Invalid> {
        let asks_for_time = given.is_given("postponeUntil");
        let state = StateCode::take(&mut given, "stateCode");
        let status = StatusCode::take(&mut given, "statusCode");
        let until = given.time("postponeUntil");
        let rule = RuleChange::take(&mut given, grammar);
        let mut code = refusal(given.rest());
        given.refuse_rest(why_not);
        if let Some(rule) = rule {
            if state.is_none() && status.is_none() && !asks_for_time {
                if given.errors.is_empty() {
                    return Ok(Self::Rule(rule));
                }
            } else {
                code = ErrorCode::CANNOT_UPDATE_RECURRING;
                let why = "is changed alone, without stateCode, statusCode and postponeUntil";
                for name in rule.names() {
                    given.note(name, why);
                }
            }
        } else if given.errors.is_empty() {
            match combine(state, status, until) {
                Ok(Some(changes)) => return Ok(changes),
                Ok(None) if asks_for_time => given.note(
                    "postponeUntil",
                    "must be a time; to end a postponement, set stateCode to 0",
                ),
                Ok(None) => given.note("stateCode", "or postponeUntil is required"),
                Err((name, why)) => given.note(name, why),
            }
        }
        let attributes = given.errors;
        Err(Invalid { code, attributes })
    }
}

/// The code for a change that names these attributes.
fn refusal<'a>(names: impl Iterator<Item = &'a str>) -> ErrorCode {
    let mut names = names;
    if names.any(is_attribute) {
        ErrorCode::READ_ONLY
    } else {
        ErrorCode::INVALID_ARGUMENT
    }
}

fn why_not(name: &str) -> &'static str {
    if is_attribute(name) {
        "is read-only"
    } else {
        "is unknown"
    }
}

/// The meaning of the attributes together; `None` if they ask for nothing.
fn combine(
    state: Option<State>,
    status: Option<Status>,
    until: Option<Timestamp>,
) -> Result<Option<UpdateOperation>, (&'static str, &'static str)> {
    if let (Some(state), Some(status)) = (state, status)
        && status.state() != state
    {
        return Err(("statusCode", "does not belong to the stateCode"));
    }
    let status = status.or_else(|| state.map(wanted));
    Ok(match (status, until) {
        (None, None) => None,
        (None | Some(Status::Waiting), Some(until)) => {
            Some(UpdateOperation::Control(Control::Postpone(until)))
        }
        (Some(Status::Waiting), None) => Some(UpdateOperation::Control(Control::Pause)),
        (
            Some(
                Status::WaitingForResources
                | Status::InProgress
                | Status::Pausing
                | Status::Canceling
                | Status::Succeeded
                | Status::Failed
                | Status::Canceled,
            ),
            Some(_),
        ) => return Err(("postponeUntil", "goes with stateCode 1 only")),
        (Some(Status::WaitingForResources), None) => {
            Some(UpdateOperation::Control(Control::Resume))
        }
        (Some(Status::Canceled), None) => Some(UpdateOperation::Control(Control::Cancel)),
        (
            Some(
                status @ (Status::InProgress
                | Status::Pausing
                | Status::Canceling
                | Status::Succeeded
                | Status::Failed),
            ),
            None,
        ) => Some(UpdateOperation::Unreachable(status)),
    })
}

/// The status that a client means if it names a state alone.
const fn wanted(state: State) -> Status {
    match state {
        State::Ready => Status::WaitingForResources,
        State::Suspended => Status::Waiting,
        State::Locked => Status::InProgress,
        State::Completed => Status::Canceled,
    }
}
