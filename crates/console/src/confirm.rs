//! The page before an action: what it does, to which operation, and with what
//! consequence.

use askama::Template;
use drumline_protocol::{Action, Header, State, Status, TokenPolicy};

use crate::frame::Frame;
use crate::text::{Text, number};
use crate::words::{self, Badge};

/// The operations behind one in its token, in words; `None` if there are none.
fn behind_in_words(behind: u64) -> Option<String> {
    match behind {
        0 => None,
        1 => Some("The operation behind it in its token".to_owned()),
        count => Some(format!(
            "The {} operations behind it in its token",
            number(count)
        )),
    }
}

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

/// The effects of an action on an operation with this header and so many operations
/// behind it in its token, in sentences.
#[must_use]
pub fn effects(action: Action, header: &Header, behind: u64) -> Vec<Text> {
    let runs = header.status.state() == State::Locked;
    let host = header.host_id.as_deref().unwrap_or("its worker");
    let stop = format!("Its handler on {host} is asked to stop");
    let others = |of_one: &str, of_many: &str| {
        let what = if behind == 1 { of_one } else { of_many };
        behind_in_words(behind).map(|who| format!("{who} {what}"))
    };
    let mut said = match action {
        Action::Cancel if header.is_series() => {
            vec![
                "The series ends: it creates no further occurrence. Those that exist stay"
                    .to_owned(),
            ]
        }
        Action::Cancel if runs => vec![
            stop,
            "The operation is Canceling until the handler has stopped, and Canceled then"
                .to_owned(),
        ],
        Action::Cancel => {
            vec!["The operation ends as Canceled, and does not run any more".to_owned()]
        }
        Action::Pause if header.is_series() => {
            vec!["The series creates no occurrence until it is resumed".to_owned()]
        }
        Action::Pause if runs => vec![
            stop,
            "Then the operation waits until it is resumed, and goes on from its checkpoint"
                .to_owned(),
        ],
        Action::Pause => vec!["The operation does not start until it is resumed".to_owned()],
        Action::Resume if header.holding => vec![
            "The operation is skipped: its token goes on".to_owned(),
            format!("The operation itself stays {}", header.status.name()),
        ],
        Action::Resume if header.is_series() => {
            vec!["The series goes on with its next time".to_owned()]
        }
        Action::Resume => vec![
            "The operation is Ready at once, and starts when it is its turn and a worker is free"
                .to_owned(),
        ],
        Action::Postpone if runs => vec![
            stop,
            "Then the operation waits until the time below".to_owned(),
        ],
        Action::Postpone => vec!["The operation does not start before the time below".to_owned()],
        Action::Delete => vec![
            "The operation is removed, with its history, its data and its result".to_owned(),
            "This cannot be taken back".to_owned(),
        ],
    };
    said.extend(match action {
        Action::Cancel if header.rules.token_policy == TokenPolicy::Hold && header.starts > 0 => {
            others(
                "waits until a person resumes it, because its token is held",
                "wait until a person resumes it, because its token is held",
            )
        }
        Action::Cancel => others("can go on", "can go on, in their order"),
        Action::Pause | Action::Postpone => others(
            "waits, too, because the order is kept",
            "wait, too, because the order is kept",
        ),
        Action::Resume if header.holding => others("can go on", "can go on, in their order"),
        Action::Resume | Action::Delete => None,
    });
    said.iter().map(|text| Text::sentence(text)).collect()
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
