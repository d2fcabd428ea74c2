//! The handler on real packages in a scratch folder.

use std::fs;
use std::sync::mpsc::Sender;

use super::*;
use crate::{sample, verify};

/// A folder that is removed at the end of the test.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new(name: &str) -> Self {
        let unique = format!("drumline-solutions-{name}-{}", std::process::id());
        let dir = std::env::temp_dir().join(unique);
        drop(fs::remove_dir_all(&dir));
        fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// The sample packages, and a target folder.
struct World {
    scratch: Scratch,
    stop: Stop,
    ask: Sender<()>,
}

impl World {
    fn new(name: &str) -> Self {
        let scratch = Scratch::new(name);
        sample::write(&scratch.0.join("packages")).unwrap();
        let (ask, asked) = channel();
        let stop = Stop {
            asked,
            pace: Duration::ZERO,
        };
        Self { scratch, stop, ask }
    }

    fn target(&self) -> PathBuf {
        self.scratch.0.join("target")
    }

    fn packages(&self) -> PathBuf {
        self.scratch.0.join("packages")
    }

    fn order(&self, package: &str) -> Order {
        Order {
            id: format!("operation of {package}"),
            data: Data {
                package: self.packages().join(package),
                target: self.target(),
            },
        }
    }

    fn import(&self, package: &str) -> Result<()> {
        import(&self.order(package), None, &self.stop)
    }
}

#[test]
fn packages_applied_in_order_pass_verification() {
    let world = World::new("in-order");
    for number in 0..5 {
        for name in ["core", "contacts", "sales", "service", "billing", "portal"] {
            world.import(&format!("{name}-1.{number}.0.0.zip")).unwrap();
        }
    }
    verify::verify(&world.target(), &world.packages()).unwrap();
}

#[test]
fn an_upgrade_out_of_order_fails_and_changes_nothing() {
    let world = World::new("out-of-order");
    world.import("core-1.0.0.0.zip").unwrap();
    let folder = Folder::new(&world.target(), "core");
    let before = (folder.installed().unwrap(), folder.files().unwrap());

    let error = world.import("core-1.2.0.0.zip").unwrap_err();

    assert_eq!(
        error.to_string(),
        "core 1.2.0.0 was applied out of order: it upgrades 1.1.0.0, but 1.0.0.0 is installed"
    );
    let after = (folder.installed().unwrap(), folder.files().unwrap());
    assert_eq!(before, after);
}

#[test]
fn a_lower_version_is_out_of_order_too() {
    let world = World::new("lower");
    world.import("core-1.0.0.0.zip").unwrap();
    world.import("core-1.1.0.0.zip").unwrap();
    let error = world.import("core-1.0.0.0.zip").unwrap_err();
    assert!(matches!(error, Error::OutOfOrder { .. }), "{error}");
}

#[test]
fn a_missing_dependency_is_worth_a_later_try() {
    let world = World::new("missing");
    let error = world.import("contacts-1.0.0.0.zip").unwrap_err();
    assert_eq!(
        error.to_string(),
        "contacts needs core 1.0.0.0 or later, but nothing is installed"
    );
    world.import("core-1.0.0.0.zip").unwrap();
    world.import("contacts-1.0.0.0.zip").unwrap();
}

#[test]
fn importing_again_changes_nothing() {
    let world = World::new("again");
    world.import("core-1.0.0.0.zip").unwrap();
    let folder = Folder::new(&world.target(), "core");
    let before = (folder.installed().unwrap(), folder.files().unwrap());
    world.import("core-1.0.0.0.zip").unwrap();
    let after = (folder.installed().unwrap(), folder.files().unwrap());
    assert_eq!(before, after);
}

#[test]
fn the_same_version_with_other_content_is_refused() {
    let world = World::new("other-content");
    world.import("core-1.0.0.0.zip").unwrap();
    let folder = Folder::new(&world.target(), "core");
    let mut installed = folder.installed().unwrap().unwrap();
    installed.components[0].crc ^= 1;
    folder.commit(&installed).unwrap();
    let error = world.import("core-1.0.0.0.zip").unwrap_err();
    assert!(matches!(error, Error::OtherContent { .. }), "{error}");
}

