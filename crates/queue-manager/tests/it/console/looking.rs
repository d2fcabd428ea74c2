//! The pages that put operations, queues and processes together.

use drumline_protocol::Event;
use drumline_protocol::{ErrorCode, Fault};
use serde_json::json;

use super::page;
use crate::explaining::worker;
use crate::support::client::Client;
use crate::support::worker::Worker;
use crate::support::{backend, manager};

#[tokio::test(start_paused = true)]
async fn failures_are_put_together_by_message_code_and_error() {
    let backend = backend();
    let client = Client::of(&manager(&backend));
    let worker = Worker::new(&backend);
    let none = page(&client, "/failures").await;
    assert!(none.text.contains("Nothing has failed."), "{none:?}");
    for (message, code, words) in [
        ("Import", ErrorCode::WORKER_LOST, "<b>row 1"),
        ("Import", ErrorCode::WORKER_LOST, "<b>row 2"),
        ("Export", ErrorCode::WORKER_LOST, "other"),
    ] {
        let id = client.create(&json!({"messageName": message})).await;
        let fence = worker.claim(id).await;
        let fault = Fault::new(code, words, "");
        worker.say(id, fence, Event::Fail(fault)).await;
    }
    let early = page(&client, "/failures").await;
    assert!(
        early.text.contains("counted some seconds later"),
        "{early:?}"
    );
    worker.write_counts().await;
    let shown = page(&client, "/failures").await;
    assert!(shown.text.contains("&#60;b&#62;row #"), "{shown:?}");
    assert!(shown.text.contains("2 of 2"), "{shown:?}");
    // The bars of the last day, and their numbers for people who do not see them.
    assert_eq!(shown.text.matches("<svg class=\"spark").count(), 2);
    assert!(
        shown.text.contains("24 hours: 0, 0, 0, 0, 0, 0,"),
        "{shown:?}"
    );
    assert!(shown.text.contains("WorkerLost"), "{shown:?}");
    assert!(shown.text.contains("other"), "{shown:?}");
    assert!(!shown.text.contains("<b>row"), "{shown:?}");
    let groups = shown.text.matches("<th scope=\"row\"").count();
    assert_eq!(groups, 2, "{shown:?}");
    let now = page(&client, "/").await;
    assert!(
        now.text
            .contains("<bdi>3 operations failed within the last hour"),
        "{now:?}"
    );
    assert!(now.text.contains("Show failures by kind"), "{now:?}");
    assert!(now.text.contains("What fails"), "{now:?}");
}

#[tokio::test(start_paused = true)]
async fn a_token_says_what_its_head_waits_for() {
    let backend = backend();
    let client = Client::of(&manager(&backend));
    let body = json!({"messageName": "a", "dependencyToken": "crm/7", "tokenPolicy": "hold"});
    let head = client.create(&body).await;
    client.create(&body).await;
    let all = page(&client, "/tokens").await;
    assert!(all.text.contains("No token is held."), "{all:?}");
    assert!(
        all.text.contains("href=\"/tokens?token=crm%2F7\""),
        "{all:?}"
    );
    let one = page(&client, "/tokens?token=crm%2F7").await;
    assert!(
        one.text.contains(&format!("It waits for {head}, ")),
        "{one:?}"
    );
    assert!(
        one.text
            .contains("no live worker serves the queue default."),
        "{one:?}"
    );
    let link = format!("href=\"/operations/{head}\">Head: a (Ready)</a>");
    assert!(one.text.contains(&link), "{one:?}");
    assert!(one.text.contains("<h1>Token crm/7</h1>"), "{one:?}");
    let cancel = "<a class=\"button final\" href=\"/many/cancel?";
    assert!(one.text.contains(cancel), "{one:?}");
    let pause = "href=\"/pauses?scope=dependencyToken&#38;name=crm%2F7\"";
    assert!(one.text.contains(pause), "{one:?}");
    let form = page(&client, "/pauses?scope=dependencyToken&name=crm%2F7").await;
    assert!(form.text.contains("value=\"crm/7\""), "{form:?}");
    assert!(
        form.text.contains("value=\"dependencyToken\" selected"),
        "{form:?}"
    );

    let fence = Worker::new(&backend).claim(head).await;
    let fault = Fault::new(ErrorCode::WORKER_LOST, "", "");
    Worker::new(&backend)
        .say(head, fence, Event::Fail(fault))
        .await;
    let held = page(&client, "/tokens").await;
    assert!(
        held.text.contains(&format!("href=\"/operations/{head}\"")),
        "{held:?}"
    );
    let now = page(&client, "/").await;
    let words = "The token crm/7 is held by a, which failed.";
    assert!(now.text.contains(words), "{now:?}");
    let link = format!("href=\"/operations/{head}\">Show that operation</a>");
    assert!(now.text.contains(&link), "{now:?}");
    let none = page(&client, "/tokens?token=other").await;
    assert!(
        none.text.contains("No operation has this token."),
        "{none:?}"
    );
    assert!(!none.text.contains("Cancel what waits"), "{none:?}");
}

