//! People sign in to the console at an issuer. The test is the browser.

use std::fs;
use std::time::Duration;

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::issuer::{Grant, Issuer, Signer};
use super::{Service, pass};
use crate::support::client::Answer;
use crate::support::until;

const HOST: (&str, &str) = ("host", "jobs.example.org");
const CONSOLE: &str = "[oidc.console]\nclient_id = \"the console\"\nsession_key_file = \"session.key\"\n\
    client_secret_file = \"client.secret\"\nredirect_url = \"https://jobs.example.org/login/callback\"\n";

struct Browser {
    issuer: Issuer,
    key: Signer,
    service: Service,
}

/// A sign-in that has led to the issuer.
struct Led {
    state: String,
    nonce: String,
    challenge: String,
    cookie: String,
}

impl Browser {
    async fn start(test: &str) -> Self {
        let key = Signer::ec();
        let issuer = Issuer::start(vec![key.published("k")]).await;
        let service = Service::start_with(test, &issuer.url, CONSOLE);
        Self {
            issuer,
            key,
            service,
        }
    }

    async fn get(&self, path: &str, cookie: &str) -> Answer {
        let headers = [HOST, ("cookie", cookie)];
        self.service.client.send("GET", path, &headers, "").await
    }

    /// Goes to the issuer.
    async fn leave(&self, query: &str) -> Led {
        let page = self.get(&format!("/login/oidc?{query}"), "").await;
        assert_eq!(page.status, StatusCode::OK, "{page:?}");
        let address = onward(&page);
        let begin = format!("{}/authorize?", self.issuer.base());
        assert!(address.starts_with(&begin), "{address}");
        let value = |name: &str| parameter(&address, name);
        assert_eq!(value("response_type"), "code");
        assert_eq!(value("client_id"), "the+console");
        assert_eq!(value("scope"), "openid");
        assert_eq!(value("code_challenge_method"), "S256");
        assert_eq!(
            value("redirect_uri"),
            "https%3A%2F%2Fjobs.example.org%2Flogin%2Fcallback"
        );
        let cookie = page.header("set-cookie");
        assert!(
            cookie.starts_with("__Host-drumline-login=oidc."),
            "{cookie}"
        );
        for part in [
            "Path=/",
            "HttpOnly",
            "SameSite=Lax",
            "Secure",
            "Max-Age=600",
        ] {
            assert!(cookie.contains(part), "{cookie}");
        }
        assert!(!cookie.contains(&value("state")), "{cookie}");
        Led {
            state: value("state"),
            nonce: value("nonce"),
            challenge: value("code_challenge"),
            cookie: pair(cookie),
        }
    }

    /// Has the issuer give a token of identity for the code `c`.
    fn grant(&self, led: &Led, changes: &Value) {
        let mut claims = self.service.claims(&json!({
            "aud": "the console", "nonce": led.nonce,
        }));
        for (name, value) in changes.as_object().into_iter().flatten() {
            claims[name] = value.clone();
        }
        self.issuer.grant(Grant {
            code: "c".to_owned(),
            challenge: led.challenge.clone(),
            // RFC 6749 has the parts encoded before they are put together.
            authorization: ("the+console".to_owned(), "s%3Acret".to_owned()),
            identity: self.key.token("k", &claims),
        });
    }

    /// Comes back from the issuer.
    async fn come_back(&self, led: &Led, query: &str) -> Answer {
        let path = format!("/login/callback?state={}&{query}", led.state);
        self.get(&path, &led.cookie).await
    }

    /// Signs in, and returns the answer and the cookie of the session.
    async fn sign_in(&self, query: &str, changes: &Value) -> (Answer, String) {
        let led = self.leave(query).await;
        self.grant(&led, changes);
        let page = self.come_back(&led, "code=c").await;
        let cookies = page.headers.get_all("set-cookie").into_iter();
        let mut cookies = cookies.filter_map(|cookie| cookie.to_str().ok());
        let session = cookies.find(|cookie| cookie.starts_with("__Host-drumline="));
        let session = session.map(pair).unwrap_or_default();
        (page, session)
    }

    fn rewrite(&self, from: &str, to: &str) {
        let path = self.service.folder.join("auth.toml");
        let text = fs::read_to_string(&path).expect("the file");
        assert!(text.contains(from), "{text}");
        fs::write(&path, text.replace(from, to)).expect("written");
    }

    async fn until_status(&self, cookie: &str, status: StatusCode) {
        until("the file is in force", async || {
            self.get("/operations", cookie).await.status == status
        })
        .await;
    }
}

fn pair(cookie: &str) -> String {
    cookie.split(';').next().unwrap_or_default().to_owned()
}

/// The address that a page leads to at once.
fn onward(page: &Answer) -> String {
    let (_, rest) = page
        .text
        .split_once("http-equiv=\"refresh\" content=\"0; url=")
        .expect("a page that leads on");
    let (address, _) = rest.split_once('"').expect("its end");
    address.replace("&#38;", "&").replace("&amp;", "&")
}

fn parameter(address: &str, name: &str) -> String {
    let (_, query) = address.split_once('?').expect("a query");
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let found = pairs.find(|(other, _)| *other == name);
    found.expect("the parameter").1.to_owned()
}

