//! The steps that surround the handlers, put together into layers of the router.
//!
//! ```text
//! around: address of a problem ─ body ─┬─ api:    trace ─ guard ─ limits ─→ handlers
//!                                      ├─ traced: trace ─ guard ─→ handlers
//!                                      └─ guarded:        guard ─→ handlers
//! ```
//!
//! For each request, axum copies each layer together with all that is below it. So
//! several steps are one layer, and not a layer each.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;

use super::bodies::{self, Bodies};
use super::{guard, problem, rate_limit, trace};
use crate::service::QueueManager;

/// Surrounds every request.
pub(super) async fn around(State(bodies): State<Bodies>, request: Request, next: Next) -> Response {
    let body = |request| bodies::bounded(&bodies, request, |request| next.run(request));
    problem::with_instance(request, body).await
}

/// Writes the text of a problem, for a router that has nothing else.
pub(super) async fn with_instance(request: Request, next: Next) -> Response {
    problem::with_instance(request, |request| next.run(request)).await
}

/// Surrounds the addresses that a caller's limits protect.
pub(super) async fn api(
    State(manager): State<QueueManager>,
    request: Request,
    next: Next,
) -> Response {
    let manager = &manager;
    let limited = |request| rate_limit::rate_limited(manager, request, |request| next.run(request));
    let guarded = |request| guard::guarded(manager, request, limited);
    trace::traced(manager, request, guarded).await
}

/// Surrounds the addresses that have limits of their own, and the pages.
pub(super) async fn traced(
    State(manager): State<QueueManager>,
    request: Request,
    next: Next,
) -> Response {
    let manager = &manager;
    let guarded = |request| guard::guarded(manager, request, |request| next.run(request));
    trace::traced(manager, request, guarded).await
}

/// Surrounds the addresses for machines that watch machines.
pub(super) async fn guarded(
    State(manager): State<QueueManager>,
    request: Request,
    next: Next,
) -> Response {
    guard::guarded(&manager, request, |request| next.run(request)).await
}

/// Surrounds the pages that a caller's limits protect.
pub(super) async fn limited(
    State(manager): State<QueueManager>,
    request: Request,
    next: Next,
) -> Response {
    rate_limit::rate_limited(&manager, request, |request| next.run(request)).await
}