/// The tokens of the page, from the top.
fn tokens_in(page: &str) -> Vec<&str> {
    let rows = page.split("<th scope=\"row\"").skip(1);
    rows.map(|row| {
        let link = row.split("href=\"/tokens?token=").nth(1).expect("a link");
        link.split('"').next().expect("its end")
    })
    .collect()
}

#[tokio::test(start_paused = true)]
async fn tokens_are_ordered_by_length_and_by_the_age_of_their_heads() {
    let backend = backend();
    let client = Client::of(&manager(&backend));
    for (token, count) in [("old", 1), ("long", 3), ("new", 2)] {
        for _ in 0..count {
            let body = json!({"messageName": "a", "dependencyToken": token});
            client.create(&body).await;
            tokio::time::advance(std::time::Duration::from_millis(5)).await;
        }
    }
    let shown = page(&client, "/tokens").await;
    assert_eq!(tokens_in(&shown.text), ["long", "new", "old"]);
    let here = "href=\"/tokens?order=length\" aria-current=\"true\">Longest first</a>";
    assert!(shown.text.contains(here), "{shown:?}");
    let shown = page(&client, "/tokens?order=head").await;
    assert_eq!(tokens_in(&shown.text), ["old", "long", "new"]);
    // The length counts all, also those that are not Ready.
    let head = client.get("/v1/operations?dependencyToken=old").await.json["operations"][0]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    for _ in 0..3 {
        let body = json!({"messageName": "a", "dependencyToken": "old"});
        client.create(&body).await;
    }
    client
        .post(&format!("/v1/operations/{head}/pause"), &json!({}))
        .await;
    let shown = page(&client, "/tokens").await;
    assert_eq!(tokens_in(&shown.text), ["old", "long", "new"]);
    let resume = format!("href=\"/operations/{head}/resume\">Resume the head</a>");
    assert!(shown.text.contains(&resume), "{shown:?}");
    assert!(shown.text.contains("waits to be resumed"), "{shown:?}");

    let pause = "href=\"/pauses?scope=dependencyToken&#38;name=new\">Pause</a>";
    assert!(shown.text.contains(pause), "{shown:?}");
    let set = json!({"scope": "dependencyToken", "name": "new", "reason": "<b>an audit"});
    let json = [("content-type", "application/json")];
    let answer = client
        .send("PUT", "/v1/pauses", &json, set.to_string())
        .await;
    let id = answer.json["id"].as_str().expect("an id");
    let shown = page(&client, "/tokens").await;
    assert!(!shown.text.contains(pause), "{shown:?}");
    let lift = format!("href=\"/pauses/{id}/lift\">Lift the pause</a>");
    assert!(shown.text.contains(&lift), "{shown:?}");
    assert!(
        shown
            .text
            .contains("paused by anonymous: &#60;b&#62;an audit"),
        "{shown:?}"
    );
    let cancel = "/many/cancel?dependencyToken=new&#38;state=Ready\">Cancel what waits</a>";
    assert!(shown.text.contains(cancel), "{shown:?}");
}

