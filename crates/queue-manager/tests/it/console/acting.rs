//! Actions by forms: one operation, many, pauses, and mutes.

use axum::http::StatusCode;
use drumline_protocol::{ErrorCode, Event, Fault};
use drumline_queue_manager::Maintenance;
use serde_json::json;

use super::{check_page, page, page_of};
use crate::support::client::{Answer, Client};
use crate::support::worker::Worker;
use crate::support::{backend, manager};

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

async fn post(client: &Client, path: &str, body: &str) -> Answer {
    let here = ("sec-fetch-site", "same-origin");
    let answer = client
        .send("POST", path, &[FORM, here], body.to_owned())
        .await;
    check_page(&answer);
    answer
}

#[tokio::test(start_paused = true)]
async fn an_action_says_what_it_does_and_is_done_by_a_form() {
    let backend = backend();
    let client = Client::of(&manager(&backend));
    let of_token = json!({"messageName": "a", "dependencyToken": "t"});
    let head = client.create(&of_token).await;
    client.create(&of_token).await;
    client.create(&of_token).await;

    let shown = page_of(&client, head).await;
    for action in ["cancel", "pause", "postpone"] {
        let address = format!("/operations/{head}/{action}");
        assert!(
            shown.text.contains(&format!("href=\"{address}\"")),
            "{shown:?}"
        );
    }
    assert!(!shown.text.contains("/resume\""), "{shown:?}");
    let pause = format!("/operations/{head}/pause");
    let asked = page(&client, &pause).await;
    assert!(
        asked
            .text
            .contains("The 2 operations behind it in its token wait, too"),
        "{asked:?}"
    );
    for words in [
        "<h1>Pause “<bdi>a</bdi>”?</h1>",
        ">Pause the operation</button>",
    ] {
        assert!(asked.text.contains(words), "{asked:?}");
    }
    assert_eq!(
        client.status(head).await,
        "WaitingForResources",
        "nothing is done yet"
    );
    let done = post(&client, &pause, "").await;
    assert_eq!(done.status, StatusCode::SEE_OTHER);
    let after = page(&client, done.header("location")).await;
    assert!(after.text.contains("It was paused."), "{after:?}");
    assert_eq!(client.status(head).await, "Waiting");

    let postpone = format!("/operations/{head}/postpone");
    let bad = post(&client, &postpone, "until=soon").await;
    assert_eq!(bad.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(bad.text.contains("This must be a time such as"), "{bad:?}");
    assert!(bad.text.contains("value=\"soon\""), "{bad:?}");
    let done = post(&client, &postpone, "until=2h").await;
    assert_eq!(done.status, StatusCode::SEE_OTHER, "{done:?}");

    let cancel = format!("/operations/{head}/cancel");
    let done = post(&client, &cancel, "").await;
    assert_eq!(done.status, StatusCode::SEE_OTHER, "{done:?}");
    assert_eq!(client.status(head).await, "Canceled");
    let again = post(&client, &cancel, "").await;
    assert_eq!(again.status, StatusCode::CONFLICT, "{again:?}");
    assert!(again.text.contains("CannotCancel"), "{again:?}");
    assert!(again.text.contains("Possible now: delete."), "{again:?}");
    assert!(
        again.text.contains(&format!("href=\"/operations/{head}\"")),
        "{again:?}"
    );
    let impossible = page(&client, &cancel).await;
    assert!(
        impossible.text.contains("This is not possible now"),
        "{impossible:?}"
    );

    let done = post(&client, &format!("/operations/{head}/delete"), "").await;
    assert_eq!(done.header("location"), "/operations?done=delete");
    let after = page(&client, done.header("location")).await;
    assert!(after.text.contains("It was deleted."), "{after:?}");
    assert_eq!(page_of(&client, head).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test(start_paused = true)]
async fn one_operation_behind_another_is_spoken_of_as_one() {
    let client = Client::of(&manager(&backend()));
    let of_token = json!({"messageName": "a", "dependencyToken": "t"});
    let head = client.create(&of_token).await;
    client.create(&of_token).await;
    for (action, words) in [
        ("pause", "The operation behind it in its token waits, too"),
        ("cancel", "The operation behind it in its token can go on."),
    ] {
        let asked = page(&client, &format!("/operations/{head}/{action}")).await;
        assert!(asked.text.contains(words), "{asked:?}");
    }
    let series = page(&client, "/series").await;
    let words = "There is no Suspended operation.";
    assert!(series.text.contains(words), "{series:?}");
}

#[tokio::test(start_paused = true)]
async fn a_running_operation_is_asked_to_stop() {
    let backend = backend();
    let client = Client::of(&manager(&backend));
    let id = client.create(&json!({"messageName": "a"})).await;
    Worker::new(&backend).claim(id).await;
    let cancel = format!("/operations/{id}/cancel");
    let asked = page(&client, &cancel).await;
    assert!(
        asked.text.contains("Its handler on test is asked to stop."),
        "{asked:?}"
    );
    let done = post(&client, &cancel, "").await;
    let after = page(&client, done.header("location")).await;
    assert!(
        after
            .text
            .contains("Its handler was asked to stop; it is cancelled when"),
        "{after:?}"
    );
    // The note follows the operation, not the address.
    let other = page(&client, &format!("/operations/{id}?done=resume")).await;
    assert!(!other.text.contains("It was resumed"), "{other:?}");
}

#[tokio::test(start_paused = true)]
async fn a_completed_operation_runs_again_by_a_form_and_once() {
    let backend = backend();
    let client = Client::of(&manager(&backend));
    let of_token = json!({"messageName": "a", "dependencyToken": "t"});
    let id = client.create(&of_token).await;
    let path = format!("/operations/{id}/run-again");
    let early = page(&client, &path).await;
    assert!(early.text.contains("This is not possible now"), "{early:?}");
    let refused = post(&client, &path, "").await;
    assert_eq!(refused.status, StatusCode::CONFLICT, "{refused:?}");
    assert!(!page_of(&client, id).await.text.contains("run-again"));

    Worker::new(&backend).run(id).await;
    let shown = page_of(&client, id).await;
    let link = format!("href=\"{path}\">Run again</a>");
    assert!(shown.text.contains(&link), "{shown:?}");
    let asked = page(&client, &path).await;
    assert!(asked.text.contains("name=\"leaveToken\""), "{asked:?}");
    let asked = asked.text.split("name=\"asked\" value=\"").nth(1).unwrap();
    let asked = asked.split('"').next().unwrap();
    let form = format!("asked={asked}");
    let first = post(&client, &path, &form).await;
    assert_eq!(first.status, StatusCode::SEE_OTHER, "{first:?}");
    let new = first.header("location").to_owned();
    assert_ne!(new, format!("/operations/{id}"));
    let second = post(&client, &path, &form).await;
    assert_eq!(second.header("location"), new, "the form was sent twice");
    let made = client.get(&format!("/v1{new}")).await.json;
    assert_eq!(made["dependencyToken"], json!("t"), "{made}");

    let alone = post(&client, &path, &format!("{form}&leaveToken=true")).await;
    assert_ne!(alone.header("location"), new);
    let alone = client
        .get(&format!("/v1{}", alone.header("location")))
        .await;
    assert!(alone.json["dependencyToken"].is_null(), "{alone:?}");
}

/// The page that a form leads to.
async fn started(client: &Client, path: &str, form: &str) -> Answer {
    let sent = post(client, path, form).await;
    assert_eq!(sent.status, StatusCode::SEE_OTHER, "{sent:?}");
    page(client, sent.header("location")).await
}

#[tokio::test(start_paused = true)]
async fn an_action_on_many_is_seen_and_aborted() {
    let client = Client::of(&manager(&backend()));
    client.create(&json!({"messageName": "a"})).await;
    // Nothing executes it here.
    let form = "messageName=a&expected=1&reason=x";
    let open = started(&client, "/many/postpone", &format!("{form}&until=2h")).await;
    assert!(open.text.contains("selected so far"), "{open:?}");
    let abort = open.text.split("form class=\"form\" action=\"").nth(1);
    let abort = abort
        .expect("a form")
        .split('"')
        .next()
        .expect("an address");
    let live = format!(
        "data-action=\"{}\"",
        abort.split('/').nth(2).expect("an id")
    );
    assert!(open.text.contains(&live), "{open:?}");
    let ended = started(&client, abort, "").await;
    assert!(
        ended.text.contains("It was aborted by anonymous"),
        "{ended:?}"
    );
    assert!(!ended.text.contains("data-live="), "{ended:?}");
    let none = "/actions/01a1ee56-5e7b-7707-800f-070707070707";
    assert_eq!(page(&client, none).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test(start_paused = true)]
async fn many_are_counted_first_and_changed_when_the_count_is_confirmed() {
    let manager = manager(&backend());
    let client = Client::of(&manager);
    for number in 0..130 {
        let name = if number < 120 { "many" } else { "few" };
        client.create(&json!({"messageName": name})).await;
    }
    let dry = page(&client, "/many/cancel?messageName=many&state=Ready").await;
    assert!(
        dry.text.contains("<strong>120</strong> would be changed"),
        "{dry:?}"
    );
    assert!(
        dry.text
            .contains("drumline cancel --message many --state Ready"),
        "{dry:?}"
    );
    let unconfirmed = "messageName=many&expected=120&typed=12";
    let refused = post(&client, "/many/cancel", unconfirmed).await;
    assert_eq!(
        refused.status,
        StatusCode::UNPROCESSABLE_ENTITY,
        "{refused:?}"
    );
    assert!(refused.text.contains("nothing was changed"), "{refused:?}");
    let all = client.get("/v1/operations?state=Ready&limit=500").await;
    assert_eq!(all.json["operations"].as_array().unwrap().len(), 130);

    let unexplained = "messageName=many&expected=120&typed=120&reason=+";
    let refused = post(&client, "/many/cancel", unexplained).await;
    assert_eq!(
        refused.status,
        StatusCode::UNPROCESSABLE_ENTITY,
        "{refused:?}"
    );
    assert!(refused.text.contains("A reason is missing"), "{refused:?}");
    // No field confirms in place of the number.
    let later =
        "messageName=many&expected=120&reason=x&cursor=01a1ee56-5e7b-7707-800f-070707070707";
    let refused = post(&client, "/many/cancel", later).await;
    assert_eq!(
        refused.status,
        StatusCode::UNPROCESSABLE_ENTITY,
        "{refused:?}"
    );

    let maintenance = Maintenance::start(&manager);
    let confirmed = "messageName=many&expected=120&typed=120&reason=%3Cb%3Ean+error";
    let done = started(&client, "/many/cancel", confirmed).await;
    assert!(done.text.contains("120</strong> done,"), "{done:?}");
    assert!(done.text.contains("Nothing is left."), "{done:?}");
    assert!(done.text.contains("&#60;b&#62;an error"), "{done:?}");
    let again = "href=\"/many/cancel?messageName=many\">Again</a>";
    assert!(done.text.contains(again), "{done:?}");
    let listed = page(&client, "/actions").await;
    assert!(listed.text.contains("messageName many"), "{listed:?}");
    maintenance.stop().await;
    let left = client.get("/v1/operations?state=Ready&limit=500").await;
    assert_eq!(left.json["operations"].as_array().unwrap().len(), 10);

    let bad = page(&client, "/many/cancel?state=7").await;
    assert_eq!(bad.status, StatusCode::UNPROCESSABLE_ENTITY, "{bad:?}");
    let refusals = page(&client, "/many/delete?state=Ready").await;
    assert!(
        refusals.text.contains("10 would be refused"),
        "{refusals:?}"
    );
    let bad = post(&client, "/many/postpone", "messageName=few&until=").await;
    assert_eq!(bad.status, StatusCode::UNPROCESSABLE_ENTITY, "{bad:?}");
}

#[tokio::test(start_paused = true)]
async fn everything_is_changed_only_when_its_number_was_typed() {
    let manager = manager(&backend());
    let client = Client::of(&manager);
    let maintenance = Maintenance::start(&manager);
    for name in ["a", "a", "b"] {
        client.create(&json!({"messageName": name})).await;
    }
    let ready = async || {
        let all = client.get("/v1/operations?state=Ready").await;
        all.json["operations"].as_array().unwrap().len()
    };
    let dry = page(&client, "/many/pause").await;
    assert!(dry.text.contains("Type 3 to confirm"), "{dry:?}");
    for unconfirmed in [
        "",
        "messageName=a",
        "expected=3",
        "typed=",
        "expected=3&typed=",
        "expected=3&typed=2",
        "expected=3&all=true",
        "messageName=a&expected=100",
    ] {
        let refused = post(&client, "/many/pause", unconfirmed).await;
        assert_eq!(
            refused.status,
            StatusCode::UNPROCESSABLE_ENTITY,
            "{unconfirmed}: {refused:?}"
        );
        assert!(refused.text.contains("nothing was changed"), "{refused:?}");
        assert_eq!(ready().await, 3, "{unconfirmed}");
    }
    // Few that a condition selects need no number.
    let dry = page(&client, "/many/pause?messageName=a").await;
    assert!(!dry.text.contains("to confirm"), "{dry:?}");
    let hidden = "name=\"expected\" value=\"2\"";
    assert!(dry.text.contains(hidden), "{dry:?}");
    let some = started(&client, "/many/pause", "messageName=a&expected=2&reason=x").await;
    assert!(some.text.contains("2</strong> done,"), "{some:?}");
    let all = "state=Ready&expected=1&typed=1&reason=x";
    let rest = started(&client, "/many/pause", all).await;
    assert!(rest.text.contains("1</strong> done,"), "{rest:?}");
    assert_eq!(ready().await, 0);
    let all = "expected=3&typed=3&reason=x";
    let all = started(&client, "/many/resume", all).await;
    assert!(all.text.contains("3</strong> done,"), "{all:?}");
    maintenance.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_pause_is_set_with_a_reason_and_lifted() {
    let client = Client::of(&manager(&backend()));
    let form = "scope=messageName&name=SendMail&reason=%3Cb%3Ethe+disk&until=2h";
    let set = post(&client, "/pauses", form).await;
    assert_eq!(set.header("location"), "/pauses", "{set:?}");
    let shown = page(&client, "/pauses").await;
    assert!(shown.text.contains("SendMail"), "{shown:?}");
    assert!(shown.text.contains("&#60;b&#62;the disk"), "{shown:?}");
    let lift = shown.text.split("href=\"/pauses/").nth(1).unwrap();
    let lift = format!("/pauses/{}", lift.split('"').next().unwrap());
    // The page of what it holds leads there, too.
    let body = json!({"messageName": "SendMail", "dependencyToken": "t"});
    for _ in 0..2 {
        let id = client.create(&body).await;
        let held = page_of(&client, id).await;
        let link = format!("href=\"{lift}\">Lift the pause</a>");
        assert!(held.text.contains(&link), "{held:?}");
    }
    let asked = page(&client, &lift).await;
    assert!(asked.text.contains("Lift this pause?"), "{asked:?}");
    let lifted = post(&client, &lift, "").await;
    assert_eq!(lifted.header("location"), "/pauses", "{lifted:?}");
    assert!(
        page(&client, "/pauses")
            .await
            .text
            .contains("No pause is in force.")
    );
    assert_eq!(post(&client, &lift, "").await.status, StatusCode::NOT_FOUND);
    assert_eq!(
        page(&client, "/pauses/x/lift").await.status,
        StatusCode::NOT_FOUND
    );

    let bad = post(&client, "/pauses", "scope=queue&reason=x&until=soon").await;
    assert_eq!(bad.status, StatusCode::UNPROCESSABLE_ENTITY, "{bad:?}");
    for wrong in [
        "<code>name</code> is required",
        "<code>until</code> must be a time",
    ] {
        assert!(bad.text.contains(wrong), "{bad:?}");
    }
    assert!(
        bad.text.contains("value=\"x\""),
        "what was given stays: {bad:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn known_failures_are_muted_by_a_form_and_folded() {
    let backend = backend();
    let client = Client::of(&manager(&backend));
    let worker = Worker::new(&backend);
    let id = client.create(&json!({"messageName": "Import"})).await;
    let fence = worker.claim(id).await;
    let fault = Fault::new(ErrorCode::WORKER_LOST, "<b>row 1", "");
    worker.say(id, fence, Event::Fail(fault)).await;
    worker.write_counts().await;
    let shown = page(&client, "/failures").await;
    let link = shown
        .text
        .split("href=\"/failures/")
        .nth(1)
        .expect("a link");
    let mute = format!("/failures/{}", link.split('"').next().expect("its end"));
    // The first page leads there, too.
    let now = page(&client, "/").await;
    assert!(now.text.contains(&format!("href=\"{mute}\"")), "{now:?}");
    let asked = page(&client, &mute).await;
    assert!(asked.text.contains("Mute these failures?"), "{asked:?}");
    assert!(asked.text.contains("&#60;b&#62;row #"), "{asked:?}");

    let bad = post(&client, &mute, "reason=&until=soon").await;
    assert_eq!(bad.status, StatusCode::UNPROCESSABLE_ENTITY, "{bad:?}");
    for wrong in [
        "<code>reason</code> is required",
        "<code>until</code> must be a time",
    ] {
        assert!(bad.text.contains(wrong), "{bad:?}");
    }
    assert!(
        bad.text.contains("value=\"soon\""),
        "what was given stays: {bad:?}"
    );

    let set = post(&client, &mute, "reason=%3Cb%3Eknown&until=2h").await;
    assert_eq!(set.header("location"), "/failures", "{set:?}");
    let shown = page(&client, "/failures").await;
    assert!(
        shown.text.contains("Nothing has failed that is not muted."),
        "{shown:?}"
    );
    assert!(
        shown.text.contains("<summary>Muted failures</summary>"),
        "{shown:?}"
    );
    assert!(shown.text.contains("&#60;b&#62;known"), "{shown:?}");
    let now = page(&client, "/").await;
    assert!(!now.text.contains("failed within the last hour"), "{now:?}");
    assert!(!now.text.contains("What fails"), "{now:?}");
    let asked = page(&client, &mute).await;
    assert!(asked.text.contains("These failures are muted"), "{asked:?}");

    let unmute = mute.replace("/mute", "/unmute");
    let ended = post(&client, &unmute, "").await;
    assert_eq!(ended.header("location"), "/failures", "{ended:?}");
    let again = post(&client, &unmute, "").await;
    assert_eq!(again.status, StatusCode::NOT_FOUND, "{again:?}");
    let shown = page(&client, "/failures").await;
    assert!(!shown.text.contains("Muted failures"), "{shown:?}");
}

#[tokio::test(start_paused = true)]
async fn a_kind_of_failure_runs_again_and_is_cancelled_from_its_row() {
    let backend = backend();
    let manager = manager(&backend);
    let client = Client::of(&manager);
    let worker = Worker::new(&backend);
    for number in 0..3 {
        let id = client.create(&json!({"messageName": "Import"})).await;
        let fence = worker.claim(id).await;
        let fault = Fault::new(ErrorCode::WORKER_LOST, "", &format!("row {number}"));
        worker.say(id, fence, Event::Fail(fault)).await;
    }
    worker.write_counts().await;
    let shown = page(&client, "/failures").await;
    let link = |label: &str| {
        let before = shown.text.split(&format!("\">{label}</a>")).next();
        let address = before.and_then(|before| before.rsplit("href=\"").next());
        address.expect("a link").replace("&#38;", "&")
    };
    let (run_again, cancel) = (link("Run again"), link("Cancel what waits"));
    assert!(
        run_again.starts_with("/many/run-again?failure="),
        "{run_again}"
    );
    assert!(
        run_again.ends_with("&messageName=Import&status=Failed"),
        "{run_again}"
    );
    let listed = page(
        &client,
        &run_again.replace("/many/run-again", "/operations"),
    )
    .await;
    assert_eq!(listed.text.matches("<tr role=\"row\" data-id=").count(), 3);
    // The heading of the row leads to them.
    let grid = run_again
        .replace("/many/run-again", "/operations")
        .replace('&', "&#38;");
    assert!(
        shown.text.contains(&format!("href=\"{grid}\"")),
        "{shown:?}"
    );

    let asked = page(&client, &run_again).await;
    for words in [
        "<h1>Run all that match again?</h1>",
        "<strong>3</strong> would run again",
        "those of a token keep their order",
        "drumline run-again --failure",
        ">Run them again</button>",
    ] {
        assert!(asked.text.contains(words), "{words}: {asked:?}");
    }
    let (path, query) = run_again.split_once('?').expect("a query");
    let maintenance = Maintenance::start(&manager);
    let form = format!("{query}&expected=3&reason=mended");
    let done = started(&client, path, &form).await;
    assert!(
        done.text.contains("<h1>Run all that match again</h1>"),
        "{done:?}"
    );
    assert!(done.text.contains("Nothing is left."), "{done:?}");
    let ready = page(&client, "/operations?state=Ready").await;
    assert_eq!(ready.text.matches("<tr role=\"row\" data-id=").count(), 3);

    // Nothing waits to be tried again, so there is nothing to cancel.
    assert!(cancel.starts_with("/many/cancel?failure="), "{cancel}");
    let asked = page(&client, &cancel).await;
    assert!(
        asked.text.contains("<strong>0</strong> would be changed"),
        "{asked:?}"
    );
    maintenance.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_page_of_another_site_changes_nothing() {
    let client = Client::of(&manager(&backend()));
    let id = client.create(&json!({"messageName": "a"})).await;
    let own = ("host", "127.0.0.1:8080");
    let foreign = [
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        ("origin", "http://evil.example"),
        ("origin", "null"),
    ];
    for path in [
        &format!("/operations/{id}/cancel"),
        "/many/cancel",
        "/pauses",
    ] {
        for header in foreign {
            let answer = client.send("POST", path, &[FORM, own, header], "").await;
            check_page(&answer);
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path} {header:?}");
            assert!(answer.text.contains("CrossSiteRequest"), "{answer:?}");
        }
    }
    assert_eq!(client.status(id).await, "WaitingForResources");
    let own_page = [FORM, own, ("origin", "http://127.0.0.1:8080")];
    let path = format!("/operations/{id}/cancel");
    let answer = client.send("POST", &path, &own_page, "").await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{answer:?}");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_no_form_is_refused() {
    let client = Client::of(&manager(&backend()));
    let json = [("content-type", "application/json")];
    let answer = client.send("POST", "/pauses", &json, "{}").await;
    check_page(&answer);
    assert_eq!(
        answer.status,
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "{answer:?}"
    );
    let large = "x".repeat(70_000);
    let answer = client.send("POST", "/pauses", &[FORM], large).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE, "{answer:?}");
}
