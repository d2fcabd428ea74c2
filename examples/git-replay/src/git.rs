//! Runs git, the same git everywhere: no settings of the user, of the machine
//! or of the surrounding repository reach it.

use std::ffi::OsStr;
use std::fs::File;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use crate::error::{Error, Result};

/// The variables that name the repository of git. They are set when this program
/// runs from a git hook, and then not meant for us.
const INHERITED: [&str; 7] = [
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_NAMESPACE",
];
/// The author of the replica's commits: fixed, so that the same commit made
/// twice is the same object.
const AUTHOR: [(&str, &str); 4] = [
    ("GIT_AUTHOR_NAME", "git-replay"),
    ("GIT_AUTHOR_EMAIL", "git-replay@localhost"),
    ("GIT_COMMITTER_NAME", "git-replay"),
    ("GIT_COMMITTER_EMAIL", "git-replay@localhost"),
];

/// One git command in one repository.
pub(crate) struct Git {
    name: String,
    command: Command,
}

impl Git {
    /// `git -C dir name`.
    pub(crate) fn new(dir: &Path, name: &str) -> Self {
        let mut command = Command::new("git");
        for variable in INHERITED {
            command.env_remove(variable);
        }
        command
            .envs(AUTHOR)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_NO_REPLACE_OBJECTS", "1")
            .env("GIT_OPTIONAL_LOCKS", "0")
            .env("LC_ALL", "C")
            .arg("-C")
            .arg(dir)
            // We read, as ourselves, what the user pointed us at.
            .args(["-c", "safe.directory=*", name])
            .stdin(Stdio::null());
        Self {
            name: name.to_owned(),
            command,
        }
    }

    /// Adds arguments.
    pub(crate) fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.command.args(args);
        self
    }

    /// Sets a variable of the environment.
    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Gives it a file to read.
    pub(crate) fn input(mut self, path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(Error::io("cannot open", path))?;
        self.command.stdin(file);
        Ok(self)
    }

    /// Runs it; its output without the last line end. What it complains about
    /// goes to our own stderr.
    pub(crate) fn run(mut self) -> Result<String> {
        let output = self
            .command
            .stderr(Stdio::inherit())
            .output()
            .map_err(Error::io("cannot run", "git".as_ref()))?;
        self.succeeded(output.status)?;
        let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.truncate(text.trim_end_matches('\n').len());
        Ok(text)
    }

    /// Runs it with its output piped into another git command.
    pub(crate) fn pipe(mut self, mut into: Self) -> Result<()> {
        let cannot = || Error::io("cannot run", "git".as_ref());
        let mut first = self
            .command
            .stdout(Stdio::piped())
            .spawn()
            .map_err(cannot())?;
        let piped = first.stdout.take().map_or_else(Stdio::null, Stdio::from);
        let second = into.command.stdin(piped).status();
        // Waited for whatever became of the second: no zombie stays behind.
        let first = first.wait().map_err(cannot())?;
        into.succeeded(second.map_err(cannot())?)?;
        self.succeeded(first)
    }

    /// Returns true if it succeeds; silent.
    pub(crate) fn succeeds(mut self) -> Result<bool> {
        self.command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .map(|status| status.success())
            .map_err(Error::io("cannot run", "git".as_ref()))
    }

    fn succeeded(&self, status: ExitStatus) -> Result<()> {
        if status.success() {
            return Ok(());
        }
        Err(Error::Git {
            command: self.name.clone(),
            status,
        })
    }
}
