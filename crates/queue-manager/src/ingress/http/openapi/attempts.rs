//! The attempts of an operation, as the document describes them.

use serde::Serialize;
use utoipa::ToSchema;

/// The attempts of an operation.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Attempts {
    /// The attempts that are known, the earliest first. Where `number` jumps, the
    /// history does not keep them.
    attempts: Vec<Attempt>,
    /// The number of attempts that are not kept.
    omitted: u64,
}

/// One start of a handler.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Attempt {
    /// The number of the attempt.
    #[schema(minimum = 1)]
    number: u32,
    /// `running`, `succeeded`, `failed`, `retried`, `suspended`, `stopped`, `released`,
    /// `lost`, or `unknown` where the history does not keep the end. Later releases may
    /// add others.
    #[schema(example = "retried")]
    outcome: String,
    /// The time of the start; absent if it is not kept.
    #[schema(format = DateTime)]
    started_on: Option<String>,
    /// The time of the end; absent while it runs, and if it is not kept.
    #[schema(format = DateTime)]
    ended_on: Option<String>,
    /// The host id of the worker.
    host_id: Option<String>,
    /// The code of the fault, if there was one.
    error_code: Option<String>,
    /// The reason for people, cut to 120 characters.
    reason: Option<String>,
    /// The end of what the handler has printed, as it was printed: it may have control
    /// characters. Absent if it has printed nothing, or if that is not kept.
    output: Option<String>,
    /// The number of bytes that were printed before `output` and are not kept.
    output_cut_bytes: Option<u64>,
}
