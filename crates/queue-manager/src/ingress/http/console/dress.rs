//! The clothes of every page: the headers that bind the browser, and errors as pages.

use axum::extract::{FromRequestParts as _, Request, State};
use axum::http::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap, HeaderName,
    HeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{Method, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use drumline_console::{Frame, NoticeLink, NoticePage, Section, Text};
use drumline_protocol::{Action, ErrorCode, Timestamp};

use super::viewer::Seen;
use super::{gzip, session};
use crate::ingress::http::problem;
use crate::ingress::problem::Problem;
use crate::service::QueueManager;

/// Only files of this address, no text as code, no frame around it. The icon is the only
/// image, and stands in the page.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; \
    connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; \
    require-trusted-types-for 'script'; trusted-types 'none'";

/// The headers of every answer.
const HEADERS: [(HeaderName, &str); 5] = [
    (CONTENT_SECURITY_POLICY, POLICY),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    // `no-referrer` would make the browser send forms with `Origin: null`.
    (REFERRER_POLICY, "same-origin"),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
];

/// Keeps the caller of a page that ends as a problem, for the page of that. It is
/// behind the guard, which knows the caller.
pub(super) async fn with_viewer(
    State(manager): State<QueueManager>,
    request: Request,
    next: Next,
) -> Response {
    let (mut parts, body) = request.into_parts();
    let seen = Seen::from_request_parts(&mut parts, &manager).await;
    let mut response = next.run(Request::from_parts(parts, body)).await;
    if let Ok(seen) = seen
        && response.extensions().get::<Problem>().is_some()
    {
        response.extensions_mut().insert(seen);
    }
    response
}

/// Adds the headers, and turns a problem into a page.
pub(super) async fn dressed(
    State(manager): State<QueueManager>,
    request: Request,
    next: Next,
) -> Response {
    let asked = Asked::of(&request);
    let response = next.run(request).await;
    dress(&manager, asked, response).await
}

/// Answers at an address that is neither of the API nor of a page: people read pages,
/// programs problem documents.
pub(in crate::ingress::http) async fn no_such_address(
    State(manager): State<QueueManager>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let problem = problem::no_such_address(&uri);
    let response = problem.into_response();
    if uri.path().starts_with("/v1/") || !reads_pages(&headers) {
        return response;
    }
    let asked = Asked {
        method,
        uri,
        headers,
    };
    dress(&manager, asked, response).await
}

/// Returns true if the client says that it reads pages.
fn reads_pages(headers: &HeaderMap) -> bool {
    let mut accepted = headers.get_all(ACCEPT).into_iter();
    accepted.any(|accepted| {
        let accepted = accepted.to_str().unwrap_or_default();
        accepted.contains("text/html")
    })
}

/// The parts of a request that the page of a problem depends on.
struct Asked {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
}

impl Asked {
    fn of(request: &Request) -> Self {
        Self {
            method: request.method().clone(),
            uri: request.uri().clone(),
            headers: request.headers().clone(),
        }
    }
}

async fn dress(manager: &QueueManager, asked: Asked, mut response: Response) -> Response {
    let Asked {
        method,
        uri,
        headers,
    } = asked;
    let is_packed = gzip::is_read_by(&headers);
    let seen = response.extensions_mut().remove::<Seen>();
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        let html = HeaderValue::from_static("text/html; charset=utf-8");
        response.headers_mut().insert(CONTENT_TYPE, html);
        let now = manager.store().now();
        let page = if problem.code == ErrorCode::UNAUTHENTICATED {
            let page = session::refused(manager, &problem.detail, &method, &uri, &headers);
            drumline_console::page(&page)
        } else {
            drumline_console::page(&page_of(&problem, uri.path(), seen.as_ref(), now))
        };
        *response.body_mut() = page.into();
    }
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    let no_store = HeaderValue::from_static("no-store");
    headers.entry(CACHE_CONTROL).or_insert(no_store);
    if is_packed {
        gzip::packed(response).await
    } else {
        response
    }
}

/// The page of a problem.
fn page_of(problem: &Problem, path: &str, seen: Option<&Seen>, now: Timestamp) -> NoticePage {
    let link = |label: &str, address: &str| NoticeLink {
        label: Text::line(label),
        address: address.to_owned(),
    };
    let mut sentences = vec![Text::sentence(&problem.detail)];
    if let Some(seconds) = problem.retry_after {
        sentences.push(Text::sentence(&format!("Try again in {seconds} s")));
    }
    if let Some(legal) = &problem.legal_actions {
        let legal = match legal.as_slice() {
            [] => "No action is possible now".to_owned(),
            some => format!("Possible now: {}", some.join(", ")),
        };
        sentences.push(Text::sentence(&legal));
    }
    let mut links = vec![
        link("What this error means", &problem.kind),
        link("Operations", "/operations"),
    ];
    // From an action back to its operation.
    if let Some((operation, action)) = path.rsplit_once('/')
        && operation.starts_with("/operations/")
        && (action == "run-again" || Action::ALL.iter().any(|known| known.name() == action))
    {
        links.insert(0, link("Back to the operation", operation));
    }
    let wrong = problem.attributes.iter();
    let title = Text::line(&problem.title);
    let frame = match seen {
        Some(seen) => seen.frame(title, Section::Other),
        None => Frame {
            title,
            section: Section::Other,
            viewer: None,
            now,
        },
    };
    NoticePage {
        frame,
        sentences,
        mistakes: wrong
            .map(|wrong| (Text::line(&wrong.name), Text::line(&wrong.detail)))
            .collect(),
        code: Some(Text::line(&format!("{} {}", problem.code, problem.name))),
        links,
    }
}
