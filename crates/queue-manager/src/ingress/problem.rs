//! Errors as problem documents (RFC 9457): the one place where an error meets
//! an HTTP status. Both ingresses answer with these documents.

use std::time::Duration;

use axum::http::StatusCode;
use drumline_api::{FieldError, Invalid};
use drumline_backend::{broker, store};
use drumline_protocol::{ErrorCode, Timestamp};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use crate::error::Error;
use crate::quotas::Quota;
use crate::service::Fault;

/// The time after which a client may repeat a request that failed because
/// something was unavailable. Stores and brokers come back within seconds or
/// after minutes. Two seconds cost a client little in the first case and this
/// service little in the second.
const RETRY_AFTER_SECONDS: u16 = 2;

/// The same if an operator has to act first: a suspect queue is tried again
/// about that often.
const RETRY_UNUSABLE_SECONDS: u16 = 30;

/// The media type of a problem document.
pub(crate) const MEDIA_TYPE: &str = "application/problem+json";

/// An error, as `application/problem+json`.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Problem {
    /// The page about this kind of error, relative to this server.
    #[serde(rename = "type")]
    #[schema(example = "/docs/errors/CannotPause.md")]
    pub(crate) kind: String,
    /// The kind of error, for people.
    pub(crate) title: String,
    /// The HTTP status.
    pub(crate) status: u16,
    /// The error of this request, for people.
    pub(crate) detail: String,
    /// The error code, for programs: the number of the Dynamics service, if that
    /// has one.
    #[serde(serialize_with = "as_text")]
    #[schema(value_type = String, example = "0x80044F01")]
    pub(crate) code: ErrorCode,
    /// The name of the error code.
    #[schema(example = "CannotPause")]
    pub(crate) name: &'static str,
    /// The address of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) instance: Option<String>,
    /// The attributes that break a rule, for errors about attributes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) attributes: Vec<WrongAttribute>,
    /// The actions that the state of the operation allows, for refused actions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) legal_actions: Option<Vec<&'static str>>,
    /// The same as `code`, under its name in faults of organization requests. This
    /// member and the following ones exist on `/v1/execute` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error_code: Option<String>,
    /// The same as `detail`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) message: Option<String>,
    /// Details that depend on the code, such as `MaxBatchSize`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub(crate) error_details: Option<Map<String, Value>>,
    /// The index of the request of a transaction that faulted, from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) faulted_request_index: Option<usize>,
    /// The time of the fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub(crate) timestamp: Option<String>,
    /// Seconds; also in the header.
    #[serde(skip)]
    pub(crate) retry_after: Option<u16>,
    /// The limit of bytes, for a body that is over it.
    #[serde(skip)]
    max_bytes: Option<usize>,
}