#[tokio::test(start_paused = true)]
async fn a_search_for_tokens_goes_on_where_it_has_stopped() {
    let client = Client::of(&manager(&backend()));
    let oldest = json!({"messageName": "a", "dependencyToken": "oldest"});
    client.create(&oldest).await;
    for number in 0..200 {
        let token = format!("t{}", number % 3);
        client
            .create(&json!({"messageName": "a", "dependencyToken": token}))
            .await;
    }
    let first = page(&client, "/tokens?order=head").await;
    assert!(first.text.contains("there are more."), "{first:?}");
    assert_eq!(tokens_in(&first.text), ["t0", "t1", "t2"]);
    let link = first
        .text
        .split("href=\"/tokens?order=head&#38;cursor=")
        .nth(1);
    let cursor = link.expect("a link").split('"').next().expect("its end");
    let next = page(&client, &format!("/tokens?order=head&cursor={cursor}")).await;
    assert_eq!(tokens_in(&next.text), ["oldest"]);
    assert!(next.text.contains("there are no older ones."), "{next:?}");
    assert!(
        next.text.contains("href=\"/tokens?order=head\">Newest</a>"),
        "{next:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_suspended_operation_says_what_its_handler_asks_for() {
    let backend = backend();
    let client = Client::of(&manager(&backend));
    let id = client.create(&json!({"messageName": "a"})).await;
    let worker = Worker::new(&backend);
    let fence = worker.claim(id).await;
    let fault = Fault::new(ErrorCode::WORKER_LOST, "check the address; <b>twice", "");
    worker.say(id, fence, Event::Suspend(fault)).await;
    let shown = page(&client, &format!("/operations/{id}")).await;
    let words = "Its handler asks for a person: check the address.";
    assert!(shown.text.contains(words), "{shown:?}");
    assert!(shown.text.contains("&#60;b&#62;twice."), "{shown:?}");
    let open = "<details class=\"block\" open>\n<summary>Error, for people";
    assert!(shown.text.contains(open), "{shown:?}");
}

#[tokio::test(start_paused = true)]
async fn series_queues_workers_and_settings_are_shown() {
    let backend = backend();
    let client = Client::of(&manager(&backend));
    let body = json!({"messageName": "a", "recurrencePattern": "FREQ=DAILY;BYHOUR=6;BYMINUTE=0;BYSECOND=0"});
    client.create(&body).await;
    let series = page(&client, "/series").await;
    assert!(series.text.contains("FREQ=DAILY"), "{series:?}");
    let times = |text: &str| text.matches(" 06:00 UTC</time></li>").count();
    assert_eq!(times(&series.text), 5, "{series:?}");
    let by_a_clock = json!({
        "messageName": "b", "recurrencePattern": "FREQ=WEEKLY;BYDAY=MO;BYHOUR=7;BYMINUTE=30;BYSECOND=0;COUNT=3",
        "recurrenceTimeZone": "Asia/Tokyo",
    });
    let id = client.create(&by_a_clock).await;
    let one = page(&client, &format!("/operations/{id}")).await;
    assert_eq!(one.text.matches(" 07:30 JST").count(), 3, "{one:?}");
    let series = page(&client, "/series").await;
    assert_eq!(
        series.text.matches(" 07:30 JST</time>").count(),
        3,
        "{series:?}"
    );
    let lonely = page(&client, "/workers").await;
    assert!(lonely.text.contains("No worker is alive"), "{lonely:?}");
    let command = "<code>drumline worker</code> starts one.";
    assert!(lonely.text.contains(command), "{lonely:?}");
    let mut member = worker(&["*"], 3);
    member.host = "<host>".to_owned();
    member.profile.throttled = vec!["Slow".to_owned()];
    backend.membership.beat(&member).await.unwrap();
    let workers = page(&client, "/workers").await;
    assert!(workers.text.contains("&#60;host&#62;"), "{workers:?}");
    assert!(workers.text.contains("after failures: Slow"), "{workers:?}");
    let queues = page(&client, "/queues").await;
    assert!(queues.text.contains("3 of 4"), "{queues:?}");
    let settings = page(&client, "/settings").await;
    for words in ["Partitions of the store", "1.0 MiB", "6\u{a0}000 within 5m"] {
        assert!(settings.text.contains(words), "{words}: {settings:?}");
    }
    for words in ["Quotas", "operations that are not Completed", ">none<"] {
        assert!(settings.text.contains(words), "{words}: {settings:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_queue_is_paused_and_resumed_from_its_row() {
    let backend = backend();
    let client = Client::of(&manager(&backend));
    client
        .create(&json!({"messageName": "a", "queue": "mail"}))
        .await;
    let shown = page(&client, "/queues").await;
    let pause = "href=\"/pauses?scope=queue&#38;name=mail\">Pause</a>";
    assert!(shown.text.contains(pause), "{shown:?}");
    let form = page(&client, "/pauses?scope=queue&name=mail").await;
    assert!(form.text.contains("value=\"queue\" selected"), "{form:?}");
    assert!(form.text.contains("name=\"until\""), "{form:?}");
    let set = json!({
        "scope": "queue", "name": "mail", "reason": "the server is down",
        "until": "2099-01-01T00:00:00Z",
    });
    let json = [("content-type", "application/json")];
    let answer = client
        .send("PUT", "/v1/pauses", &json, set.to_string())
        .await;
    let id = answer.json["id"].as_str().expect("an id");
    let shown = page(&client, "/queues").await;
    assert!(!shown.text.contains(pause), "{shown:?}");
    let lift = format!("href=\"/pauses/{id}/lift\">Resume</a>");
    assert!(shown.text.contains(&lift), "{shown:?}");
    let why = "paused by anonymous, ends in ";
    assert!(shown.text.contains(why), "{shown:?}");
    assert!(shown.text.contains(": the server is down"), "{shown:?}");
    // A queue of that name in another organization goes on.
    let contoso = [("drumline-organization", "contoso")];
    let other = client.send("GET", "/queues", &contoso, "").await;
    assert!(other.text.contains(pause), "{other:?}");
}
