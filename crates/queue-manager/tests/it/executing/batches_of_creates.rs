//! Creates that follow one another in a batch go to the store together: the
//! behaviour that this must not change.

use drumline_protocol::State;
use serde_json::{Value, json};

use super::batches::batch;
use super::{create, executed, id, keyed, names, request};
use crate::support::client::Client;
use crate::support::faulty::{Faults, faulty};
use crate::support::{backend, manager, stored};

fn with_token(name: usize, token: &str) -> Value {
    let target = json!({"messageName": "a", "name": name.to_string(), "dependencyToken": token});
    request("Create", json!({"target": target}))
}

#[tokio::test(start_paused = true)]
async fn the_order_of_the_list_is_the_order_of_each_token() {
    let backend = backend();
    let manager = manager(&backend);
    let client = Client::of(&manager);
    let items: Vec<Value> = (0..1000)
        .map(|n| match n % 4 {
            0 => create(&n.to_string()),
            token => with_token(n, &token.to_string()),
        })
        .collect();
    let results = executed(&client, &batch(&items, false, true)).await;
    let responses = results["responses"].as_array().expect("a list");
    assert_eq!(responses.len(), 1000);
    let mut last = [0; 4];
    for (n, response) in responses.iter().enumerate() {
        assert_eq!(response["requestIndex"], json!(n));
        let operation = stored(&backend, id(&response["response"]["results"])).await;
        assert_eq!(operation.body.name, n.to_string());
        assert_eq!(operation.header.status.state(), State::Ready);
        if n % 4 != 0 {
            assert!(operation.sequence > last[n % 4]);
            last[n % 4] = operation.sequence;
        }
    }
    // All operations that may run are with the broker when the answer comes.
    // The confirms are noted soon after, and before a manager ends.
    manager.close().await;
    let counts = backend.store.counts().await.expect("the store is there");
    assert_eq!((counts.ready, counts.undispatched), (1000, 0));
}

#[tokio::test(start_paused = true)]
async fn behind_the_first_fault_nothing_is_created() {
    let deep = |parent: &str| {
        let target = json!({"messageName": "a", "parentId": parent});
        request("Create", json!({"target": target}))
    };
    let keyed_item = |name: &str, key: &str| {
        let mut item = create(name);
        item["parameters"]["idempotencyKey"] = json!(key);
        item
    };
    // In the first of the chunks that go to the store, and in the second.
    for place in [1, 280] {
        let client = Client::of(&manager(&backend()));
        let mut parent = Value::Null;
        for _ in 0..=8 {
            let target = json!({"messageName": "a", "name": "parent", "parentId": parent});
            let created = executed(&client, &request("Create", json!({"target": target}))).await;
            parent = created["id"].clone();
        }
        keyed(&client, "used", &create("used")).await;
        let before = names_of_all(&client).await.len();
        let faults = [
            (request("Create", json!({"target": {}})), "0x80040203"),
            (deep(parent.as_str().expect("an id")), "0x80044182"),
            (keyed_item("other", "used"), "0x8D000007"),
        ];
        for (round, (fault, code)) in faults.into_iter().enumerate() {
            let mut items: Vec<Value> = (0..place + 20).map(|n| create(&n.to_string())).collect();
            items[place] = fault;
            let results = executed(&client, &batch(&items, false, true)).await;
            let responses = results["responses"].as_array().expect("a list");
            assert_eq!(responses.len(), place + 1, "{code}");
            assert_eq!(responses[place]["fault"]["errorCode"], json!(code));
            let now = names_of_all(&client).await.len();
            assert_eq!(now, before + (round + 1) * place, "{code}");
        }
    }
}

