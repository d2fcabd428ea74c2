//! The consequence of an action, in sentences: what a person should know before it is
//! done. The console, the API and the command line say the same.

use drumline_protocol::text::grouped;
use drumline_protocol::{Action, BulkKind, Header, State, TokenPolicy};
use serde::{Deserialize, Serialize};

/// The effect that an action would have on one operation now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Preview {
    /// `cancel`, `pause`, `resume`, `postpone` or `delete`.
    pub action: String,
    /// True if the operation would take the action.
    pub possible: bool,
    /// The reason why the operation would refuse it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
    /// The consequence, in sentences.
    pub consequence: Vec<String>,
}

/// The consequence of an action for an operation with this header and so many
/// operations behind it in its token, in sentences.
#[must_use]
pub fn of_one(action: Action, header: &Header, behind: u64) -> Vec<String> {
    let runs = header.status.state() == State::Locked;
    let host = header.host_id.as_deref().unwrap_or("its worker");
    let stop = || format!("Its handler on {host} is asked to stop.");
    let text = |text: &str| text.to_owned();
    let mut said = match action {
        Action::Cancel if header.is_series() => vec![text(
            "The series ends: it creates no further occurrence. Those that exist stay.",
        )],
        Action::Cancel if runs => vec![
            stop(),
            text("The operation is Canceling until the handler has stopped, and Canceled then."),
        ],
        Action::Cancel => vec![text(
            "The operation ends as Canceled, and does not run any more.",
        )],
        Action::Pause if header.is_series() => {
            vec![text(
                "The series creates no occurrence until it is resumed.",
            )]
        }
        Action::Pause if runs => vec![
            stop(),
            text("Then the operation waits until it is resumed, and goes on from its checkpoint."),
        ],
        Action::Pause => vec![text("The operation does not start until it is resumed.")],
        Action::Resume if header.holding => vec![
            text("The operation is skipped: its token goes on."),
            format!("The operation itself stays {}.", header.status.name()),
        ],
        Action::Resume if header.is_series() => {
            vec![text("The series goes on with its next time.")]
        }
        Action::Resume => vec![text(
            "The operation is Ready at once, and starts when it is its turn and a worker is free.",
        )],
        Action::Postpone if runs => vec![
            stop(),
            text("Then the operation waits until the time that is given."),
        ],
        Action::Postpone => vec![text(
            "The operation does not start before the time that is given.",
        )],
        Action::Delete => vec![
            text("The operation is removed, with its history, its data and its result."),
            text("This cannot be taken back."),
        ],
    };
    said.extend(of_those_behind(action, header, behind));
    said
}

/// The consequence for the operations behind one in its token.
fn of_those_behind(action: Action, header: &Header, behind: u64) -> Option<String> {
    let holds = header.rules.token_policy == TokenPolicy::Hold && header.starts > 0;
    let (of_one, of_many) = match action {
        Action::Cancel if holds => (
            "waits until a person resumes it, because its token is held",
            "wait until a person resumes it, because its token is held",
        ),
        Action::Cancel => ("can go on", "can go on, in their order"),
        Action::Pause | Action::Postpone => (
            "waits, too, because the order is kept",
            "wait, too, because the order is kept",
        ),
        Action::Resume if header.holding => ("can go on", "can go on, in their order"),
        Action::Resume | Action::Delete => return None,
    };
    match behind {
        0 => None,
        1 => Some(format!("The operation behind it in its token {of_one}.")),
        count => Some(format!(
            "The {} operations behind it in its token {of_many}.",
            grouped(count)
        )),
    }
}

/// The consequence of an action for each of many operations, in sentences.
#[must_use]
pub const fn of_many(kind: BulkKind) -> &'static [&'static str] {
    let action = match kind {
        BulkKind::Act(action) => action,
        BulkKind::RunAgain => {
            return &[
                "A new operation does the work of each again, with the same attributes and data; the old one stays as it is.",
                "The oldest run first, and those of a token keep their order.",
                "An operation that ran again in the last two days is left alone.",
            ];
        }
    };
    match action {
        Action::Cancel => &[
            "Each ends as Canceled.",
            "Handlers that run are asked to stop.",
            "What waits behind them in their tokens can go on, unless a token is held.",
        ],
        Action::Pause => &[
            "None starts until it is resumed.",
            "Handlers that run are asked to stop.",
            "What waits behind them in their tokens waits, too.",
            "Operations that are created later are not paused: a pause of a queue, a message name or a token does that.",
        ],
        Action::Resume => &[
            "Each is Ready at once.",
            "Those that hold their token are skipped, and the token goes on.",
        ],
        Action::Postpone => &[
            "None starts before the time that is given.",
            "Handlers that run are asked to stop.",
        ],
        Action::Delete => &[
            "Each is removed, with its history, its data and its result.",
            "This cannot be taken back.",
        ],
    }
}

#[cfg(test)]
mod tests {
    use drumline_protocol::operation::first_header;
    use drumline_protocol::{CommitId, Rules, Status, Timestamp};

    use super::*;

    fn header(status: Status) -> Header {
        let now = Timestamp::from_millis(1_795_000_000_000);
        Header {
            status,
            host_id: Some("host-1".to_owned()),
            ..first_header(Rules::default(), None, CommitId(1), now)
        }
    }

    #[test]
    fn a_cancel_says_who_can_go_on() {
        let said = of_one(Action::Cancel, &header(Status::WaitingForResources), 1_041);
        assert_eq!(
            said,
            [
                "The operation ends as Canceled, and does not run any more.",
                "The 1\u{a0}041 operations behind it in its token can go on, in their order.",
            ]
        );
        let said = of_one(Action::Cancel, &header(Status::InProgress), 0);
        assert_eq!(said.len(), 2, "{said:?}");
        assert_eq!(said[0], "Its handler on host-1 is asked to stop.");
    }

    #[test]
    fn a_held_token_waits_for_a_person() {
        let mut holds = header(Status::InProgress);
        holds.rules.token_policy = TokenPolicy::Hold;
        holds.starts = 1;
        let said = of_one(Action::Cancel, &holds, 1);
        let last = said.last().unwrap();
        assert!(last.contains("waits until a person resumes it"), "{last}");
        let mut held = header(Status::Failed);
        held.holding = true;
        let said = of_one(Action::Resume, &held, 1);
        let last = said.last().unwrap();
        assert_eq!(last, "The operation behind it in its token can go on.");
    }

    #[test]
    fn every_action_has_whole_sentences() {
        for action in Action::ALL {
            let many = of_many(BulkKind::Act(action))
                .iter()
                .map(ToString::to_string);
            for status in Status::ALL {
                let one = of_one(action, &header(status), 3);
                for sentence in one.into_iter().chain(many.clone()) {
                    assert!(sentence.ends_with('.'), "{sentence}");
                    assert!(sentence.starts_with(char::is_uppercase), "{sentence}");
                }
            }
        }
    }
}
