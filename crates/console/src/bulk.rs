//! The page of an action on everything that a filter selects: a dry run first, then
//! what was done.

use askama::Template;
use drumline_protocol::Action;

use crate::frame::Frame;
use crate::operations::Filter;
use crate::text::{Text, address, number};
use crate::words;

/// The number of operations from which on the number has to be typed.
pub(crate) const TYPED_FROM: u64 = 100;

/// Returns true if an action on so many operations needs their number, typed by a person:
/// for many, and where no condition selects them.
#[must_use]
pub fn is_typed(filter: &Filter, count: u64) -> bool {
    count >= TYPED_FROM || filter.pairs.iter().all(|(name, _)| name == "all")
}

/// The outcome of an action on many, or of its dry run.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// The operations that were selected.
    pub matched: u64,
    /// Of these, done; in a dry run, those on which it would succeed.
    pub done: u64,
    /// Of these, refused.
    pub refused: u64,
    /// The first refusals: operation, code, reason.
    pub refusals: Vec<(String, Text, Text)>,
    /// The place to go on at; `None`: nothing is left.
    pub next: Option<String>,
}

/// The page.
#[derive(Debug, Template)]
#[template(path = "bulk.html")]
pub struct BulkPage {
    /// The frame.
    pub frame: Frame,
    /// The action.
    pub action: Action,
    /// The conditions.
    pub filter: Filter,
    /// True before anything is changed.
    pub is_dry_run: bool,
    /// The outcome.
    pub outcome: Outcome,
    /// Operations that were done by the calls before this one.
    pub done_before: u64,
    /// The time to postpone to, as it was given.
    pub until: String,
    /// The mistake in the form.
    pub mistake: Option<Text>,
}

impl BulkPage {
    /// The label of the action.
    #[must_use]
    pub fn label(&self) -> &'static str {
        words::action(self.action)
    }

    /// The address that the form is sent to.
    #[must_use]
    pub fn address(&self) -> String {
        format!("/many/{}", self.action.name())
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

    /// All operations that were done.
    #[must_use]
    pub fn total(&self) -> String {
        number(self.outcome.done + self.done_before)
    }

    /// Returns true if the number has to be typed.
    #[must_use]
    pub fn needs_count(&self) -> bool {
        self.outcome.next.is_some() || is_typed(&self.filter, self.outcome.done)
    }

    /// Returns true if the action cannot be taken back.
    #[must_use]
    pub fn is_final(&self) -> bool {
        matches!(self.action, Action::Cancel | Action::Delete)
    }

    /// Returns true if the action needs a time.
    #[must_use]
    pub fn needs_time(&self) -> bool {
        self.action == Action::Postpone
    }

    /// The effect of the action on each operation, in sentences.
    #[must_use]
    pub fn effect(&self) -> &'static str {
        match self.action {
            Action::Cancel => {
                "Each ends as Canceled. Handlers that run are asked to stop. What waits behind them in their tokens can go on, unless a token is held."
            }
            Action::Pause => {
                "None starts until it is resumed. Handlers that run are asked to stop. What waits behind them in their tokens waits, too. Operations that are created later are not paused: a pause of a queue, a message name or a token does that."
            }
            Action::Resume => {
                "Each is Ready at once. Those that hold their token are skipped, and the token goes on."
            }
            Action::Postpone => {
                "None starts before the time below. Handlers that run are asked to stop."
            }
            Action::Delete => {
                "Each is removed, with its history, its data and its result. This cannot be taken back."
            }
        }
    }

    /// The address of the same page with another selection: the grid.
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
        Text::line(&format!("drumline {}{rest}{until}", self.action.name()))
    }

    /// The address of the dry run.
    #[must_use]
    pub fn again(&self) -> String {
        let pairs = self.filter.pairs.iter();
        let pairs = pairs.map(|(name, value)| (name.as_str(), value.as_str()));
        address(&self.address(), pairs)
    }
}
