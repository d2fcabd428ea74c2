//! Actions on many operations: the request that starts one, and actions as programs
//! and people see them.

use std::collections::BTreeMap;

use drumline_protocol::{
    Action, ActionStage, BulkAction, BulkChange, BulkKind, BulkRefusal, limits,
};
use serde::{Deserialize, Serialize};

use crate::attributes::ListFilter;
use crate::error::{Error, FieldError, Invalid};
use crate::fields::Fields;

/// An action that is to be started, read and checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartAction {
    /// The change to each operation.
    pub change: BulkChange,
    /// The conditions as they were written: names and values, by name.
    pub conditions: Vec<(String, String)>,
    /// The conditions.
    pub filter: ListFilter,
    /// The reason, for people.
    pub reason: String,
    /// The most operations that the caller means.
    pub expected: Option<u64>,
    /// True: nothing is changed, and the answer says what would be.
    pub is_rehearsal: bool,
}

impl StartAction {
    /// Reads the request from JSON: `action`, `filter`, `all`, `reason`,
    /// `postponeUntil`, `expected`, `dryRun`. A dry run needs no reason.
    ///
    /// # Errors
    /// [`Error::Syntax`] when it is not JSON; [`Error::Invalid`] with all attributes
    /// that are missing, unknown, or break a rule.
    pub fn from_json(body: &[u8]) -> Result<Self, Error> {
        let mut given = Fields::of_body(body)?;
        let action = given.parsed("action", |name| {
            let words = "must be cancel, pause, resume, postpone, delete or run-again";
            BulkKind::named(&name).ok_or_else(|| words.to_owned())
        });
        if action.is_none() && !given.is_noted("action") {
            given.note("action", "is required");
        }
        let until = given.time("postponeUntil");
        let needs_until = action == Some(BulkKind::Act(Action::Postpone));
        if needs_until && until.is_none() && !given.is_noted("postponeUntil") {
            given.note("postponeUntil", "is required to postpone");
        }
        if action.is_some() && !needs_until && until.is_some() {
            given.note("postponeUntil", "goes with the action postpone alone");
        }
        let (conditions, filter) = take_conditions(&mut given);
        let is_all = given.boolean("all").unwrap_or_default();
        let is_empty = conditions.is_empty() && given.errors.is_empty();
        if is_empty && !is_all {
            let why = "is missing: name at least one condition, or say \"all\": true";
            given.note("filter", why);
        }
        let is_rehearsal = given.boolean("dryRun").unwrap_or_default();
        let reason = given.text("reason", limits::ACTION_REASON_CHARS);
        let reason = reason.filter(|reason| !reason.trim().is_empty());
        if reason.is_none() && !is_rehearsal && !given.is_noted("reason") {
            given.note("reason", "is required");
        }
        let expected = given.number("expected", "from 0 up");
        given.refuse_rest(|_name| "is unknown");
        let change = match (action, until) {
            (Some(BulkKind::Act(Action::Cancel)), _) => Some(BulkChange::Cancel),
            (Some(BulkKind::Act(Action::Pause)), _) => Some(BulkChange::Pause),
            (Some(BulkKind::Act(Action::Resume)), _) => Some(BulkChange::Resume),
            (Some(BulkKind::Act(Action::Delete)), _) => Some(BulkChange::Delete),
            (Some(BulkKind::RunAgain), _) => Some(BulkChange::RunAgain),
            (Some(BulkKind::Act(Action::Postpone)), Some(until)) => {
                Some(BulkChange::Postpone(until))
            }
            (Some(BulkKind::Act(Action::Postpone)) | None, _) => None,
        };
        match change {
            Some(change) if given.errors.is_empty() => Ok(Self {
                change,
                conditions,
                filter,
                reason: reason.unwrap_or_default(),
                expected,
                is_rehearsal,
            }),
            Some(_) | None => Err(Invalid::arguments(given.errors).into()),
        }
    }
}

