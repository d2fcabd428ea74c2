//! The replica: a bare repository, a lock, and the highest fence seen.
//!
//! ```text
//! replica/lock               held while a handler works here
//! replica/fence              the highest fence that was here
//! replica/executions.jsonl   the executions that were here: see journal
//! replica/git                the repository; its branch `main` is the state
//! ```
//!
//! The branch is the commit point: it is moved from the predecessor's commit
//! to the next by git's compare-and-set. Everything before that is objects
//! that nothing refers to and files that the next start removes.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::git::Git;
use crate::source;

/// The branch that is the state.
const BRANCH: &str = "refs/heads/main";
/// The message of the replica's commits, in front of the original's hash.
const MESSAGE: &str = "Replay of ";

/// A replica that no other handler is in.
#[derive(Debug)]
pub(crate) struct Replica {
    root: PathBuf,
    // Held until it is dropped, or the process is gone.
    _lock: File,
}

/// The state that the replica's branch stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct State {
    /// The replica's own commit.
    pub(crate) head: String,
    /// The original's commit.
    pub(crate) commit: String,
    /// The tree.
    pub(crate) tree: String,
}

impl Replica {
    /// Waits until no other handler is in the replica, and enters it. Creates
    /// it when it is not there.
    pub(crate) fn enter(root: &Path) -> Result<Self> {
        let path = root.join("lock");
        let lock = File::create(&path)
            .and_then(|file| file.lock().map(|()| file))
            .map_err(Error::io("cannot lock", &path))?;
        Ok(Self {
            root: root.to_path_buf(),
            _lock: lock,
        })
    }

    /// Refuses a start with a lower fence than an earlier one had: its worker
    /// was taken for dead, and another worker has the operation.
    pub(crate) fn admit(&self, fence: u64) -> Result<()> {
        let path = self.root.join("fence");
        let highest = match fs::read_to_string(&path) {
            Ok(text) => text.trim().parse().map_err(|error| {
                Error::io("cannot read", &path)(std::io::Error::new(ErrorKind::InvalidData, error))
            })?,
            Err(error) if error.kind() == ErrorKind::NotFound => 0,
            Err(error) => return Err(Error::io("cannot read", &path)(error)),
        };
        if fence < highest {
            return Err(Error::Stale { fence, highest });
        }
        if fence > highest {
            let beside = self.root.join("fence.new");
            fs::write(&beside, fence.to_string()).map_err(Error::io("cannot write", &beside))?;
            fs::rename(&beside, &path).map_err(Error::io("cannot rename to", &path))?;
        }
        Ok(())
    }

    /// Creates the repository where it is missing, and removes what a start
    /// that was killed has left. No other handler is here, so every lock of git
    /// is a dead one's.
    pub(crate) fn tidy(&self) -> Result<()> {
        let git = self.git();
        if !git.exists() {
            let beside = self.root.join("git.new");
            if beside.exists() {
                fs::remove_dir_all(&beside).map_err(Error::io("cannot remove", &beside))?;
            }
            Git::new(&self.root, "init")
                .args(["--quiet", "--bare", "--initial-branch=main", "git.new"])
                .run()?;
            fs::rename(&beside, &git).map_err(Error::io("cannot rename to", &git))?;
        }
        for leftover in ["index", "index.lock", "HEAD.lock", "refs/heads/main.lock"] {
            let path = git.join(leftover);
            match fs::remove_file(&path) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(Error::io("cannot remove", &path)(error)),
            }
        }
        Ok(())
    }

    /// The state; `None` before the first commit.
    pub(crate) fn state(&self) -> Result<Option<State>> {
        state(&self.git())
    }

    /// Loads a tree into the index.
    pub(crate) fn load(&self, tree: Option<&str>) -> Result<()> {
        Git::new(&self.git(), "read-tree")
            .args([tree.unwrap_or("--empty")])
            .run()?;
        Ok(())
    }

    /// Applies the difference between two trees of a repository to the index.
    pub(crate) fn apply(&self, from: &Path, old: Option<&str>, new: &str) -> Result<()> {
        let empty;
        let old = match old {
            Some(old) => old,
            None => {
                empty = source::empty_tree(from)?;
                &empty
            }
        };
        if old == new {
            // A commit that changes nothing; git apply takes no empty patch.
            return Ok(());
        }
        let difference = Git::new(from, "diff-tree").args([
            "-p",
            "--binary",
            "--full-index",
            "--no-renames",
            "--no-ext-diff",
            "--no-textconv",
            old,
            new,
        ]);
        let apply = Git::new(&self.git(), "apply").args(["--cached", "--whitespace=nowarn"]);
        difference.pipe(apply)
    }

    /// The tree that is in the index, written.
    pub(crate) fn write_tree(&self) -> Result<String> {
        Git::new(&self.git(), "write-tree").run()
    }

    /// Makes a commit of a tree; it is not the state yet. The same arguments
    /// give the same commit.
    pub(crate) fn commit(
        &self,
        tree: &str,
        commit: &str,
        seconds: i64,
        parent: Option<&State>,
    ) -> Result<String> {
        let date = format!("@{seconds} +0000");
        let mut git = Git::new(&self.git(), "commit-tree")
            .env("GIT_AUTHOR_DATE", &date)
            .env("GIT_COMMITTER_DATE", &date)
            .args([tree, "-m", &format!("{MESSAGE}{commit}")]);
        if let Some(parent) = parent {
            git = git.args(["-p", &parent.head]);
        }
        git.run()
    }

    /// Makes a commit the state, if the state still is `from`.
    pub(crate) fn advance(&self, from: Option<&State>, to: &str) -> Result<()> {
        // An empty old value says that the branch must not exist.
        let from = from.map_or("", |state| state.head.as_str());
        Git::new(&self.git(), "update-ref")
            .args([BRANCH, to, from])
            .run()?;
        Ok(())
    }

    fn git(&self) -> PathBuf {
        self.root.join("git")
    }
}

/// The state of the repository of a replica, read without entering it.
pub(crate) fn state(git: &Path) -> Result<Option<State>> {
    let exists = Git::new(git, "show-ref")
        .args(["--verify", "--quiet", BRANCH])
        .succeeds()?;
    if !exists {
        return Ok(None);
    }
    let answer = Git::new(git, "log")
        .args(["-1", "--format=%H %T %s", BRANCH])
        .run()?;
    let mut fields = answer.splitn(3, ' ');
    let state = (|| {
        Some(State {
            head: fields.next()?.to_owned(),
            tree: fields.next()?.to_owned(),
            commit: fields.next()?.strip_prefix(MESSAGE)?.to_owned(),
        })
    })();
    state.map(Some).ok_or(Error::Answer {
        command: "log".to_owned(),
        answer,
    })
}
