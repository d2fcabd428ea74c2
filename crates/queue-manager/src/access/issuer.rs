//! The issuer of OpenID Connect that the file with the keys names: fetches the keys that
//! it signs its tokens with, and exchanges the codes of people who sign in.
//!
//! ```text
//! guard: a token with an unknown key ──┐
//! every two seconds ───────────────────┴→ is it time? ─→ discovery ─→ keys ─→ Authenticator
//! ```
//!
//! One task asks, and all requests that wait for keys wait for its one look. A stranger
//! can make a token that names any key, so such a token causes a look once a minute at
//! most. Keys stay in force while the issuer does not answer.
//!
//! An operator has named the issuer, so it may be in a private network.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use drumline_auth::{Authenticator, KeySet, Oidc, is_safe_address};
use drumline_egress::{NotAllowed, Reach, check, client, reasons};
use parking_lot::Mutex;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Client, Response, Url};
use serde::Deserialize;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout};

use super::LOOK;

/// The addresses that may be asked.
const REACH: Reach = Reach::Private;
/// The time for one answer of the issuer.
const ANSWER: Duration = Duration::from_secs(5);
/// The time that a request waits for the keys of the issuer: two answers.
const PATIENCE: Duration = Duration::from_secs(10);
/// The age at which keys are fetched again. A key that the issuer has withdrawn counts
/// for that long.
const FRESH: Duration = Duration::from_secs(600);
/// The rest between two looks for a key that is not known, and after a failed look.
const REST: Duration = Duration::from_secs(60);
/// The rest after a failed look while there are no keys, so no token can be verified.
const REST_WITHOUT_KEYS: Duration = Duration::from_secs(5);
/// The longest document of an issuer, in bytes.
const LONGEST: usize = 512 * 1024;

/// The way to the issuer. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Issuer {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    client: OnceLock<Client>,
    asked: Notify,
    /// The number of looks that have ended, or were not due.
    looks: watch::Sender<u64>,
    // The lock is held for a moment, never across an await.
    last: Mutex<Option<Look>>,
    /// The addresses of the issuer that was asked last with success.
    endpoints: Mutex<Option<Endpoints>>,
}

/// The addresses at which people sign in.
#[derive(Clone, Debug)]
struct Endpoints {
    issuer: String,
    authorization: Option<String>,
    token: Option<String>,
}

/// The answer to a code.
#[derive(Deserialize)]
struct Exchanged {
    id_token: String,
}

/// The latest look at the issuer.
#[derive(Clone, Debug)]
struct Look {
    issuer: String,
    at: Instant,
    /// The reason why it has failed.
    failure: Option<String>,
}

/// The document in which an issuer describes itself.
#[derive(Debug, Deserialize)]
struct Discovered {
    issuer: String,
    jwks_uri: String,
    authorization_endpoint: Option<String>,
    token_endpoint: Option<String>,
}

impl Issuer {
    /// Waits until the keys of the issuer were fetched, if it is time for that. At most
    /// ten seconds. Cancel-safe: the look goes on.
    pub(crate) async fn learn(&self, keys: &Authenticator) {
        let Some(oidc) = keys.oidc().filter(|oidc| self.is_due(keys, oidc, true)) else {
            return;
        };
        let mut looks = self.shared.looks.subscribe();
        // A look that has just ended has brought what this request is waiting for.
        if !self.is_due(keys, &oidc, true) {
            return;
        }
        self.shared.asked.notify_one();
        if timeout(PATIENCE, looks.changed()).await.is_err() {
            tracing::debug!("the issuer did not answer in time");
        }
    }

