//! The supervisor: a small process between the worker and a command.
//!
//! ```text
//! worker ── stdin: start, beat, term, kill ──→ supervisor ── stdin ──→ command
//!   ↑                                          (own group)           (own group)
//!   └────────────────── stdout, stderr ─────────────────────────────────┘
//! ```
//!
//! A command must not outlive the worker's hold on the operation. A worker that is
//! killed closes the pipe, and a worker that is stopped (SIGSTOP) sends no beat. In
//! both cases the supervisor kills the command's whole process group. The
//! supervisor is the same program started a second time, under a hidden subcommand,
//! so that there is nothing more to install.
//!
//! | line in the pipe | effect |
//! |---|---|
//! | `start BYTES MS`, then the bytes | starts the command with this input, for so many milliseconds |
//! | `beat MS` | lets the command live for so many milliseconds from now |
//! | `term`, `kill` | signals the group |
//!
//! Standard output and error are inherited and not touched.
//!
//! On Linux the supervisor kills all descendants of the command, whatever their
//! process group, because it is the parent of those whose own parent has ended
//! (`descendants`). The kernel kills the command if the supervisor is killed
//! (`shim`), and the worker then looks for what the command has started. Other
//! systems have the process group alone.

#[cfg(target_os = "linux")]
mod descendants;
#[cfg(target_os = "linux")]
mod shim;

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitCode, Stdio};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, WaitOptions, WaitStatus, kill_process_group, waitid,
};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Stdin};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep, sleep_until};

#[cfg(target_os = "linux")]
pub(crate) use self::descendants::Marks;

/// The hidden subcommand.
pub const SUBCOMMAND: &str = "__supervise";
/// The exit code if no beat has come in time: `EX_TEMPFAIL`, for a worker that is
/// alive after all.
const UNHEARD: u8 = 75;
/// The exit codes of shells for commands that cannot be started.
const NOT_FOUND: u8 = 127;
const NOT_STARTED: u8 = 126;
/// The start of the line that says that the command was not started.
const CANNOT_START: &str = "drumline: cannot start ";
/// The longest pause between two looks for processes that have been killed.
const PAUSE_MAX: Duration = Duration::from_millis(50);

/// The program and the way in which the worker starts supervisors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Supervisor {
    program: PathBuf,
}

impl Supervisor {
    /// The running program, whose `main` calls [`run_if_asked`] before
    /// anything else.
    ///
    /// # Errors
    /// When the system does not tell the path of the program.
    pub fn this_program() -> io::Result<Self> {
        // The running program even after its file was replaced by an upgrade.
        let running = Path::new("/proc/self/exe");
        let program = if running.exists() {
            running.to_owned()
        } else {
            std::env::current_exe()?
        };
        Ok(Self { program })
    }

    /// Another program that calls [`run_if_asked`], such as `drumline-supervise`.
    #[must_use]
    pub fn at(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
        }
    }

    /// The command that runs `command` under supervision.
    pub(crate) fn command(&self, command: &[String]) -> tokio::process::Command {
        let mut supervised = tokio::process::Command::new(&self.program);
        supervised
            .arg(SUBCOMMAND)
            .args(command)
            // A signal from a terminal is for the worker alone.
            .process_group(0);
        supervised
    }
}

/// Acts as a supervisor if the program was started as a supervisor, and returns the
/// code to exit with. `arguments` are the program's, its name first.
///
/// ```no_run
/// # use std::process::ExitCode;
/// fn main() -> ExitCode {
///     if let Some(code) = drumline_worker::supervise::run_if_asked(std::env::args_os()) {
///         return code;
///     }
///     // …
///     ExitCode::SUCCESS
/// }
/// ```
#[must_use]
pub fn run_if_asked(arguments: impl IntoIterator<Item = OsString>) -> Option<ExitCode> {
    let mut arguments = arguments.into_iter().skip(1);
    let subcommand = arguments.next()?;
    #[cfg(target_os = "linux")]
    if subcommand == shim::SUBCOMMAND {
        return Some(ExitCode::from(shim::run(arguments)));
    }
    if subcommand != SUBCOMMAND {
        return None;
    }
    let command: Vec<_> = arguments.collect();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let code = match runtime {
        Ok(runtime) => {
            let code = runtime.block_on(supervise(&command));
            // A thread may still read from the pipe. Nothing waits for that thread.
            runtime.shutdown_background();
            code
        }
        Err(error) => fail("supervision failed", &error, NOT_STARTED),
    };
    Some(ExitCode::from(code))
}