#[tokio::test]
async fn a_person_signs_in_at_the_issuer_for_a_working_day() {
    let browser = Browser::start("oidc-session").await;
    let page = browser.get("/operations?state=Ready", "").await;
    assert_eq!(page.status, StatusCode::UNAUTHORIZED, "{page:?}");
    assert!(page.text.contains("action=\"/login/oidc\""), "{page:?}");

    let next = "next=/operations%3Fstate%3DReady";
    let (page, cookie) = browser.sign_in(next, &json!({})).await;
    assert_eq!(page.status, StatusCode::OK, "{page:?}");
    assert_eq!(onward(&page), "/operations?state=Ready");
    let sent: Vec<_> = page.headers.get_all("set-cookie").into_iter().collect();
    let session = sent[0].to_str().unwrap();
    for part in [
        "__Host-drumline=oidc.",
        "Path=/",
        "HttpOnly",
        "SameSite=Strict",
        "Secure",
        "Max-Age=28800",
    ] {
        assert!(session.contains(part), "{session}");
    }
    let over = sent[1].to_str().unwrap();
    assert!(over.starts_with("__Host-drumline-login=;"), "{over}");

    let shown = browser.get("/operations", &cookie).await;
    assert_eq!(shown.status, StatusCode::OK, "{shown:?}");
    assert!(shown.text.contains("Sign out"), "{shown:?}");
    let api = browser.get("/v1/operations", &cookie).await;
    assert_eq!(api.status, StatusCode::UNAUTHORIZED, "{api:?}");

    pass(Duration::from_secs(8 * 3600 - 60)).await;
    let shown = browser.get("/operations", &cookie).await;
    assert_eq!(shown.status, StatusCode::OK, "longer than the token");
    pass(Duration::from_secs(61)).await;
    let over = browser.get("/operations", &cookie).await;
    assert_eq!(over.status, StatusCode::UNAUTHORIZED, "{over:?}");
    assert!(over.text.contains("The session is over"), "{over:?}");
    browser.service.manager.close().await;
}

#[tokio::test]
async fn a_session_may_do_what_the_file_says_now() {
    let browser = Browser::start("oidc-mapping").await;
    let (_, cookie) = browser.sign_in("", &json!({})).await;
    let workers = browser.get("/workers", &cookie).await;
    assert_eq!(workers.status, StatusCode::OK, "{workers:?}");
    browser.rewrite(
        "\"job-admins\" = \"operator\"",
        "\"job-admins\" = \"reader\"",
    );
    until("the role is in force", async || {
        browser.get("/workers", &cookie).await.status == StatusCode::FORBIDDEN
    })
    .await;
    let shown = browser.get("/operations", &cookie).await;
    assert_eq!(shown.status, StatusCode::OK, "{shown:?}");
    browser.rewrite("\"job-admins\" = \"reader\"", "\"others\" = \"reader\"");
    browser.until_status(&cookie, StatusCode::FORBIDDEN).await;
    browser.rewrite("\"others\" = \"reader\"", "\"job-admins\" = \"reader\"");
    browser.until_status(&cookie, StatusCode::OK).await;
    // Another client is another application: its people have not signed in.
    browser.rewrite("\"the console\"", "\"another\"");
    browser
        .until_status(&cookie, StatusCode::UNAUTHORIZED)
        .await;
    browser.rewrite("\"another\"", "\"the console\"");
    browser.until_status(&cookie, StatusCode::OK).await;
    // The secret is replaced: the old one is second for a while, then gone.
    let path = browser.service.folder.join("session.key");
    let old = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{}\n{old}", "n".repeat(64))).unwrap();
    let renewed = async || browser.sign_in("", &json!({})).await.1;
    assert_eq!(
        browser.get("/operations", &cookie).await.status,
        StatusCode::OK
    );
    fs::write(&path, "n".repeat(64)).unwrap();
    browser
        .until_status(&cookie, StatusCode::UNAUTHORIZED)
        .await;
    let renewed = renewed().await;
    assert_eq!(
        browser.get("/operations", &renewed).await.status,
        StatusCode::OK
    );
    browser.service.manager.close().await;
}

