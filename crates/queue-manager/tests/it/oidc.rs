//! Callers with a token of an issuer of OpenID Connect. The issuer is on a real port, so
//! time is not paused.

mod issuer;
mod sign_in;

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use drumline_auth::Authenticator;
use drumline_backend::Ids;
use drumline_queue_manager::{Access, Options, QueueManager};
use ring::hmac;
use serde_json::{Value, json};
use tokio::time;

use self::issuer::{Issuer, Signer, encode, token};
use crate::support::client::{Answer, Client};
use crate::support::{backend, until};

/// A manager that knows an issuer.
struct Service {
    manager: QueueManager,
    client: Client,
    folder: PathBuf,
    issuer: String,
}

impl Service {
    fn start(test: &str, issuer: &str) -> Self {
        Self::start_with(test, issuer, "")
    }

    fn start_with(test: &str, issuer: &str, more: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("drumline-{}-{test}", std::process::id()));
        // A test of the same process id may have left it behind.
        drop(fs::remove_dir_all(&folder));
        fs::create_dir_all(&folder).expect("a folder for tests");
        let path = folder.join("auth.toml");
        let text = format!(
            "[oidc]\nissuer = {issuer:?}\naudience = \"drumline\"\norganizations_claim = \"org\"\n\
             map = {{ \"job-admins\" = \"operator\", \"job-readers\" = \"reader\" }}\n{more}"
        );
        fs::write(folder.join("session.key"), "k".repeat(64)).expect("written");
        fs::write(folder.join("client.secret"), "s:cret\n").expect("written");
        fs::write(&path, text).expect("written");
        let options = Options {
            access: Access::Keys(Arc::new(Authenticator::open(&path).expect("a good file"))),
            ..Options::default()
        };
        let manager = QueueManager::new(backend(), Ids::random(), options);
        Self {
            client: Client::of(&manager),
            manager,
            folder,
            issuer: issuer.to_owned(),
        }
    }

    /// Seconds since 1970, by the clock of the store.
    fn now(&self) -> i64 {
        self.manager.backend().store.now().as_millis() / 1000
    }

    /// The claims of an operator, with changes.
    fn claims(&self, changes: &Value) -> Value {
        let mut claims = json!({
            "iss": self.issuer, "aud": ["account", "drumline"], "sub": "jo",
            "groups": ["job-admins"], "org": "contoso",
            "iat": self.now(), "exp": self.now() + 300,
        });
        for (name, value) in changes.as_object().into_iter().flatten() {
            claims[name] = value.clone();
        }
        claims
    }

    async fn send(&self, token: &str, method: &str, path: &str, body: &Value) -> Answer {
        let bearer = format!("Bearer {token}");
        let headers = [
            ("authorization", bearer.as_str()),
            ("content-type", "application/json"),
        ];
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        self.client.send(method, path, &headers, body).await
    }

    async fn whoami(&self, token: &str) -> Answer {
        self.send(token, "GET", "/v1/whoami", &Value::Null).await
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It is in the folder for temporary files: a rest does no harm.
        let _rest = fs::remove_dir_all(&self.folder);
    }
}

#[tokio::test]
async fn a_token_of_the_issuer_stands_for_its_owner_whatever_key_has_signed_it() {
    let signers = [Signer::rsa(), Signer::ec(), Signer::ed()];
    let keys = signers.iter().map(|key| key.published(key.algorithm()));
    let issuer = Issuer::start(keys.collect()).await;
    let service = Service::start("oidc-kinds", &issuer.url);
    for signer in &signers {
        let token = signer.token(signer.algorithm(), &service.claims(&json!({})));
        let who = service.whoami(&token).await;
        assert_eq!(who.status, StatusCode::OK, "{who:?}");
        assert_eq!(who.json["caller"], "jo");
        assert_eq!(who.json["organization"], "contoso");
        assert_eq!(who.json["roles"], json!(["operator"]));
        assert!(who.json["expiresOn"].is_string(), "{who:?}");
        assert!(who.json["keyId"].is_null(), "{who:?}");
    }
    let own = signers[1].token("ES256", &service.claims(&json!({})));
    let create = json!({"messageName": "a"});
    let created = service.send(&own, "POST", "/v1/operations", &create).await;
    assert_eq!(created.status, StatusCode::CREATED, "{created:?}");
    assert_eq!(created.json["ownerId"], "jo");
    let path = format!("/v1/operations/{}", created.id());
    let other = service.claims(&json!({"sub": "kim", "org": "fabrikam"}));
    let other = signers[1].token("ES256", &other);
    let hidden = service.send(&other, "GET", &path, &Value::Null).await;
    assert_eq!(hidden.status, StatusCode::NOT_FOUND, "{hidden:?}");
    let reader = service.claims(&json!({"groups": ["job-readers"]}));
    let reader = signers[1].token("ES256", &reader);
    let refused = service
        .send(&reader, "POST", "/v1/operations", &create)
        .await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN, "{refused:?}");
    let named = [
        ("authorization", format!("Bearer {own}")),
        ("drumline-organization", "fabrikam".to_owned()),
    ];
    let named = named
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    let refused = service.client.send("GET", "/v1/whoami", &named, "").await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN, "{refused:?}");
    service.manager.close().await;
}

