//! The page before an action: what it does, to which operation, and with what
//! consequence.

use askama::Template;
use drumline_protocol::{Action, Status};

use crate::frame::Frame;
use crate::text::Text;
use crate::words::{self, Badge};

/// The page.
#[derive(Debug, Template)]
#[template(path = "confirm.html")]
pub struct ConfirmPage {
    /// The frame.
    pub frame: Frame,
    /// The operation.
    pub id: String,
    /// The name of the operation.
    pub subject: Text,
    /// The status of the operation.
    pub status: Badge,
    /// The action.
    pub action: Action,
    /// The effects of the action.
    pub effects: Vec<Text>,
    /// True if the action is not possible now.
    pub is_impossible: bool,
    /// The time to postpone to, as it was given.
    pub until: String,
    /// The rule that the time breaks.
    pub mistake: Option<Text>,
}

impl ConfirmPage {
    /// The label of the button.
    #[must_use]
    pub fn label(&self) -> &'static str {
        words::action(self.action)
    }

    /// The address that the form is sent to.
    #[must_use]
    pub fn address(&self) -> String {
        format!("/operations/{}/{}", self.id, self.action.name())
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
}

/// A note about an action that was done; `None` if the operation, as it is now, does
/// not show that.
#[must_use]
pub fn done(action: Action, status: Status) -> Option<Text> {
    let is_shown = match action {
        Action::Cancel => matches!(status, Status::Canceled | Status::Canceling),
        Action::Pause | Action::Postpone => matches!(status, Status::Waiting | Status::Pausing),
        Action::Resume => !matches!(
            status,
            Status::Waiting | Status::Pausing | Status::Canceling
        ),
        Action::Delete => true,
    };
    let is_asked = matches!(status, Status::Pausing | Status::Canceling);
    let words = match action {
        Action::Cancel if is_asked => {
            "Its handler was asked to stop; it is cancelled when that has stopped"
        }
        Action::Cancel => "It was cancelled",
        Action::Pause if is_asked => {
            "Its handler was asked to stop; it is paused when that has stopped"
        }
        Action::Pause => "It was paused",
        Action::Resume => "It was resumed",
        Action::Postpone if is_asked => {
            "Its handler was asked to stop; it is postponed when that has stopped"
        }
        Action::Postpone => "It was postponed",
        Action::Delete => "It was deleted",
    };
    is_shown.then(|| Text::sentence(words))
}
