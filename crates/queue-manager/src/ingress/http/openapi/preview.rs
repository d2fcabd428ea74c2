//! Previews of actions, as the document describes them.

use serde::Serialize;
use utoipa::ToSchema;

/// The effect that an action would have on one operation now.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Preview {
    /// The action.
    action: ActionName,
    /// True if the operation would take the action.
    possible: bool,
    /// The reason why the operation would refuse the action.
    refusal: Option<String>,
    /// The consequence, in sentences.
    consequence: Vec<String>,
}

/// An action on operations.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum ActionName {
    /// End it, also a running one.
    Cancel,
    /// Let it wait for a person.
    Pause,
    /// Let it go on.
    Resume,
    /// Let it wait for a time.
    Postpone,
    /// Remove it, if it is Completed.
    Delete,
}

/// An action on many operations.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum BulkName {
    /// End each, also a running one.
    Cancel,
    /// Let each wait for a person.
    Pause,
    /// Let each go on.
    Resume,
    /// Let each wait for a time.
    Postpone,
    /// Remove each that is Completed.
    Delete,
    /// Do the work of each that is Completed again, by a new operation; the oldest first.
    RunAgain,
}