/// A message of the worker.
enum Message {
    Beat(Duration),
    Term,
    Kill,
}

async fn supervise(command: &[OsString]) -> u8 {
    let mut pipe = BufReader::new(tokio::io::stdin());
    let started = async {
        ignore_signals()?;
        start(&mut pipe).await
    };
    let (input, lease) = match started.await {
        Ok(started) => started,
        Err(error) => return fail("nothing to supervise", &error, NOT_STARTED),
    };
    let [program, arguments @ ..] = command else {
        return fail("nothing to supervise", &"no command", NOT_STARTED);
    };
    #[cfg(target_os = "linux")]
    descendants::adopt_orphans();
    #[cfg(target_os = "linux")]
    let mut command = shim::command(program, arguments);
    #[cfg(not(target_os = "linux"))]
    let mut command = std::process::Command::new(program);
    #[cfg(not(target_os = "linux"))]
    command.args(arguments);
    // The thread that starts the command is the one whose end would end it: this
    // runtime has one thread, and that thread is the process's first.
    let spawned = command.stdin(Stdio::piped()).process_group(0).spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) => return cannot_start(program, &error),
    };
    feed(&mut child, input);
    watch(child, pipe, lease).await
}

/// Ignores the signals of a service manager, which may signal every process of a
/// service. The supervisor must not end before its command.
fn ignore_signals() -> io::Result<()> {
    for kind in [
        SignalKind::terminate(),
        SignalKind::interrupt(),
        SignalKind::hangup(),
    ] {
        // The signal handler stays installed. The command starts without it.
        drop(signal(kind)?);
    }
    Ok(())
}

/// Reads `start BYTES MS` and the bytes.
async fn start(pipe: &mut BufReader<Stdin>) -> io::Result<(Vec<u8>, Duration)> {
    let unexpected = || io::Error::from(io::ErrorKind::InvalidData);
    let mut line = String::new();
    pipe.read_line(&mut line).await?;
    let mut words = line.split_whitespace();
    let (Some("start"), Some(bytes), Some(lease)) = (words.next(), words.next(), words.next())
    else {
        return Err(unexpected());
    };
    let bytes = bytes.parse().map_err(|_not_a_number| unexpected())?;
    let lease = lease.parse().map_err(|_not_a_number| unexpected())?;
    let mut input = vec![0; bytes];
    pipe.read_exact(&mut input).await?;
    Ok((input, Duration::from_millis(lease)))
}

/// Writes the command's input, on a thread, because the command may not read it.
fn feed(child: &mut Child, input: Vec<u8>) {
    if let Some(mut stdin) = child.stdin.take() {
        drop(tokio::task::spawn_blocking(move || {
            // A command need not read its input.
            drop(stdin.write_all(&input));
        }));
    }
}

/// Waits for the end of the command, or kills the command.
async fn watch(child: Child, mut pipe: BufReader<Stdin>, lease: Duration) -> u8 {
    let group = Pid::from_child(&child);
    let mut ended = tokio::task::spawn_blocking(move || ended(group));
    let mut lives_until = Instant::now() + lease;
    let mut unheard = false;
    let mut killed = false;
    let status = loop {
        tokio::select! {
            status = &mut ended => break status.unwrap_or_default(),
            message = next_message(&mut pipe), if !killed => match message {
                Some(Message::Beat(more)) => lives_until = Instant::now() + more,
                Some(Message::Term) => signal_group(group, Signal::TERM),
                Some(Message::Kill) | None => killed = true,
            },
            () = sleep_until(lives_until), if !killed => {
                unheard = true;
                killed = true;
            },
        }
        if killed {
            signal_group(group, Signal::KILL);
        }
    };
    let status = end(group, status).await;
    if unheard {
        return fail(
            "the command was killed",
            &"the worker does not answer",
            UNHEARD,
        );
    }
    match status {
        Some(status) => code_of(status),
        None => fail(
            "the exit status of the command is unknown",
            &"it was not noticed",
            NOT_STARTED,
        ),
    }
}

