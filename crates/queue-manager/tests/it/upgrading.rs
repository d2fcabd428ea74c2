//! Members of several releases on one store.

use drumline_backend::{Build, MemberId};
use drumline_protocol::{FormatVersion, Formats, version};
use drumline_queue_manager::Maintenance;
use serde_json::json;
use uuid::Uuid;

use crate::explaining::worker;
use crate::support::client::Client;
use crate::support::{backend, manager, until};

/// A later release, which has added fields to the store and to the messages.
fn later() -> Build {
    let next = |format: FormatVersion| FormatVersion {
        minor: format.minor + 1,
        ..format
    };
    Build {
        formats: Some(Formats {
            store: next(version::CURRENT.store),
            wire: next(version::CURRENT.wire),
        }),
        release: "99.0.0".to_owned(),
    }
}

#[tokio::test(start_paused = true)]
async fn the_release_and_the_formats_of_each_member_are_shown() {
    let backend = backend();
    let manager = manager(&backend);
    let client = Client::of(&manager);
    let member = |number, build| {
        let mut member = worker(&["*"], 0);
        member.id = MemberId(Uuid::from_u128(number));
        member.profile.build = build;
        member
    };
    for member in &[member(1, Build::default()), member(2, later())] {
        backend.membership.beat(member).await.unwrap();
    }
    let workers = client.get("/v1/workers").await.json["workers"].take();
    assert_eq!(workers[0].get("release"), None, "{workers}");
    assert_eq!(workers[0].get("storeFormat"), None, "{workers}");
    assert_eq!(workers[1]["release"], json!("99.0.0"), "{workers}");
    let formats = later().formats.unwrap();
    let store = formats.store.to_string();
    assert_eq!(workers[1]["storeFormat"], json!(store), "{workers}");
    let wire = formats.wire.to_string();
    assert_eq!(workers[1]["wireFormat"], json!(wire), "{workers}");
}

#[tokio::test(start_paused = true)]
async fn a_manager_announces_its_formats_and_leaves_those_of_later_releases() {
    let backend = backend();
    let minor = version::CURRENT.store.minor + 1;
    backend.store.note_minor(minor).await.unwrap();
    let manager = manager(&backend);
    let maintenance = Maintenance::start(&manager);
    until("the manager is a member", || async {
        let roster = backend.membership.roster().await.unwrap();
        let mut groups = roster.groups().iter();
        groups.any(|group| group.profile.build == Build::current())
    })
    .await;
    let held = backend.store.note_minor(0).await.unwrap();
    assert_eq!(held, minor);
    assert_eq!(manager.formats().now(), version::CURRENT);
    maintenance.stop().await;
}
