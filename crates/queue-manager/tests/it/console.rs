//! The pages of the console, through the router.

mod acting;
mod living;
mod looking;
mod signing_in;

use std::collections::BTreeSet;
use std::time::Duration;

use axum::http::StatusCode;
use drumline_auth::Role;
use drumline_protocol::OperationId;
use drumline_queue_manager::ingress::http::page_addresses;
use serde_json::{Value, json};

use crate::access::Keyed;
use crate::explaining::worker;
use crate::support::client::{Answer, Client};
use crate::support::faulty::{Faults, faulty};
use crate::support::worker::Worker;
use crate::support::{backend, manager, until};

/// The pages, and the roles that each is open to; `{id}` is an operation. Letters as
/// in the table of the API.
const PAGES: &[(&str, &str)] = &[
    ("/", "rpoam"),
    ("/operations", "rpoa"),
    ("/operations/{id}", "rpoa"),
    ("/find?q=x", "rpoa"),
    ("/live", "rpoa"),
    ("/operations/{id}/cancel", "poa"),
    ("/operations/{id}/pause", "poa"),
    ("/operations/{id}/resume", "poa"),
    ("/operations/{id}/postpone", "poa"),
    ("/operations/{id}/delete", "oa"),
    ("/operations/{id}/run-again", "poa"),
    ("/many/cancel", "oa"),
    ("/many/pause", "oa"),
    ("/many/resume", "oa"),
    ("/many/postpone", "oa"),
    ("/many/delete", "oa"),
    ("/many/run-again", "oa"),
    ("/actions", "rpoa"),
    ("/actions/{id}", "rpoa"),
    ("/tokens", "rpoa"),
    ("/tokens?token=t", "rpoa"),
    ("/failures", "rpoa"),
    ("/failures/8000000000000001/mute", "oa"),
    ("/series", "rpoa"),
    ("/queues", "oam"),
    ("/workers", "oam"),
    // An operator of all organizations, which none of these keys is.
    ("/workers/{id}/drain", ""),
    ("/settings", "oam"),
    ("/audit", "oa"),
    ("/audit.jsonl", "oa"),
    ("/pauses", "rpoa"),
    ("/pauses/8000000000000001/lift", "oa"),
];

/// The forms, and the roles that may send each.
const FORMS: &[(&str, &str)] = &[
    ("/operations/{id}/cancel", "poa"),
    ("/operations/{id}/pause", "poa"),
    ("/operations/{id}/resume", "poa"),
    ("/operations/{id}/postpone", "poa"),
    ("/operations/{id}/delete", "oa"),
    ("/operations/{id}/run-again", "poa"),
    ("/many/cancel", "oa"),
    ("/many/pause", "oa"),
    ("/many/resume", "oa"),
    ("/many/postpone", "oa"),
    ("/many/delete", "oa"),
    ("/many/run-again", "oa"),
    ("/workers/{id}/drain", ""),
    ("/actions/{id}/abort", "oa"),
    ("/failures/8000000000000001/mute", "oa"),
    ("/failures/8000000000000001/unmute", "oa"),
    ("/pauses", "oa"),
    ("/pauses/8000000000000001/lift", "oa"),
];

/// Addresses without a key.
const OPEN: &[(&str, &str)] = &[
    ("GET", "/assets/{name}"),
    ("GET", "/login"),
    ("POST", "/login"),
    ("GET", "/login/oidc"),
    ("GET", "/login/callback"),
    ("POST", "/logout"),
];

#[test]
fn the_tables_have_every_page() {
    let path = |path: &'static str| {
        let path = path.split('?').next().unwrap();
        path.replace("8000000000000001", "{id}")
    };
    let pages = PAGES.iter().map(|(page, _)| ("GET", path(page)));
    let forms = FORMS.iter().map(|(form, _)| ("POST", path(form)));
    let open = OPEN.iter().map(|(method, open)| (*method, path(open)));
    let listed: BTreeSet<_> = pages.chain(forms).chain(open).collect();
    let served: BTreeSet<_> = page_addresses()
        .into_iter()
        .map(|(method, path)| (method, path.to_owned()))
        .collect();
    assert_eq!(served, listed);
}