#[tokio::test]
async fn a_token_that_does_not_hold_is_refused_and_the_answer_says_why() {
    let (rsa, ec, ed) = (Signer::rsa(), Signer::ec(), Signer::ed());
    let keys = vec![rsa.published("r"), ec.published("e"), ed.published("d")];
    let issuer = Issuer::start(keys.clone()).await;
    let service = Service::start("oidc-bad", &issuer.url);
    let good = service.claims(&json!({}));
    let with = |changes: Value| rsa.token("r", &service.claims(&changes));
    let now = service.now();
    // The classic attack: the public key, which everyone has, as the secret of an HMAC.
    let public = keys[0].to_string();
    let hmac = |secret: &[u8]| {
        let secret = hmac::Key::new(hmac::HMAC_SHA256, secret);
        token(&json!({"alg": "HS256", "kid": "r"}), &good, |message| {
            hmac::sign(&secret, message).as_ref().to_vec()
        })
    };
    let n = keys[0]["n"].as_str().unwrap();
    let none = |name: &str| token(&json!({"alg": name, "kid": "r"}), &good, |_| Vec::new());
    let whole = rsa.token("r", &good);
    let (message, signature) = whole.rsplit_once('.').unwrap();
    let (header, _claims) = message.split_once('.').unwrap();
    let admin = service.claims(&json!({"groups": ["job-admins", "root"]}));
    let unauthenticated = [
        ("none", none("none"), "no signature that counts"),
        ("None", none("None"), "no signature that counts"),
        (
            "HS256 of the document",
            hmac(public.as_bytes()),
            "no signature that counts",
        ),
        (
            "HS256 of the modulus",
            hmac(n.as_bytes()),
            "no signature that counts",
        ),
        (
            "another algorithm of the key",
            token(&json!({"alg": "PS256", "kid": "r"}), &good, |message| {
                rsa.sign(message)
            }),
            "no signature that counts",
        ),
        (
            "the key of another algorithm",
            token(&json!({"alg": "RS256", "kid": "e"}), &good, |message| {
                rsa.sign(message)
            }),
            "does not publish",
        ),
        (
            "unsigned",
            format!("{message}."),
            "signature of the token is wrong",
        ),
        (
            "changed",
            format!("{header}.{}.{signature}", encode(admin.to_string())),
            "signature of the token is wrong",
        ),
        (
            "signed by a stranger",
            Signer::ec().token("e", &good),
            "signature of the token is wrong",
        ),
        (
            "unknown key",
            Signer::ed().token("x", &good),
            "does not publish",
        ),
        (
            "another issuer",
            with(json!({"iss": "https://evil.example"})),
            "another issuer",
        ),
        (
            "almost the issuer",
            with(json!({"iss": format!("{}/", issuer.url)})),
            "another issuer",
        ),
        ("no issuer", with(json!({"iss": null})), "another issuer"),
        (
            "another audience",
            with(json!({"aud": "billing"})),
            "another service",
        ),
        ("no audience", with(json!({"aud": null})), "another service"),
        (
            "empty audience",
            with(json!({"aud": []})),
            "another service",
        ),
        ("expired", with(json!({"exp": now - 61})), "expired at"),
        (
            "endless",
            with(json!({"exp": null})),
            "no time at which it ends",
        ),
        (
            "ends in words",
            with(json!({"exp": "never"})),
            "no time at which it ends",
        ),
        (
            "ended before 1970",
            with(json!({"exp": -1})),
            "no time at which it ends",
        ),
        ("not yet", with(json!({"nbf": now + 90})), "holds from"),
        ("of nobody", with(json!({"sub": null})), "no claim sub"),
        (
            "huge",
            with(json!({"groups": vec!["job-admins"; 2000]})),
            "longer than",
        ),
        (
            "cut",
            format!(
                "{header}.{}.",
                &message[header.len() + 1..message.len() - 3]
            ),
            "",
        ),
        (
            "no JSON",
            format!("eyJ.{}.{signature}", encode("{}")),
            "no signature that counts",
        ),
        (
            "no object",
            rsa.token("r", &json!(["sub"])),
            "cannot be read",
        ),
        ("two parts", message.to_owned(), "not an API key"),
        ("four parts", format!("{whole}.x"), "not an API key"),
    ];
    for (name, token, words) in unauthenticated {
        let answer = service.whoami(&token).await;
        assert_eq!(
            answer.status,
            StatusCode::UNAUTHORIZED,
            "{name}: {answer:?}"
        );
        assert_eq!(answer.json["name"], "Unauthenticated", "{name}");
        assert_eq!(answer.header("www-authenticate"), "Bearer", "{name}");
        let detail = answer.json["detail"].as_str().unwrap_or_default();
        assert!(detail.contains(words), "{name}: {detail}");
        assert!(!answer.text.contains(signature), "{name}: {detail}");
    }
    for (name, changes, words) in [
        (
            "no group",
            json!({"groups": []}),
            "has no group that has a role",
        ),
        (
            "a role as a group",
            json!({"groups": ["operator"]}),
            "has no group",
        ),
        (
            "no organization",
            json!({"org": null}),
            "names no organization",
        ),
        (
            "all organizations",
            json!({"org": "*"}),
            "names no organization",
        ),
    ] {
        let answer = service.whoami(&with(changes)).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{name}: {answer:?}");
        assert_eq!(answer.json["name"], "PrivilegeDenied", "{name}");
        let detail = answer.json["detail"].as_str().unwrap_or_default();
        assert!(detail.contains(words), "{name}: {detail}");
    }
    // A minute of difference between the clocks is forgiven.
    for late in [
        json!({"exp": now - 50}),
        json!({"nbf": now + 50}),
        json!({"exp": 1_900_000_000.5}),
    ] {
        let answer = service.whoami(&with(late)).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    }
    service.manager.close().await;
}

