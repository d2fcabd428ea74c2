//! The sign-in of a person to the console: the code flow, and the session behind it.
//!
//! ```text
//! begin ─→ state, nonce, challenge ─→ the issuer ─→ code, state
//!   └ cookie: sealed( end, state, nonce, verifier, next ) ──┴─ Flow ─→ token of identity
//!                                                                          │
//! request ─→ person ─→ roles of today ◀── session: sealed( end, person ) ◀─┘
//! ```
//!
//! A session keeps who a person is, not what the person may do: each request maps the
//! groups again. It is sealed for the issuer and the claims that the file names, so it
//! ends when one of these changes. The secret is in a file of its own, the same on all
//! managers. So a session holds on all of them and after a restart.

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use drumline_protocol::{Organization, Timestamp};
use ring::error::Unspecified;
use ring::rand::{SecureRandom as _, SystemRandom};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::{KeySet, Oidc, Person, token};
use crate::principal::Denied;
use crate::session::{self, Session};

/// The time that a person has to sign in at the issuer.
const FLOW: Duration = Duration::from_secs(600);
/// Keeps sessions and begun sign-ins apart from each other and from all other uses of
/// the secret.
const SESSION_LABEL: &[u8] = b"drumline oidc session 1";
const FLOW_LABEL: &[u8] = b"drumline oidc sign-in 1";
/// The beginning of every session of a person: no key has this id.
const PREFIX: &str = "oidc";
/// The most characters of a session. Browsers keep cookies of up to 4096 bytes.
const MAX_CHARS: usize = 3800;

/// The settings of the sign-in to the console: `[oidc.console]` in the file.
#[derive(Clone)]
pub struct SignIn {
    pub(super) client_id: String,
    pub(super) client_secret: Option<String>,
    pub(super) redirect_url: String,
    pub(super) scope: String,
    /// The secrets that seal sessions. The first one seals.
    pub(super) session_keys: Vec<String>,
}

impl fmt::Debug for SignIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignIn")
            .field("client_id", &self.client_id)
            .field("redirect_url", &self.redirect_url)
            .finish_non_exhaustive()
    }
}

impl SignIn {
    /// The name by which the issuer knows the console.
    #[must_use]
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// The password by which the issuer knows the console, if it has one.
    #[must_use]
    pub fn client_secret(&self) -> Option<&str> {
        self.client_secret.as_deref()
    }

    /// The address at which a person comes back from the issuer.
    #[must_use]
    pub fn redirect_url(&self) -> &str {
        &self.redirect_url
    }

    /// The scopes that are asked for.
    #[must_use]
    pub fn scope(&self) -> &str {
        &self.scope
    }
}

/// A sign-in that has begun.
#[derive(Debug)]
pub struct Begun {
    /// The content of the cookie that binds the sign-in to the browser.
    pub cookie: String,
    /// The parameter `state`.
    pub state: String,
    /// The parameter `nonce`.
    pub nonce: String,
    /// The parameter `code_challenge`, with the method `S256`.
    pub challenge: String,
}

/// A sign-in that the browser has come back from.
#[derive(Debug, Serialize, Deserialize)]
pub struct Flow {
    until: i64,
    state: String,
    nonce: String,
    verifier: String,
    organization: String,
    next: String,
}

impl Flow {
    /// The parameter `code_verifier`.
    #[must_use]
    pub fn verifier(&self) -> &str {
        &self.verifier
    }

    /// The organization that the person has chosen.
    #[must_use]
    pub fn organization(&self) -> Option<Organization> {
        (!self.organization.is_empty()).then(|| Organization(self.organization.clone()))
    }

    /// The address to go on to.
    #[must_use]
    pub fn next(&self) -> &str {
        &self.next
    }
}

#[derive(Serialize, Deserialize)]
struct Content {
    until: i64,
    organization: Option<String>,
    person: Person,
}

impl Oidc {
    /// The settings of the sign-in to the console, if people may sign in there.
    #[must_use]
    pub fn sign_in(&self) -> Option<&SignIn> {
        self.console.as_ref()
    }

    /// Begins a sign-in.
    ///
    /// # Errors
    /// When the operating system has no random numbers, or no person may sign in.
    pub fn begin(
        &self,
        organization: &str,
        next: &str,
        now: Timestamp,
    ) -> Result<Begun, Unspecified> {
        let flow = Flow {
            until: now.saturating_add(FLOW).as_millis(),
            state: random()?,
            nonce: random()?,
            verifier: random()?,
            organization: organization.to_owned(),
            next: next.to_owned(),
        };
        Ok(Begun {
            cookie: self.seal(FLOW_LABEL, &flow)?,
            challenge: URL_SAFE_NO_PAD.encode(Sha256::digest(flow.verifier.as_bytes())),
            state: flow.state,
            nonce: flow.nonce,
        })
    }

