//! Running the program, and a `drumline dev` to talk to.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Error, ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// The program with no settings from outside, in an empty folder.
pub(crate) fn drumline() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_drumline"));
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("DRUMLINE_") || name.starts_with("OTEL_") || name == "TRACEPARENT" {
            command.env_remove(name);
        }
    }
    // A load balancer is in no test but the one that asks for it.
    command.env("DRUMLINE_DRAIN_DELAY", "0s");
    command.current_dir(folder());
    command
}

/// A new, empty folder. One of a process that had the same id before may be there, and the
/// program would take its settings.
pub(crate) fn folder() -> PathBuf {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    loop {
        let name = format!(
            "cli-{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let made = fs::create_dir(&path);
        let is_old = |error: &Error| error.kind() == ErrorKind::AlreadyExists;
        if !made.as_ref().is_err_and(is_old) {
            made.expect("a folder for tests");
            return path;
        }
    }
}

/// A file with this content in a folder of its own.
pub(crate) fn file(name: &str, content: &str) -> PathBuf {
    let path = folder().join(name);
    fs::write(&path, content).expect("a file for tests");
    path
}

/// The end of a run.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The exit code.
    pub(crate) code: i32,
    /// Standard output.
    pub(crate) out: String,
    /// Standard error.
    pub(crate) err: String,
}

impl Ended {
    fn of(output: Output) -> Self {
        Self {
            code: output.status.code().expect("it was not killed"),
            out: String::from_utf8(output.stdout).expect("text"),
            err: String::from_utf8(output.stderr).expect("text"),
        }
    }

    /// The lines of standard output as JSON.
    pub(crate) fn json(&self) -> Vec<Value> {
        self.out
            .lines()
            .map(|line| serde_json::from_str(line).expect("each line is JSON"))
            .collect()
    }
}

/// Runs a command to its end.
pub(crate) fn end(command: &mut Command) -> Ended {
    Ended::of(
        command
            .stdin(Stdio::null())
            .output()
            .expect("the program starts"),
    )
}

/// Runs a command to its end, with this on standard input.
pub(crate) fn end_with_input(command: &mut Command, input: &str) -> Ended {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut stdin = child.stdin.take().expect("standard input");
    stdin.write_all(input.as_bytes()).expect("it reads");
    drop(stdin);
    Ended::of(child.wait_with_output().expect("it ends"))
}

/// A process that stays; killed when it is dropped.
pub(crate) struct Process {
    child: Child,
    /// The line that it printed when it was ready.
    ready: String,
}

impl Process {
    /// Starts a command, and waits until it is ready.
    pub(crate) fn start(command: &mut Command) -> Self {
        let log = folder().join("stderr");
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&log).expect("a file for tests"))
            .spawn()
            .expect("the program starts");
        let out = child.stdout.take().expect("standard output");
        let mut ready = String::new();
        BufReader::new(out)
            .read_line(&mut ready)
            .expect("it says something");
        let is_ready = ready.starts_with("ready");
        if !is_ready {
            drop(child.kill());
            drop(child.wait());
        }
        let told = fs::read_to_string(&log).unwrap_or_default();
        assert!(is_ready, "it says {ready:?} instead of ready: {told}");
        Self { child, ready }
    }

    /// The address that it listens on.
    pub(crate) fn url(&self) -> String {
        let url = self.ready.trim().strip_prefix("ready ");
        url.expect("it listens somewhere").to_owned()
    }

    /// Its id at the operating system.
    #[cfg(target_os = "linux")]
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to end.
    pub(crate) fn signal_to_end(&self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("it is there");
    }

    /// Asks it to end, and gives its exit code.
    pub(crate) fn terminate(self) -> i32 {
        self.signal_to_end();
        self.wait()
    }

    /// Waits until it ends by itself, and gives its exit code.
    pub(crate) fn wait(mut self) -> i32 {
        let status = self.child.wait().expect("it ends");
        status.code().expect("it was not killed")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The child may have ended already, which is fine.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A text member of a JSON object.
pub(crate) fn text(value: &Value, name: &str) -> String {
    let text = value[name].as_str();
    assert!(text.is_some(), "{name} is no text in {value}");
    text.unwrap_or_default().to_owned()
}
