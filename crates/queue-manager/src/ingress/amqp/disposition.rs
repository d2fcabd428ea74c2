//! The disposition of a request, once there is an answer to it.
//!
//! | status | with `reply_to` | without |
//! |---|---|---|
//! | 2xx | answered | done |
//! | 400, 413, 415, 422, 500: it will never be done as it is | answered and quarantined | quarantined |
//! | 404, 409, 429, 507 and other refusals | answered | quarantined: there is no receiver |
//! | 503: the store or the broker is unavailable | tried again | tried again |
//! | 503: the broker refuses to declare the queue | answered | quarantined |
//!
//! Whatever it is, the request is acknowledged afterwards.

use axum::http::StatusCode;
use drumline_backend::intake::{Envelope, Refused, Reply};
use drumline_protocol::ErrorCode;

use super::execute::{Answer, Success};
use crate::ingress::media_type::JSON;
use crate::ingress::problem::{self, Problem};

/// The disposition of a request.
#[derive(Debug)]
pub(super) struct Disposition {
    pub(super) reply: Option<Reply>,
    pub(super) refused: Option<Refused>,
}

/// Returns true if the store or the broker is unavailable and will be back.
/// A queue that needs an operator is another matter: the requests behind
/// this one must not wait for that.
pub(super) fn is_busy(problem: &Problem) -> bool {
    problem.status == StatusCode::SERVICE_UNAVAILABLE.as_u16()
        && problem.code != ErrorCode::QUEUE_UNUSABLE
}

/// Returns true if the fault lies in the request itself.
fn is_hopeless(problem: &Problem) -> bool {
    [
        StatusCode::BAD_REQUEST,
        StatusCode::PAYLOAD_TOO_LARGE,
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        StatusCode::UNPROCESSABLE_ENTITY,
        StatusCode::INTERNAL_SERVER_ERROR,
    ]
    .iter()
    .any(|status| status.as_u16() == problem.status)
}

/// Decides: `understood` is true if the message stood for a request at all; at
/// most `keep` bytes of it are quarantined.
pub(super) fn dispose(
    envelope: Envelope,
    payload: &[u8],
    answer: Answer,
    understood: bool,
    keep: usize,
) -> Disposition {
    let is_heard = envelope.reply_to.is_some();
    let refused = match &answer {
        Err(problem) if !understood || !is_heard || is_hopeless(problem) => Some(Refused {
            envelope: envelope.clone(),
            payload: payload.get(..keep).unwrap_or(payload).to_vec(),
            bytes: payload.len(),
            code: problem.code.to_string(),
            reason: problem.detail.clone(),
        }),
        Ok(_) | Err(_) => None,
    };
    let Envelope {
        reply_to,
        correlation_id,
        ..
    } = envelope;
    let reply = reply_to.map(|to| {
        let (status, content_type, payload) = match answer {
            Ok(Success { status, body, .. }) => (status, JSON, body),
            Err(problem) => (problem.status, problem::MEDIA_TYPE, problem.to_json()),
        };
        Reply {
            to,
            correlation_id,
            status,
            content_type,
            payload,
        }
    });
    Disposition { reply, refused }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Subject;

    fn answer(status: u16, code: ErrorCode) -> Answer {
        let status = StatusCode::from_u16(status).unwrap();
        if status.is_success() {
            let (status, body) = (status.as_u16(), b"{}".to_vec());
            return Ok(Success {
                status,
                body,
                subject: Subject::default(),
            });
        }
        Err(Box::new(Problem::new(status, code, "why")))
    }

    /// Returns two flags: the request is answered, and it is quarantined.
    fn disposed(status: u16, understood: bool, reply_to: Option<&str>) -> (bool, bool) {
        let envelope = Envelope {
            reply_to: reply_to.map(str::to_owned),
            ..Envelope::default()
        };
        let answer = answer(status, ErrorCode(1));
        let disposition = dispose(envelope, b"12345", answer, understood, 3);
        if let Some(refused) = &disposition.refused {
            assert_eq!(
                (refused.code.as_str(), refused.reason.as_str()),
                ("0x00000001", "why")
            );
            assert_eq!(
                (refused.payload.as_slice(), refused.bytes),
                (&b"123"[..], 5)
            );
        }
        if let Some(reply) = &disposition.reply {
            assert_eq!(reply.status, status);
        }
        (disposition.reply.is_some(), disposition.refused.is_some())
    }

    #[test]
    fn everything_is_heard_by_somebody() {
        for status in [200, 201] {
            assert_eq!(disposed(status, true, Some("q")), (true, false), "{status}");
            assert_eq!(disposed(status, true, None), (false, false), "{status}");
        }
        for status in [400, 413, 415, 422, 500] {
            assert_eq!(disposed(status, true, Some("q")), (true, true), "{status}");
            assert_eq!(disposed(status, true, None), (false, true), "{status}");
        }
        for status in [404, 409, 429, 507] {
            assert_eq!(disposed(status, true, Some("q")), (true, false), "{status}");
            assert_eq!(disposed(status, true, None), (false, true), "{status}");
        }
        assert_eq!(disposed(404, false, Some("q")), (true, true));
    }

    #[test]
    fn requests_behind_a_queue_that_needs_an_operator_do_not_wait() {
        let busy = |code| is_busy(&answer(503, code).unwrap_err());
        assert!(busy(ErrorCode::SERVER_BUSY));
        assert!(!busy(ErrorCode::QUEUE_UNUSABLE));
        assert_eq!(disposed(503, true, None), (false, true));
    }
}
