//! Ends reported by webhook, to a receiver on a real port, in real time.

mod receiver;

use std::time::Duration;

use axum::http::StatusCode;
use drumline_backend::{Backend, Ids};
use drumline_protocol::OperationId;
use drumline_queue_manager::maintenance::{MaintenanceOptions, Retention};
use drumline_queue_manager::webhook::Webhooks;
use drumline_queue_manager::{Maintenance, Options, QueueManager};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use receiver::{Answer, Came, Receiver};

use crate::support::backend;
use crate::support::client::Client;
use crate::support::worker::Worker;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/// The bytes of [`SECRET`], written down by hand.
const KEY: [u8; 24] = [
    0x31, 0xf2, 0x90, 0xf6, 0xbf, 0x06, 0x29, 0x8a, 0xab, 0x4f, 0x08, 0xd4, 0x3c, 0x3f, 0x08, 0x2c,
    0xf6, 0x48, 0xa3, 0x62, 0xda, 0x2d, 0xa4, 0xb0,
];
/// A second one: zeros.
const NEXT: &str = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
/// Far longer than any step here takes.
const PATIENCE: Duration = Duration::from_secs(50);

fn webhooks() -> Webhooks {
    Webhooks {
        secrets: vec![SECRET.parse().expect("a secret")],
        allow_private: true,
        schedule: vec![Duration::from_millis(10), Duration::from_millis(20)],
        ..Webhooks::default()
    }
}

fn manager_with(backend: &Backend, webhooks: Webhooks) -> QueueManager {
    let options = Options {
        webhooks,
        ..Options::default()
    };
    QueueManager::new(backend.clone(), Ids::random(), options)
}

/// Starts maintenance that looks for notices at once.
fn maintain(manager: &QueueManager) -> Maintenance {
    maintain_every(manager, Duration::from_millis(10))
}

fn maintain_every(manager: &QueueManager, notices: Duration) -> Maintenance {
    let options = MaintenanceOptions {
        notices,
        ..MaintenanceOptions::default()
    };
    Maintenance::start_with(manager, &options)
}

/// Creates an operation with a webhook and lets it succeed.
async fn ended(backend: &Backend, manager: &QueueManager, url: &str) -> OperationId {
    let client = Client::of(manager);
    let body = json!({"messageName": "a", "data": {"x": "ü"}, "webhookUrl": url});
    let id = client.create(&body).await;
    Worker::new(backend).run(id).await;
    id
}

/// Waits until a metric's line is there.
async fn counted(manager: &QueueManager, line: &str) {
    let counted = async {
        while !manager.metrics().text().lines().any(|other| other == line) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let counted = tokio::time::timeout(PATIENCE, counted).await;
    assert!(counted.is_ok(), "{line}\n{}", manager.metrics().text());
}

/// The signature by the text of RFC 2104 and RFC 4648, not by the crates that
/// made it.
fn signature(key: &[u8], came: &Came) -> String {
    let mut signed = format!(
        "{}.{}.",
        came.header("webhook-id"),
        came.header("webhook-timestamp")
    )
    .into_bytes();
    signed.extend_from_slice(&came.body);
    let mut block = [0_u8; 64];
    block[..key.len()].copy_from_slice(key);
    let keyed = |pad: u8, text: &[u8]| {
        let mut hash = Sha256::new();
        hash.update(block.map(|byte| byte ^ pad));
        hash.update(text);
        hash.finalize()
    };
    let mac = keyed(0x5c, &keyed(0x36, &signed));
    let mut text = String::new();
    for three in mac.chunks(3) {
        let bits = three
            .iter()
            .fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte));
        let bits = bits << (8 * (3 - three.len()));
        for place in 0..=three.len() {
            let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
            let six = (bits >> (18 - 6 * place)) & 0x3f;
            text.push(char::from(alphabet[six as usize]));
        }
        text.extend(std::iter::repeat_n('=', 3 - three.len()));
    }
    format!("v1,{text}")
}

