//! The fault of a request, as items of a batch show it and as a problem
//! document repeats it.

use drumline_api::FieldError;
use drumline_protocol::{ErrorCode, Timestamp};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::error::Error;

/// Seconds after which another try is worthwhile.
const RETRY_AFTER: &str = "Retry-After";
/// The time after which a request may be tried again that failed because
/// something was unavailable. Stores and brokers come back within seconds or
/// after minutes.
const RETRY_AFTER_SECONDS: u64 = 2;

/// A fault, in the words of the Dynamics service.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Fault {
    /// The number: `0x80040217`.
    pub error_code: String,
    /// The same as a word.
    pub name: &'static str,
    /// For people.
    pub message: String,
    /// For programs: the details of this kind of fault.
    pub error_details: Map<String, Value>,
    /// The index of the request in a transaction, from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub faulted_request_index: Option<usize>,
    /// The time of the fault.
    pub timestamp: String,
}

impl Fault {
    /// The fault that describes an error.
    #[must_use]
    pub fn of(error: &Error, now: Timestamp) -> Self {
        let code = error.code();
        let message = if code == ErrorCode::INTERNAL {
            tracing::error!(%error, "internal error");
            // The client cannot do anything with the details.
            "internal error; the log of the queue manager has the details".to_owned()
        } else {
            error.to_string()
        };
        Self {
            error_details: details(error),
            faulted_request_index: place_of(error),
            ..Self::plain(code, message, now)
        }
    }

    /// A fault without details.
    #[must_use]
    pub fn plain(code: ErrorCode, message: String, now: Timestamp) -> Self {
        Self {
            error_code: code.to_string(),
            name: code.name().unwrap_or("Unknown"),
            message,
            error_details: Map::new(),
            faulted_request_index: None,
            timestamp: now.to_string(),
        }
    }
}

const fn place_of(error: &Error) -> Option<usize> {
    if let Error::InTransaction { index, .. } = error {
        Some(*index)
    } else {
        None
    }
}

/// `errorDetails`, with names as users of the Dynamics service know them.
fn details(error: &Error) -> Map<String, Value> {
    let pair = match error {
        Error::BatchTooLarge { max, .. } => Some(("MaxBatchSize", json!(max))),
        Error::TooLarge { limit } => Some(("MaxBytes", json!(limit))),
        Error::TooDeep { limit, .. } => Some(("MaxDepth", json!(limit))),
        Error::Invalid(invalid) => {
            let wrong = invalid.attributes.iter();
            let wrong = wrong.map(|FieldError { name, why }| json!({"name": name, "detail": why}));
            Some(("Attributes", wrong.collect()))
        }
        Error::Refused(refused) => {
            let legal = refused.legal.iter().map(|action| action.name());
            Some(("LegalActions", legal.collect()))
        }
        Error::RateLimited(protected) => {
            let seconds = protected.retry_after.as_millis().div_ceil(1_000);
            let seconds = u64::try_from(seconds).unwrap_or(u64::MAX);
            Some((RETRY_AFTER, json!(seconds)))
        }
        Error::QuotaExceeded(exceeded) => {
            let seconds = exceeded.retry_after.as_millis().div_ceil(1_000);
            let seconds = u64::try_from(seconds).unwrap_or(u64::MAX);
            let mut details = Map::new();
            details.insert("Quota".to_owned(), json!(exceeded.quota.name()));
            details.insert("Limit".to_owned(), json!(exceeded.limit));
            details.insert(RETRY_AFTER.to_owned(), json!(seconds));
            return details;
        }
        Error::InTransaction { source, .. } => return details(source),
        Error::Busy { .. }
        | Error::Store(_)
        | Error::Broker(_)
        | Error::Stopping
        | Error::SearchTooLong => (error.code() == ErrorCode::SERVER_BUSY)
            .then(|| (RETRY_AFTER, json!(RETRY_AFTER_SECONDS))),
        Error::QueueUnusable { queue, .. } | Error::TooManyQueues { queue, .. } => {
            Some(("Queue", json!(queue.as_str())))
        }
        Error::Syntax { .. }
        | Error::NotFound { .. }
        | Error::NoPause { .. }
        | Error::NoFailures { .. }
        | Error::NoMute { .. }
        | Error::NoAction { .. }
        | Error::NoWorker { .. }
        | Error::TooManyActions { .. }
        | Error::NoBackup
        | Error::NotFrozen
        | Error::TransactionSpread
        | Error::KeyReused
        | Error::KeySpent { .. }
        | Error::Internal(_) => None,
    };
    let pair = pair.map(|(name, value)| (name.to_owned(), value));
    pair.into_iter().collect()
}
