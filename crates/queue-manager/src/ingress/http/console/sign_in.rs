//! `/login/oidc` and `/login/callback`: a person signs in at the issuer, and comes back
//! with a code that becomes a session.
//!
//! ```text
//! /login ─→ /login/oidc ─→ page that leads to the issuer ─→ /login/callback ─→ page that leads on
//!             └ cookie of the sign-in (Lax) ────────────────────┘  └ cookie of the session (Strict)
//! ```
//!
//! Pages lead to the issuer and on, and no redirects: a form of this site may not end
//! elsewhere (`form-action`), and a browser sends no strict cookie with a request that
//! another site has begun. The address to come back to stands in the file with the keys,
//! so no header of a request decides where a code goes.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{HeaderMap, HeaderValue, SET_COOKIE};
use axum::response::{IntoResponse as _, Redirect, Response};
use drumline_auth::{Authenticator, Oidc, SignIn};
use drumline_console::LoginPage;
use drumline_protocol::Timestamp;

use super::session::{self, LIFETIME, START, local};
use super::{html, value};
use crate::error::Error;
use crate::ingress::http::audit::HasSignedIn;
use crate::ingress::http::extractors::Parameters;
use crate::ingress::http::problem::Answer;
use crate::service::QueueManager;

/// The names of the cookie of a sign-in, as those of a session.
const SECURE: &str = "__Host-drumline-login";
const LOOPBACK: &str = "drumline-login";
/// The time that the browser keeps that cookie.
const FLOW: Duration = Duration::from_secs(600);
/// The longest address to go on to, and the longest name of an organization: both are in
/// the cookie.
const LONGEST_NEXT: usize = 1024;
const LONGEST_NAME: usize = 256;
const BUSY: &str = "Too many people sign in at this moment. Try again in a minute";
const SILENT: &str = "The issuer does not answer. Try again, or sign in with a key";

/// Returns true if people can sign in at an issuer.
pub(super) fn is_possible(manager: &QueueManager) -> bool {
    of(manager).is_some()
}

/// The parts of a sign-in.
struct Issuer<'a> {
    keys: &'a Arc<Authenticator>,
    oidc: Arc<Oidc>,
    console: SignIn,
}

fn of(manager: &QueueManager) -> Option<Issuer<'_>> {
    let keys = manager.options().access.keys()?;
    let oidc = keys.oidc()?;
    let console = oidc.sign_in()?.clone();
    Some(Issuer {
        keys,
        oidc,
        console,
    })
}

impl Issuer<'_> {
    fn is_secure(&self) -> bool {
        self.console.redirect_url().starts_with("https://")
    }

    fn cookie_name(&self) -> &'static str {
        if self.is_secure() { SECURE } else { LOOPBACK }
    }

    /// The cookie of a sign-in: the browser sends it when the issuer leads back.
    fn cookie(&self, value: &str, lifetime: Duration) -> String {
        let secure = if self.is_secure() { "; Secure" } else { "" };
        let (name, seconds) = (self.cookie_name(), lifetime.as_secs());
        format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}")
    }
}

/// Leads to the issuer.
pub(super) async fn begin(
    State(manager): State<QueueManager>,
    Parameters(pairs): Parameters,
) -> Answer<Response> {
    let Some(issuer) = of(&manager) else {
        return Ok(Redirect::to("/login").into_response());
    };
    let now = manager.store().now();
    let next = Some(local(value(&pairs, "next"))).filter(|next| next.len() <= LONGEST_NEXT);
    let next = next.unwrap_or(START);
    let organization = value(&pairs, "organization").trim();
    if organization.len() > LONGEST_NAME {
        return Ok(again(now, "The organization has no such name", next, ""));
    }
    let Some(mut address) = manager.issuer().authorization(issuer.keys).await else {
        return Ok(again(now, SILENT, next, organization));
    };
    let begun = issuer.oidc.begin(organization, next, now);
    let begun = begun.map_err(|_none| Error::Internal("no random numbers".to_owned()))?;
    address
        .query_pairs_mut()
        .append_pair("response_type", "code")
        .append_pair("client_id", issuer.console.client_id())
        .append_pair("redirect_uri", issuer.console.redirect_url())
        .append_pair("scope", issuer.console.scope())
        .append_pair("state", &begun.state)
        .append_pair("nonce", &begun.nonce)
        .append_pair("code_challenge", &begun.challenge)
        .append_pair("code_challenge_method", "S256");
    let cookie = issuer.cookie(&begun.cookie, FLOW);
    Ok(onward(now, address.as_str(), &[cookie]))
}

