//! Sessions: a key that is pasted, and a cookie for a working day.

use std::time::Duration;

use axum::http::StatusCode;
use serde_json::Value;

use super::check_page;
use crate::access::Keyed;
use crate::support::client::Answer;
use crate::support::until;

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
const TLS: (&str, &str) = ("origin", "https://jobs.example.org");
const HOST: (&str, &str) = ("host", "jobs.example.org");
const HERE: (&str, &str) = ("sec-fetch-site", "same-origin");

/// Signs in, and returns the answer and the cookie.
async fn sign_in(keyed: &Keyed, key: &str, rest: &str) -> (Answer, String) {
    let key = keyed.keys.get(key).map_or(key, |key| key.reveal());
    let form = format!("key={key}{rest}");
    let answer = keyed
        .client
        .send("POST", "/login", &[FORM, TLS, HOST, HERE], form)
        .await;
    check_page(&answer);
    let cookie = answer
        .header("set-cookie")
        .split(';')
        .next()
        .unwrap_or_default()
        .to_owned();
    (answer, cookie)
}

async fn get(keyed: &Keyed, path: &str, cookie: &str) -> Answer {
    let headers = [HOST, ("cookie", cookie)];
    keyed.client.send("GET", path, &headers, "").await
}

async fn post(keyed: &Keyed, path: &str, cookie: &str, more: &[(&str, &str)]) -> Answer {
    let mut headers = vec![FORM, HOST, ("cookie", cookie)];
    headers.extend_from_slice(more);
    keyed.client.send("POST", path, &headers, "").await
}

