//! The HTTP face: JSON in and out, errors as problem documents.
//!
//! A handler reads its request into the types of [`crate::request`], asks the
//! [`QueueManager`], and shows the answer; rules live behind it, not here. The
//! addresses stand in one table, [`router`], and in `/openapi.json`, which is
//! made from the handlers' own descriptions.
//!
//! Callers identify themselves, and are believed (`caller`). A caller that asks
//! for too much is refused, with a time to come back (`protect`).

mod body;
mod bulk;
mod error_pages;
mod events;
mod execute;
mod extractors;
mod fleet;
mod health;
mod openapi;
mod operations;
mod problem;
mod query;
mod rate_limit;
mod server;
mod trace;
mod waiting;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{get, post};

use crate::service::QueueManager;

pub use openapi::openapi_json;
pub use server::Server;

/// Every address, over one manager.
pub fn router(manager: QueueManager) -> Router {
    let api = Router::new()
        .route(
            "/v1/operations",
            get(operations::list).post(operations::create),
        )
        .route(
            "/v1/operations/{id}",
            get(operations::get)
                .patch(operations::update)
                .delete(operations::delete),
        )
        .route("/v1/operations/cancel", post(bulk::cancel))
        .route("/v1/operations/pause", post(bulk::pause))
        .route("/v1/operations/resume", post(bulk::resume))
        .route("/v1/operations/postpone", post(bulk::postpone))
        .route("/v1/operations/delete", post(bulk::delete))
        .route("/v1/operations/{id}/cancel", post(operations::cancel))
        .route("/v1/operations/{id}/pause", post(operations::pause))
        .route("/v1/operations/{id}/resume", post(operations::resume))
        .route("/v1/operations/{id}/postpone", post(operations::postpone))
        .route("/v1/execute", post(execute::execute))
        .route("/v1/workers", get(fleet::workers))
        .route("/v1/queues", get(fleet::queues))
        .layer(from_fn_with_state(
            manager.clone(),
            rate_limit::rate_limited,
        ))
        // Not rate_limited: the request never ends, and costs no work meanwhile.
        .route("/v1/events", get(events::events))
        .layer(from_fn_with_state(manager.clone(), trace::traced));
    Router::new()
        .merge(api)
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::metrics))
        .route("/openapi.json", get(openapi::document))
        .route("/docs/errors/{page}", get(error_pages::page))
        .fallback(problem::no_such_address)
        .method_not_allowed_fallback(problem::no_such_method)
        // The manager has a limit of its own, with an answer of its own.
        .layer(DefaultBodyLimit::disable())
        .layer(from_fn(problem::with_instance))
        .with_state(manager)
}
