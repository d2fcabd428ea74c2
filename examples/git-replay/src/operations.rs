//! Prints one operation per commit: what a producer would submit.
//!
//! The repositories take turns, so that their chains grow side by side.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::say;
use crate::source::{Commit, Source};

/// The longest name of an operation that is printed, in characters: what
/// Drumline accepts.
const NAME_CHARS_MAX: usize = 256;

/// Prints the operations of some repositories.
pub(crate) fn print(repositories: &[PathBuf], to: &Path, last: Option<usize>) -> Result<()> {
    let to = std::path::absolute(to).map_err(Error::io("cannot find", to))?;
    let mut lines = Vec::new();
    for source in Source::name_all(repositories)? {
        let mut commits = source.main_line()?;
        commits.drain(..commits.len().saturating_sub(last.unwrap_or(usize::MAX)));
        lines.push(operations(&source, &commits, &to.join(&source.name)));
    }
    for operation in take_turns(lines) {
        say(&operation.to_string())?;
    }
    Ok(())
}

/// The operations of one repository, oldest commit first.
fn operations(source: &Source, commits: &[Commit], replica: &Path) -> Vec<Value> {
    let mut previous: Option<&Commit> = None;
    let mut operations = Vec::new();
    for (number, commit) in (1..).zip(commits) {
        let name = format!("{} {number}: {}", source.name, commit.subject);
        operations.push(json!({
            "messageName": "ApplyCommit",
            "name": name.chars().take(NAME_CHARS_MAX).collect::<String>(),
            "dependencyToken": format!("repository:{}", source.name),
            // A start that was killed is mended by the next one, so that no
            // number of lost workers is suspicious.
            "retryPolicy": { "maxLost": 1_000_000 },
            "data": {
                "repository": source.path,
                "replica": replica,
                "number": number,
                "commit": commit.hash,
                "tree": commit.tree,
                "seconds": commit.seconds,
                "previous": previous.map(|previous| &previous.hash),
                "previousTree": previous.map(|previous| &previous.tree),
            },
        }));
        previous = Some(commit);
    }
    operations
}

fn take_turns(lines: Vec<Vec<Value>>) -> Vec<Value> {
    let mut lines: Vec<_> = lines.into_iter().map(Vec::into_iter).collect();
    let mut mixed = Vec::new();
    loop {
        let before = mixed.len();
        mixed.extend(lines.iter_mut().filter_map(Iterator::next));
        if mixed.len() == before {
            return mixed;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_take_turns_and_none_is_cut_short() {
        let lines = vec![vec![json!(1), json!(2), json!(3)], vec![json!(10)]];
        let expected = [json!(1), json!(10), json!(2), json!(3)];
        assert_eq!(take_turns(lines), expected);
    }

    #[test]
    fn each_operation_names_its_predecessor() {
        let source = Source {
            path: "/source".into(),
            name: "source".to_owned(),
        };
        let commit = |name: &str| Commit {
            hash: name.to_owned(),
            tree: format!("tree of {name}"),
            seconds: 0,
            subject: "x".repeat(400),
        };
        let operations = operations(&source, &[commit("a"), commit("b")], Path::new("/to"));
        assert_eq!(operations[0]["data"]["previous"], json!(null));
        assert_eq!(operations[1]["data"]["previous"], "a");
        assert_eq!(operations[1]["data"]["previousTree"], "tree of a");
        assert_eq!(operations[1]["name"].as_str().unwrap().len(), 256);
    }
}
