//! Markers that came back through the broker, and the store's own life.

use drumline_protocol::message::{Marker, Route, Source};
use drumline_protocol::{Partition, QueueName};

use crate::StoreHarness;
use crate::fixtures::Fixture;

/// Of each route the latest marker counts, in any order of arrival.
pub async fn the_latest_marker_of_each_route_counts(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let other = fixture.another(harness).await;
    assert!(fixture.store.markers().await.expect("markers").is_empty());
    let work = Route {
        queue: QueueName::default(),
        source: Source::Work,
    };
    let lane = Route {
        queue: "imports".parse::<QueueName>().expect("a queue name"),
        source: Source::Lane(Partition::new(3)),
    };
    let stamp = fixture
        .store
        .stamp(Partition::new(0))
        .await
        .expect("stamp")
        .0;
    let marker = |route: &Route, stamp| Marker {
        route: route.clone(),
        stamp,
    };
    for (process, marker) in [
        (&fixture, marker(&work, stamp + 5)),
        (&other, marker(&work, stamp + 3)),
        (&other, marker(&lane, stamp)),
        (&fixture, marker(&lane, stamp)),
        (&other, marker(&work, stamp + 9)),
        (&fixture, marker(&work, stamp + 7)),
    ] {
        let noted = process.store.marker_returned(&marker).await;
        noted.expect("marker_returned");
    }
    let mut found = other.store.markers().await.expect("markers");
    found.sort_by(|a, b| a.route.cmp(&b.route));
    let mut expected = vec![marker(&work, stamp + 9), marker(&lane, stamp)];
    expected.sort_by(|a, b| a.route.cmp(&b.route));
    assert_eq!(found, expected);
}

/// All processes see one and the same life of the store.
pub async fn one_life_has_one_name(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let other = fixture.another(harness).await;
    let name = fixture.store.incarnation().await.expect("incarnation");
    assert!(!name.is_empty());
    for process in [&fixture, &other] {
        let again = process.store.incarnation().await.expect("incarnation");
        assert_eq!(again, name);
        assert_eq!(process.store.partitions(), fixture.store.partitions());
    }
}

/// The minor version of the format never falls, whichever process notes it.
pub async fn a_noted_minor_version_stays(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let other = fixture.another(harness).await;
    for (process, noted, holds) in [
        (&fixture, 0, 0),
        (&fixture, 3, 3),
        (&other, 2, 3),
        (&other, 0, 3),
        (&fixture, 11, 11),
        (&other, 0, 11),
    ] {
        let now = process.store.note_minor(noted).await.expect("note_minor");
        assert_eq!(now, holds, "after {noted}");
    }
}

/// The store's time goes on, and processes agree about it.
pub async fn processes_agree_about_the_time(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let other = fixture.another(harness).await;
    let first = fixture.store.now();
    let second = other.store.now();
    let apart = first.since(second).max(second.since(first));
    assert!(apart.as_secs() < 2, "{first} and {second}");
}
