//! The HTTP face: JSON in and out, errors as problem documents.
//!
//! A handler reads its request into the types of [`drumline_api`], asks the
//! [`QueueManager`], and shows the answer; rules live behind it, not here. Each
//! address is declared once, below: [`router`] serves it, and `/openapi.json`
//! describes it in the words that stand at its handler.
//!
//! ```text
//! routes (here) ─→ handlers: operations, history, attempts, bulk, execute, … ─→ openapi: what they describe with
//!              └─→ console: pages for people, over the same services
//! ```
//!
//! `guard` finds out who asks, and refuses what they may not do. Where there are no
//! keys, callers name themselves, and are believed (`headers`). A caller that asks
//! for too much is refused, with a time to come back (`rate_limit`). `layers` puts
//! these steps around the handlers.

mod actions;
mod attempts;
mod audit;
mod audit_stream;
mod backup;
mod bodies;
mod body;
mod bulk;
mod console;
mod create_many;
mod error_pages;
mod events;
mod execute;
mod extractors;
mod failures;
mod fleet;
mod freeze;
mod guard;
mod health;
mod history;
mod layers;
mod now;
mod openapi;
mod operations;
mod pauses;
mod preview;
mod problem;
mod query;
mod quotas;
mod rate_limit;
mod scale;
mod server;
mod stats;
mod trace;
mod waiting;
mod whoami;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::header::CONTENT_TYPE;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::service::QueueManager;

pub use server::Server;

/// The addresses that a caller's limits protect.
fn limited() -> OpenApiRouter<QueueManager> {
    OpenApiRouter::default()
        .routes(routes!(operations::list, operations::create))
        .routes(routes!(create_many::create_many))
        .routes(routes!(
            operations::get,
            operations::update,
            operations::delete
        ))
        .routes(routes!(history::history))
        .routes(routes!(attempts::attempts))
        .routes(routes!(preview::preview))
        .routes(routes!(bulk::cancel))
        .routes(routes!(bulk::pause))
        .routes(routes!(bulk::resume))
        .routes(routes!(bulk::postpone))
        .routes(routes!(bulk::delete))
        .routes(routes!(operations::cancel))
        .routes(routes!(operations::pause))
        .routes(routes!(operations::resume))
        .routes(routes!(operations::postpone))
        .routes(routes!(operations::run_again))
        .routes(routes!(execute::execute))
        .routes(routes!(pauses::list, pauses::set))
        .routes(routes!(pauses::lift))
        .routes(routes!(actions::list, actions::start))
        .routes(routes!(actions::get))
        .routes(routes!(actions::abort))
        .routes(routes!(freeze::freeze, freeze::thaw))
        .routes(routes!(audit_stream::list))
        .routes(routes!(fleet::workers))
        .routes(routes!(fleet::drain))
        .routes(routes!(fleet::queues))
        .routes(routes!(now::now))
        .routes(routes!(scale::scale))
        .routes(routes!(stats::stats))
        .routes(routes!(failures::failures))
        .routes(routes!(failures::mute, failures::unmute))
        .routes(routes!(whoami::whoami))
        .routes(routes!(quotas::quotas))
}

/// The addresses whose requests take long, and that have limits of their own.
fn endless() -> OpenApiRouter<QueueManager> {
    OpenApiRouter::default()
        .routes(routes!(events::events))
        .routes(routes!(backup::backup))
}

/// The addresses for machines that watch machines.
fn health() -> OpenApiRouter<QueueManager> {
    OpenApiRouter::default()
        .routes(routes!(health::alive))
        .routes(routes!(health::ready))
        .routes(routes!(health::metrics))
}

/// Every address, over one manager.
pub fn router(manager: QueueManager) -> Router {
    let bodies = bodies::Bodies::of(&manager);
    let api = limited().layer(from_fn_with_state(manager.clone(), layers::api));
    let endless = endless().layer(from_fn_with_state(manager.clone(), layers::traced));
    let health = health().layer(from_fn_with_state(manager.clone(), layers::guarded));
    Router::from(api.merge(endless).merge(health))
        .merge(console::router(&manager))
        .route("/openapi.json", get(document))
        .route("/docs/errors/{page}", get(error_pages::page))
        .fallback(console::no_such_address)
        .method_not_allowed_fallback(problem::no_such_method)
        // The manager has a limit of its own, with an answer of its own.
        .layer(DefaultBodyLimit::disable())
        .layer(from_fn_with_state(bodies, layers::around))
        .with_state(manager)
}

/// The description of every address, as text with a line break at its end.
#[must_use]
pub fn openapi_json() -> String {
    let routes = limited().merge(endless()).merge(health());
    openapi::text(routes.into_openapi())
}

/// The methods and paths of the console's pages.
#[must_use]
pub fn page_addresses() -> Vec<(&'static str, &'static str)> {
    guard::addresses()
}

async fn document() -> Response {
    ([(CONTENT_TYPE, "application/json")], openapi_json()).into_response()
}
