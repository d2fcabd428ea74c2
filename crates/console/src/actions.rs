//! The page of an action on many operations: its progress, and its end.

use askama::Template;
use drumline_protocol::{ActionStage, BulkAction, Timestamp};

use crate::frame::Frame;
use crate::text::{Text, address, number};
use crate::time::{Moment, exact};
use crate::words;

/// The numbers and the stage of an action, which change while a person looks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActionNumbers {
    /// Done.
    pub done: String,
    /// Refused.
    pub refused: String,
    /// Selected so far.
    pub counted: String,
    /// The stage in a sentence.
    pub stage: Text,
    /// True until it has ended.
    pub is_open: bool,
    /// True if nothing is left.
    pub is_done: bool,
}

impl ActionNumbers {
    /// The numbers of an action.
    #[must_use]
    pub fn of(action: &BulkAction) -> Self {
        let counts = &action.counts;
        Self {
            done: number(counts.done),
            refused: number(counts.refused),
            counted: number(counts.counted),
            stage: stage(action),
            is_open: action.is_open(),
            is_done: action.stage == ActionStage::Done,
        }
    }
}

/// The stage of an action in a sentence.
fn stage(action: &BulkAction) -> Text {
    let by = action.aborted_by.as_ref().map(|by| by.name());
    let by = by.as_deref().unwrap_or_default();
    let words = match &action.stage {
        ActionStage::Running if action.is_asked_to_stop() => {
            format!("it ends within a second, because {by} has aborted it")
        }
        ActionStage::Running => match action.obstacle() {
            Some(why) => format!("it waits: {why}"),
            None => progress(action),
        },
        ActionStage::Done => "nothing is left".to_owned(),
        ActionStage::Aborted => {
            format!("it was aborted by {by}; what was done stays done")
        }
        ActionStage::Failed(why) => format!("it could not go on: {why}"),
    };
    Text::sentence(&words)
}

/// The place that an action has reached, as a clause.
fn progress(action: &BulkAction) -> String {
    let ahead = action.ahead();
    if !ahead.is_whole {
        let back_to = exact(action.below.created());
        return format!("it goes on: it has looked back to {back_to}");
    }
    match ahead.done_to {
        Some(done_to) => {
            let done_to = exact(done_to.created());
            format!("it goes on: what was created before {done_to} is done")
        }
        None => "it goes on, from the oldest on".to_owned(),
    }
}

/// The page.
#[derive(Debug, Template)]
#[template(path = "action.html")]
pub struct ActionPage {
    /// The frame.
    pub frame: Frame,
    /// The id.
    pub id: String,
    /// The revision that is shown.
    pub revision: u64,
    /// The heading: the action on each operation.
    pub heading: &'static str,
    /// The conditions; empty: everything.
    pub conditions: Vec<(Text, Text)>,
    /// The time to postpone to.
    pub until: Option<Moment>,
    /// The reason.
    pub reason: Text,
    /// The caller that has started it.
    pub author: Text,
    /// The time at which it was started.
    pub started: Moment,
    /// The time at which it ended.
    pub ended: Option<Moment>,
    /// The numbers.
    pub numbers: ActionNumbers,
    /// The first refusals: operation, code, reason.
    pub refusals: Vec<(String, Text, Text)>,
    /// The address of a dry run of the same.
    pub again: String,
}

impl ActionPage {
    /// The page of an action.
    #[must_use]
    pub fn of(frame: Frame, action: &BulkAction, now: Timestamp) -> Self {
        let moment = |at| Moment { at, now };
        let conditions = action.conditions.iter();
        let name = action.change.kind().name();
        let pairs = action.conditions.iter();
        let pairs = pairs.map(|(name, value)| (name.as_str(), value.as_str()));
        let refusals = action.counts.refusals.iter();
        Self {
            frame,
            id: action.id.to_string(),
            revision: action.revision,
            heading: words::bulk_heading(action.change.kind()),
            conditions: conditions
                .map(|(name, value)| (Text::line(name), Text::line(value)))
                .collect(),
            until: action.change.until().map(moment),
            reason: Text::line(&action.reason),
            author: Text::line(&action.author.name()),
            started: moment(action.started_on),
            ended: action.ended_on.map(moment),
            numbers: ActionNumbers::of(action),
            refusals: refusals
                .map(|refusal| {
                    let code = Text::line(&refusal.code.to_string());
                    (refusal.id.to_string(), code, Text::line(&refusal.message))
                })
                .collect(),
            again: address(&format!("/many/{name}"), pairs),
        }
    }
}