#[test]
fn a_stopped_import_goes_on_from_its_checkpoint() {
    let world = World::new("stopped");
    world.ask.send(()).unwrap();
    let error = world.import("core-1.0.0.0.zip").unwrap_err();
    assert!(matches!(error, Error::Stopped { next: 0, .. }), "{error}");

    let checkpoint = r#"{"version":"1.0.0.0","next":7}"#;
    let mut package = Package::open(&world.packages().join("core-1.0.0.0.zip")).unwrap();
    assert_eq!(start_at(Some(checkpoint), &package), 7);
    let folder = Folder::new(&world.target(), "core");
    let written = place_components(&mut package, &folder, 7, &world.stop).unwrap();
    assert_eq!(written, package.components.len() - 7);
}

#[test]
fn a_checkpoint_of_something_else_is_ignored() {
    let world = World::new("checkpoint");
    let package = Package::open(&world.packages().join("core-1.0.0.0.zip")).unwrap();
    for text in ["", "null", "7", r#"{"version":"1.1.0.0","next":7}"#] {
        assert_eq!(start_at(Some(text), &package), 0, "{text}");
    }
}

/// A kill between two steps leaves the folder as one of these.
#[test]
fn a_start_after_a_kill_ends_where_an_undisturbed_one_would() {
    for place_before_kill in [0, 1, 5, 12] {
        let world = World::new(&format!("killed-{place_before_kill}"));
        for number in 0..4 {
            world.import(&format!("core-1.{number}.0.0.zip")).unwrap();
        }
        let folder = Folder::new(&world.target(), "core");
        let mut package = Package::open(&world.packages().join("core-1.4.0.0.zip")).unwrap();
        for component in package.components.clone().iter().take(place_before_kill) {
            let content = package.read(component).unwrap();
            folder.place(&component.path, &content).unwrap();
        }
        fs::write(folder.component("forms/half.txt.new"), "half").unwrap();

        world.import("core-1.4.0.0.zip").unwrap();

        let mut versions: Vec<_> = Package::all_in(&world.packages())
            .unwrap()
            .into_iter()
            .map(|(_, package)| package)
            .filter(|package| package.manifest.solution == "core")
            .collect();
        let difference = verify::difference(&world.target(), "core", &mut versions);
        assert_eq!(difference.unwrap(), None);
    }
}

#[test]
fn a_kill_between_commit_and_tidying_is_mended_by_the_next_start() {
    let world = World::new("untidy");
    world.import("core-1.0.0.0.zip").unwrap();
    let folder = Folder::new(&world.target(), "core");
    folder.place("forms/old.txt", b"left over").unwrap();
    world.import("core-1.0.0.0.zip").unwrap();
    assert!(!folder.component("forms/old.txt").exists());
}

#[test]
fn verification_sees_a_changed_component() {
    let world = World::new("changed");
    for name in ["core", "contacts"] {
        for number in 0..5 {
            world.import(&format!("{name}-1.{number}.0.0.zip")).unwrap();
        }
    }
    for name in ["sales", "service", "billing", "portal"] {
        for number in 0..5 {
            world.import(&format!("{name}-1.{number}.0.0.zip")).unwrap();
        }
    }
    verify::verify(&world.target(), &world.packages()).unwrap();
    let folder = Folder::new(&world.target(), "core");
    let component = folder.installed().unwrap().unwrap().components[3].clone();
    folder.place(&component.path, b"something else").unwrap();
    let error = verify::verify(&world.target(), &world.packages()).unwrap_err();
    assert!(matches!(error, Error::Differs(1)), "{error}");
}

#[test]
fn what_is_not_a_package_fails_for_good() {
    let world = World::new("not-a-package");
    let error = world.import("core-9.0.0.0.zip").unwrap_err();
    assert!(matches!(error, Error::Invalid { .. }), "{error}");
    fs::write(world.packages().join("text.zip"), "not a zip").unwrap();
    let error = world.import("text.zip").unwrap_err();
    assert!(matches!(error, Error::Archive { .. }), "{error}");
    let mut half = fs::read(world.packages().join("core-1.0.0.0.zip")).unwrap();
    let middle = half.len() / 3;
    half[middle] ^= 0xff;
    fs::write(world.packages().join("damaged.zip"), half).unwrap();
    let error = world.import("damaged.zip").unwrap_err();
    assert!(
        matches!(error, Error::Archive { .. } | Error::Invalid { .. }),
        "{error}"
    );
}
