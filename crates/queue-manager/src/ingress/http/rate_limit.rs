//! Protects the service from callers that ask for too much: 429, `Retry-After`.
//!
//! Around everything that the manager works on. Long polls count as requests,
//! and not as work: a waiting request costs none. Not around `/v1/events`, a
//! request that never ends.

use axum::extract::{Request, State};
use axum::http::{Method, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::actor;
use super::problem::Problem;
use crate::service::{QueueManager, Stay};

/// Admits a request, or refuses it with a time to come back.
pub(crate) async fn rate_limited(
    State(manager): State<QueueManager>,
    request: Request,
    next: Next,
) -> Response {
    let actor = match actor::of_headers(request.headers()) {
        Ok(actor) => actor,
        Err(invalid) => return Problem::from(invalid).into_response(),
    };
    let stay = stay(request.method(), request.uri());
    match manager.enter(&actor, stay).await {
        Ok(pass) => {
            let response = next.run(request).await;
            drop(pass);
            response
        }
        Err(error) => Problem::from(error).into_response(),
    }
}

fn stay(method: &Method, address: &Uri) -> Stay {
    let mut parameters = address.query().unwrap_or_default().split('&');
    let waits = parameters.any(|pair| pair.starts_with("wait="));
    if waits && method == Method::GET {
        Stay::Waiting
    } else {
        Stay::Working
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_wait_counts_as_waiting() {
        let stay = |method, address: &'static str| stay(&method, &Uri::from_static(address));
        let id = "/v1/operations/1?explain=true&wait=30s";
        assert_eq!(stay(Method::GET, id), Stay::Waiting);
        assert_eq!(stay(Method::POST, id), Stay::Working);
        assert_eq!(stay(Method::GET, "/v1/operations/1"), Stay::Working);
        assert_eq!(stay(Method::GET, "/v1/operations?name=wait"), Stay::Working);
        assert_eq!(stay(Method::GET, "/v1/operations?a&await=1"), Stay::Working);
    }
}