/// The names of all operations, over all pages.
async fn names_of_all(client: &Client) -> Vec<Value> {
    let mut names = Vec::new();
    let mut cursor = Value::Null;
    loop {
        let search = request("RetrieveMultiple", json!({"limit": 500, "cursor": cursor}));
        let page = executed(client, &search).await;
        let operations = page["operations"].as_array().cloned().unwrap_or_default();
        names.extend(operations.iter().map(|operation| operation["name"].clone()));
        cursor = page["nextCursor"].clone();
        if cursor.is_null() {
            return names;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn keys_of_items_make_a_whole_batch_repeatable() {
    let client = Client::of(&manager(&backend()));
    let items = |count: usize| -> Vec<Value> {
        (0..count)
            .map(|n| {
                let mut item = create(&n.to_string());
                // One key twice.
                item["parameters"]["idempotencyKey"] = json!(format!("key {}", n.min(5)));
                if n == 6 {
                    item["parameters"]["target"]["name"] = json!("5");
                }
                item
            })
            .collect()
    };
    let results = |response: &'_ Value| -> Value { response["response"]["results"].clone() };
    let first = executed(&client, &batch(&items(4), false, true)).await;
    let again = executed(&client, &batch(&items(7), false, true)).await;
    for n in 0..4 {
        let (first, again) = (&first["responses"][n], &again["responses"][n]);
        assert_eq!(results(first)["id"], results(again)["id"]);
        assert_eq!(results(again)["existed"], json!(true));
    }
    let id_of = |n: usize| id(&results(&again["responses"][n]));
    assert_eq!(id_of(5), id_of(6));
    assert_eq!(names(&client).await, ["0", "1", "2", "3", "4", "5"]);
}

#[tokio::test(start_paused = true)]
async fn with_the_broker_away_nothing_is_stored_and_repeated_creates_are_answered() {
    let (backend, faults) = faulty(&backend());
    let client = Client::of(&manager(&backend));
    let mut first = create("1");
    first["parameters"]["idempotencyKey"] = json!("k");
    let known = executed(&client, &first).await;
    Faults::set(&faults.broker_is_blocked, true);
    let results = executed(
        &client,
        &batch(&[first, create("2"), create("3")], true, true),
    )
    .await;
    let again = &results["responses"][0]["response"]["results"];
    assert_eq!(again["id"], known["id"]);
    for n in [1, 2] {
        let fault = &results["responses"][n]["fault"];
        assert_eq!(fault["errorCode"], json!("0x8004A001"));
        assert_eq!(fault["errorDetails"], json!({"Retry-After": 2}));
    }
    assert_eq!(names(&client).await, ["1"]);
}

#[tokio::test(start_paused = true)]
async fn what_follows_a_chunk_that_could_not_be_stored_does_not_overtake_it() {
    let (backend, faults) = faulty(&backend());
    let client = Client::of(&manager(&backend));
    let mut known = with_token(255, "t");
    known["parameters"]["idempotencyKey"] = json!("k");
    executed(&client, &known).await;
    // The last create of the store's first chunk exists already. It is no
    // fault, though all before it in the chunk are.
    let mut items: Vec<Value> = (0..300).map(|n| with_token(n, "t")).collect();
    items[255] = known;
    Faults::set(&faults.next_create_fails, true);
    let results = executed(&client, &batch(&items, true, true)).await;
    let responses = results["responses"].as_array().expect("a list");
    assert_eq!(responses.len(), 300);
    for n in [0, 254, 256, 299] {
        assert_ne!(responses[n]["fault"], Value::Null, "{n}");
    }
    assert_eq!(names(&client).await, ["255"]);

    Faults::set(&faults.next_create_fails, true);
    let results = executed(&client, &batch(&items, false, true)).await;
    let responses = results["responses"].as_array().expect("a list");
    assert_eq!(responses.len(), 1, "it ends with the first fault");
}

#[tokio::test(start_paused = true)]
async fn what_is_stored_is_no_fault_though_it_could_not_be_published() {
    let (backend, faults) = faulty(&backend());
    let client = Client::of(&manager(&backend));
    Faults::set(&faults.publishes_fail, true);
    let items: Vec<Value> = (0..600).map(|n| create(&n.to_string())).collect();
    let results = executed(&client, &batch(&items, false, true)).await;
    assert_eq!(results["isFaulted"], json!(false));
    let counts = backend.store.counts().await.expect("the store is there");
    assert_eq!((counts.ready, counts.undispatched), (600, 600));
}
