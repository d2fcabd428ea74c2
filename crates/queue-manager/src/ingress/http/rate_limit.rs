//! Protects the service from callers that ask for too much: 429, `Retry-After`.
//!
//! Around everything that the manager works on. Long polls count as requests,
//! and not as work: a waiting request costs none. Not around `/v1/events`, a
//! request that never ends.

use axum::extract::Request;
use axum::http::{Method, Uri};
use axum::response::{IntoResponse, Response};

use super::extractors;
use crate::ingress::problem::Problem;
use crate::service::{QueueManager, RequestKind};

/// Admits a request, or refuses it with a time to come back.
pub(crate) async fn rate_limited<F: Future<Output = Response>>(
    manager: &QueueManager,
    request: Request,
    next: impl FnOnce(Request) -> F,
) -> Response {
    let actor = match extractors::actor(request.extensions(), request.headers()) {
        Ok(actor) => actor,
        Err(invalid) => return Problem::from(invalid).into_response(),
    };
    let kind = kind_of(request.method(), request.uri());
    match manager.admit(&actor, kind).await {
        Ok(permit) => {
            let response = next(request).await;
            drop(permit);
            response
        }
        Err(error) => Problem::from(error).into_response(),
    }
}

fn kind_of(method: &Method, address: &Uri) -> RequestKind {
    let mut parameters = address.query().unwrap_or_default().split('&');
    let waits = parameters.any(|pair| pair.starts_with("wait="));
    if waits && method == Method::GET {
        RequestKind::Waiting
    } else {
        RequestKind::Working
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_wait_counts_as_waiting() {
        let kind = |method, address: &'static str| kind_of(&method, &Uri::from_static(address));
        let id = "/v1/operations/1?explain=true&wait=30s";
        assert_eq!(kind(Method::GET, id), RequestKind::Waiting);
        assert_eq!(kind(Method::POST, id), RequestKind::Working);
        assert_eq!(kind(Method::GET, "/v1/operations/1"), RequestKind::Working);
        assert_eq!(
            kind(Method::GET, "/v1/operations?name=wait"),
            RequestKind::Working
        );
        assert_eq!(
            kind(Method::GET, "/v1/operations?a&await=1"),
            RequestKind::Working
        );
    }
}