/// One attribute that breaks a rule.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct WrongAttribute {
    /// The name of the attribute.
    pub(crate) name: String,
    /// The rule that it breaks.
    pub(crate) detail: String,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, code: ErrorCode, detail: impl Into<String>) -> Self {
        let name = code.name().unwrap_or("Unknown");
        Self {
            kind: format!("/docs/errors/{name}.md"),
            title: title(name),
            status: status.as_u16(),
            detail: detail.into(),
            code,
            name,
            instance: None,
            attributes: Vec::new(),
            legal_actions: None,
            error_code: None,
            message: None,
            error_details: None,
            faulted_request_index: None,
            timestamp: None,
            retry_after: None,
            max_bytes: None,
        }
    }

    /// The problem of an organization request, with the members of a fault.
    pub(crate) fn of_execute(error: Error, now: Timestamp) -> Box<Self> {
        let fault = Fault::of(&error, now);
        Box::new(Self::from(error).with_fault(fault))
    }

    /// Returns the same problem with the address of the request.
    pub(crate) fn at(self, path: impl Into<String>) -> Self {
        Self {
            instance: Some(path.into()),
            ..self
        }
    }

    /// The document.
    pub(crate) fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    fn with_fault(self, fault: Fault) -> Self {
        Self {
            error_code: Some(fault.error_code),
            message: Some(fault.message),
            error_details: Some(fault.error_details),
            faulted_request_index: fault.faulted_request_index,
            timestamp: Some(fault.timestamp),
            ..self
        }
    }

    /// Returns the same problem with the members of a fault, for errors that
    /// came before there was a request that could have one.
    pub(crate) fn into_fault(self, now: Timestamp) -> Self {
        let mut details = Map::new();
        if let Some(limit) = self.max_bytes {
            details.insert("MaxBytes".to_owned(), limit.into());
        }
        if !self.attributes.is_empty() {
            details.insert("Attributes".to_owned(), json!(self.attributes));
        }
        Self {
            error_code: Some(self.code.to_string()),
            message: Some(self.detail.clone()),
            error_details: Some(details),
            timestamp: Some(now.to_string()),
            ..self
        }
    }

    const fn is_internal(&self) -> bool {
        self.status == StatusCode::INTERNAL_SERVER_ERROR.as_u16()
    }

    /// A body with more bytes than a request may have.
    pub(crate) fn too_large(limit: usize) -> Box<Self> {
        let detail = format!("the body has more than {limit} bytes");
        let problem = Self::new(StatusCode::PAYLOAD_TOO_LARGE, ErrorCode::TOO_LARGE, detail);
        Box::new(Self {
            max_bytes: Some(limit),
            ..problem
        })
    }

    pub(crate) fn busy(detail: String) -> Self {
        Self {
            retry_after: Some(RETRY_AFTER_SECONDS),
            ..Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                ErrorCode::SERVER_BUSY,
                detail,
            )
        }
    }

    fn internal(detail: &str) -> Self {
        tracing::error!(detail, "internal error");
        // The client cannot do anything with the details.
        let detail = "internal error; the log of the queue manager has the details";
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            ErrorCode::INTERNAL,
            detail,
        )
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let detail = error.to_string();
        match error {
            Error::Syntax { .. } => Self::new(StatusCode::BAD_REQUEST, ErrorCode::BAD_JSON, detail),
            Error::Invalid(invalid) => Self::from(invalid),
            Error::NotFound { .. }
            | Error::NoPause { .. }
            | Error::NoFailures { .. }
            | Error::NoMute { .. }
            | Error::NoAction { .. }
            | Error::NoWorker { .. }
            | Error::NoBackup
            | Error::NotFrozen => Self::new(StatusCode::NOT_FOUND, ErrorCode::NOT_FOUND, detail),
            Error::TooManyActions { .. } => Self {
                retry_after: Some(RETRY_AFTER_SECONDS),
                ..Self::new(
                    StatusCode::TOO_MANY_REQUESTS,
                    ErrorCode::TOO_MANY_AT_ONCE,
                    detail,
                )
            },
            Error::Refused(refused) => Self {
                legal_actions: Some(refused.legal.iter().map(|action| action.name()).collect()),
                ..Self::new(StatusCode::CONFLICT, refused.code, detail)
            },
            Error::KeyReused | Error::KeySpent { .. } => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                ErrorCode::KEY_REUSED,
                detail,
            ),
            Error::TooManyQueues { .. } => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                ErrorCode::TOO_MANY_QUEUES,
                detail,
            ),
            Error::BatchTooLarge { .. } => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                ErrorCode::INVALID_ARGUMENT,
                detail,
            ),
            Error::TooLarge { .. } => {
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, ErrorCode::TOO_LARGE, detail)
            }
            Error::InTransaction { source, .. } => {
                let inner = Self::from(*source);
                let detail = if inner.is_internal() {
                    inner.detail
                } else {
                    detail
                };
                Self { detail, ..inner }
            }
            Error::TooDeep { .. } => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                ErrorCode::INFINITE_LOOP,
                detail,
            ),
            Error::TransactionSpread => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                ErrorCode::TRANSACTION_SPREAD,
                detail,
            ),
            Error::QueueUnusable { .. } => Self {
                retry_after: Some(RETRY_UNUSABLE_SECONDS),
                ..Self::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    ErrorCode::QUEUE_UNUSABLE,
                    detail,
                )
            },
            Error::RateLimited(rate_limited) => Self {
                retry_after: Some(whole_seconds(rate_limited.retry_after)),
                ..Self::new(StatusCode::TOO_MANY_REQUESTS, rate_limited.code(), detail)
            },
            Error::QuotaExceeded(exceeded) => {
                let status = match exceeded.quota {
                    Quota::Bytes => StatusCode::INSUFFICIENT_STORAGE,
                    Quota::Open | Quota::Series | Quota::Tokens | Quota::CreatesPerMinute => {
                        StatusCode::TOO_MANY_REQUESTS
                    }
                };
                Self {
                    retry_after: Some(whole_seconds(exceeded.retry_after)),
                    ..Self::new(status, ErrorCode::QUOTA_EXCEEDED, detail)
                }
            }
            Error::Store(store::Error::Unavailable { .. })
            | Error::Busy { .. }
            | Error::Stopping
            | Error::SearchTooLong => Self::busy(detail),
            Error::Store(store::Error::Corrupt(_) | store::Error::Unfit(_)) => {
                Self::internal(&detail)
            }
            Error::Broker(
                broker::Error::Unavailable { .. }
                | broker::Error::Blocked { .. }
                | broker::Error::Unroutable { .. }
                | broker::Error::Queue { .. }
                | broker::Error::Refused,
            ) => Self::busy(detail),
            Error::Broker(broker::Error::Encode(_)) | Error::Internal(_) => Self::internal(&detail),
        }
    }
}

impl From<Invalid> for Problem {
    fn from(invalid: Invalid) -> Self {
        let detail = invalid.to_string();
        let attributes = invalid.attributes.into_iter();
        Self {
            attributes: attributes
                .map(|FieldError { name, why }| WrongAttribute { name, detail: why })
                .collect(),
            ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, invalid.code, detail)
        }
    }
}

impl From<Error> for Box<Problem> {
    fn from(error: Error) -> Self {
        Self::new(Problem::from(error))
    }
}

impl From<drumline_api::Error> for Box<Problem> {
    fn from(error: drumline_api::Error) -> Self {
        Self::from(Error::from(error))
    }
}

impl From<Invalid> for Box<Problem> {
    fn from(invalid: Invalid) -> Self {
        Self::new(Problem::from(invalid))
    }
}

/// The value of `Retry-After` for a span. Rounded up: a caller that comes too
/// early is refused again.
fn whole_seconds(span: Duration) -> u16 {
    let seconds = span.as_millis().div_ceil(1_000);
    u16::try_from(seconds).unwrap_or(u16::MAX)
}

fn as_text<S: Serializer>(code: &ErrorCode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(code)
}

/// `CannotPause` → `Cannot pause`.
fn title(name: &str) -> String {
    let mut title = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !title.is_empty() {
            title.push(' ');
            title.extend(letter.to_lowercase());
        } else {
            title.push(letter);
        }
    }
    title
}
