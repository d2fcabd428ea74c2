//! The page before an action on everything that a filter selects: a dry run, and the
//! form that starts the action.

use askama::Template;
use drumline_protocol::{Action, BulkKind};

use crate::frame::Frame;
use crate::operations::Filter;
use crate::text::{Text, number};
use crate::words;

/// The number of operations from which on the number has to be typed.
pub(crate) const TYPED_FROM: u64 = 100;

/// Returns true if an action on so many operations needs their number, typed by a person:
/// for many, and where no condition selects them.
#[must_use]
pub fn is_typed(filter: &Filter, count: u64) -> bool {
    count >= TYPED_FROM || filter.pairs.iter().all(|(name, _)| name == "all")
}

/// The outcome of a dry run.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// The operations that were selected.
    pub matched: u64,
    /// Of these, those on which the action would succeed.
    pub done: u64,
    /// Of these, those that would refuse.
    pub refused: u64,
    /// The first refusals: operation, code, reason.
    pub refusals: Vec<(String, Text, Text)>,
    /// True if there are more than were counted.
    pub has_more: bool,
}

/// The page.
#[derive(Debug, Template)]
#[template(path = "bulk.html")]
pub struct BulkPage {
    /// The frame.
    pub frame: Frame,
    /// The action.
    pub kind: BulkKind,
    /// The conditions.
    pub filter: Filter,
    /// The outcome of the dry run.
    pub outcome: Outcome,
    /// The consequence for each operation.
    pub consequence: Text,
    /// The reason, as it was given.
    pub reason: String,
    /// The time to postpone to, as it was given.
    pub until: String,
    /// The mistake in the form.
    pub mistake: Option<Text>,
}

impl BulkPage {
    /// The heading, which the page puts as a question.
    #[must_use]
    pub fn heading(&self) -> &'static str {
        words::bulk_heading(self.kind)
    }

    /// The word for what would happen to each.
    #[must_use]
    pub fn would(&self) -> &'static str {
        match self.kind {
            BulkKind::Act(_) => "would be changed",
            BulkKind::RunAgain => "would run again",
        }
    }

    /// The label of the button.
    #[must_use]
    pub fn button(&self) -> &'static str {
        match self.kind {
            BulkKind::Act(Action::Cancel) => "Cancel them",
            BulkKind::Act(Action::Pause) => "Pause them",
            BulkKind::Act(Action::Resume) => "Resume them",
            BulkKind::Act(Action::Postpone) => "Postpone them",
            BulkKind::Act(Action::Delete) => "Delete them",
            BulkKind::RunAgain => "Run them again",
        }
    }

    /// The address that the form is sent to.
    #[must_use]
    pub fn address(&self) -> String {
        format!("/many/{}", self.kind.name())
    }

    /// The address of the operations that are selected.
    #[must_use]
    pub fn list(&self) -> String {
        self.filter.with("", "")
    }

    /// The conditions in words; everything without any.
    #[must_use]
    pub fn conditions(&self) -> Vec<(Text, Text)> {
        let pairs = self.filter.pairs.iter();
        pairs
            .map(|(name, value)| (Text::line(name), Text::line(value)))
            .collect()
    }

    /// The number of operations that the action would be done to, to be typed.
    #[must_use]
    pub fn count(&self) -> String {
        number(self.outcome.done)
    }

    /// The number of refusals.
    #[must_use]
    pub fn refused(&self) -> String {
        number(self.outcome.refused)
    }

    /// Returns true if the number has to be typed.
    #[must_use]
    pub fn needs_count(&self) -> bool {
        self.outcome.has_more || is_typed(&self.filter, self.outcome.done)
    }

    /// Returns true if the action cannot be taken back.
    #[must_use]
    pub fn is_final(&self) -> bool {
        matches!(self.kind, BulkKind::Act(Action::Cancel | Action::Delete))
    }

    /// Returns true if the action needs a time.
    #[must_use]
    pub fn needs_time(&self) -> bool {
        self.kind == BulkKind::Act(Action::Postpone)
    }

    /// The command that does the same.
    #[must_use]
    pub fn command(&self) -> Text {
        let list = self.filter.command();
        let rest = list
            .as_str()
            .strip_prefix("drumline list")
            .unwrap_or_default();
        let rest = if rest.is_empty() { " --all" } else { rest };
        let until = if self.needs_time() {
            " --until TIME"
        } else {
            ""
        };
        Text::line(&format!("drumline {}{rest}{until}", self.kind.name()))
    }
}
