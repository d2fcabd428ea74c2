//! Actions on many operations, as the document describes them.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::{BulkName, ListFilter};
use crate::ingress::http::bulk::RefusalView;

/// A page of actions.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Actions {
    /// Newest first.
    actions: Vec<Action>,
    /// The cursor of the next page; `null` on the last page.
    next_cursor: Option<String>,
}

/// One action on many operations.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Action {
    /// The id.
    #[schema(format = "uuid")]
    id: String,
    /// The action on each operation.
    action: BulkName,
    /// The conditions, as in a listing. Without any, every operation is selected.
    filter: BTreeMap<String, String>,
    /// The time to postpone to.
    #[schema(format = DateTime)]
    postpone_until: Option<String>,
    /// The reason, for people.
    reason: String,
    /// The stage.
    state: ActionState,
    /// The caller that has started it.
    started_by: String,
    /// The time at which it was started.
    #[schema(format = DateTime)]
    started_on: String,
    /// The time at which it ended.
    #[schema(format = DateTime)]
    ended_on: Option<String>,
    /// The caller that has aborted it.
    aborted_by: Option<String>,
    /// The reason why it failed.
    failure: Option<String>,
    /// The reason why no manager executes it at present, while it runs.
    obstacle: Option<String>,
    /// The most operations that the caller means.
    expected: Option<u64>,
    /// The number of operations that were selected so far.
    counted: u64,
    /// The number of these for which the action was done.
    done: u64,
    /// The number of these for which the action was refused.
    refused_count: u64,
    /// The first 20 refusals.
    refused: Vec<RefusalView>,
    /// The time of creation down to which operations were looked at. Missing at the
    /// end.
    #[schema(format = DateTime)]
    looked_back_to: Option<String>,
}

/// An action that is to be started.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NewAction {
    /// The action on each operation.
    action: BulkName,
    /// The conditions, as in a listing; several must all hold. At least one is
    /// required, or `all`.
    filter: Option<ListFilter>,
    /// `true` selects all operations, in place of a filter.
    all: Option<bool>,
    /// The reason, for people. Required, except for a dry run.
    #[schema(max_length = 1000, example = "the mail server is down")]
    reason: Option<String>,
    /// The time to postpone to; required to postpone.
    #[schema(format = DateTime)]
    postpone_until: Option<String>,
    /// The most operations that the caller means. If more match, nothing is started;
    /// if more are met later, the action fails before them.
    expected: Option<u64>,
    /// `true` changes nothing, and reports what would be done.
    dry_run: Option<bool>,
}

/// The result of a dry run.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ActionPreview {
    /// `true`: nothing was changed.
    dry_run: bool,
    /// The number of operations that would be selected.
    matched: u64,
    /// The number of these for which the action would be done.
    done: u64,
    /// The number of these for which the action would be refused.
    refused_count: u64,
    /// The first 20 refusals.
    refused: Vec<RefusalView>,
    /// `false` if there are more operations than were counted.
    complete: bool,
    /// The consequence for each operation, in sentences.
    consequence: Vec<String>,
}

/// The stage of an action.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum ActionState {
    /// It goes on.
    Running,
    /// It ends soon, because a caller has aborted it.
    Aborting,
    /// Nothing is left.
    Done,
    /// A caller has aborted it.
    Aborted,
    /// It could not go on.
    Failed,
}
