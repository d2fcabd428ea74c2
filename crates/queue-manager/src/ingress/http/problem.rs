//! Problem documents as HTTP responses.

use axum::extract::Request;
use axum::http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use drumline_protocol::ErrorCode;

use crate::ingress::problem::{MEDIA_TYPE, Problem};

/// The result of a handler. The problem is boxed, because it is rare and large.
pub(crate) type Answer<T> = Result<T, Box<Problem>>;

impl IntoResponse for Box<Problem> {
    fn into_response(self) -> Response {
        (*self).into_response()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = status.into_response();
        if let Some(seconds) = self.retry_after {
            response
                .headers_mut()
                .insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        // Its text is written by `with_instance`, which knows the address.
        response.extensions_mut().insert(self);
        response
    }
}

/// Writes the text of a problem, with the requested address.
pub(crate) async fn with_instance<F: Future<Output = Response>>(
    request: Request,
    next: impl FnOnce(Request) -> F,
) -> Response {
    let path = request.uri().path().to_owned();
    let mut response = next(request).await;
    let Some(problem) = response.extensions_mut().remove::<Problem>() else {
        return response;
    };
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    *response.body_mut() = problem.at(path).to_json().into();
    response
}

pub(crate) fn no_such_address(uri: &Uri) -> Problem {
    let detail = format!("there is nothing at {}", uri.path());
    Problem::new(StatusCode::NOT_FOUND, ErrorCode::NO_ROUTE, detail)
}

pub(crate) async fn no_such_method(method: Method, uri: Uri) -> Problem {
    let detail = format!("{method} is not possible at {}", uri.path());
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, ErrorCode::NO_ROUTE, detail)
}
