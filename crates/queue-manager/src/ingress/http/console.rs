//! The console: pages for people, in every process that serves HTTP.
//!
//! ```text
//! browser ─→ dress ─→ trace ─→ guard ─→ limits ─→ page ─→ services, as the API
//!             │                                    └─→ drumline-console: models, templates
//!             └ headers; errors become pages
//! ```
//!
//! A page asks the services that the API asks, and holds what one page of a list
//! gives. So its cost does not grow with the store. What a page shows and how it looks
//! is in [`drumline_console`].

mod actions;
mod audit;
mod bulk_actions;
mod dress;
mod failures;
mod fleet;
mod gzip;
mod lists;
mod live;
mod many;
mod now;
mod operation;
mod operations;
mod pauses;
mod pulse;
mod session;
mod sign_in;
mod tokens;
mod viewer;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{StatusCode, Uri};
use axum::middleware::from_fn_with_state;
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use drumline_console::{Asset, Template, address};
use drumline_protocol::{ErrorCode, OperationId};

use super::extractors::Parameters;
use super::layers;
use super::problem::Answer;
use crate::ingress::problem::Problem;
use crate::service::QueueManager;

pub(super) use dress::no_such_address;
pub(super) use now::address_of;
pub(super) use session::session;
pub(super) use viewer::Seen;

/// The pages and their files.
pub(super) fn router(manager: &QueueManager) -> Router<QueueManager> {
    let pages = Router::new()
        .route("/", get(now::now))
        .route("/operations", get(operations::operations))
        .route("/operations/{id}", get(operation::operation))
        .route("/find", get(find))
        .merge(actions::routes())
        .merge(many::routes())
        .route("/actions", get(bulk_actions::list))
        .route("/actions/{id}", get(bulk_actions::show))
        .route("/actions/{id}/abort", post(bulk_actions::abort))
        .route("/tokens", get(tokens::tokens))
        .route("/failures", get(failures::failures))
        .route(
            "/failures/{id}/mute",
            get(failures::ask).post(failures::mute),
        )
        .route("/failures/{id}/unmute", post(failures::unmute))
        .route("/series", get(lists::series))
        .route("/queues", get(fleet::queues))
        .route("/workers", get(fleet::workers))
        .route(
            "/workers/{id}/drain",
            get(fleet::ask_to_drain).post(fleet::drain),
        )
        .route("/settings", get(fleet::settings))
        .route("/audit", get(audit::page))
        .route("/audit.jsonl", get(audit::file))
        .route("/pauses", get(pauses::pauses).post(pauses::set))
        .route("/pauses/{id}/lift", get(pauses::ask).post(pauses::lift))
        .layer(from_fn_with_state(manager.clone(), layers::limited))
        .layer(from_fn_with_state(manager.clone(), dress::with_viewer));
    let open = Router::new()
        .route("/live", get(live::live))
        .route("/assets/{name}", get(asset))
        .route("/login", get(session::page).post(session::enter))
        .route("/login/oidc", get(sign_in::begin))
        .route("/login/callback", get(sign_in::finish))
        .route("/logout", post(session::leave));
    pages
        .merge(open)
        .layer(from_fn_with_state(manager.clone(), layers::traced))
        .layer(from_fn_with_state(manager.clone(), dress::dressed))
}

/// A page as a response.
fn html(page: &impl Template) -> Html<String> {
    Html(drumline_console::page(page))
}

/// The value of a parameter or a field; empty if it is not given.
fn value<'a>(pairs: &'a [(String, String)], name: &str) -> &'a str {
    let mut pairs = pairs.iter();
    let found = pairs.find(|(other, _)| other == name);
    found.map_or("", |(_, value)| value)
}

/// A file behind the pages.
async fn asset(
    State(_manager): State<QueueManager>,
    Path(name): Path<String>,
    uri: Uri,
) -> Answer<Response> {
    let Some(asset) = Asset::find(&name) else {
        let detail = format!("there is nothing at {}", uri.path());
        return Err(Problem::new(StatusCode::NOT_FOUND, ErrorCode::NO_ROUTE, detail).into());
    };
    // Another name is that of another release, whose file may differ.
    let cache = if asset.name == name {
        "public, max-age=31536000, immutable"
    } else {
        "no-cache"
    };
    let headers = [(CONTENT_TYPE, asset.media_type), (CACHE_CONTROL, cache)];
    Ok((headers, asset.content).into_response())
}

/// Leads to the operation with an id, or to those with a name.
async fn find(Parameters(pairs): Parameters) -> Redirect {
    let text = value(&pairs, "q").trim();
    let id: Result<OperationId, _> = text.parse();
    match id {
        Ok(id) => Redirect::to(&format!("/operations/{id}")),
        Err(_no_id) if text.is_empty() => Redirect::to("/operations"),
        Err(_no_id) => Redirect::to(&address("/operations", [("name", text)])),
    }
}