#[tokio::test]
async fn an_end_is_told_and_signed() {
    let backend = backend();
    let two = Webhooks {
        secrets: vec![
            NEXT.parse().expect("a secret"),
            SECRET.parse().expect("a secret"),
        ],
        ..webhooks()
    };
    let manager = manager_with(&backend, two);
    let maintenance = maintain(&manager);
    let receiver = Receiver::start(Vec::new()).await;
    let id = ended(&backend, &manager, &receiver.url).await;

    let came = receiver.came(1).await;
    let [notice] = came.as_slice() else {
        unreachable!("{came:?}")
    };
    assert_eq!(notice.id(), id);
    assert_eq!(notice.header("content-type"), "application/json");
    let body: Value = serde_json::from_slice(&notice.body).expect("JSON");
    let shown = Client::of(&manager)
        .get(&format!("/v1/operations/{id}"))
        .await;
    assert_eq!(body, shown.json);
    assert_eq!(body.get("status"), Some(&json!("Succeeded")));
    assert_eq!(body.get("webhookUrl"), Some(&json!(receiver.url)));

    // Any of them will do, so that receivers change over one by one.
    let signatures: Vec<&str> = notice.header("webhook-signature").split(' ').collect();
    let expected = [signature(&[0; 24], notice), signature(&KEY, notice)];
    assert_eq!(signatures, expected);
    let timestamp: i64 = notice.header("webhook-timestamp").parse().expect("seconds");
    let now = backend.store.now().as_millis() / 1000;
    assert!((now - 60..=now).contains(&timestamp), "{timestamp} {now}");

    counted(
        &manager,
        r#"drumline_webhook_tries_total{outcome="delivered"} 1"#,
    )
    .await;
    maintenance.stop().await;
    manager.close().await;
}

#[tokio::test]
async fn it_is_told_again_until_it_is_taken_and_then_no_more() {
    let backend = backend();
    let manager = manager_with(&backend, webhooks());
    let maintenance = maintain(&manager);
    let receiver = Receiver::start(vec![
        Answer::Status(500),
        Answer::Redirect("http://127.0.0.1:1/".to_owned()),
    ])
    .await;
    let id = ended(&backend, &manager, &receiver.url).await;
    counted(
        &manager,
        r#"drumline_webhook_tries_total{outcome="delivered"} 1"#,
    )
    .await;
    // Another one, to the same place, shows that the first is not sent again.
    let second = ended(&backend, &manager, &receiver.url).await;
    let came = receiver.came(4).await;
    let ids: Vec<_> = came.iter().map(Came::id).collect();
    assert_eq!(ids, [id, id, id, second]);
    for notice in &came {
        assert_eq!(notice.header("webhook-signature"), signature(&KEY, notice));
    }
    assert_eq!(came[0].body, came[2].body);
    counted(
        &manager,
        r#"drumline_webhook_tries_total{outcome="failed"} 2"#,
    )
    .await;
    maintenance.stop().await;
    manager.close().await;
}

#[tokio::test]
async fn it_is_given_up_after_the_last_try() {
    let backend = backend();
    let quick = Webhooks {
        timeout: Duration::from_millis(200),
        ..webhooks()
    };
    let manager = manager_with(&backend, quick);
    let maintenance = maintain(&manager);
    let receiver = Receiver::start(vec![
        Answer::Silence,
        Answer::Status(503),
        Answer::Status(400),
    ])
    .await;
    let id = ended(&backend, &manager, &receiver.url).await;
    counted(
        &manager,
        r#"drumline_webhook_tries_total{outcome="given up"} 1"#,
    )
    .await;
    assert_eq!(receiver.came(3).await.len(), 3);
    let left = backend.store.notices(id.partition(), 10).await;
    assert_eq!(left.expect("the store is there"), []);
    maintenance.stop().await;
    manager.close().await;
}

