//! The releases of the live members, and the formats that they read and write.

use drumline_backend::formats::{WrittenFormats, builds};
use drumline_backend::{Build, Roster};
use drumline_protocol::{FormatVersion, version};

use super::Finding;

const BUILDS: &str = "builds";

/// Checks that the members are of one release. `noted` is the minor version of the
/// format that the store holds.
pub(super) fn check(roster: &Roster, noted: u16) -> Option<Finding> {
    let builds = builds(roster);
    if builds.is_empty() {
        return None;
    }
    let own = version::CURRENT.store;
    let holds = FormatVersion {
        minor: noted,
        ..own
    };
    let named: Vec<String> = builds
        .iter()
        .enumerate()
        .map(|(place, (build, count))| named(build, *count, place == 0))
        .collect();
    let named = named.join(", ");
    Some(if let [_one] = named_releases(builds.keys()).as_slice() {
        let text = format!("{named}: one release; the store has format {holds}");
        Finding::ok(BUILDS, text)
    } else {
        let written = WrittenFormats::default();
        written.note(roster);
        let writes = written.now().store;
        let count = named_releases(builds.keys()).len();
        let text = format!(
            "{count} releases: {named}; fields are written up to format {writes}, which all read: upgrade the rest"
        );
        Finding::warn(BUILDS, text)
    })
}

/// The different releases, in the order of their formats.
fn named_releases<'a>(builds: impl Iterator<Item = &'a &'a Build>) -> Vec<&'a str> {
    let mut releases: Vec<&str> = builds.map(|build| build.release.as_str()).collect();
    releases.dedup();
    releases
}

/// A build for people. The first one says what is counted.
fn named(build: &Build, count: usize, is_first: bool) -> String {
    let release = match build.release.as_str() {
        "" => "earlier than 0.1.0",
        release => release,
    };
    let unit = match (is_first, count) {
        (true, 1) => " member",
        (true, _) => " members",
        (false, _) => "",
    };
    format!("{release} ({count}{unit})")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use drumline_backend::membership::Group;
    use drumline_backend::{MemberId, Profile, Role};
    use drumline_protocol::Formats;
    use uuid::Uuid;

    use super::*;
    use crate::doctor::Level;

    fn members(builds: &[(&str, Option<Formats>)]) -> Roster {
        let group = |(number, (release, formats)): (u128, &(&str, Option<Formats>))| Group {
            profile: Arc::new(Profile {
                build: Build {
                    formats: *formats,
                    release: (*release).to_owned(),
                },
                ..Profile::new(Role::Worker)
            }),
            ids: vec![MemberId(Uuid::from_u128(number))],
        };
        Roster::of_groups((0..).zip(builds).map(group))
    }

    #[test]
    fn members_of_one_release_are_as_they_should_be() {
        let own = Some(version::CURRENT);
        let members = members(&[("0.1.0", own), ("0.1.0", own)]);
        let finding = check(&members, 3).unwrap();
        assert_eq!(finding.level, Level::Ok);
        let text = "0.1.0 (2 members): one release; the store has format 4.3";
        assert_eq!(finding.text, text);
        assert_eq!(check(&Roster::default(), 0), None);
    }

    #[test]
    fn an_upgrade_that_is_not_finished_is_named() {
        let own = version::CURRENT;
        let next = FormatVersion {
            minor: own.store.minor + 1,
            ..own.store
        };
        let later = Some(Formats { store: next, ..own });
        let (old, new) = (("0.1.0", Some(own)), ("0.2.0", later));
        let finding = check(&members(&[old, new, old, old]), 0).unwrap();
        assert_eq!(finding.level, Level::Warn);
        let text = "2 releases: 0.1.0 (3 members), 0.2.0 (1); fields are written up to format 4.0, which all read: upgrade the rest";
        assert_eq!(finding.text, text);
        let before = check(&members(&[("", None), new]), 0).unwrap();
        let named = "2 releases: earlier than 0.1.0 (1 member), 0.2.0 (1)";
        assert!(before.text.starts_with(named), "{before:?}");
    }
}
