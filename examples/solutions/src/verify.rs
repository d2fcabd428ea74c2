//! Compares a target folder with the packages that were imported into it.
//!
//! For each solution: the highest version is installed, the folder holds its
//! components byte for byte and no other file, and the history lists every
//! version, in order, once.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::error::{Error, Result};
use crate::installed::Folder;
use crate::package::Package;
use crate::speech;
use crate::version::Version;

/// Verifies a target folder, and prints what it found.
pub(crate) fn verify(target: &Path, dir: &Path) -> Result<()> {
    let mut solutions: BTreeMap<String, Vec<Package>> = BTreeMap::new();
    for (_, package) in Package::all_in(dir)? {
        let name = package.manifest.solution.clone();
        solutions.entry(name).or_default().push(package);
    }
    let mut wrong = 0;
    for (solution, mut versions) in solutions {
        match difference(target, &solution, &mut versions)? {
            None => speech::say(&format!(
                "{solution}: {} versions, as it should be",
                versions.len()
            )),
            Some(difference) => {
                wrong += 1;
                speech::say(&format!("{solution}: {difference}"));
            }
        }
    }
    if wrong > 0 {
        return Err(Error::Differs(wrong));
    }
    Ok(())
}

/// The differences, none if all is as it should be.
pub(crate) fn difference(
    target: &Path,
    solution: &str,
    versions: &mut [Package],
) -> Result<Option<String>> {
    let folder = Folder::new(target, solution);
    let expected: Vec<Version> = versions.iter().map(|v| v.manifest.version).collect();
    let Some(installed) = folder.installed()? else {
        return Ok(Some("nothing is installed".to_owned()));
    };
    let history: Vec<Version> = installed.history.iter().map(|i| i.version).collect();
    if history != expected {
        return Ok(Some(format!("the history is {}", list(&history))));
    }
    let Some(last) = versions.last_mut() else {
        return Ok(None);
    };
    if installed.version != last.manifest.version {
        return Ok(Some(format!("{} is installed", installed.version)));
    }
    let components = last.components.clone();
    for component in &components {
        let path = folder.component(&component.path);
        let found = fs::read(&path).map_err(Error::io("cannot read", &path))?;
        if found != last.read(component)? {
            return Ok(Some(format!("{} has other content", component.path)));
        }
    }
    let files = folder.files()?.len();
    if files != components.len() {
        return Ok(Some(format!(
            "{files} files instead of {}",
            components.len()
        )));
    }
    Ok(None)
}

fn list(versions: &[Version]) -> String {
    let texts: Vec<_> = versions.iter().map(Version::to_string).collect();
    texts.join(", ")
}
