//! The line of the audit log about a request over HTTP: for each request that is to
//! change something, and for each one that was denied.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{MatchedPath, Query, Request};
use axum::http::HeaderMap;
use axum::http::header::LOCATION;
use axum::response::Response;
use drumline_auth::Principal;

use super::backup;
use super::server::Peer;
use crate::audit::{Entry, Outcome, Subject, Told};
use crate::ingress::headers;
use crate::ingress::problem::Problem;
use crate::service::{Actor, QueueManager};

/// The header in which a proxy says for whom it asks.
const FORWARDED_FOR: &str = "x-forwarded-for";
/// The most characters of that header that are kept.
const FORWARDED_CHARS: usize = 256;
/// The most conditions of a filter that are kept.
const CONDITIONS: usize = 32;

/// The label of a denial, among the extensions of the answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct DenialReason(pub(super) &'static str);

/// The person who has signed in with a request, among the extensions of the answer: that
/// has a line, too, and the request had no principal.
#[derive(Clone, Debug)]
pub(super) struct HasSignedIn {
    pub(super) principal: Arc<Principal>,
    pub(super) actor: Actor,
}

/// The part of a line that the request tells.
#[derive(Debug)]
pub(super) struct Draft {
    action: String,
    is_change: bool,
    /// The id in its address.
    id: Option<String>,
    filter: BTreeMap<String, String>,
    address: Option<String>,
    certificate: Option<String>,
    forwarded_for: Option<String>,
    /// The sender that it names; where there are no keys, it is believed.
    named: Option<Actor>,
}

impl Draft {
    /// Notes a request.
    pub(super) fn of(request: &Request) -> Self {
        let extensions = request.extensions();
        let route = extensions.get::<MatchedPath>().map(MatchedPath::as_str);
        let method = request.method();
        // A backup changes nothing, and has the data of all.
        let is_change = !method.is_safe() || route == Some(backup::PATH);
        let peer = extensions.get::<Peer>();
        let forwarded = request.headers().get(FORWARDED_FOR);
        let forwarded = forwarded.and_then(|value| value.to_str().ok());
        Self {
            action: format!("{method} {}", route.unwrap_or("?")),
            is_change,
            id: route.and_then(|route| id_in(route, request.uri().path())),
            filter: filter_in(is_change, request),
            address: peer.and_then(|peer| Some(peer.address?.ip().to_string())),
            certificate: peer.and_then(|peer| Some(peer.certificate.as_ref()?.to_string())),
            forwarded_for: forwarded.map(|text| text.chars().take(FORWARDED_CHARS).collect()),
            named: named(request.headers()),
        }
    }

    /// Records a request that has been answered, if it was to change something or was
    /// denied. The current span is that of the request.
    pub(super) fn record(
        self,
        manager: &QueueManager,
        principal: Option<&Principal>,
        actor: Option<&Actor>,
        response: &Response,
    ) {
        let mut subject = self.subject(response);
        let status = response.status().as_u16();
        let status = subject.refused.unwrap_or(status);
        let outcome = Outcome::of(status);
        let is_denied = outcome == Outcome::Denied;
        let signed_in = response.extensions().get::<HasSignedIn>();
        let is_change = self.is_change || signed_in.is_some();
        if !is_denied && (!is_change || subject.is_read) {
            return;
        }
        let principal = principal.or_else(|| Some(&*signed_in?.principal));
        let actor = actor.or_else(|| Some(&signed_in?.actor));
        let (audit, metrics) = (manager.audit(), manager.metrics());
        let now = || manager.store().now().to_string();
        // Senders without a key must not be able to fill the disk.
        if is_denied && principal.is_none() {
            match manager.denials_recorded().next() {
                Told::No => return,
                Told::Yes { left_out: 0 } => {}
                Told::Yes { left_out } => {
                    let action = "denied requests that have no line".to_owned();
                    if let Some(targets) = audit.admit(&action, outcome, metrics) {
                        let mut entry = Entry::new(now(), "http", action, status);
                        entry.count = Some(left_out);
                        audit.record(&entry, targets, metrics);
                    } else {
                        // Without a file, and with a full stream: a later line tells it.
                        manager.denials_recorded().put_back(left_out);
                    }
                }
            }
        }
        let Some(targets) = audit.admit(&self.action, outcome, metrics) else {
            return;
        };
        let extensions = response.extensions();
        let problem = extensions.get::<Problem>();
        if subject.ids.is_empty() {
            subject.ids.extend(self.id);
        }
        // Where there are keys, a sender that is not known is not believed.
        let is_believed = manager.options().access.keys().is_none();
        let actor = actor.or_else(|| self.named.as_ref().filter(|_| is_believed));
        let mut entry = Entry::new(now(), "http", self.action, status).by(principal, actor);
        entry.code = problem.map(|problem| problem.code.to_string());
        entry.reason = match extensions.get::<DenialReason>() {
            Some(DenialReason(reason)) => Some((*reason).to_owned()),
            None => problem.map(|problem| problem.name.to_owned()),
        };
        entry.filter = self.filter;
        entry.address = self.address;
        entry.certificate = self.certificate;
        entry.forwarded_for = self.forwarded_for;
        audit.record(&entry.about(subject), targets, metrics);
    }

    /// The subject that a handler has put into its answer, or the operation at the
    /// address that the answer names.
    fn subject(&self, response: &Response) -> Subject {
        if let Some(subject) = response.extensions().get::<Subject>() {
            return subject.clone();
        }
        let created = response.headers().get(LOCATION);
        let created =
            created.and_then(|address| address.to_str().ok()?.strip_prefix("/v1/operations/"));
        created.map(Subject::one).unwrap_or_default()
    }
}

/// The segment of a path that its route calls `{id}`.
fn id_in(route: &str, path: &str) -> Option<String> {
    let at = route.split('/').position(|segment| segment == "{id}")?;
    path.split('/').nth(at).map(str::to_owned)
}

/// The conditions of an action on many.
fn filter_in(is_change: bool, request: &Request) -> BTreeMap<String, String> {
    if !is_change {
        return BTreeMap::new();
    }
    let pairs = Query::<Vec<(String, String)>>::try_from_uri(request.uri());
    let pairs = pairs.map(|Query(pairs)| pairs).unwrap_or_default();
    pairs.into_iter().take(CONDITIONS).collect()
}

fn named(headers: &HeaderMap) -> Option<Actor> {
    let values = |name| headers.get_all(name).iter().map(|value| value.as_bytes());
    headers::actor(values).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_is_found_where_the_route_has_it() {
        let id = id_in("/v1/operations/{id}/cancel", "/v1/operations/7/cancel");
        assert_eq!(id.as_deref(), Some("7"));
        assert_eq!(id_in("/v1/operations", "/v1/operations"), None);
    }
}
