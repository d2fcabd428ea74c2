//! Prints one operation per package: what a producer would submit.
//!
//! Packages of one solution come in the order of their versions, because that
//! is the order in which they will run. The solutions are mixed, round by
//! round, in the order of their names: those that need others come too early
//! at times, and are put off until what they need is there.

use std::path::Path;

use serde_json::json;

use crate::error::{Error, Result};
use crate::package::Package;
use crate::speech;

/// Prints the operations of all packages in a folder.
pub(crate) fn print(dir: &Path, target: &Path) -> Result<()> {
    for operation in operations(dir, target)? {
        speech::say(&operation.to_string());
    }
    Ok(())
}

fn operations(dir: &Path, target: &Path) -> Result<Vec<serde_json::Value>> {
    // The worker runs elsewhere: relative paths would mean other files there.
    let dir = dir.canonicalize().map_err(Error::io("cannot find", dir))?;
    let target = std::path::absolute(target).map_err(Error::io("cannot find", target))?;
    let mut packages = Package::all_in(&dir)?;
    packages
        .sort_by_key(|(_, package)| (package.manifest.version, package.manifest.solution.clone()));
    Ok(packages
        .iter()
        .map(|(path, package)| {
            let solution = &package.manifest.solution;
            let version = package.manifest.version;
            json!({
                "messageName": "ImportSolution",
                "operationType": 203,
                "name": format!("Import {solution} {version}"),
                "dependencyToken": format!("solution:{solution}"),
                // The package that it waits for is on its way: look often, and for
                // as long as a handful of imports may take.
                "retryPolicy": { "initialMs": 250, "maxMs": 2_000, "maxRetries": 300 },
                "data": { "package": path, "target": target },
            })
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_one_solution_are_submitted_in_order() {
        let scratch = crate::import::tests::Scratch::new("operations");
        crate::sample::write(&scratch.0).unwrap();
        let operations = operations(&scratch.0, Path::new("there")).unwrap();
        let sales: Vec<_> = operations
            .iter()
            .filter(|operation| operation["dependencyToken"] == "solution:sales")
            .map(|operation| operation["name"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(sales.len(), 5);
        assert!(sales.is_sorted());
    }
}