/// Lets an hour, a minute, … pass for the service, and none for the issuer.
async fn pass(span: Duration) {
    time::pause();
    time::advance(span).await;
    time::resume();
}

#[tokio::test]
async fn a_new_key_is_fetched_once_a_minute_and_keys_outlive_their_issuer() {
    let (old, new) = (Signer::ed(), Signer::ed());
    let issuer = Issuer::start(vec![old.published("old")]).await;
    let service = Service::start("oidc-rotate", &issuer.url);
    let claims = service.claims(&json!({"exp": service.now() + 86_400}));
    let (old_token, new_token) = (old.token("old", &claims), new.token("new", &claims));
    assert_eq!(service.whoami(&old_token).await.status, StatusCode::OK);
    assert_eq!(issuer.looks(), 1);

    // A stranger's tokens cause no load on the issuer.
    for number in 0..20 {
        let token = new.token(&format!("k{number}"), &claims);
        let answer = service.whoami(&token).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{answer:?}");
    }
    assert_eq!(issuer.looks(), 1);

    issuer.publish(vec![old.published("old"), new.published("new")]);
    pass(Duration::from_secs(61)).await;
    let answers = futures_util::future::join_all((0..20).map(|_| service.whoami(&new_token))).await;
    for answer in answers {
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    }
    assert_eq!(issuer.looks(), 2, "one look for all that wait");

    issuer.set_down(true);
    pass(Duration::from_secs(3600)).await;
    until("the issuer was asked in vain", async || {
        service.manager.health().await.issuer.is_some()
    })
    .await;
    assert_eq!(service.whoami(&old_token).await.status, StatusCode::OK);
    let ready = service
        .send(&new_token, "GET", "/readyz", &Value::Null)
        .await;
    let told = ready.json["issuer"].as_str().unwrap_or_default();
    assert!(told.contains("502"), "{ready:?}");
    let strangers = service.client.get("/readyz").await;
    assert!(strangers.json["issuer"].is_null(), "{strangers:?}");

    // A key that was withdrawn counts no longer than its set.
    issuer.publish(vec![new.published("new")]);
    issuer.set_down(false);
    pass(Duration::from_secs(61)).await;
    until("the old key is forgotten", async || {
        service.whoami(&old_token).await.status == StatusCode::UNAUTHORIZED
    })
    .await;
    assert_eq!(service.whoami(&new_token).await.status, StatusCode::OK);
    assert_eq!(service.manager.health().await.issuer, None);
    service.manager.close().await;
}

#[tokio::test]
async fn without_keys_of_the_issuer_tokens_are_refused_for_a_while() {
    let key = Signer::ed();
    let issuer = Issuer::start(vec![key.published("k")]).await;
    issuer.set_down(true);
    let service = Service::start("oidc-down", &issuer.url);
    let token = key.token(
        "k",
        &service.claims(&json!({"exp": service.now() + 86_400})),
    );
    let answer = service.whoami(&token).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{answer:?}");
    assert_eq!(answer.json["name"], "ServerBusy");
    assert_ne!(answer.header("retry-after"), "");
    issuer.set_down(false);
    pass(Duration::from_secs(6)).await;
    assert_eq!(service.whoami(&token).await.status, StatusCode::OK);
    service.manager.close().await;

    // Another issuer than the one that was named is none.
    let liar = Issuer::start(vec![key.published("k")]).await;
    let address = liar.url.replace("127.0.0.1", "localhost");
    let service = Service::start("oidc-liar", &address);
    let answer = service.whoami(&token).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{answer:?}");
    let why = service.manager.health().await.issuer.unwrap_or_default();
    assert!(why.contains("calls itself"), "{why}");
    service.manager.close().await;
}
