//! The pages of the console and what each needs. A page needs what its part of the API
//! needs.

use axum::http::Method;
use drumline_auth::Permission;

use super::Need;

/// The methods and paths of all pages, for tests that walk through them.
pub(in crate::ingress::http) fn addresses() -> Vec<(&'static str, &'static str)> {
    let pages = PAGES.iter();
    pages
        .map(|(method, path, _)| (method.as_str(), *path))
        .collect()
}

/// Every page and what it needs.
pub(super) const PAGES: &[(Method, &str, Need)] = {
    use Need::{Key, Nothing, Role};
    use Permission::{Control, Fleet, Operate, Read};
    &[
        (Method::GET, "/", Key),
        (Method::GET, "/operations", Role(Read)),
        (Method::GET, "/operations/{id}", Role(Read)),
        (Method::GET, "/find", Role(Read)),
        (Method::GET, "/live", Role(Read)),
        (Method::GET, "/operations/{id}/cancel", Role(Control)),
        (Method::POST, "/operations/{id}/cancel", Role(Control)),
        (Method::GET, "/operations/{id}/pause", Role(Control)),
        (Method::POST, "/operations/{id}/pause", Role(Control)),
        (Method::GET, "/operations/{id}/resume", Role(Control)),
        (Method::POST, "/operations/{id}/resume", Role(Control)),
        (Method::GET, "/operations/{id}/postpone", Role(Control)),
        (Method::POST, "/operations/{id}/postpone", Role(Control)),
        (Method::GET, "/operations/{id}/delete", Role(Operate)),
        (Method::POST, "/operations/{id}/delete", Role(Operate)),
        // As in the API: a run may create, and may not run others again.
        (Method::GET, "/operations/{id}/run-again", Role(Control)),
        (Method::POST, "/operations/{id}/run-again", Role(Control)),
        (Method::GET, "/many/cancel", Role(Operate)),
        (Method::POST, "/many/cancel", Role(Operate)),
        (Method::GET, "/many/pause", Role(Operate)),
        (Method::POST, "/many/pause", Role(Operate)),
        (Method::GET, "/many/resume", Role(Operate)),
        (Method::POST, "/many/resume", Role(Operate)),
        (Method::GET, "/many/postpone", Role(Operate)),
        (Method::POST, "/many/postpone", Role(Operate)),
        (Method::GET, "/many/delete", Role(Operate)),
        (Method::POST, "/many/delete", Role(Operate)),
        (Method::GET, "/many/run-again", Role(Operate)),
        (Method::POST, "/many/run-again", Role(Operate)),
        (Method::GET, "/actions", Role(Read)),
        (Method::GET, "/actions/{id}", Role(Read)),
        (Method::POST, "/actions/{id}/abort", Role(Operate)),
        (Method::GET, "/tokens", Role(Read)),
        (Method::GET, "/failures", Role(Read)),
        (Method::GET, "/failures/{id}/mute", Role(Operate)),
        (Method::POST, "/failures/{id}/mute", Role(Operate)),
        (Method::POST, "/failures/{id}/unmute", Role(Operate)),
        (Method::GET, "/series", Role(Read)),
        (Method::GET, "/queues", Role(Fleet)),
        (Method::GET, "/workers", Role(Fleet)),
        // The pages ask for all organizations, too.
        (Method::GET, "/workers/{id}/drain", Role(Operate)),
        (Method::POST, "/workers/{id}/drain", Role(Operate)),
        (Method::GET, "/settings", Role(Fleet)),
        (Method::GET, "/audit", Role(Operate)),
        (Method::GET, "/audit.jsonl", Role(Operate)),
        (Method::GET, "/pauses", Role(Read)),
        (Method::POST, "/pauses", Role(Operate)),
        (Method::GET, "/pauses/{id}/lift", Role(Operate)),
        (Method::POST, "/pauses/{id}/lift", Role(Operate)),
        (Method::GET, "/assets/{name}", Nothing),
        (Method::GET, "/login", Nothing),
        (Method::POST, "/login", Nothing),
        (Method::GET, "/login/oidc", Nothing),
        (Method::GET, "/login/callback", Nothing),
        (Method::POST, "/logout", Nothing),
    ]
};
