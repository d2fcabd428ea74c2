//! Cleans up after a test process that could not clean up itself.
//!
//! A shell reads process groups from a pipe, line by line; the last line
//! counts. The pipe closes when its owner drops it or dies, and then the shell
//! kills those groups and removes the directory. (`PR_SET_PDEATHSIG` would not
//! do: it fires when the *thread* that started the server ends, and test
//! threads do.)

use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::Context as _;

const SCRIPT: &str = r#"
groups=""
while read -r line; do groups=$line; done
for group in $groups; do kill -s KILL -- "-$group" 2>/dev/null; done
rm -rf -- "$1" 2>/dev/null || { sleep 1; rm -rf -- "$1"; }
"#;

/// One shell that watches over one server's processes and directory.
#[derive(Debug)]
pub(crate) struct Reaper {
    shell: Child,
}

impl Reaper {
    /// Starts to watch over `directory`; no processes yet.
    pub(crate) fn start(directory: &Path) -> anyhow::Result<Self> {
        let shell = Command::new("/bin/sh")
            .args(["-c", SCRIPT, "drumline-test-reaper"])
            .arg(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // A group of its own: a test runner kills the test's whole group.
            .process_group(0)
            .spawn()
            .context("cannot start /bin/sh")?;
        Ok(Self { shell })
    }

    /// Kills these process groups, and no others, from now on.
    pub(crate) fn watch(&mut self, groups: &[u32]) -> anyhow::Result<()> {
        let line: Vec<String> = groups.iter().map(u32::to_string).collect();
        let pipe = self
            .shell
            .stdin
            .as_mut()
            .context("the reaper's pipe is gone")?;
        writeln!(pipe, "{}", line.join(" ")).context("the reaper is gone")
    }
}

impl Drop for Reaper {
    /// Lets the shell clean up, and waits for it.
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        drop(self.shell.wait());
    }
}
