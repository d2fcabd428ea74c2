//! The HTTP face from the inside: a request in, status and body out, without a
//! network.

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::http::header::CONTENT_TYPE;
use axum::http::{Method, Request, StatusCode};
use tower::ServiceExt as _;

use super::translate::Errand;
use crate::ingress::http::router;
use crate::service::QueueManager;

/// Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Door {
    router: Router,
}

/// The answer that HTTP would give.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) content_type: &'static str,
    pub(super) body: Bytes,
}

impl Door {
    pub(super) fn of(manager: &QueueManager) -> Self {
        Self {
            router: router(manager.clone()),
        }
    }

    /// Executes the request.
    pub(super) async fn ask(&self, errand: &Errand) -> Answer {
        let mut request = Request::new(Body::from(errand.body.clone()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = errand.address.clone();
        *request.headers_mut() = errand.headers.clone();
        if let Some(repeatable) = &errand.repeatable {
            request.extensions_mut().insert(repeatable.clone());
        }
        self.pass(request).await
    }

    async fn pass(&self, request: Request<Body>) -> Answer {
        let response = match self.router.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        let status = response.status();
        let media = response.headers().get(CONTENT_TYPE);
        let is_problem = media.is_some_and(|media| media == PROBLEM);
        // It was made in this process; there is nothing to read from elsewhere.
        let body = to_bytes(response.into_body(), usize::MAX).await;
        Answer {
            status,
            content_type: if is_problem { PROBLEM } else { JSON },
            body: body.unwrap_or_default(),
        }
    }
}

pub(super) const JSON: &str = "application/json";
pub(super) const PROBLEM: &str = "application/problem+json";