#[tokio::test]
async fn a_sign_in_that_is_not_of_this_browser_or_person_is_refused_and_told_why() {
    let browser = Browser::start("oidc-refused").await;
    let refused = |answer: &Answer, words: &str| {
        assert_eq!(
            answer.status,
            StatusCode::UNAUTHORIZED,
            "{words}: {answer:?}"
        );
        assert!(answer.text.contains(words), "{words}: {answer:?}");
        assert_eq!(answer.header("set-cookie"), "", "{words}");
        assert!(answer.text.contains("action=\"/login/oidc\""), "{words}");
    };
    let begun = "has not begun in this browser";
    let led = browser.leave("").await;
    browser.grant(&led, &json!({}));
    let other = browser.leave("").await;
    let path = format!("/login/callback?code=c&state={}", led.state);
    refused(&browser.get(&path, "").await, begun);
    refused(&browser.get(&path, &other.cookie).await, begun);
    refused(
        &browser.get("/login/callback?code=c", &led.cookie).await,
        begun,
    );
    let (_, session) = browser.sign_in("", &json!({})).await;
    let (_, content) = session.split_once('=').unwrap();
    let forged = format!("__Host-drumline-login={content}");
    refused(&browser.get(&path, &forged).await, begun);
    let (_, content) = led.cookie.split_once('=').unwrap();
    let forged = format!("__Host-drumline={content}");
    let answer = browser.get("/operations", &forged).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{answer:?}");

    for (changes, words) in [
        (json!({"nonce": "another"}), begun),
        (json!({"nonce": null}), begun),
        (json!({"azp": "another"}), begun),
        (json!({"aud": "drumline"}), "for another service"),
        (json!({"iss": "https://evil.example"}), "another issuer"),
        (json!({"exp": 1_000}), "expired"),
        (json!({"groups": ["strangers"]}), "no group that has a role"),
        (json!({"org": null}), "names no organization"),
        (json!({"org": ["a", "b"]}), "several organizations"),
    ] {
        let (answer, _) = browser.sign_in("", &changes).await;
        refused(&answer, words);
    }
    let several = json!({"org": ["contoso", "fabrikam"]});
    let (answer, _) = browser.sign_in("organization=another", &several).await;
    refused(&answer, "may not act in the organization another");
    let (_, cookie) = browser.sign_in("organization=fabrikam", &several).await;
    let shown = browser.get("/operations", &cookie).await;
    assert!(shown.text.contains("fabrikam"), "{shown:?}");

    // Another verifier than that of the challenge: the issuer refuses the code.
    let led = browser.leave("").await;
    let other = browser.leave("").await;
    browser.grant(&other, &json!({"nonce": led.nonce}));
    refused(&browser.come_back(&led, "code=c").await, "gave no token");
    let led = browser.leave("").await;
    let answer = browser.come_back(&led, "error=access_denied").await;
    refused(&answer, "has not signed you in (access_denied)");
    let answer = browser
        .come_back(&led, "error=%3Cscript%3Ealert(1)%3C%2Fscript%3E")
        .await;
    refused(&answer, "without a reason");
    assert!(!answer.text.contains("alert"), "{answer:?}");
    pass(Duration::from_secs(601)).await;
    browser.grant(&led, &json!({}));
    refused(&browser.come_back(&led, "code=c").await, begun);
    browser.service.manager.close().await;
}

#[tokio::test]
async fn a_sign_in_leads_to_no_other_site() {
    let browser = Browser::start("oidc-next").await;
    for next in [
        "//evil.example",
        "https://evil.example",
        "/%5Cevil.example",
        "/login/callback",
        &format!("/{}", "x".repeat(2000)),
    ] {
        let (page, _) = browser.sign_in(&format!("next={next}"), &json!({})).await;
        assert_eq!(onward(&page), "/", "{next}");
    }
    let out = browser
        .service
        .client
        .send(
            "POST",
            "/logout",
            &[HOST, ("origin", "https://jobs.example.org")],
            "",
        )
        .await;
    assert!(
        out.header("set-cookie").starts_with("__Host-drumline=;"),
        "{out:?}"
    );

    // A service whose file names no console has no such page.
    let bare = Service::start("oidc-no-console", &browser.issuer.url);
    for path in ["/login/oidc", "/login/callback?code=c&state=x"] {
        let answer = bare.client.send("GET", path, &[HOST], "").await;
        assert_eq!(answer.header("location"), "/login", "{answer:?}");
    }
    bare.manager.close().await;
    browser.service.manager.close().await;
}

#[tokio::test]
async fn who_has_signed_in_is_in_the_audit() {
    let browser = Browser::start("oidc-audit").await;
    let (page, cookie) = browser.sign_in("", &json!({})).await;
    assert_eq!(page.status, StatusCode::OK, "{page:?}");
    let line = async || {
        let page = browser.get("/audit.jsonl", &cookie).await;
        let mut lines = page.text.lines().map(str::to_owned);
        lines.find(|line| line.contains("GET /login/callback"))
    };
    until("there is a line", async || line().await.is_some()).await;
    let line = line().await.unwrap();
    let entry: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(entry["outcome"], "done", "{line}");
    assert_eq!(entry["principal"], "token:jo", "{line}");
    assert_eq!(entry["organization"], "contoso", "{line}");
    assert_eq!(entry["roles"], json!(["operator"]), "{line}");
    assert!(!line.contains("code=") && !line.contains("state"), "{line}");
    browser.service.manager.close().await;
}

#[tokio::test]
async fn the_issuer_is_not_asked_for_every_code_that_comes() {
    let browser = Browser::start("oidc-flood").await;
    let led = browser.leave("").await;
    let mut asked = 0;
    loop {
        let page = browser.come_back(&led, "code=wrong").await;
        assert_eq!(page.status, StatusCode::UNAUTHORIZED, "{page:?}");
        if page.text.contains("Too many people") {
            break;
        }
        asked += 1;
        assert!(asked <= 120, "the issuer is asked without end");
    }
    assert_eq!(asked, 120);
    browser.service.manager.close().await;
}
