use std::sync::Arc;

use drumline_protocol::extensions::Field;
use drumline_protocol::{Extensions, FormatVersion};
use uuid::Uuid;

use super::*;
use crate::membership::{Group, MemberId, Profile, Role};

/// The release of this process, as if it had one minor version more.
const OWN: Formats = formats(1);
/// A field that came with that minor version.
const COST_CENTRE: Field<String> = Field::new(1, OWN.store);

const fn formats(minor: u16) -> Formats {
    Formats {
        store: FormatVersion::new(version::CURRENT.store.major, minor),
        wire: FormatVersion::new(version::CURRENT.wire.major, minor),
    }
}

fn group(number: u128, release: &str, formats: Option<Formats>) -> Group {
    let build = Build {
        formats,
        release: release.to_owned(),
    };
    Group {
        profile: Arc::new(Profile {
            build,
            ..Profile::new(Role::Worker)
        }),
        ids: vec![MemberId(Uuid::from_u128(number))],
    }
}

#[test]
fn a_new_field_is_written_as_soon_as_the_last_member_is_upgraded() {
    let written = WrittenFormats::new(OWN);
    let can_write = || {
        let mut extensions = Extensions::default();
        let value = "sales".to_owned();
        let was_set = extensions.set(&COST_CENTRE, &value, written.now().store);
        was_set.expect("a text can be encoded")
    };
    assert!(!can_write(), "no member is known yet");
    let new = |number| group(number, "0.2.0", Some(OWN));
    let old = |number| group(number, "0.1.0", Some(formats(0)));
    assert_eq!(written.note(&Roster::of_groups([old(1), new(2)])), None);
    assert!(!can_write());
    assert_eq!(
        written.note(&Roster::of_groups([new(1), new(2)])),
        Some(OWN)
    );
    assert!(can_write());
    assert_eq!(
        written.note(&Roster::of_groups([new(1), new(2), new(3)])),
        None
    );
    // One member is rolled back.
    assert_eq!(
        written.note(&Roster::of_groups([new(1), old(2)])),
        Some(formats(0))
    );
    assert!(!can_write());
    // A member that announces nothing is from before the announcements.
    written.note(&Roster::of_groups([new(1), new(2)]));
    assert_eq!(
        written.note(&Roster::of_groups([new(1), group(2, "", None)])),
        Some(formats(0))
    );
}

#[test]
fn members_are_counted_by_build() {
    let members = Roster::of_groups([
        group(1, "0.2.0", Some(OWN)),
        group(2, "0.1.0", Some(formats(0))),
        group(3, "", None),
        group(4, "0.2.0", Some(OWN)),
    ]);
    let counts: Vec<_> = builds(&members)
        .into_iter()
        .map(|(build, count)| (build.release.as_str(), count))
        .collect();
    assert_eq!(counts, [("", 1), ("0.1.0", 1), ("0.2.0", 2)]);
}

#[test]
fn the_report_of_a_member_from_before_the_announcements_is_read() {
    let group = group(1, "0.2.0", Some(OWN));
    let mut profile = serde_json::to_value(&*group.profile).unwrap();
    let build = profile.as_object_mut().unwrap().remove("build").unwrap();
    assert_eq!(build["formats"]["store"], "4.1");
    let read: Profile = serde_json::from_value(profile).unwrap();
    assert_eq!(read.build, Build::default());
}