    /// Finds the sign-in that the browser has come back from with a `state`.
    ///
    /// # Errors
    /// [`Denied::SignIn`] when this browser has begun none, or another, or too long ago.
    pub fn resume(&self, cookie: &str, state: &str, now: Timestamp) -> Result<Flow, Denied> {
        let flow: Flow = self.unseal(FLOW_LABEL, cookie).ok_or(Denied::SignIn)?;
        let is_own: bool = flow.state.as_bytes().ct_eq(state.as_bytes()).into();
        if is_own && Timestamp::from_millis(flow.until) > now {
            Ok(flow)
        } else {
            Err(Denied::SignIn)
        }
    }

    /// Makes a session of the token of identity that the issuer has given for a sign-in.
    /// It ends at a time.
    ///
    /// # Errors
    /// When the token does not hold or is not of this sign-in, or its owner has no role
    /// or organization here.
    pub fn finish(
        &self,
        flow: &Flow,
        identity: &str,
        keys: &KeySet,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<(Session, String), Denied> {
        let console = self.console.as_ref().ok_or(Denied::SignIn)?;
        let verified = token::verify(identity, keys, &self.issuer, &console.client_id, now)?;
        let text = |name: &str| verified.claims.get(name).and_then(|value| value.as_str());
        let is_of_flow = text("nonce").is_some_and(|nonce| nonce == flow.nonce);
        let is_of_client = text("azp").is_none_or(|party| party == console.client_id);
        if !is_of_flow || !is_of_client {
            return Err(Denied::SignIn);
        }
        let mut person = self.person(&verified.claims)?;
        // The browser keeps no more of a person than is asked for.
        person.groups.retain(|group| self.map.contains_key(group));
        let principal = self.principal_of(&person, until)?;
        let content = Content {
            until: until.as_millis(),
            organization: flow.organization().map(|organization| organization.0),
            person,
        };
        let sealed = self.seal(SESSION_LABEL, &content);
        let sealed = sealed.map_err(|_unspecified| Denied::SignIn)?;
        if sealed.len() > MAX_CHARS {
            return Err(Denied::TooManyOrganizations);
        }
        let session = Session {
            principal: std::sync::Arc::new(principal),
            organization: flow.organization(),
        };
        Ok((session, sealed))
    }

    /// Opens a session, and finds what its owner may do now.
    ///
    /// # Errors
    /// When the session is over, or its owner has no role any more.
    pub(crate) fn open_session(&self, session: &str, now: Timestamp) -> Result<Session, Denied> {
        let content: Content = self.unseal(SESSION_LABEL, session).ok_or(Denied::Session)?;
        let until = Timestamp::from_millis(content.until);
        if until <= now {
            return Err(Denied::Session);
        }
        Ok(Session {
            principal: std::sync::Arc::new(self.principal_of(&content.person, until)?),
            organization: content.organization.map(Organization),
        })
    }

    fn seal(&self, label: &[u8], content: &impl Serialize) -> Result<String, Unspecified> {
        let secrets = self.console.as_ref().map(|console| &console.session_keys);
        let secret = secrets.and_then(|secrets| secrets.first());
        let secret = secret.ok_or(Unspecified)?;
        let content = serde_json::to_vec(content).map_err(|_error| Unspecified)?;
        let sealed = session::seal_bytes(secret.as_bytes(), label, &self.context(), content)?;
        Ok(format!("{PREFIX}.{}", URL_SAFE_NO_PAD.encode(sealed)))
    }

    fn unseal<T: DeserializeOwned>(&self, label: &[u8], text: &str) -> Option<T> {
        if text.len() > MAX_CHARS {
            return None;
        }
        let sealed = text.strip_prefix(PREFIX)?.strip_prefix('.')?;
        let sealed = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let context = self.context();
        let mut secrets = self.console.as_ref()?.session_keys.iter();
        let content = secrets
            .find_map(|secret| session::open_bytes(secret.as_bytes(), label, &context, &sealed))?;
        serde_json::from_slice(&content).ok()
    }

    /// The settings that say who a person is. A session of other settings is none.
    fn context(&self) -> Vec<u8> {
        let client = self.console.as_ref().map(|console| &console.client_id);
        let parts = (
            &self.issuer,
            client,
            &self.roles_claim,
            &self.caller_claim,
            self.organizations.claim(),
        );
        serde_json::to_vec(&parts).unwrap_or_default()
    }
}

/// Returns true if the content of a cookie claims to be the session of a person.
pub(crate) fn is_session(session: &str) -> bool {
    session
        .strip_prefix(PREFIX)
        .is_some_and(|rest| rest.starts_with('.'))
}

/// 256 random bits as text.
fn random() -> Result<String, Unspecified> {
    let mut bytes = [0; 32];
    SystemRandom::new().fill(&mut bytes)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}