#[tokio::test]
async fn a_delivered_webhook_keeps_its_operation_no_longer() {
    let backend = backend();
    let patient = Webhooks {
        schedule: vec![Duration::from_secs(3_600)],
        ..webhooks()
    };
    let receiver = Receiver::start(vec![Answer::Status(503)]).await;
    let manager = manager_with(&backend, patient.clone());
    let maintenance = maintain(&manager);
    let owed = ended(&backend, &manager, &receiver.url).await;
    counted(
        &manager,
        r#"drumline_webhook_tries_total{outcome="failed"} 1"#,
    )
    .await;
    let delivered = ended(&backend, &manager, &receiver.url).await;
    counted(
        &manager,
        r#"drumline_webhook_tries_total{outcome="delivered"} 1"#,
    )
    .await;
    maintenance.stop().await;
    manager.close().await;

    // The time of both is over, from here on.
    let manager = manager_with(&backend, patient);
    let options = MaintenanceOptions {
        retention: Duration::from_millis(10),
        keep: Retention {
            succeeded: Some(Duration::ZERO),
            ..Retention::default()
        },
        ..MaintenanceOptions::default()
    };
    let maintenance = Maintenance::start_with(&manager, &options);
    let read = async |id| {
        let found = backend.store.summaries(&[id]).await;
        found.expect("the store is there").pop().flatten()
    };
    let gone = async {
        while read(delivered).await.is_some() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let gone = tokio::time::timeout(PATIENCE, gone).await;
    assert!(gone.is_ok(), "the delivered one is still there");
    assert!(read(owed).await.is_some(), "it is to be tried again");
    maintenance.stop().await;
    manager.close().await;
}

#[tokio::test]
async fn a_receiver_that_is_gone_is_asked_once() {
    let backend = backend();
    let manager = manager_with(&backend, webhooks());
    let maintenance = maintain(&manager);
    let receiver = Receiver::start(vec![Answer::Status(410)]).await;
    let id = ended(&backend, &manager, &receiver.url).await;
    counted(
        &manager,
        r#"drumline_webhook_tries_total{outcome="unwanted"} 1"#,
    )
    .await;
    let second = ended(&backend, &manager, &receiver.url).await;
    let ids: Vec<_> = receiver.came(2).await.iter().map(Came::id).collect();
    assert_eq!(ids, [id, second]);
    maintenance.stop().await;
    manager.close().await;
}

#[tokio::test]
async fn a_manager_that_is_lost_in_the_middle_loses_no_notice() {
    let backend = backend();
    let first = manager_with(&backend, webhooks());
    let maintenance = maintain(&first);
    let receiver = Receiver::start(vec![Answer::Silence]).await;
    let id = ended(&backend, &first, &receiver.url).await;
    receiver.came(1).await;
    // The manager is gone between the request and the note of its result.
    drop(maintenance);
    first.close().await;

    let second = manager_with(&backend, webhooks());
    let maintenance = maintain(&second);
    let ids: Vec<_> = receiver.came(2).await.iter().map(Came::id).collect();
    assert_eq!(ids, [id, id]);
    counted(
        &second,
        r#"drumline_webhook_tries_total{outcome="delivered"} 1"#,
    )
    .await;
    maintenance.stop().await;
    second.close().await;
}

#[tokio::test]
async fn many_are_told_each_once_and_without_rests_in_between() {
    const MANY: usize = 300;
    let backend = backend();
    let few = Webhooks {
        at_once: 8,
        at_once_per_host: 2,
        ..webhooks()
    };
    let manager = manager_with(&backend, few);
    let receiver = Receiver::start(Vec::new()).await;
    for _ in 0..MANY {
        ended(&backend, &manager, &receiver.url).await;
    }
    // A rest behind each eight would take over a minute.
    let maintenance = maintain_every(&manager, Duration::from_secs(2));
    let line = format!(r#"drumline_webhook_tries_total{{outcome="delivered"}} {MANY}"#);
    counted(&manager, &line).await;
    let mut ids: Vec<_> = receiver.came(MANY).await.iter().map(Came::id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), MANY);
    maintenance.stop().await;
    manager.close().await;
}

#[tokio::test]
async fn a_silent_receiver_keeps_no_notice_from_another() {
    const SILENT: usize = 300;
    let backend = backend();
    let few = Webhooks {
        at_once: 8,
        at_once_per_host: 2,
        ..webhooks()
    };
    let manager = manager_with(&backend, few);
    let silent = Receiver::start((0..SILENT).map(|_| Answer::Silence).collect()).await;
    let receiver = Receiver::start(Vec::new()).await;
    // Far more in each partition than are looked at, all earlier.
    for _ in 0..SILENT {
        ended(&backend, &manager, &silent.url).await;
    }
    let by_name = receiver.url.replace("127.0.0.1", "localhost");
    let id = ended(&backend, &manager, &by_name).await;

    let maintenance = maintain(&manager);
    // Well before the silent one's first tries are over.
    let came = tokio::time::timeout(Duration::from_secs(10), receiver.came(1)).await;
    assert_eq!(came.expect("it is told")[0].id(), id);
    assert_eq!(silent.count(), 2, "no more than it may have");
    maintenance.stop().await;
    // To be delayed is no try.
    for partition in backend.store.partitions().all() {
        let due = backend.store.notices(partition, SILENT).await;
        let due = due.expect("the store is there");
        assert!(due.iter().all(|notice| notice.attempt == 0), "{due:?}");
    }
    manager.close().await;
}

#[tokio::test]
async fn private_addresses_are_refused_at_the_create_and_at_the_delivery() {
    let backend = backend();
    let strict = Webhooks {
        allow_private: false,
        ..webhooks()
    };
    let strict = manager_with(&backend, strict);
    let client = Client::of(&strict);
    for url in [
        "http://127.0.0.1/hook",
        "http://localhost/hook",
        "http://169.254.169.254/latest",
        "http://[::1]/",
    ] {
        let body = json!({"messageName": "a", "webhookUrl": url});
        let answer = client.post("/v1/operations", &body).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{url}");
        assert!(answer.text.contains("webhook-allow-private"), "{answer:?}");
    }

    // Created where it was allowed, by address and by name.
    let lax = manager_with(&backend, webhooks());
    let receiver = Receiver::start(Vec::new()).await;
    ended(&backend, &lax, &receiver.url).await;
    let by_name = receiver.url.replace("127.0.0.1", "localhost");
    ended(&backend, &lax, &by_name).await;
    let maintenance = maintain(&strict);
    counted(
        &strict,
        r#"drumline_webhook_tries_total{outcome="unwanted"} 2"#,
    )
    .await;
    assert_eq!(receiver.count(), 0);
    maintenance.stop().await;
    strict.close().await;
    lax.close().await;
}

#[tokio::test]
async fn an_address_that_is_none_is_refused() {
    let with = Client::of(&manager_with(&backend(), webhooks()));
    let long = format!("https://example.com/{}", "a".repeat(2048));
    for url in [
        "",
        "example.com",
        "ftp://example.com/",
        &long,
        "https://u:p@example.com/",
    ] {
        let body = json!({"messageName": "a", "webhookUrl": url});
        let answer = with.post("/v1/operations", &body).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{url}");
        assert!(answer.text.contains("webhookUrl"), "{answer:?}");
    }
    let without = Client::of(&manager_with(&backend(), Webhooks::default()));
    let body = json!({"messageName": "a", "webhookUrl": "https://example.com/"});
    let answer = without.post("/v1/operations", &body).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(answer.text.contains("no secret"), "{answer:?}");
}

#[tokio::test]
async fn webhooks_of_all_partitions_are_sent_by_the_managers_that_can() {
    const OPERATIONS: usize = 64;
    let receiver = Receiver::start(Vec::new()).await;
    let backend = backend();
    let able = manager_with(&backend, webhooks());
    // Two of three have no secret.
    let others = [(); 2].map(|()| manager_with(&backend, Webhooks::default()));
    let maintenance: Vec<_> = others.iter().chain([&able]).map(maintain).collect();
    let (client, worker) = (Client::of(&able), Worker::new(&backend));
    for n in 0..OPERATIONS {
        // The token chooses the partition.
        let body = json!({
            "messageName": "a",
            "dependencyToken": format!("t{n}"),
            "webhookUrl": receiver.url,
        });
        let id = client.create(&body).await;
        worker.run(id).await;
    }
    receiver.came(OPERATIONS).await;
    for maintenance in maintenance {
        maintenance.stop().await;
    }
}
