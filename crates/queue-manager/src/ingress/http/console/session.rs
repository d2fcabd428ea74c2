//! `/login` and `/logout`: a key becomes a session of the browser, in a cookie.
//!
//! The cookie goes with requests of this site alone (`SameSite=Strict`), and no
//! script reads it. Over TLS its name begins with `__Host-`, which no other host can
//! set. On loopback without TLS browsers refuse that name, so it has another.

use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{COOKIE, HOST, HeaderMap, HeaderValue, ORIGIN, REFERER, SET_COOKIE};
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Redirect, Response};
use drumline_auth::{ApiKey, Denied, Proof, seal};
use drumline_console::{Frame, LoginPage, Section, Text};
use drumline_protocol::{Organization, Timestamp};

use super::{html, sign_in, value};
use crate::error::Error;
use crate::ingress::http::audit::HasSignedIn;
use crate::ingress::http::extractors::Parameters;
use crate::ingress::http::problem::Answer;
use crate::ingress::http::{body, guard};
use crate::service::QueueManager;

/// The name of the cookie over TLS.
const SECURE: &str = "__Host-drumline";
/// The name of the cookie on loopback without TLS.
const LOOPBACK: &str = "drumline-session";
/// The time after which a caller has to sign in again: a working day.
pub(super) const LIFETIME: Duration = Duration::from_secs(8 * 3600);
/// The rule for the address to go on to.
pub(super) const START: &str = "/";

/// The session that a request sends, if it sends one.
pub(in crate::ingress::http) fn session(headers: &HeaderMap) -> Option<&str> {
    cookie_named(headers, SECURE).or_else(|| cookie_named(headers, LOOPBACK))
}

/// The value of a cookie. One that has no TLS around it counts on loopback only.
pub(super) fn cookie_named<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    if !name.starts_with("__Host-") && !host(headers).is_some_and(guard::is_loopback) {
        return None;
    }
    let cookies = headers.get_all(COOKIE).into_iter();
    let cookies = cookies.filter_map(|cookies| cookies.to_str().ok());
    let mut pairs = cookies.flat_map(|cookies| cookies.split(';'));
    let found = pairs.find_map(|pair| pair.trim().split_once('=').filter(|(of, _)| *of == name));
    found
        .map(|(_, value)| value)
        .filter(|value| !value.is_empty())
}

fn host(headers: &HeaderMap) -> Option<&str> {
    let host = headers.get(HOST)?.to_str().ok()?;
    Some(guard::host_of(host))
}

/// The page to sign in.
pub(super) async fn page(
    State(manager): State<QueueManager>,
    Parameters(pairs): Parameters,
) -> Response {
    if manager.options().access.keys().is_none() {
        // There is nothing to sign in with.
        return Redirect::to(START).into_response();
    }
    let next = local(value(&pairs, "next"));
    let by_issuer = sign_in::is_possible(&manager);
    html(&login(manager.store().now(), None, next, "", by_issuer)).into_response()
}

