//! The original: a repository whose main line is replayed.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::git::Git;

/// A repository to be replayed.
#[derive(Debug)]
pub(crate) struct Source {
    /// Its absolute path.
    pub(crate) path: PathBuf,
    /// Its name among the replicas.
    pub(crate) name: String,
}

/// One commit of the main line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Commit {
    /// Its hash.
    pub(crate) hash: String,
    /// The hash of its tree.
    pub(crate) tree: String,
    /// When it was made, in Unix seconds.
    pub(crate) seconds: i64,
    /// The first line of its message.
    pub(crate) subject: String,
}

impl Source {
    /// Names repositories after their folders; a name that is taken gets a
    /// number.
    pub(crate) fn name_all(repositories: &[PathBuf]) -> Result<Vec<Self>> {
        let mut sources: Vec<Self> = Vec::new();
        for repository in repositories {
            let path = repository
                .canonicalize()
                .map_err(Error::io("cannot find", repository))?;
            let folder = path.file_stem().unwrap_or_default().to_string_lossy();
            let base = plain(&folder);
            let taken = |name: &String| sources.iter().any(|source| source.name == *name);
            let name = std::iter::once(base.clone())
                .chain((2..).map(|number| format!("{base}-{number}")))
                .find(|name| !taken(name))
                .unwrap_or(base);
            sources.push(Self { path, name });
        }
        Ok(sources)
    }

    /// The main line: HEAD and its first parents, oldest first.
    pub(crate) fn main_line(&self) -> Result<Vec<Commit>> {
        let format = "--format=%H %T %ct %s";
        let log = Git::new(&self.path, "log")
            .args([
                "--first-parent",
                "--reverse",
                "--no-show-signature",
                format,
                "HEAD",
            ])
            .run()?;
        log.lines()
            .map(|line| {
                read(line).ok_or_else(|| Error::Answer {
                    command: "log".to_owned(),
                    answer: line.to_owned(),
                })
            })
            .collect()
    }

    /// The hash of HEAD's tree.
    pub(crate) fn head_tree(&self) -> Result<String> {
        Git::new(&self.path, "rev-parse")
            .args(["--verify", "HEAD^{tree}"])
            .run()
    }
}

/// The letters, digits, hyphens, dots and underscores of a name.
fn plain(folder: &str) -> String {
    let kept: String = folder
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || "-._".contains(c) {
                c
            } else {
                '-'
            }
        })
        .collect();
    let kept = kept.trim_start_matches(['.', '-']);
    if kept.is_empty() {
        "repository".to_owned()
    } else {
        kept.to_owned()
    }
}

fn read(line: &str) -> Option<Commit> {
    let mut fields = line.splitn(4, ' ');
    Some(Commit {
        hash: fields.next()?.to_owned(),
        tree: fields.next()?.to_owned(),
        seconds: fields.next()?.parse().ok()?,
        subject: fields.next().unwrap_or_default().to_owned(),
    })
}

/// The hash of the tree without files, in the hash function of a repository.
pub(crate) fn empty_tree(repository: &Path) -> Result<String> {
    Git::new(repository, "hash-object")
        .args(["-t", "tree", "/dev/null"])
        .run()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_of_harmless_letters() {
        assert_eq!(plain("my repo!"), "my-repo-");
        assert_eq!(plain(".pyenv"), "pyenv");
        assert_eq!(plain(""), "repository");
        assert_eq!(plain("--help"), "help");
    }

    #[test]
    fn a_subject_may_hold_anything() {
        let commit = read("aa bb 12 fix: a b  c").unwrap();
        assert_eq!(
            (commit.seconds, commit.subject.as_str()),
            (12, "fix: a b  c")
        );
        assert_eq!(read("aa bb 12 ").unwrap().subject, "");
        assert_eq!(read("aa bb x y"), None);
    }
}
