//! Sample packages: six solutions that build on each other, five versions each.
//!
//! Everything is computed from the solution's name and the version, so that
//! the packages are the same on every machine. Upgrades change some
//! components, add one, and remove one: an import that skips an upgrade, or
//! does one twice, ends with other files.

use std::fs;
use std::path::Path;

use crate::error::{Error, Result};
use crate::manifest::{Dependency, Manifest};
use crate::package;
use crate::speech;
use crate::version::Version;

/// The solutions, and those that each of them needs.
const SOLUTIONS: [(&str, &[&str]); 6] = [
    ("core", &[]),
    ("contacts", &["core"]),
    ("sales", &["core", "contacts"]),
    ("service", &["core", "contacts"]),
    ("billing", &["sales"]),
    ("portal", &["sales", "service"]),
];
/// The number of versions of each solution.
const VERSIONS: u32 = 5;
/// The kinds of component.
const KINDS: [&str; 4] = ["entities", "forms", "plugins", "reports"];
/// Components of each kind in one version.
const PER_KIND: u32 = 3;

/// Writes all packages.
pub(crate) fn write(dir: &Path) -> Result<()> {
    fs::create_dir_all(dir).map_err(Error::io("cannot create", dir))?;
    for (solution, needs) in SOLUTIONS {
        for number in 0..VERSIONS {
            let manifest = manifest(solution, needs, number);
            let contents: Vec<_> = manifest
                .components
                .iter()
                .map(|path| content(solution, path, number))
                .collect();
            let file = dir.join(format!("{solution}-{}.zip", manifest.version));
            package::write(&file, &manifest, &contents)?;
        }
    }
    let all = SOLUTIONS.len() * usize::try_from(VERSIONS).unwrap_or(usize::MAX);
    speech::say(&format!("{all} packages written to {}", dir.display()));
    Ok(())
}

fn version(number: u32) -> Version {
    Version([1, number, 0, 0])
}

fn manifest(solution: &str, needs: &[&str], number: u32) -> Manifest {
    Manifest {
        solution: solution.to_owned(),
        version: version(number),
        upgrades: number.checked_sub(1).map(version),
        // The same version of what it needs: each upgrade has to wait for
        // upgrades of others, which are not in its chain.
        dependencies: needs
            .iter()
            .map(|name| Dependency {
                solution: (*name).to_owned(),
                at_least: version(number),
            })
            .collect(),
        components: components(number),
    }
}

/// A window that moves on by one with each version: one file goes, one comes.
fn components(number: u32) -> Vec<String> {
    let mut paths = Vec::new();
    for kind in KINDS {
        for part in number..number + PER_KIND {
            paths.push(format!("{kind}/{part}.txt"));
        }
    }
    paths
}

/// Some kilobytes of text that no two components share.
fn content(solution: &str, path: &str, number: u32) -> String {
    let mut text = format!("{solution} {} {path}\n", version(number));
    let mut state = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |state, byte| {
        (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    for line in 0..64 {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        text.push_str(&format!("{line:03} {state:016x} {solution}/{path}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upgrade_changes_adds_and_removes_components() {
        let (old, new) = (components(0), components(1));
        assert!(old.iter().any(|path| !new.contains(path)));
        assert!(new.iter().any(|path| !old.contains(path)));
        let kept = old.iter().find(|path| new.contains(path)).unwrap();
        assert_ne!(content("core", kept, 0), content("core", kept, 1));
    }

    #[test]
    fn every_need_is_a_solution() {
        let names = SOLUTIONS.map(|(name, _)| name);
        for (_, needs) in SOLUTIONS {
            assert!(needs.iter().all(|need| names.contains(need)));
        }
    }
}