/// Makes a session of a key.
pub(super) async fn enter(
    State(manager): State<QueueManager>,
    headers: HeaderMap,
    body: Body,
) -> Answer<Response> {
    let fields = body::form(&headers, body).await?;
    let Some(keys) = manager.options().access.keys() else {
        return Ok(Redirect::to(START).into_response());
    };
    let now = manager.store().now();
    let next = local(value(&fields, "next"));
    let organization = value(&fields, "organization").trim();
    let again = |reason: &str| {
        let by_issuer = sign_in::is_possible(&manager);
        let page = login(now, Some(reason), next, organization, by_issuer);
        Ok((StatusCode::UNAUTHORIZED, html(&page)).into_response())
    };
    let Some(name) = name(&headers) else {
        return again(
            "This address is not encrypted, and is not on this machine. Keys are taken over https only",
        );
    };
    let text = value(&fields, "key").trim();
    let known = match keys.authenticate(text, now) {
        Ok(known) => known,
        Err(denied) => {
            manager.metrics().denied("login");
            manager.log_no_sign_in(&denied.to_string());
            return again(&denied.to_string());
        }
    };
    if known.proof != Proof::Key {
        return again("only an API key opens a session here, and no token does");
    }
    let chosen = (!organization.is_empty()).then(|| Organization(organization.to_owned()));
    let acts_as = match known.act_as(chosen.clone(), None) {
        Ok(acts_as) => acts_as,
        Err(forbidden) => return again(&forbidden.to_string()),
    };
    let key = ApiKey::parse(text).map_err(|error| Error::Internal(error.to_string()))?;
    let sealed = seal(&key, chosen.as_ref(), now.saturating_add(LIFETIME));
    let sealed = sealed.map_err(|_none| Error::Internal("no random numbers".to_owned()))?;
    tracing::info!(key = key.id(), "signed in to the console");
    let mut response = with_cookie(next, &cookie(name, &sealed, LIFETIME));
    response.extensions_mut().insert(HasSignedIn {
        actor: acts_as.into(),
        principal: known,
    });
    Ok(response)
}

/// Ends a session.
pub(super) async fn leave(headers: HeaderMap) -> Response {
    let name = name(&headers).unwrap_or(SECURE);
    with_cookie("/login", &cookie(name, "", Duration::ZERO))
}

/// The page of a request that is not let in.
pub(super) fn refused(
    manager: &QueueManager,
    reason: &str,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
) -> LoginPage {
    let address = if method.is_safe() {
        uri.path_and_query()
            .map_or(START, |address| address.as_str())
            .to_owned()
    } else {
        page_of_form(uri, headers)
    };
    let site = headers
        .get("sec-fetch-site")
        .and_then(|site| site.to_str().ok());
    let reason = if reason == Denied::Missing.to_string() {
        None
    } else {
        Some(reason)
    };
    let now = manager.store().now();
    let by_issuer = sign_in::is_possible(manager);
    LoginPage {
        again: method.is_safe() && matches!(site, Some("cross-site" | "same-site")),
        ..login(now, reason, local(&address), "", by_issuer)
    }
}

/// The page that a form was on. The address of the form itself has lost what its fields
/// selected: without them, an action on many means every operation.
fn page_of_form(uri: &Uri, headers: &HeaderMap) -> String {
    let referer = headers
        .get(REFERER)
        .and_then(|referer| referer.to_str().ok());
    let referer: Option<Uri> = referer.and_then(|referer| referer.parse().ok());
    let own = referer.filter(|referer| {
        let authority = referer.authority().map(|authority| authority.as_str());
        let site = headers
            .get("sec-fetch-site")
            .and_then(|site| site.to_str().ok());
        let asked = headers.get(HOST).and_then(|host| host.to_str().ok());
        // Behind a gateway, `Host` may be another name.
        site == Some("same-origin") || (authority.is_some() && authority == asked)
    });
    let address = own.as_ref().unwrap_or(uri);
    if address.path().starts_with("/many/") && address.query().unwrap_or_default().is_empty() {
        return "/operations".to_owned();
    }
    address
        .path_and_query()
        .map_or(START, |address| address.as_str())
        .to_owned()
}

pub(super) fn login(
    now: Timestamp,
    reason: Option<&str>,
    next: &str,
    organization: &str,
    by_issuer: bool,
) -> LoginPage {
    LoginPage {
        frame: Frame {
            title: Text::line("Sign in"),
            section: Section::Other,
            viewer: None,
            now,
        },
        reason: reason.map(Text::sentence),
        next: next.to_owned(),
        organization: organization.to_owned(),
        again: false,
        by_issuer,
        onward: None,
    }
}

/// An address of this console; the first page for any other.
pub(super) fn local(address: &str) -> &str {
    let is_path = address.starts_with('/') && !address.starts_with("//");
    let is_plain = address
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    let is_way_in = ["/login", "/logout"]
        .iter()
        .any(|way| address.starts_with(way));
    if is_path && is_plain && !is_way_in {
        address
    } else {
        START
    }
}