/// Checks what is true of every page.
fn check_page(answer: &Answer) {
    let policy = answer.header("content-security-policy");
    for part in [
        "default-src 'none'",
        "script-src 'self'",
        "img-src data:;",
        "frame-ancestors 'none'",
    ] {
        assert!(policy.contains(part), "{answer:?}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    for (name, value) in [
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "same-origin"),
        ("cross-origin-opener-policy", "same-origin"),
    ] {
        assert_eq!(answer.header(name), value, "{answer:?}");
    }
    if !answer.status.is_redirection() {
        assert_eq!(answer.header("content-type"), "text/html; charset=utf-8");
        assert!(answer.text.starts_with("<!doctype html>"), "{answer:?}");
        assert!(answer.text.trim_end().ends_with("</html>"), "{answer:?}");
        assert_eq!(answer.text.matches("<h1").count(), 1, "{answer:?}");
        assert_eq!(answer.text.matches("<script").count(), 1, "{answer:?}");
        assert!(!answer.text.contains("style="), "the policy forbids it");
    }
}

async fn page(client: &Client, path: &str) -> Answer {
    let answer = client.get(path).await;
    check_page(&answer);
    answer
}

async fn page_of(client: &Client, id: OperationId) -> Answer {
    page(client, &format!("/operations/{id}")).await
}

#[tokio::test(start_paused = true)]
async fn the_first_page_says_the_worst_thing_or_that_all_is_normal() {
    let (backend, faults) = faulty(&backend());
    let manager = manager(&backend);
    let client = Client::of(&manager);
    client.create(&json!({"messageName": "a"})).await;
    let lonely = page(&client, "/").await;
    assert_eq!(lonely.status, StatusCode::OK);
    assert!(
        lonely
            .text
            .contains("No worker is alive, and one operation waits."),
        "{lonely:?}"
    );

    let beaten = backend.membership.beat(&worker(&["*"], 1)).await;
    beaten.expect("the membership is there");
    let normal = page(&client, "/").await;
    assert!(normal.text.contains("Normal"), "{normal:?}");
    assert!(
        normal.text.contains("1 worker with 1 of 4 places used"),
        "{normal:?}"
    );

    let pause = json!({"scope": "organization", "reason": "the disk <b>is</b> full"});
    client.json("PUT", "/v1/pauses", &pause).await;
    let paused = page(&client, "/").await;
    let words =
        "The whole organization is paused by anonymous: the disk &#60;b&#62;is&#60;/b&#62; full.";
    assert!(paused.text.contains(words), "{paused:?}");

    Faults::set(&faults.broker_is_blocked, true);
    let blocked = page(&client, "/").await;
    assert!(
        blocked.text.contains("The broker takes no messages: "),
        "{blocked:?}"
    );
    Faults::set(&faults.store_is_away, true);
    let away = page(&client, "/").await;
    assert_eq!(away.status, StatusCode::OK, "{away:?}");
    assert!(away.text.contains("The store is unavailable: "), "{away:?}");
}