/// Waits until the command has ended, without reaping it. Reaps the processes whose
/// parent has ended before the command. Returns the status of a command that was
/// reaped among these.
fn ended(command: Pid) -> Option<WaitStatus> {
    let exited = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    loop {
        match waitid(WaitId::All, exited) {
            Ok(_) => {}
            Err(Errno::INTR) => continue,
            Err(_no_child) => return None,
        }
        match waitid(WaitId::Pid(command), exited | WaitIdOptions::NOHANG) {
            Ok(None) => {}
            Ok(Some(_)) | Err(_) => return None,
        }
        if let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG)
            && pid == command
        {
            return Some(status);
        }
    }
}

/// Kills all that the command has left, and waits for its end. Returns the status of
/// the command.
async fn end(command: Pid, mut status: Option<WaitStatus>) -> Option<WaitStatus> {
    // The command is not reaped yet, so no other process can have the group's
    // number.
    signal_group(command, Signal::KILL);
    let mut pause = Duration::from_millis(1);
    loop {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some((pid, ended))) if pid == command => status = Some(ended),
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Ok(None) => {
                if !kill_descendants() {
                    return status;
                }
                sleep(pause).await;
                pause = PAUSE_MAX.min(pause * 2);
            }
            // No child is left. On Linux that means no descendant, either.
            Err(_no_child) => return status,
        }
    }
}

/// Kills what the command has started. Returns true if at least one process is still
/// about to end.
#[cfg(target_os = "linux")]
fn kill_descendants() -> bool {
    descendants::kill_all()
}

/// The process group was signalled, and other processes cannot be found.
#[cfg(not(target_os = "linux"))]
fn kill_descendants() -> bool {
    false
}

/// Reads the next message. `None` if the worker has closed the pipe. Lines are
/// short, so a dropped future loses at worst one beat.
async fn next_message(pipe: &mut BufReader<Stdin>) -> Option<Message> {
    loop {
        let mut line = String::new();
        if pipe.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        let mut words = line.split_whitespace();
        match (words.next(), words.next()) {
            (Some("beat"), Some(ms)) => {
                if let Ok(ms) = ms.parse() {
                    return Some(Message::Beat(Duration::from_millis(ms)));
                }
            }
            (Some("term"), _) => return Some(Message::Term),
            (Some("kill"), _) => return Some(Message::Kill),
            _ => {}
        }
    }
}

/// Signals every process of the group. A group without processes is fine.
fn signal_group(group: Pid, signal: Signal) {
    if let Err(error) = kill_process_group(group, signal)
        && error != Errno::SRCH
    {
        fail("the command was not signalled", &error, 0);
    }
}

/// The exit code as shells report it: the code, or 128 and the signal.
fn code_of(status: WaitStatus) -> u8 {
    let signal = status.terminating_signal().map(|signal| 128 + signal);
    let code = status.exit_status().or(signal);
    code.and_then(|code| u8::try_from(code).ok())
        .unwrap_or(u8::MAX)
}

/// Returns true if the end of a supervisor says that the command was not started.
pub(crate) fn is_not_started(code: i32, errors: &str) -> bool {
    let codes = [NOT_FOUND, NOT_STARTED].map(i32::from);
    let last = errors.lines().last().unwrap_or_default();
    codes.contains(&code) && last.starts_with(CANNOT_START)
}

/// Reports that the program was not started, with the exit code of shells for that.
fn cannot_start(program: &OsStr, error: &io::Error) -> u8 {
    let what = format!("{CANNOT_START}{}", program.display());
    let code = match error.kind() {
        io::ErrorKind::NotFound => NOT_FOUND,
        _ => NOT_STARTED,
    };
    fail(&what, error, code)
}

/// Prints an error and returns `code`. Standard error is the command's, and the
/// worker makes its end the operation's message.
fn fail(what: &str, why: &dyn std::fmt::Display, code: u8) -> u8 {
    drop(writeln!(io::stderr(), "{what}: {why}"));
    code
}