/// Takes the conditions out of `filter`, an object of them. Stricter than a listing: a
/// condition that is empty by mistake would select too much.
fn take_conditions(given: &mut Fields<'_>) -> (Vec<(String, String)>, ListFilter) {
    let (mut pairs, mut filter) = (Vec::new(), ListFilter::default());
    let Some(value) = given.take("filter") else {
        return (pairs, filter);
    };
    let Some(mut members) = Fields::of(value, "filter.") else {
        given.note("filter", "must be a JSON object");
        return (pairs, filter);
    };
    let names: Vec<String> = members.rest().map(str::to_owned).collect();
    let mut bytes = 0_usize;
    for name in names {
        let text = members.take(&name).map_or("null", |value| value.get());
        let text = match text.as_bytes().first() {
            Some(b'"') => serde_json::from_str(text).unwrap_or_default(),
            Some(b'{' | b'[') => {
                members.note(&name, "must be a text, a number, true or false");
                continue;
            }
            Some(_) if text == "null" => String::new(),
            Some(_) | None => text.to_owned(),
        };
        if text.is_empty() {
            members.note(&name, "must not be empty");
            continue;
        }
        bytes = bytes.saturating_add(name.len()).saturating_add(text.len());
        match filter.set(&name, text.clone()) {
            Ok(true) => pairs.push((name, text)),
            Ok(false) => members.note(&name, "is unknown"),
            Err(why) => members.note(&name, why),
        }
    }
    given.errors.extend(members.errors);
    if bytes > limits::ACTION_CONDITIONS_BYTES {
        let why = format!(
            "has {bytes} bytes, {} are allowed",
            limits::ACTION_CONDITIONS_BYTES
        );
        given.note("filter", why);
    }
    pairs.sort();
    (pairs, filter)
}

/// The conditions of an action, read from their texts.
///
/// # Errors
/// With every condition that this release does not have, or whose value it does not
/// take: a later release has started the action.
pub fn filter_of(conditions: &[(String, String)]) -> Result<ListFilter, Invalid> {
    let mut filter = ListFilter::default();
    let mut wrong = Vec::new();
    for (name, value) in conditions {
        match filter.set(name, value.clone()) {
            Ok(true) => {}
            Ok(false) => wrong.push(FieldError::new(name.clone(), "is unknown")),
            Err(why) => wrong.push(FieldError::new(name.clone(), why)),
        }
    }
    if wrong.is_empty() {
        Ok(filter)
    } else {
        Err(Invalid::arguments(wrong))
    }
}

/// The answer to a dry run: what an action would do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ActionPreview {
    /// `true`: nothing was changed.
    pub dry_run: bool,
    /// The operations that would be selected.
    pub matched: u64,
    /// Of these, those on which the action would succeed now.
    pub done: u64,
    /// Of these, those that would refuse.
    pub refused_count: u64,
    /// The first refusals, 20 at most.
    #[serde(default)]
    pub refused: Vec<ActionRefusal>,
    /// False if there are more operations than were counted.
    pub complete: bool,
    /// The consequence for each operation, in sentences.
    #[serde(default)]
    pub consequence: Vec<String>,
}

/// A page of actions, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ActionsView {
    /// The actions.
    pub actions: Vec<ActionView>,
    /// The cursor of the next page; `null` on the last page.
    pub next_cursor: Option<String>,
}

/// One action on many operations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ActionView {
    /// The id.
    pub id: String,
    /// `cancel`, `pause`, `resume`, `postpone`, `delete` or `run-again`.
    pub action: String,
    /// The conditions; without any, every operation is selected.
    pub filter: BTreeMap<String, String>,
    /// The time to postpone to, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub postpone_until: Option<String>,
    /// The reason, for people.
    pub reason: String,
    /// `running`, `aborting`, `done`, `aborted` or `failed`.
    pub state: String,
    /// The caller that has started it.
    pub started_by: String,
    /// The time at which it was started, RFC 3339.
    pub started_on: String,
    /// The time at which it ended, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_on: Option<String>,
    /// The caller that has aborted it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aborted_by: Option<String>,
    /// The reason why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// The reason why no manager executes it at present, while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub obstacle: Option<String>,
    /// The most operations that the caller means.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<u64>,
    /// The operations that were selected so far.
    pub counted: u64,
    /// Of these, done.
    pub done: u64,
    /// Of these, refused.
    pub refused_count: u64,
    /// The first refusals, 20 at most.
    #[serde(default)]
    pub refused: Vec<ActionRefusal>,
    /// The time down to which operations were looked at, by creation, RFC 3339;
    /// missing at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub looked_back_to: Option<String>,
}

/// An operation that refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActionRefusal {
    /// The operation's id.
    pub id: String,
    /// The error code, for programs.
    pub code: String,
    /// The reason, for people.
    pub message: String,
}

impl ActionView {
    /// Returns true until it has ended.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self.state.as_str(), "running" | "aborting")
    }
}

