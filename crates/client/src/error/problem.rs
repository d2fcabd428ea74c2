//! A refusal of the service: `application/problem+json` (RFC 9457).

use std::time::Duration;

use drumline_protocol::ErrorCode;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use serde::Deserialize;
use serde_json::{Map, Value};

/// The reason that the service says no.
#[derive(Clone, Debug, PartialEq, Deserialize, thiserror::Error)]
#[serde(rename_all = "camelCase")]
#[error("{}", text(.detail, .title))]
pub struct Problem {
    /// The HTTP status.
    #[serde(default)]
    pub status: u16,
    /// The kind of problem, in some words.
    #[serde(default)]
    pub title: String,
    /// The exact problem, for people.
    #[serde(default)]
    pub detail: String,
    /// The number that users know: `0x80044F00`.
    #[serde(with = "super::code")]
    pub code: ErrorCode,
    /// The stable name of the code: `CannotCancel`.
    #[serde(default)]
    pub name: String,
    /// The attributes that break a rule, if the problem is about attributes.
    #[serde(default)]
    pub attributes: Vec<WrongAttribute>,
    /// The actions that the operation allows instead, if the problem is about
    /// an action.
    #[serde(default)]
    pub legal_actions: Vec<String>,
    /// For organization requests: numbers that belong to the refusal, as
    /// `MaxBatchSize`.
    #[serde(default)]
    pub error_details: Map<String, Value>,
    /// For a transaction: the index of the request that is to blame, from 0.
    #[serde(default)]
    pub faulted_request_index: Option<usize>,
    /// For organization requests: the time, RFC 3339.
    #[serde(default)]
    pub timestamp: Option<String>,
    /// The time after which the service wants the request again.
    #[serde(skip)]
    pub retry_after: Option<Duration>,
}

/// One attribute that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct WrongAttribute {
    /// Its name.
    pub name: String,
    /// The rule.
    #[serde(default)]
    pub detail: String,
}

impl Problem {
    /// The problem in the body of an answer; `None` if the body is not ours.
    pub(super) fn read(text: &str, status: u16, retry_after: Option<Duration>) -> Option<Self> {
        let problem: Self = serde_json::from_str(text).ok()?;
        Some(Self {
            status,
            retry_after,
            ..problem
        })
    }

    /// Advice for a person.
    pub(super) fn hint(&self) -> Option<String> {
        if !self.legal_actions.is_empty() {
            return Some(format!("possible now: {}", self.legal_actions.join(", ")));
        }
        if let Some(span) = self.retry_after {
            return Some(format!("try again in {} s", span.as_secs()));
        }
        let text = match self.status {
            404 if self.code == ErrorCode::NOT_FOUND => {
                "look for it with `drumline list`; a deleted operation cannot be read any more"
            }
            413 => {
                "store the large part elsewhere and send a reference, or raise --max-body of the queue manager"
            }
            429 | 502..=504 => "try again later; `drumline doctor` shows the cause",
            500 => "this is a bug in Drumline; the log of the queue manager has details",
            _ => return None,
        };
        Some(text.to_owned())
    }
}

/// The detail says it all; the title is for problems that have none.
fn text<'a>(detail: &'a str, title: &'a str) -> &'a str {
    if detail.is_empty() { title } else { detail }
}

/// `Retry-After` in seconds; the service never sends a date.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_read_with_everything_in_it() {
        let text = r#"{"type":"/docs/errors/InvalidArgument.md","title":"Invalid argument","status":422,
            "detail":"name is too long","code":"0x80040203","name":"InvalidArgument","instance":"/v1/operations",
            "attributes":[{"name":"name","detail":"is too long"}]}"#;
        let problem = Problem::read(text, 422, None).unwrap();
        assert_eq!(problem.code, ErrorCode::INVALID_ARGUMENT);
        assert_eq!(problem.attributes[0].name, "name");
        assert_eq!(problem.to_string(), "name is too long");
        assert_eq!(problem.hint(), None);
    }

    #[test]
    fn what_is_possible_instead_is_the_way_out() {
        let text = r#"{"code":"0x80044F01","name":"CannotPause","detail":"no","legalActions":["resume","cancel"]}"#;
        let problem = Problem::read(text, 409, None).unwrap();
        assert_eq!(
            problem.hint().as_deref(),
            Some("possible now: resume, cancel")
        );
    }

    #[test]
    fn answers_of_others_are_no_problems_of_ours() {
        for text in ["", "<html>", "{}", r#"{"code":"E42"}"#, r#"{"code":7}"#] {
            assert_eq!(Problem::read(text, 502, None), None, "{text}");
        }
    }
}