/// Makes a session of the code that a person brings from the issuer.
pub(super) async fn finish(
    State(manager): State<QueueManager>,
    headers: HeaderMap,
    Parameters(pairs): Parameters,
) -> Answer<Response> {
    let Some(issuer) = of(&manager) else {
        return Ok(Redirect::to("/login").into_response());
    };
    let now = manager.store().now();
    let refuse = |reason: &str, next: &str, organization: &str| {
        manager.metrics().denied("login");
        manager.log_no_sign_in(reason);
        Ok(again(now, reason, next, organization))
    };
    let cookie = session::cookie_named(&headers, issuer.cookie_name()).unwrap_or_default();
    let flow = match issuer.oidc.resume(cookie, value(&pairs, "state"), now) {
        Ok(flow) => flow,
        Err(denied) => return refuse(&denied.to_string(), START, ""),
    };
    let organization = flow.organization();
    let named = organization.as_ref().map_or("", |named| named.0.as_str());
    let refuse = |reason: &str| refuse(reason, flow.next(), named);
    let code = value(&pairs, "code");
    if code.is_empty() {
        let reason = format!(
            "The issuer has not signed you in ({})",
            plain(value(&pairs, "error"))
        );
        return refuse(&reason);
    }
    let Some(_turn) = manager.sign_in_turn() else {
        return refuse(BUSY);
    };
    let exchanged = manager
        .issuer()
        .exchange(issuer.keys, code, flow.verifier());
    let identity = match exchanged.await {
        Ok(identity) => identity,
        Err(why) => {
            manager.log_no_sign_in(&format!("the issuer gave no token for a code: {why}"));
            return refuse("The issuer gave no token for this sign-in. Sign in again");
        }
    };
    if issuer.keys.lacks_keys_for(&identity) {
        manager.issuer().learn(issuer.keys).await;
    }
    let Some(keys) = issuer.keys.keys_of(&issuer.oidc) else {
        return refuse(SILENT);
    };
    let until = now.saturating_add(LIFETIME);
    let finished = issuer.oidc.finish(&flow, &identity, &keys, now, until);
    let (opened, sealed) = match finished {
        Ok(finished) => finished,
        Err(denied) => return refuse(&denied.to_string()),
    };
    let acts_as = match opened.principal.act_as(opened.organization, None) {
        Ok(acts_as) => acts_as,
        Err(forbidden) => return refuse(&forbidden.to_string()),
    };
    tracing::info!(caller = opened.principal.caller, "signed in to the console");
    let session = session::cookie_for(issuer.is_secure(), &sealed, LIFETIME);
    let over = issuer.cookie("", Duration::ZERO);
    let mut response = onward(now, local(flow.next()), &[session, over]);
    response.extensions_mut().insert(HasSignedIn {
        actor: acts_as.into(),
        principal: opened.principal,
    });
    Ok(response)
}

/// The code of an error of the issuer, as far as it is one.
fn plain(error: &str) -> &str {
    let is_code = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
    if (1..=64).contains(&error.len()) && error.bytes().all(is_code) {
        error
    } else {
        "without a reason"
    }
}

/// The page to sign in, with the reason why the caller is not.
fn again(now: Timestamp, reason: &str, next: &str, organization: &str) -> Response {
    let page = session::login(now, Some(reason), next, organization, true);
    (StatusCode::UNAUTHORIZED, html(&page)).into_response()
}

/// A page that leads on at once.
fn onward(now: Timestamp, address: &str, cookies: &[String]) -> Response {
    let page = LoginPage {
        onward: Some(address.to_owned()),
        ..session::login(now, None, START, "", true)
    };
    let mut response = html(&page).into_response();
    for cookie in cookies {
        if let Ok(cookie) = HeaderValue::from_str(cookie) {
            response.headers_mut().append(SET_COOKIE, cookie);
        }
    }
    response
}