impl From<&BulkAction> for ActionView {
    fn from(action: &BulkAction) -> Self {
        let counts = &action.counts;
        let failure = match &action.stage {
            ActionStage::Failed(why) => Some(why.clone()),
            ActionStage::Running | ActionStage::Done | ActionStage::Aborted => None,
        };
        Self {
            id: action.id.to_string(),
            action: action.change.kind().name().to_owned(),
            filter: action.conditions.iter().cloned().collect(),
            postpone_until: action.change.until().map(|until| until.to_string()),
            reason: action.reason.clone(),
            state: action.stage_name().to_owned(),
            started_by: action.author.name(),
            started_on: action.started_on.to_string(),
            ended_on: action.ended_on.map(|at| at.to_string()),
            aborted_by: action.aborted_by.as_ref().map(|by| by.name()),
            failure,
            obstacle: action.obstacle().filter(|_| action.is_open()),
            expected: action.expected,
            counted: counts.counted,
            done: counts.done,
            refused_count: counts.refused,
            refused: counts.refusals.iter().map(ActionRefusal::from).collect(),
            looked_back_to: (action.stage != ActionStage::Done)
                .then(|| action.below.created().to_string()),
        }
    }
}

impl From<&BulkRefusal> for ActionRefusal {
    fn from(refusal: &BulkRefusal) -> Self {
        Self {
            id: refusal.id.to_string(),
            code: refusal.code.to_string(),
            message: refusal.message.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use drumline_protocol::{FailureKey, State};

    use super::*;

    #[test]
    fn an_action_is_read() {
        let body = br#"{"action": "cancel", "reason": "an error", "expected": 7,
            "filter": {"state": "Suspended", "messageName": "SendMail", "holdsToken": true}}"#;
        let read = StartAction::from_json(body).unwrap();
        assert_eq!(read.change, BulkChange::Cancel);
        assert_eq!(read.filter.state, Some(State::Suspended));
        assert_eq!(read.filter.holds_token, Some(true));
        let names = read.conditions.iter().map(|(name, _)| name.as_str());
        assert!(names.eq(["holdsToken", "messageName", "state"]));
        assert_eq!(filter_of(&read.conditions).unwrap(), read.filter);
        assert_eq!((read.expected, read.is_rehearsal), (Some(7), false));
        let body = br#"{"action": "run-again", "reason": "mended", "filter": {"failure": "00000000000000ab"}}"#;
        let read = StartAction::from_json(body).unwrap();
        assert_eq!(read.change, BulkChange::RunAgain);
        assert_eq!(read.filter.failure, Some(FailureKey(0xab)));
        let body = br#"{"action": "delete", "all": true, "dryRun": true}"#;
        let read = StartAction::from_json(body).unwrap();
        assert!(read.is_rehearsal && read.conditions.is_empty());
    }

    #[test]
    fn every_mistake_is_named() {
        let wrong = |body: &str| match StartAction::from_json(body.as_bytes()) {
            Err(Error::Invalid(invalid)) => {
                let names = invalid.attributes.into_iter().map(|one| one.name);
                names.collect::<Vec<_>>()
            }
            other => panic!("{body}: {other:?}"),
        };
        assert_eq!(wrong("{}"), ["action", "reason"]);
        let of = |rest: &str| wrong(&format!(r#"{{"action": "pause", "reason": "x", {rest}}}"#));
        assert_eq!(of(r#""all": false"#), ["filter"]);
        assert_eq!(of(r#""filter": {}"#), ["filter"]);
        assert_eq!(of(r#""filter": []"#), ["filter"]);
        assert_eq!(
            of(
                r#""filter": {"state": "", "name": null, "queue": {}, "color": "red", "failure": "all"}"#
            ),
            [
                "filter.state",
                "filter.name",
                "filter.queue",
                "filter.color",
                "filter.failure"
            ]
        );
        assert_eq!(
            of(r#""filter": {"name": "a"}, "postponeUntil": "2027-01-01T00:00:00Z", "also": 1"#),
            ["postponeUntil", "also"]
        );
        assert_eq!(
            wrong(r#"{"action": "postpone", "reason": " ", "all": true, "expected": -1}"#),
            ["postponeUntil", "reason", "expected"]
        );
        let long = "x".repeat(limits::ACTION_CONDITIONS_BYTES);
        let found = of(&format!(r#""filter": {{"ownerId": "{long}"}}"#));
        assert!(!found.is_empty(), "{found:?}");
    }
}