    /// The reason why the issuer could not be asked at last; `None` if it could.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.shared.last.lock().as_ref()?.failure.clone()
    }

    /// Fetches the keys of the issuer again and again. Never ends.
    pub(crate) async fn follow(self, keys: Arc<Authenticator>) {
        loop {
            let is_asked = tokio::select! {
                () = self.shared.asked.notified() => true,
                () = sleep(LOOK) => false,
            };
            let has_looked = match keys.oidc() {
                Some(oidc) if self.is_due(&keys, &oidc, is_asked) => {
                    self.look(&keys, &oidc).await;
                    true
                }
                Some(_) => false,
                None => {
                    *self.shared.last.lock() = None;
                    false
                }
            };
            // A turn without a request for it, that brought nothing, is not what a
            // request waits for: its own turn is the next one.
            if is_asked || has_looked {
                self.shared.looks.send_modify(|looks| *looks += 1);
            }
        }
    }

    /// Returns true if the issuer may be asked now.
    fn is_due(&self, keys: &Authenticator, oidc: &Oidc, is_asked: bool) -> bool {
        let last = self.shared.last.lock();
        let Some(last) = last.as_ref().filter(|last| last.issuer == oidc.issuer()) else {
            return true;
        };
        let rest = if keys.keys_of(oidc).is_none() {
            REST_WITHOUT_KEYS
        } else if is_asked || last.failure.is_some() {
            REST
        } else {
            FRESH
        };
        last.at.elapsed() >= rest
    }

    async fn look(&self, keys: &Authenticator, oidc: &Oidc) {
        let failure = match self.fetch(oidc).await {
            Ok(fetched) => {
                keys.publish(oidc, fetched);
                None
            }
            Err(why) => Some(why),
        };
        let before = self.trouble();
        match &failure {
            Some(why) if before.as_ref() != Some(why) => {
                tracing::error!(issuer = oidc.issuer(), reason = %why, "the keys of the issuer were not fetched; those of before stay in force");
            }
            None if before.is_some() => {
                tracing::info!(issuer = oidc.issuer(), "the issuer answers again");
            }
            Some(_) | None => {}
        }
        *self.shared.last.lock() = Some(Look {
            issuer: oidc.issuer().to_owned(),
            at: Instant::now(),
            failure,
        });
    }

    async fn fetch(&self, oidc: &Oidc) -> Result<KeySet, String> {
        let issuer = oidc.issuer();
        let base = issuer.trim_end_matches('/');
        let address = format!("{base}/.well-known/openid-configuration");
        let about = self.get(&address).await;
        let about = about.map_err(|why| format!("{address}: {why}"))?;
        let about: Discovered = serde_json::from_slice(&about)
            .map_err(|error| format!("{address}: this describes no issuer: {error}"))?;
        if about.issuer != issuer {
            return Err(format!(
                "{address}: the issuer calls itself {:?}: write that as `issuer` into the file with the keys",
                about.issuer
            ));
        }
        let named = |why| format!("{}: {why}", about.jwks_uri);
        let document = self.get(&about.jwks_uri).await.map_err(named)?;
        let keys = KeySet::parse(&document).map_err(named)?;
        *self.shared.endpoints.lock() = Some(Endpoints {
            issuer: about.issuer,
            authorization: about.authorization_endpoint,
            token: about.token_endpoint,
        });
        Ok(keys)
    }

    /// The address at which people sign in; `None` if the issuer has not named one. Waits
    /// for the issuer as [`Self::learn`] does. Cancel-safe.
    pub(crate) async fn authorization(&self, keys: &Authenticator) -> Option<Url> {
        let oidc = keys.oidc()?;
        if keys.keys_of(&oidc).is_none() {
            self.learn(keys).await;
        }
        let address = self.endpoints(&oidc)?.authorization?;
        allowed(&address).ok()
    }

    /// Exchanges the code of a sign-in for the token of identity.
    ///
    /// # Errors
    /// The reason why the issuer gives none. The code may have been used up, also if the
    /// future is dropped.
    pub(crate) async fn exchange(
        &self,
        keys: &Authenticator,
        code: &str,
        verifier: &str,
    ) -> Result<String, String> {
        let oidc = keys.oidc().ok_or("no issuer is named any more")?;
        let console = oidc.sign_in().ok_or("nobody may sign in any more")?;
        let endpoints = self.endpoints(&oidc).and_then(|known| known.token);
        let address = endpoints.ok_or("the issuer names no token_endpoint")?;
        let form = encoded(&[
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", console.redirect_url()),
            ("client_id", console.client_id()),
            ("code_verifier", verifier),
        ]);
        let mut request = self
            .client()?
            .post(allowed(&address)?)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(ACCEPT, "application/json")
            .body(form);
        if let Some(secret) = console.client_secret() {
            // RFC 6749, 2.3.1: both are encoded before they are put together.
            let part = |text: &str| encoded(&[("", text)]).trim_start_matches('=').to_owned();
            request = request.basic_auth(part(console.client_id()), Some(part(secret)));
        }
        let response = request.send().await.map_err(|error| reasons(&error))?;
        let status = response.status();
        let body = body(response).await?;
        if !status.is_success() {
            return Err(format!("it answered {status}"));
        }
        let exchanged: Exchanged = serde_json::from_slice(&body)
            .map_err(|_error| "its answer has no id_token: is the scope openid allowed?")?;
        Ok(exchanged.id_token)
    }

    fn endpoints(&self, oidc: &Oidc) -> Option<Endpoints> {
        let known = self.shared.endpoints.lock().clone();
        known.filter(|known| known.issuer == oidc.issuer())
    }

    async fn get(&self, address: &str) -> Result<Vec<u8>, String> {
        let request = self.client()?.get(allowed(address)?);
        let response = request.send().await.map_err(|error| reasons(&error))?;
        if !response.status().is_success() {
            return Err(format!("it answered {}", response.status()));
        }
        body(response).await
    }

    fn client(&self) -> Result<&Client, String> {
        if let Some(client) = self.shared.client.get() {
            return Ok(client);
        }
        let made = client(REACH).timeout(ANSWER).build();
        let made = made.map_err(|error| reasons(&error))?;
        Ok(self.shared.client.get_or_init(|| made))
    }
}

/// The pairs as the fields of a form.
fn encoded(pairs: &[(&str, &str)]) -> String {
    let Ok(mut carrier) = Url::parse("https://localhost") else {
        return String::new();
    };
    carrier.query_pairs_mut().extend_pairs(pairs);
    carrier.query().unwrap_or_default().to_owned()
}

/// An address of the issuer, if it may be called.
fn allowed(address: &str) -> Result<Url, String> {
    if !is_safe_address(address) {
        return Err("the address is neither https nor of this machine".to_owned());
    }
    let url = check(address).map_err(|why| format!("the address {why}"))?;
    if REACH.allows_text(&url) {
        Ok(url)
    } else {
        Err(NotAllowed(REACH).to_string())
    }
}

/// The body of an answer, unless it is too long.
async fn body(mut response: Response) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| reasons(&error))? {
        if body.len() + chunk.len() > LONGEST {
            return Err(format!("the answer is longer than {LONGEST} bytes"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}
