//! The guard in front of every address: it finds out who asks, and refuses what
//! they may not do.
//!
//! ```text
//! request ─ address in the table? ─ key ─ role ─ organization ─→ handler, with the actor
//!              │                     └ of a page also in a cookie: then the page that sends
//!              │                       a form must be of this address
//!              └ no keys in force: Host and Origin, because a browser sends requests
//!                that its user knows nothing of
//! ```
//!
//! [`NEEDS`] has every address of the API, and [`PAGES`] every page of the console. An
//! address without an entry is refused, and a test compares the table with the
//! addresses that are served.

mod pages;
mod site;

use std::sync::Arc;

use axum::extract::{MatchedPath, Request};
use axum::http::header::{AUTHORIZATION, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use axum::http::{Extensions, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use drumline_auth::{
    Authenticator, Denied, Forbidden, Organizations, Permission, Principal, Proof, Session,
};
use drumline_protocol::{PauseScope, Timestamp};

use super::audit::{DenialReason, Draft};
use super::console;
use super::problem::Answer;
use super::server::Peer;
use crate::access::Access;
use crate::ingress::headers;
use crate::ingress::problem::Problem;
use crate::ingress::refusal::Refusal;
use crate::service::{Actor, QueueManager};

pub(super) use pages::addresses;
pub(super) use site::{host_of, is_loopback};

use pages::PAGES;
use site::{check_no_other_page, check_own_page, check_site};

/// The need of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// Nothing: it tells nothing about anyone.
    Nothing,
    /// A key, whatever its roles.
    Key,
    /// A key with a role that has this permission.
    Role(Permission),
}

/// Every address of the API and what it needs.
pub(super) const NEEDS: &[(Method, &str, Need)] = {
    use Need::{Key, Nothing, Role};
    use Permission::{Control, Create, Fleet, Freeze, Metrics, Operate, Read};
    &[
        (Method::GET, "/v1/audit", Role(Operate)),
        (Method::GET, "/v1/operations", Role(Read)),
        (Method::POST, "/v1/operations", Role(Create)),
        (Method::POST, "/v1/operations/create", Role(Create)),
        (Method::GET, "/v1/operations/{id}", Role(Read)),
        (Method::PATCH, "/v1/operations/{id}", Role(Control)),
        (Method::DELETE, "/v1/operations/{id}", Role(Operate)),
        (Method::GET, "/v1/operations/{id}/history", Role(Read)),
        // With what handlers have printed: as much as the data of operations.
        (Method::GET, "/v1/operations/{id}/attempts", Role(Read)),
        (Method::GET, "/v1/operations/{id}/preview", Role(Read)),
        (Method::POST, "/v1/operations/{id}/cancel", Role(Control)),
        (Method::POST, "/v1/operations/{id}/pause", Role(Control)),
        (Method::POST, "/v1/operations/{id}/resume", Role(Control)),
        (Method::POST, "/v1/operations/{id}/postpone", Role(Control)),
        // It creates, and not a child: a run may not.
        (Method::POST, "/v1/operations/{id}/run-again", Role(Control)),
        (Method::POST, "/v1/operations/cancel", Role(Operate)),
        (Method::POST, "/v1/operations/pause", Role(Operate)),
        (Method::POST, "/v1/operations/resume", Role(Operate)),
        (Method::POST, "/v1/operations/postpone", Role(Operate)),
        (Method::POST, "/v1/operations/delete", Role(Operate)),
        // It creates or changes; a request in it that removes needs more.
        (Method::POST, "/v1/execute", Role(Create)),
        (Method::GET, "/v1/events", Role(Read)),
        (Method::GET, "/v1/pauses", Role(Read)),
        (Method::PUT, "/v1/pauses", Role(Operate)),
        (Method::DELETE, "/v1/pauses/{id}", Role(Operate)),
        (Method::GET, "/v1/actions", Role(Read)),
        (Method::POST, "/v1/actions", Role(Operate)),
        (Method::GET, "/v1/actions/{id}", Role(Read)),
        (Method::POST, "/v1/actions/{id}/abort", Role(Operate)),
        // The handlers ask for all organizations, too.
        (Method::PUT, "/v1/freeze", Role(Freeze)),
        (Method::DELETE, "/v1/freeze", Role(Freeze)),
        (Method::GET, "/v1/backup", Role(Freeze)),
        (Method::GET, "/v1/workers", Role(Fleet)),
        // The handler asks for all organizations, too.
        (Method::POST, "/v1/workers/{id}/drain", Role(Operate)),
        (Method::GET, "/v1/queues", Role(Fleet)),
        (Method::GET, "/v1/now", Role(Read)),
        (Method::GET, "/v1/queues/{name}/scale", Role(Fleet)),
        // The numbers are of all organizations.
        (Method::GET, "/v1/stats", Role(Fleet)),
        (Method::GET, "/v1/failures", Role(Read)),
        (Method::PUT, "/v1/failures/{id}/mute", Role(Operate)),
        (Method::DELETE, "/v1/failures/{id}/mute", Role(Operate)),
        (Method::GET, "/v1/whoami", Key),
        (Method::GET, "/v1/quotas", Role(Read)),
        (Method::GET, "/metrics", Role(Metrics)),
        (Method::GET, "/healthz", Nothing),
        (Method::GET, "/readyz", Nothing),
    ]
};

/// The scheme of a key in `Authorization`.
const SCHEME: &str = "Bearer ";

/// Lets a request in, with its [`Actor`] among its extensions, or refuses it.
pub(super) async fn guarded<F: Future<Output = Response>>(
    manager: &QueueManager,
    mut request: Request,
    next: impl FnOnce(Request) -> F,
) -> Response {
    let need = need_of(&request);
    let draft = Draft::of(&request);
    let access = &manager.options().access;
    if let Access::Keys(keys) = access
        && let Ok(text) = bearer(request.headers())
        && keys.lacks_keys_for(text)
    {
        manager.issuer().learn(keys).await;
    }
    let admitted = match access {
        Access::Keys(keys) => need
            .ok_or(Refusal::Unlisted)
            .and_then(|need| admit_with_key(manager, keys, need, &request)),
        Access::Open { hosts } => need
            .ok_or(Refusal::Unlisted)
            .and_then(|_need| check_site(hosts.as_deref(), &request))
            .map(|()| Admitted::default()),
    };
    let admitted = match admitted {
        Ok(admitted) => check_run(manager, admitted.principal.as_deref())
            .await
            .map(|()| admitted),
        Err(refusal) => Err(refusal),
    };
    match admitted {
        Ok(Admitted {
            principal,
            actor,
            is_session,
        }) => {
            let extensions = request.extensions_mut();
            if is_session {
                extensions.insert(SignedIn);
            }
            if let Some(principal) = principal.clone() {
                extensions.insert(principal);
            }
            if let Some(actor) = actor.clone() {
                extensions.insert(actor);
            }
            let response = next(request).await;
            draft.record(manager, principal.as_deref(), actor.as_ref(), &response);
            response
        }
        Err(refusal) => {
            let reason = DenialReason(refusal.reason());
            let problem = denied(manager, request.extensions(), refusal);
            let mut response = problem.into_response();
            response.extensions_mut().insert(reason);
            if response.status() == StatusCode::UNAUTHORIZED {
                let scheme = HeaderValue::from_static("Bearer");
                response.headers_mut().insert(WWW_AUTHENTICATE, scheme);
            }
            let principal = principal_of(manager, &request);
            draft.record(manager, principal.as_deref(), None, &response);
            response
        }
    }
}

/// A request that may go on.
#[derive(Debug, Default)]
struct Admitted {
    /// The owner of its key.
    principal: Option<Arc<Principal>>,
    /// The organization and the caller; `None`: as the headers say.
    actor: Option<Actor>,
    /// True if its key came in the cookie of a browser.
    is_session: bool,
}

/// Marks a request whose key came in the cookie of a browser.
#[derive(Clone, Copy, Debug)]
pub(super) struct SignedIn;

/// Refuses a key that is not of all organizations, for what concerns all of them.
pub(super) fn check_all_organizations(
    manager: &QueueManager,
    extensions: &Extensions,
) -> Answer<()> {
    let principal = extensions.get::<Arc<Principal>>();
    let Some(principal) = principal else {
        return Ok(());
    };
    match principal.organizations {
        Organizations::All => Ok(()),
        Organizations::Only(_) => {
            let forbidden = Forbidden::Organization {
                who: principal.to_string(),
                named: PauseScope::everything().organization,
            };
            let problem = denied(manager, extensions, Refusal::Forbidden(forbidden));
            Err(Box::new(problem))
        }
    }
}

/// Counts and logs a refused request, and returns the answer to it.
pub(super) fn denied(manager: &QueueManager, extensions: &Extensions, refusal: Refusal) -> Problem {
    let reason = refusal.reason();
    let route = extensions.get::<MatchedPath>().map(MatchedPath::as_str);
    manager.metrics().denied(reason);
    let peer = extensions.get::<Peer>();
    let certificate = peer.and_then(|peer| peer.certificate.as_deref());
    manager.log_denial(reason, route.unwrap_or_default(), certificate);
    refusal.into()
}

/// The need of the address; `None` if the table does not have it.
fn need_of(request: &Request) -> Option<Need> {
    let path = request.extensions().get::<MatchedPath>()?;
    // Axum answers a HEAD as a GET without its body.
    let method = match request.method() {
        &Method::HEAD => &Method::GET,
        other => other,
    };
    let entries = || NEEDS.iter().chain(PAGES);
    let entry = entries().find(|(of, at, _)| of == method && *at == path.as_str());
    // A method that the address does not have is refused behind the guard.
    let is_address = || entries().any(|(_, at, _)| *at == path.as_str());
    match entry {
        Some((_, _, need)) => Some(*need),
        None => is_address().then_some(Need::Key),
    }
}

/// Returns true if the address is a page of the console.
fn is_page(request: &Request) -> bool {
    let path = request.extensions().get::<MatchedPath>();
    path.is_some_and(|path| PAGES.iter().any(|(_, at, _)| *at == path.as_str()))
}

/// The owner of the key of a request, and the organization of its session, if it has
/// one. A browser sends its cookie with requests of pages alone.
fn principal(
    keys: &Authenticator,
    now: Timestamp,
    request: &Request,
) -> Result<(Arc<Principal>, Option<Session>), Denied> {
    match bearer(request.headers()) {
        Err(Denied::Missing) if is_page(request) => {
            let session = console::session(request.headers()).ok_or(Denied::Missing)?;
            let session = keys.open_session(session, now)?;
            Ok((Arc::clone(&session.principal), Some(session)))
        }
        key => Ok((keys.authenticate(key?, now)?, None)),
    }
}

fn admit_with_key(
    manager: &QueueManager,
    keys: &Authenticator,
    need: Need,
    request: &Request,
) -> Result<Admitted, Refusal> {
    let now = manager.store().now();
    let found = principal(keys, now, request);
    let is_session = matches!(found, Ok((_, Some(_))));
    let is_form = is_page(request) && !request.method().is_safe();
    if is_form && (is_session || need == Need::Nothing) {
        check_own_page(request.headers())?;
    } else if is_form && found.is_err() {
        // A browser sends no cookie with a form of another site. The page to sign in
        // would bring a person in front of a question that this site has chosen.
        check_no_other_page(request.headers())?;
    }
    let permission = match need {
        Need::Nothing => {
            // A key is welcome: its owner may see more.
            // That of a run may not, so the store is not asked about it.
            return Ok(Admitted {
                principal: found
                    .ok()
                    .map(|(principal, _)| principal)
                    .filter(|known| known.parent().is_none()),
                ..Admitted::default()
            });
        }
        Need::Key => None,
        Need::Role(permission) => Some(permission),
    };
    let (principal, session) = found.map_err(Refusal::Denied)?;
    if let Some(permission) = permission {
        principal.require(permission)?;
    }
    let header = |name| {
        let values = request.headers().get_all(name).into_iter();
        values.map(HeaderValue::as_bytes)
    };
    let named = headers::named(header).map_err(Refusal::Invalid)?;
    let chosen = session.and_then(|session| session.organization);
    let acts_as = principal.act_as(named.organization.or(chosen), named.caller)?;
    Ok(Admitted {
        actor: Some(acts_as.into()),
        principal: Some(principal),
        is_session,
    })
}

/// The principal of a request that was refused for what it asks, not for its key.
fn principal_of(manager: &QueueManager, request: &Request) -> Option<Arc<Principal>> {
    let keys = manager.options().access.keys()?;
    let found = principal(keys, manager.store().now(), request).ok()?;
    Some(found.0)
}

/// Refuses a run that does not hold its operation any more.
async fn check_run(manager: &QueueManager, principal: Option<&Principal>) -> Result<(), Refusal> {
    let Some(Proof::Run { id, fence }) = principal.map(|principal| principal.proof) else {
        return Ok(());
    };
    let lock = manager.store().lock(id).await.map_err(Refusal::Store)?;
    if lock.is_some_and(|lock| lock.fence == fence) {
        Ok(())
    } else {
        Err(Refusal::Denied(Denied::RunEnded))
    }
}

/// The key that a request sends.
fn bearer(headers: &HeaderMap) -> Result<&str, Denied> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next().ok_or(Denied::Missing)?;
    if values.next().is_some() {
        return Err(Denied::Missing);
    }
    let text = value.to_str().unwrap_or_default();
    let scheme = text.get(..SCHEME.len()).unwrap_or_default();
    if scheme.eq_ignore_ascii_case(SCHEME) {
        Ok(text.get(SCHEME.len()..).unwrap_or_default().trim())
    } else {
        Err(Denied::Missing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: Method, headers: &[(&str, &str)]) -> Request {
        let mut request = Request::new(axum::body::Body::empty());
        *request.method_mut() = method;
        for (name, value) in headers {
            let name: axum::http::HeaderName = name.parse().unwrap();
            request.headers_mut().append(name, value.parse().unwrap());
        }
        request
    }

    #[test]
    fn a_form_needs_what_the_same_action_needs_in_the_api() {
        let mut compared = 0;
        for (method, path, need) in PAGES {
            let same = |(of, at, _): &&(Method, &str, Need)| {
                of == method && at.strip_prefix("/v1") == Some(path)
            };
            if method == Method::POST
                && let Some((_, _, of_api)) = NEEDS.iter().find(same)
            {
                assert_eq!(need, of_api, "{path}");
                compared += 1;
            }
        }
        assert!(compared >= 5, "{compared}");
    }

    #[test]
    fn a_key_comes_alone_and_as_a_bearer() {
        let key = |sent: &[(&str, &str)]| {
            let asked = request(Method::GET, sent);
            bearer(asked.headers()).map(str::to_owned)
        };
        assert_eq!(
            key(&[("authorization", "bearer  drl_x ")]).unwrap(),
            "drl_x"
        );
        assert_eq!(key(&[]), Err(Denied::Missing));
        assert_eq!(
            key(&[("authorization", "Basic Zm9v")]),
            Err(Denied::Missing)
        );
        let twice = [("authorization", "Bearer a"), ("authorization", "Bearer b")];
        assert_eq!(key(&twice), Err(Denied::Missing));
    }
}