#[tokio::test(start_paused = true)]
async fn the_grid_shows_what_the_filter_selects_page_by_page() {
    let backend = backend();
    let manager = manager(&backend);
    let client = Client::of(&manager);
    for number in 0..60 {
        let body = json!({"messageName": if number < 5 { "few" } else { "many" }, "name": format!("n{number}.")});
        client.create(&body).await;
    }
    let first = page(&client, "/operations").await;
    assert_eq!(first.text.matches("<tr role=\"row\" data-id=").count(), 50);
    // The field offers what is on the page, and what live workers have handlers for.
    let offered = |page: &Answer| {
        let list = page.text.split("<datalist id=\"k-messageName\">").nth(1);
        let list = list.expect("a list").split("</datalist>").next();
        let options = list.unwrap_or_default().split("value=\"").skip(1);
        let values = options.filter_map(|option| option.split('"').next());
        values.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(offered(&first), ["many"]);
    let beaten = backend.membership.beat(&worker(&["SendMail"], 0)).await;
    beaten.expect("the membership is there");
    let first = page(&client, "/operations").await;
    assert_eq!(offered(&first), ["many", "SendMail"]);
    let next = first
        .text
        .split("<a class=\"button\" href=\"")
        .nth(1)
        .unwrap();
    let next = next.split('"').next().unwrap().replace("&#38;", "&");
    let second = page(&client, &next).await;
    assert_eq!(second.text.matches("<tr role=\"row\" data-id=").count(), 10);
    assert!(second.text.contains(">Newest</a>"), "{second:?}");
    assert!(!second.text.contains(">Older</a>"), "{second:?}");

    let few = page(&client, "/operations?messageName=few").await;
    assert_eq!(few.text.matches("<tr role=\"row\" data-id=").count(), 5);
    assert!(few.text.contains("drumline list --message few"), "{few:?}");
    assert!(
        few.text.contains("GET /v1/operations?messageName=few"),
        "{few:?}"
    );
    let none = page(&client, "/operations?status=Failed").await;
    assert!(none.text.contains("No operation matches."), "{none:?}");

    let bad = page(&client, "/operations?state=7&colour=red").await;
    assert_eq!(bad.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(bad.text.contains("must be 0 to 3"), "{bad:?}");
    assert!(bad.text.contains("is an unknown parameter"), "{bad:?}");
    let empty = page(&client, "/operations?state=&messageName=few&name=").await;
    assert_eq!(empty.status, StatusCode::SEE_OTHER);
    assert_eq!(empty.header("location"), "/operations?messageName=few");
}

#[tokio::test(start_paused = true)]
async fn an_operation_says_why_it_waits_down_to_the_root() {
    let backend = backend();
    let manager = manager(&backend);
    let client = Client::of(&manager);
    let of_token = json!({"messageName": "a", "dependencyToken": "t", "data": {"x": 1}});
    let head = client.create(&of_token).await;
    let second = client.create(&of_token).await;
    let third = client.create(&of_token).await;
    let waits = page_of(&client, third).await;
    let words = format!("It waits for {head}, which is the first of the same order");
    assert!(waits.text.contains(&words), "{waits:?}");
    assert!(
        waits
            .text
            .contains("no live worker serves the queue default."),
        "{waits:?}"
    );
    let link = format!("It waits for <a href=\"/operations/{head}\">");
    assert!(waits.text.contains(&link), "{waits:?}");
    assert!(waits.text.contains("2 before it, 0 behind it"), "{waits:?}");
    assert_eq!(waits.text.matches("data-id=").count(), 3, "{waits:?}");
    let first = page_of(&client, head).await;
    assert!(first.text.contains("0 before it, 2 behind it"), "{first:?}");
    assert!(first.text.contains("&#34;x&#34;"), "{first:?}");

    let worker = Worker::new(&backend);
    worker.run(head).await;
    let done = page_of(&client, head).await;
    assert!(
        done.text.contains("nothing waits for it any more"),
        "{done:?}"
    );
    assert!(done.text.contains("It succeeded "), "{done:?}");
    assert!(done.text.contains("<strong>Started</strong>"), "{done:?}");
    let runs = worker.claim(second).await;
    let running = page_of(&client, second).await;
    assert!(
        running.text.contains("It has been running for "),
        "{running:?}"
    );
    worker.succeed(second, runs).await;

    let missing = page(&client, "/operations/nonsense").await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
    assert!(
        missing.text.contains("There is no operation nonsense."),
        "{missing:?}"
    );
    assert!(missing.text.contains("ObjectDoesNotExist"), "{missing:?}");
    for way_on in ["role=\"search\"", "href=\"/tokens\"", "anonymous"] {
        assert!(missing.text.contains(way_on), "{way_on}: {missing:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_unknown_address_is_a_page_for_a_browser() {
    let client = Client::of(&manager(&backend()));
    let browser = [("accept", "text/html,application/xhtml+xml,*/*;q=0.8")];
    let missing = client.send("GET", "/nothing", &browser, "").await;
    check_page(&missing);
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
    let words = "There is nothing at /nothing.";
    assert!(missing.text.contains(words), "{missing:?}");
    for (path, headers) in [("/v1/nothing", &browser[..]), ("/nothing", &[][..])] {
        let missing = client.send("GET", path, headers, "").await;
        assert_eq!(missing.status, StatusCode::NOT_FOUND);
        assert_eq!(missing.json["name"], "NoSuchResource", "{missing:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_id_or_a_name_is_found() {
    let client = Client::of(&manager(&backend()));
    let id = client.create(&json!({"messageName": "a"})).await;
    for (asked, to) in [
        (id.to_string(), format!("/operations/{id}")),
        ("a%26b".to_owned(), "/operations?name=a%26b".to_owned()),
        ("+".to_owned(), "/operations".to_owned()),
    ] {
        let found = page(&client, &format!("/find?q={asked}")).await;
        assert_eq!(found.header("location"), to);
    }
}

#[tokio::test(start_paused = true)]
async fn no_text_of_a_user_is_markup() {
    let client = Client::of(&manager(&backend()));
    let hostile = "\"'><script>alert(1)</script></pre></title>\u{202e}";
    let id = client
        .create(&json!({
            "messageName": hostile, "name": hostile, "dependencyToken": hostile,
            "data": hostile, "primaryEntityType": hostile,
        }))
        .await;
    let path = format!("/operations/{id}");
    for path in [
        "/operations",
        &path,
        "/operations?name=%22%27%3E%3Cscript%3E%E2%80%AE",
    ] {
        let shown = page(&client, path).await;
        assert!(shown.text.contains("script&#62;"), "{shown:?}");
        assert!(!shown.text.contains("\"'>"), "{shown:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn each_page_is_open_to_its_roles_and_shows_its_own_organization() {
    let keyed = Keyed::start("pages");
    let id = keyed.create("producer").await.id().to_string();
    let pages = PAGES.iter().map(|page| ("GET", page));
    let forms = FORMS.iter().map(|form| ("POST", form));
    for (method, (path, roles)) in pages.chain(forms) {
        let path = path.replace("{id}", &id);
        for bad in ["", "unknown", "expired"] {
            let answer = keyed.send(bad, method, &path, &Value::Null).await;
            check_page(&answer);
            assert_eq!(
                answer.status,
                StatusCode::UNAUTHORIZED,
                "{path}: {answer:?}"
            );
        }
        for role in Role::ALL {
            let may = roles.contains(role.name().chars().next().unwrap());
            if may && path == "/live" {
                // Its answer does not end.
                continue;
            }
            let answer = keyed.send(role.name(), method, &path, &Value::Null).await;
            let is_file = may && path.ends_with(".jsonl");
            if !is_file {
                check_page(&answer);
            }
            let is_refused = answer.status == StatusCode::FORBIDDEN;
            assert_eq!(is_refused, !may, "{role} {path}: {answer:?}");
        }
    }
    // The forms have changed the first one.
    let id = keyed.create("producer").await.id().to_string();
    let own = keyed
        .send("reader", "GET", &format!("/operations/{id}"), &Value::Null)
        .await;
    assert_eq!(own.status, StatusCode::OK, "{own:?}");
    let other = keyed
        .send("other", "GET", &format!("/operations/{id}"), &Value::Null)
        .await;
    assert_eq!(other.status, StatusCode::NOT_FOUND, "{other:?}");
    let grid = keyed
        .send("other", "GET", "/operations", &Value::Null)
        .await;
    assert!(!grid.text.contains(&id), "{grid:?}");
    // Numbers of the whole service are for those who look after it.
    let reader = keyed.send("reader", "GET", "/", &Value::Null).await;
    assert!(!reader.text.contains("Of all organizations"), "{reader:?}");
    let watcher = keyed.send("metrics", "GET", "/", &Value::Null).await;
    assert!(watcher.text.contains("Of all organizations"), "{watcher:?}");
}

#[tokio::test(start_paused = true)]
async fn the_files_are_kept_and_other_names_are_answered() {
    let client = Client::of(&manager(&backend()));
    let shown = client.get("/operations").await;
    let style = shown
        .text
        .split("rel=\"stylesheet\" href=\"")
        .nth(1)
        .unwrap();
    let style = style.split('"').next().unwrap();
    let own = client.get(style).await;
    assert_eq!(own.header("content-type"), "text/css; charset=utf-8");
    assert!(own.header("cache-control").contains("immutable"), "{own:?}");
    let other = client.get("/assets/console-000000000000.css").await;
    assert_eq!(other.text, own.text);
    assert_eq!(other.header("cache-control"), "no-cache");
    let none = client.get("/assets/x.css").await;
    assert_eq!(none.status, StatusCode::NOT_FOUND);
}

#[tokio::test(start_paused = true)]
async fn a_page_costs_the_same_however_many_operations_there_are() {
    let (backend, faults) = faulty(&backend());
    let manager = manager(&backend);
    let client = Client::of(&manager);
    let body = json!({"messageName": "a", "dependencyToken": "t"});
    let mut costs = Vec::new();
    let id = client.create(&body).await;
    // Ids of one moment are in no order, so `explain` looks at all of that moment.
    tokio::time::sleep(Duration::from_secs(5)).await;
    for many in [5, 600] {
        for _ in 0..many {
            client.create(&body).await;
        }
        until("the outbox is empty", async || {
            client.get("/v1/queues").await.json["operations"]["undispatched"] == json!(0)
        })
        .await;
        let mut cost = Vec::new();
        for path in ["/", "/operations", &format!("/operations/{id}")] {
            faults.take_calls();
            page(&client, path).await;
            cost.push(faults.take_calls().len());
        }
        costs.push(cost);
    }
    assert_eq!(costs[0], costs[1], "calls of the store for each page");
    assert!(costs[0].iter().all(|calls| *calls <= 16), "{costs:?}");
}
