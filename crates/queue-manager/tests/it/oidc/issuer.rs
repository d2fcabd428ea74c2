//! An issuer of OpenID Connect on a real port, with real keys.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256,
    RsaKeyPair, RsaPublicKeyComponents,
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

pub(crate) fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A key that signs tokens.
pub(crate) enum Signer {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

impl Signer {
    /// The RSA key of the tests: *ring* makes none.
    pub(crate) fn rsa() -> Self {
        let key = RsaKeyPair::from_pkcs8(include_bytes!("rsa.p8"));
        Self::Rsa(key.expect("a key"))
    }

    pub(crate) fn ec() -> Self {
        let (kind, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
        let key = EcdsaKeyPair::generate_pkcs8(kind, &random).expect("a key");
        let key = EcdsaKeyPair::from_pkcs8(kind, key.as_ref(), &random);
        Self::Ec(key.expect("a key"))
    }

    pub(crate) fn ed() -> Self {
        let key = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("a key");
        Self::Ed(Ed25519KeyPair::from_pkcs8(key.as_ref()).expect("a key"))
    }

    pub(crate) const fn algorithm(&self) -> &'static str {
        match self {
            Self::Rsa(_) => "RS256",
            Self::Ec(_) => "ES256",
            Self::Ed(_) => "EdDSA",
        }
    }

    /// The public key as the issuer publishes it.
    pub(crate) fn published(&self, id: &str) -> Value {
        match self {
            Self::Rsa(key) => {
                let parts: RsaPublicKeyComponents<Vec<u8>> = key.public_key().into();
                json!({"kty": "RSA", "use": "sig", "alg": "RS256", "kid": id,
                       "n": encode(parts.n), "e": encode(parts.e)})
            }
            Self::Ec(key) => {
                let point = key.public_key().as_ref();
                let (x, y) = point[1..].split_at(32);
                json!({"kty": "EC", "crv": "P-256", "kid": id, "x": encode(x), "y": encode(y)})
            }
            Self::Ed(key) => {
                let point = key.public_key().as_ref();
                json!({"kty": "OKP", "crv": "Ed25519", "kid": id, "x": encode(point)})
            }
        }
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Rsa(key) => {
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)
                    .expect("signed");
                signature
            }
            Self::Ec(key) => {
                let signature = key.sign(&random, message).expect("signed");
                signature.as_ref().to_vec()
            }
            Self::Ed(key) => key.sign(message).as_ref().to_vec(),
        }
    }

    /// A token with a header of this key.
    pub(crate) fn token(&self, id: &str, claims: &Value) -> String {
        let header = json!({"typ": "JWT", "alg": self.algorithm(), "kid": id});
        token(&header, claims, |message| self.sign(message))
    }
}

/// A token with any header and any signature.
pub(crate) fn token(header: &Value, claims: &Value, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let message = format!(
        "{}.{}",
        encode(header.to_string()),
        encode(claims.to_string())
    );
    let signature = sign(message.as_bytes());
    format!("{message}.{}", encode(signature))
}

/// The issuer.
pub(crate) struct Issuer {
    pub(crate) url: String,
    shared: Arc<Shared>,
    _server: JoinSet<()>,
}

#[derive(Default)]
struct Shared {
    url: Mutex<String>,
    keys: Mutex<Vec<Value>>,
    is_down: AtomicBool,
    /// The number of times that the keys were asked for.
    looks: AtomicUsize,
    grant: Mutex<Option<Grant>>,
}

/// A code, and what is needed to have a token of identity for it.
pub(crate) struct Grant {
    pub(crate) code: String,
    pub(crate) challenge: String,
    /// The user and the password of the client, as they are sent.
    pub(crate) authorization: (String, String),
    pub(crate) identity: String,
}

impl Issuer {
    pub(crate) async fn start(keys: Vec<Value>) -> Self {
        let shared = Arc::new(Shared::default());
        *lock(&shared.keys) = keys;
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let url = format!("http://{address}/realms/jobs");
        lock(&shared.url).clone_from(&url);
        let router = Router::new()
            .route(
                "/realms/jobs/.well-known/openid-configuration",
                get(described),
            )
            .route("/keys", get(published))
            .route("/token", post(exchanged))
            .with_state(Arc::clone(&shared));
        let mut server = JoinSet::new();
        server.spawn(async move {
            axum::serve(listener, router).await.expect("it serves");
        });
        Self {
            url,
            shared,
            _server: server,
        }
    }

    pub(crate) fn base(&self) -> &str {
        self.url.trim_end_matches("/realms/jobs")
    }

    /// Gives a token of identity for a code, once.
    pub(crate) fn grant(&self, grant: Grant) {
        *lock(&self.shared.grant) = Some(grant);
    }

    /// Publishes these keys from now on.
    pub(crate) fn publish(&self, keys: Vec<Value>) {
        *lock(&self.shared.keys) = keys;
    }

    /// Answers nothing but errors from now on, or answers again.
    pub(crate) fn set_down(&self, is_down: bool) {
        self.shared.is_down.store(is_down, Ordering::SeqCst);
    }

    pub(crate) fn looks(&self) -> usize {
        self.shared.looks.load(Ordering::SeqCst)
    }
}

async fn described(State(shared): State<Arc<Shared>>) -> Response {
    if shared.is_down.load(Ordering::SeqCst) {
        return StatusCode::BAD_GATEWAY.into_response();
    }
    let url = lock(&shared.url).clone();
    let base = url.trim_end_matches("/realms/jobs");
    Json(json!({
        "issuer": url,
        "jwks_uri": format!("{base}/keys"),
        "authorization_endpoint": format!("{base}/authorize"),
        "token_endpoint": format!("{base}/token"),
    }))
    .into_response()
}

async fn exchanged(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    form: String,
) -> Response {
    let form: Uri = format!("/?{form}").parse().expect("a form");
    let Query(fields) = Query::<HashMap<String, String>>::try_from_uri(&form).expect("fields");
    let Some(grant) = lock(&shared.grant).take() else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let field = |name: &str| fields.get(name).map(String::as_str).unwrap_or_default();
    let challenge = encode(Sha256::digest(field("code_verifier").as_bytes()));
    let (user, password) = &grant.authorization;
    let basic = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
    let sent = headers.get("authorization");
    let is_good = field("grant_type") == "authorization_code"
        && field("code") == grant.code
        && field("redirect_uri") == "https://jobs.example.org/login/callback"
        && challenge == grant.challenge
        && sent.is_some_and(|sent| sent.as_bytes() == basic.as_bytes());
    if is_good {
        Json(json!({"access_token": "x", "token_type": "Bearer", "id_token": grant.identity}))
            .into_response()
    } else {
        StatusCode::BAD_REQUEST.into_response()
    }
}

async fn published(State(shared): State<Arc<Shared>>) -> Response {
    shared.looks.fetch_add(1, Ordering::SeqCst);
    let keys = lock(&shared.keys).clone();
    Json(json!({"keys": keys})).into_response()
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
