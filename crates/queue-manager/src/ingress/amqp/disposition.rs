//! The disposition of a request, once there is an answer to it.
//!
//! | status | with `reply_to` | without |
//! |---|---|---|
//! | 2xx | answered | done |
//! | 400, 413, 415, 422, 500: it will never be done as it is | answered and put aside | put aside |
//! | 404, 409, 429 and other refusals | answered | put aside: there is no receiver |
//! | 503: the store or the broker is unavailable | tried again | tried again |
//! | 503: the broker refuses to declare the queue | answered | put aside |
//!
//! Whatever it is, the request is acknowledged afterwards.

use axum::http::StatusCode;
use drumline_backend::intake::{Envelope, Refused, Reply};
use drumline_protocol::ErrorCode;
use serde::Deserialize;

use super::in_process_http::{Answer, PROBLEM};
use crate::ingress::problem::Problem;

/// The disposition of a request.
#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) reply: Option<Reply>,
    pub(super) refused: Option<Refused>,
}

impl Answer {
    /// The answer to a message that stands for no request.
    pub(super) fn of(problem: &Problem) -> Self {
        let status = StatusCode::from_u16(problem.status);
        Self {
            status: status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            content_type: PROBLEM,
            body: problem.to_json().into(),
        }
    }

    /// Returns true if the store or the broker is unavailable and will be back.
    /// A queue that needs an operator is another matter: the requests behind
    /// this one must not wait for that.
    pub(super) fn is_busy(&self) -> bool {
        let Reason { code, .. } = serde_json::from_slice(&self.body).unwrap_or_default();
        let needs_operator = code == ErrorCode::QUEUE_UNUSABLE.to_string();
        self.status == StatusCode::SERVICE_UNAVAILABLE && !needs_operator
    }

    /// Returns true if the fault lies in the request itself.
    fn is_hopeless(&self) -> bool {
        [
            StatusCode::BAD_REQUEST,
            StatusCode::PAYLOAD_TOO_LARGE,
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            StatusCode::UNPROCESSABLE_ENTITY,
            StatusCode::INTERNAL_SERVER_ERROR,
        ]
        .contains(&self.status)
    }
}

/// Decides: `understood` is true if the message stood for a request at all; at
/// most `keep` bytes of it are put aside.
pub(super) fn judge(
    envelope: Envelope,
    payload: &[u8],
    answer: &Answer,
    understood: bool,
    keep: usize,
) -> Verdict {
    let reply = envelope.reply_to.clone().map(|to| Reply {
        to,
        correlation_id: envelope.correlation_id.clone(),
        status: answer.status.as_u16(),
        content_type: answer.content_type,
        payload: answer.body.to_vec(),
    });
    let put_aside =
        !understood || answer.is_hopeless() || (reply.is_none() && !answer.status.is_success());
    let refused = put_aside.then(|| {
        let Reason { code, detail } = serde_json::from_slice(&answer.body).unwrap_or_default();
        Refused {
            envelope,
            payload: payload.get(..keep).unwrap_or(payload).to_vec(),
            bytes: payload.len(),
            code,
            reason: detail,
        }
    });
    Verdict { reply, refused }
}

/// The content of a problem document.
#[derive(Default, Deserialize)]
struct Reason {
    code: String,
    detail: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns two flags: the request is answered, and it is put aside.
    fn judged(status: u16, understood: bool, reply_to: Option<&str>) -> (bool, bool) {
        let envelope = Envelope {
            reply_to: reply_to.map(str::to_owned),
            ..Envelope::default()
        };
        let answer = Answer {
            status: StatusCode::from_u16(status).unwrap(),
            content_type: PROBLEM,
            body: br#"{"code":"0x1","detail":"why"}"#.as_slice().into(),
        };
        let verdict = judge(envelope, b"12345", &answer, understood, 3);
        if let Some(refused) = &verdict.refused {
            assert_eq!(
                (refused.code.as_str(), refused.reason.as_str()),
                ("0x1", "why")
            );
            assert_eq!(
                (refused.payload.as_slice(), refused.bytes),
                (&b"123"[..], 5)
            );
        }
        (verdict.reply.is_some(), verdict.refused.is_some())
    }

    #[test]
    fn everything_is_heard_by_somebody() {
        for status in [200, 201] {
            assert_eq!(judged(status, true, Some("q")), (true, false), "{status}");
            assert_eq!(judged(status, true, None), (false, false), "{status}");
        }
        for status in [400, 413, 415, 422, 500] {
            assert_eq!(judged(status, true, Some("q")), (true, true), "{status}");
            assert_eq!(judged(status, true, None), (false, true), "{status}");
        }
        for status in [404, 409, 429] {
            assert_eq!(judged(status, true, Some("q")), (true, false), "{status}");
            assert_eq!(judged(status, true, None), (false, true), "{status}");
        }
        assert_eq!(judged(404, false, Some("q")), (true, true));
    }

    #[test]
    fn requests_behind_a_queue_that_needs_an_operator_do_not_wait() {
        let busy = |code: &str| {
            let answer = Answer {
                status: StatusCode::SERVICE_UNAVAILABLE,
                content_type: PROBLEM,
                body: format!(r#"{{"code":"{code}","detail":"why"}}"#).into(),
            };
            answer.is_busy()
        };
        assert!(busy("0x8004A001"));
        assert!(!busy("0x8D00000B"));
        assert_eq!(judged(503, true, None), (false, true));
    }
}
