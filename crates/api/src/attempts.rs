//! The attempts of an operation as programs and people see them.

use drumline_protocol::Attempt;
use serde::{Deserialize, Serialize};

/// The attempts of an operation, the earliest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AttemptsView {
    /// The attempts that are known. Where `number` jumps, the history does not keep
    /// them.
    pub attempts: Vec<AttemptView>,
    /// The number of attempts that are not kept.
    pub omitted: u64,
}

/// One start of a handler.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AttemptView {
    /// The number of the attempt, from 1.
    pub number: u32,
    /// `running`, `succeeded`, `failed`, `retried`, `suspended`, `stopped`,
    /// `released`, `lost`, `unknown`, and others in later releases.
    pub outcome: String,
    /// The time of the start, RFC 3339; absent if it is not kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_on: Option<String>,
    /// The time of the end; absent while it runs, and if it is not kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_on: Option<String>,
    /// The host id of the worker; absent if it is not kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_id: Option<String>,
    /// The code of the fault, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_code: Option<String>,
    /// The reason for people, cut to 120 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The end of what the handler has printed, as it was printed; absent if it has
    /// printed nothing, or if that is not kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    /// The number of bytes that were printed before `output` and are not kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_cut_bytes: Option<u64>,
}

impl AttemptsView {
    /// The view of these attempts, which are all that is known of so many starts.
    #[must_use]
    pub fn new(attempts: &[Attempt], starts: u32) -> Self {
        let known = u64::try_from(attempts.len()).unwrap_or(u64::MAX);
        Self {
            attempts: attempts.iter().map(AttemptView::from).collect(),
            omitted: u64::from(starts).saturating_sub(known),
        }
    }
}

impl From<&Attempt> for AttemptView {
    fn from(attempt: &Attempt) -> Self {
        let Attempt {
            number,
            started,
            ended,
            host,
            is_running: _,
            end: _,
            code,
            reason,
            output,
        } = attempt;
        Self {
            number: *number,
            outcome: attempt.outcome().to_owned(),
            started_on: started.map(|at| at.to_string()),
            ended_on: ended.map(|at| at.to_string()),
            host_id: host.clone(),
            error_code: code.map(|code| code.to_string()),
            reason: reason.clone(),
            output: output.as_ref().map(|output| output.text.clone()),
            output_cut_bytes: output.as_ref().map(|output| output.cut),
        }
    }
}

#[cfg(test)]
mod tests {
    use drumline_protocol::transition::EventKind;
    use drumline_protocol::{ErrorCode, Output, Timestamp};

    use super::*;

    #[test]
    fn an_attempt_is_shown_in_words() {
        let lost = Attempt {
            number: 1,
            started: Some(Timestamp::from_millis(1_795_000_000_000)),
            ended: Some(Timestamp::from_millis(1_795_000_001_000)),
            host: Some("host:1".to_owned()),
            end: Some(EventKind::LeaseExpired),
            ..Attempt::default()
        };
        let failed = Attempt {
            number: 7,
            end: Some(EventKind::Fail),
            code: Some(ErrorCode::NETWORK_ERROR),
            reason: Some("ECONNREFUSED".to_owned()),
            output: Some(Output {
                attempt: 7,
                cut: 12,
                text: "\u{1b}[1mx\n".to_owned(),
            }),
            ..Attempt::default()
        };
        let view = AttemptsView::new(&[lost, failed], 7);
        let shown = serde_json::to_value(&view).unwrap();
        assert_eq!(
            shown,
            serde_json::json!({
                "attempts": [{
                    "number": 1,
                    "outcome": "lost",
                    "startedOn": "2026-11-18T11:06:40.000Z",
                    "endedOn": "2026-11-18T11:06:41.000Z",
                    "hostId": "host:1",
                }, {
                    "number": 7,
                    "outcome": "failed",
                    "errorCode": ErrorCode::NETWORK_ERROR.to_string(),
                    "reason": "ECONNREFUSED",
                    "output": "\u{1b}[1mx\n",
                    "outputCutBytes": 12,
                }],
                "omitted": 5,
            })
        );
        assert_eq!(serde_json::from_value::<AttemptsView>(shown).unwrap(), view);
    }
}
