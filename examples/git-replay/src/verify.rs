//! Compares replicas with their originals, and reads their journals.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::journal::{self, Journal};
use crate::replica;
use crate::source::Source;

/// Verifies replicas; a line about each is added to `report`.
pub(crate) fn verify(repositories: &[PathBuf], to: &Path, report: &mut String) -> Result<()> {
    let mut wrong = 0;
    for source in Source::name_all(repositories)? {
        let line = match verify_one(&source, &to.join(&source.name))? {
            Ok(line) => line,
            Err(difference) => {
                wrong += 1;
                format!("NOT EQUAL: {difference}")
            }
        };
        report.push_str(&format!("{}: {line}\n", source.name));
    }
    if wrong > 0 {
        return Err(Error::Differs(wrong));
    }
    Ok(())
}

/// The line for a replica that is as it should be, or what is not.
fn verify_one(source: &Source, replica: &Path) -> Result<Result<String, String>> {
    let Some(state) = replica::state(&replica.join("git"))? else {
        return Ok(Err("the replica is empty".to_owned()));
    };
    let expected = source.head_tree()?;
    if state.tree != expected {
        let found = state.tree;
        return Ok(Err(format!("tree {found} instead of {expected}")));
    }
    let lines = Journal::new(replica).lines()?;
    Ok(journal::check(&lines).map(|summary| {
        format!(
            "tree {expected} is equal; {} commits in {} executions, {} of them killed; \
             in order, one at a time",
            summary.commits, summary.starts, summary.killed
        )
    }))
}