#[tokio::test(start_paused = true)]
async fn a_key_opens_the_pages_for_a_working_day_and_not_the_api() {
    let keyed = Keyed::start("sessions");
    let id = keyed.create("producer").await.id();
    let path = format!("/operations/{id}?x=1");
    let stranger = get(&keyed, &path, "").await;
    check_page(&stranger);
    assert_eq!(stranger.status, StatusCode::UNAUTHORIZED);
    assert!(stranger.text.contains("Sign in"), "{stranger:?}");
    let next = format!("name=\"next\" value=\"{path}\"");
    assert!(stranger.text.contains(&next), "{stranger:?}");

    let path = format!("/operations/{id}");
    let (answer, cookie) = sign_in(&keyed, "operator", &format!("&next={path}")).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{answer:?}");
    assert_eq!(answer.header("location"), path);
    let set = answer.header("set-cookie");
    assert!(set.starts_with("__Host-drumline="), "{set}");
    for part in [
        "Path=/",
        "HttpOnly",
        "SameSite=Strict",
        "Secure",
        "Max-Age=28800",
    ] {
        assert!(set.contains(part), "{set}");
    }
    let secret = keyed.keys["operator"].reveal();
    assert!(
        !set.contains(secret) && !set.contains(&secret[14..40]),
        "{set}"
    );

    let shown = get(&keyed, &path, &cookie).await;
    check_page(&shown);
    assert_eq!(shown.status, StatusCode::OK, "{shown:?}");
    assert!(shown.text.contains("Sign out"), "{shown:?}");
    let api = get(&keyed, &format!("/v1/operations/{id}"), &cookie).await;
    assert_eq!(api.status, StatusCode::UNAUTHORIZED, "{api:?}");
    assert_eq!(api.json["name"], "Unauthenticated");

    tokio::time::sleep(Duration::from_secs(8 * 3600 - 1)).await;
    assert_eq!(get(&keyed, &path, &cookie).await.status, StatusCode::OK);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let over = get(&keyed, &path, &cookie).await;
    assert_eq!(over.status, StatusCode::UNAUTHORIZED);
    assert!(over.text.contains("The session is over"), "{over:?}");
    keyed.manager.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_session_has_the_role_and_the_organization_of_its_key() {
    let keyed = Keyed::start("session-roles");
    let id = keyed.create("producer").await.id();
    let cancel = format!("/operations/{id}/cancel");
    let (_, reader) = sign_in(&keyed, "reader", "").await;
    let refused = post(&keyed, &cancel, &reader, &[HERE]).await;
    check_page(&refused);
    assert_eq!(refused.status, StatusCode::FORBIDDEN, "{refused:?}");
    let shown = get(&keyed, &format!("/operations/{id}"), &reader).await;
    assert!(!shown.text.contains("/cancel\""), "{shown:?}");
    let (_, other) = sign_in(&keyed, "other", "").await;
    let hidden = get(&keyed, &format!("/operations/{id}"), &other).await;
    assert_eq!(hidden.status, StatusCode::NOT_FOUND, "{hidden:?}");

    let (answer, _) = sign_in(&keyed, "several", "").await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{answer:?}");
    assert!(answer.text.contains("several organizations"), "{answer:?}");
    let (_, several) = sign_in(&keyed, "several", "&organization=contoso").await;
    let shown = get(&keyed, &format!("/operations/{id}"), &several).await;
    assert_eq!(shown.status, StatusCode::OK, "{shown:?}");
    let done = post(&keyed, &cancel, &several, &[HERE]).await;
    assert_eq!(done.status, StatusCode::SEE_OTHER, "{done:?}");
}

#[tokio::test(start_paused = true)]
async fn a_session_changes_something_only_from_a_page_of_this_address() {
    let keyed = Keyed::start("session-sites");
    let id = keyed.create("producer").await.id();
    let cancel = format!("/operations/{id}/cancel");
    let (_, cookie) = sign_in(&keyed, "operator", "").await;
    for foreign in [
        &[][..],
        &[("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-site")],
        &[("sec-fetch-site", "none")],
        &[("origin", "https://evil.example")],
        &[("origin", "null")],
    ] {
        let answer = post(&keyed, &cancel, &cookie, foreign).await;
        check_page(&answer);
        assert_eq!(
            answer.status,
            StatusCode::FORBIDDEN,
            "{foreign:?}: {answer:?}"
        );
    }
    let key = keyed.keys["reader"].reveal();
    let form = format!("key={key}");
    let foreign = [FORM, HOST, ("sec-fetch-site", "cross-site")];
    let answer = keyed.client.send("POST", "/login", &foreign, form).await;
    assert_eq!(
        answer.status,
        StatusCode::FORBIDDEN,
        "nobody is signed in by another site"
    );
    let answer = post(
        &keyed,
        &cancel,
        &cookie,
        &[("origin", "https://jobs.example.org")],
    )
    .await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{answer:?}");
}

#[tokio::test(start_paused = true)]
async fn a_bad_key_is_named_and_a_revoked_one_ends_its_sessions() {
    let mut keyed = Keyed::start("session-keys");
    for (key, words) in [
        ("nonsense", "This is not an API key of Drumline"),
        ("unknown", "is not known here"),
        ("expired", "expired at"),
    ] {
        let (answer, _) = sign_in(&keyed, key, "").await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{answer:?}");
        assert!(answer.text.contains(words), "{answer:?}");
        assert_eq!(answer.header("set-cookie"), "");
    }
    let (_, cookie) = sign_in(&keyed, "reader", "").await;
    assert_eq!(get(&keyed, "/", &cookie).await.status, StatusCode::OK);
    let id = keyed.keys["reader"].id().to_owned();
    keyed.document.revoke(&id).unwrap();
    keyed.document.save(&keyed.path).unwrap();
    until("the session is over", async || {
        get(&keyed, "/", &cookie).await.status == StatusCode::UNAUTHORIZED
    })
    .await;
    keyed.manager.close().await;
}

#[tokio::test(start_paused = true)]
async fn after_a_session_has_ended_a_form_on_many_does_not_mean_everything() {
    let keyed = Keyed::start("session-many");
    let next = |address: &str| format!("name=\"next\" value=\"{address}\"");
    let on = ("referer", "https://jobs.example.org/many/cancel?name=x");
    let asked = post(&keyed, "/many/cancel", "", &[HERE, on]).await;
    check_page(&asked);
    assert_eq!(asked.status, StatusCode::UNAUTHORIZED, "{asked:?}");
    let page = next("/many/cancel?name=x");
    assert!(asked.text.contains(&page), "{asked:?}");
    // The page of a step has the conditions in its fields alone.
    let step = ("referer", "https://jobs.example.org/many/cancel");
    for more in [&[HERE][..], &[HERE, step], &[on]] {
        let asked = post(&keyed, "/many/cancel", "", more).await;
        assert_eq!(asked.status, StatusCode::UNAUTHORIZED, "{asked:?}");
        assert!(!asked.text.contains("value=\"/many/cancel\""), "{asked:?}");
    }
    let asked = post(&keyed, "/many/cancel", "", &[HERE]).await;
    assert!(asked.text.contains(&next("/operations")), "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn a_link_of_another_site_loads_the_page_once_more() {
    let keyed = Keyed::start("session-links");
    let site = [HOST, ("sec-fetch-site", "cross-site")];
    let answer = keyed.client.send("GET", "/operations", &site, "").await;
    check_page(&answer);
    assert!(answer.text.contains("http-equiv=\"refresh\""), "{answer:?}");
    let answer = keyed
        .client
        .send("GET", "/operations", &[HOST, HERE], "")
        .await;
    assert!(
        !answer.text.contains("http-equiv=\"refresh\""),
        "{answer:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_form_of_another_site_brings_nobody_in_front_of_a_question() {
    let keyed = Keyed::start("session-foreign");
    // A browser sends no cookie with these.
    for foreign in [
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        ("origin", "https://evil.example"),
        ("origin", "null"),
    ] {
        for path in ["/many/cancel", "/pauses"] {
            let headers = [FORM, HOST, foreign];
            let answer = keyed.client.send("POST", path, &headers, "").await;
            check_page(&answer);
            assert_eq!(
                answer.status,
                StatusCode::FORBIDDEN,
                "{foreign:?}: {answer:?}"
            );
            assert!(answer.text.contains("CrossSiteRequest"), "{answer:?}");
            assert!(!answer.text.contains("http-equiv"), "{answer:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_signs_out_is_out_and_without_keys_there_is_no_cookie() {
    let keyed = Keyed::start("session-out");
    let out = post(&keyed, "/logout", "", &[HERE, TLS]).await;
    assert_eq!(out.header("location"), "/login", "{out:?}");
    assert!(out.header("set-cookie").contains("Max-Age=0"), "{out:?}");
    let page = keyed.send("", "GET", "/login", &Value::Null).await;
    check_page(&page);
    assert_eq!(page.status, StatusCode::OK);
    // A key that is not encrypted on its way is taken on this machine only.
    let key = format!("key={}", keyed.keys["reader"].reveal());
    let plain = [FORM, HOST, HERE];
    let answer = keyed
        .client
        .send("POST", "/login", &plain, key.clone())
        .await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{answer:?}");
    assert!(answer.text.contains("https only"), "{answer:?}");
    let here = [FORM, ("host", "127.0.0.1:8080"), HERE];
    let answer = keyed.client.send("POST", "/login", &here, key).await;
    let cookie = answer.header("set-cookie");
    assert!(cookie.starts_with("drumline-session="), "{cookie}");
    assert!(!cookie.contains("Secure"), "{cookie}");

    let open = crate::support::manager(&crate::support::backend());
    let client = crate::support::client::Client::of(&open);
    let answer = client.get("/login").await;
    assert_eq!(answer.header("location"), "/", "{answer:?}");
    for path in ["/", "/operations"] {
        assert_eq!(client.get(path).await.header("set-cookie"), "");
    }
}