/// The name of the cookie; `None` where a key must not be sent.
fn name(headers: &HeaderMap) -> Option<&'static str> {
    let origin = headers.get(ORIGIN).and_then(|origin| origin.to_str().ok());
    if origin.is_some_and(|origin| origin.starts_with("https://")) {
        return Some(SECURE);
    }
    host(headers)
        .is_some_and(guard::is_loopback)
        .then_some(LOOPBACK)
}

/// The cookie of a session, over TLS or on loopback.
pub(super) fn cookie_for(is_secure: bool, value: &str, lifetime: Duration) -> String {
    cookie(if is_secure { SECURE } else { LOOPBACK }, value, lifetime)
}

fn cookie(name: &str, value: &str, lifetime: Duration) -> String {
    let secure = if name == SECURE { "; Secure" } else { "" };
    let seconds = lifetime.as_secs();
    format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}")
}

fn with_cookie(next: &str, cookie: &str) -> Response {
    let mut response = Redirect::to(next).into_response();
    if let Ok(cookie) = HeaderValue::from_str(cookie) {
        response.headers_mut().insert(SET_COOKIE, cookie);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn an_address_to_go_on_to_is_one_of_this_console() {
        for same in ["/", "/operations?state=Ready", "/operations/x"] {
            assert_eq!(local(same), same);
        }
        for foreign in [
            "",
            "//evil.example",
            "/\\evil.example",
            "https://evil.example",
            "/login?x",
            "/a b",
            "/\r\nx",
        ] {
            assert_eq!(local(foreign), "/", "{foreign:?}");
        }
    }

    #[test]
    fn after_a_form_a_person_comes_back_to_its_page() {
        let next = |uri: &'static str, referer: &'static str| {
            let headers = headers(&[("host", "jobs.example.org"), ("referer", referer)]);
            page_of_form(&Uri::from_static(uri), &headers)
        };
        let dry_run = "https://jobs.example.org/many/cancel?messageName=X";
        assert_eq!(next("/many/cancel", dry_run), "/many/cancel?messageName=X");
        // The page of a step has no conditions in its address.
        let step = "https://jobs.example.org/many/cancel";
        for referer in [step, "https://evil.example/many/cancel?name=y", "", "?"] {
            assert_eq!(next("/many/cancel", referer), "/operations", "{referer}");
        }
        assert_eq!(next("/operations/x/cancel", ""), "/operations/x/cancel");
        assert_eq!(
            next("/pauses", "https://jobs.example.org/pauses"),
            "/pauses"
        );
    }

    #[test]
    fn a_cookie_without_tls_counts_on_loopback_only() {
        let here = ("host", "127.0.0.1:8080");
        let there = ("host", "jobs.example.org");
        let plain = ("cookie", "a=b; drumline-session=x");
        let secure = ("cookie", "__Host-drumline=y; drumline-session=x");
        assert_eq!(session(&headers(&[here, plain])), Some("x"));
        assert_eq!(session(&headers(&[there, plain])), None);
        assert_eq!(session(&headers(&[there, secure])), Some("y"));
        assert_eq!(session(&headers(&[there])), None);
        assert_eq!(name(&headers(&[here])), Some(LOOPBACK));
        assert_eq!(name(&headers(&[there])), None);
        assert_eq!(
            name(&headers(&[there, ("origin", "http://jobs.example.org")])),
            None
        );
        assert_eq!(
            name(&headers(&[there, ("origin", "https://jobs.example.org")])),
            Some(SECURE)
        );
    }

    #[test]
    fn a_cookie_is_for_this_host_and_for_no_script() {
        let cookie = cookie(SECURE, "x", LIFETIME);
        assert_eq!(
            cookie,
            "__Host-drumline=x; Path=/; Max-Age=28800; HttpOnly; SameSite=Strict; Secure"
        );
    }
}
