//! Pauses, as the document describes them.

use serde::Serialize;
use utoipa::ToSchema;

/// The pauses of an organization.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Pauses {
    /// By scope and name.
    pauses: Vec<Pause>,
}

/// One pause.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Pause {
    /// The id, which follows from organization, scope and name.
    #[schema(example = "a5b1c2d3e4f50617")]
    id: String,
    /// The attribute of operations that the pause is about; `everything` for a freeze.
    #[schema(example = "messageName")]
    scope: String,
    /// The queue, the message name, the token or the organization.
    #[schema(example = "SendMail")]
    name: String,
    /// The reason, for people.
    reason: String,
    /// The time at which the pause ends by itself; missing if it does not.
    #[schema(format = DateTime)]
    until: Option<String>,
    /// The caller that has set it.
    set_by: String,
    /// The time at which it was set.
    #[schema(format = DateTime)]
    set_on: String,
}

/// A pause that is to be set.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NewPause {
    /// The attribute of operations that the pause is about.
    scope: PauseScope,
    /// The queue, the message name or the token. Of an organization it may be
    /// missing: a pause is of the organization of the caller.
    #[schema(example = "SendMail")]
    name: Option<String>,
    /// The reason, for people.
    #[schema(max_length = 1000, example = "the mail server is down")]
    reason: String,
    /// The time at which the pause ends by itself.
    #[schema(format = DateTime)]
    until: Option<String>,
}

/// A freeze that is to be set.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NewFreeze {
    /// The reason, for people.
    #[schema(max_length = 1000, example = "Redis moves to another server")]
    reason: Option<String>,
    /// The time at which the freeze ends by itself.
    #[schema(format = DateTime)]
    until: Option<String>,
}

/// The attribute of operations that a pause is about.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum PauseScope {
    /// The queue.
    Queue,
    /// The message name.
    MessageName,
    /// Everything in the organization.
    Organization,
    /// The dependency token.
    DependencyToken,
}
