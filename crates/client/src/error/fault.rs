//! The fault of an organization request: alone, or of one item of a batch.

use std::time::Duration;

use drumline_protocol::ErrorCode;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::problem::Problem;

/// The reason that an organization request was not executed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "camelCase")]
#[error("{message}")]
pub struct Fault {
    /// The number that users know.
    #[serde(with = "super::code")]
    pub error_code: ErrorCode,
    /// The stable name of the code.
    #[serde(default)]
    pub name: String,
    /// The fault in words, for people.
    #[serde(default)]
    pub message: String,
    /// Numbers that belong to it: `{"MaxBatchSize": 1000}`.
    #[serde(default)]
    pub error_details: Map<String, Value>,
    /// The index of the request of a transaction that is to blame, from 0.
    #[serde(default)]
    pub faulted_request_index: Option<usize>,
    /// The time of the fault, RFC 3339.
    #[serde(default)]
    pub timestamp: Option<String>,
}

impl Fault {
    /// The number of items that a batch may have, if it had too many.
    #[must_use]
    pub fn max_batch_size(&self) -> Option<usize> {
        let number = self.error_details.get("MaxBatchSize")?.as_u64()?;
        usize::try_from(number).ok()
    }

    /// Returns true if the same request may succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        self.error_code == ErrorCode::SERVER_BUSY || self.retry_after().is_some()
    }

    /// The time after which the service wants the request again.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        let seconds = self.error_details.get("Retry-After")?.as_u64()?;
        Some(Duration::from_secs(seconds))
    }
}

impl From<&Problem> for Fault {
    fn from(problem: &Problem) -> Self {
        Self {
            error_code: problem.code,
            name: problem.name.clone(),
            message: problem.to_string(),
            error_details: problem.error_details.clone(),
            faulted_request_index: problem.faulted_request_index,
            timestamp: problem.timestamp.clone(),
        }
    }
}
