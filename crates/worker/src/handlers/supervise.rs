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
//! The supervisor cannot find children that have left the group, and it cannot
//! survive a `kill -9` of itself.

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Stdin};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep_until};

/// The hidden subcommand.
pub const SUBCOMMAND: &str = "__supervise";
/// The exit code if no beat has come in time: `EX_TEMPFAIL`, for a worker that is
/// alive after all.
const UNHEARD: u8 = 75;
/// The exit codes of shells for commands that cannot be started.
const NOT_FOUND: u8 = 127;
const NOT_STARTED: u8 = 126;

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
    if arguments.next()? != SUBCOMMAND {
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
    let spawned = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .process_group(0)
        .spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) => {
            let what = format!("cannot start {}", program.display());
            let code = match error.kind() {
                io::ErrorKind::NotFound => NOT_FOUND,
                _ => NOT_STARTED,
            };
            return fail(&what, &error, code);
        }
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
async fn watch(mut child: Child, mut pipe: BufReader<Stdin>, lease: Duration) -> u8 {
    let group = Pid::from_child(&child);
    let mut ended = tokio::task::spawn_blocking(move || ended(group));
    let mut lives_until = Instant::now() + lease;
    let mut unheard = false;
    let mut killed = false;
    loop {
        tokio::select! {
            _ended = &mut ended => break,
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
    }
    // The command is not reaped yet, so no other process can have the group's
    // number.
    signal_group(group, Signal::KILL);
    let status = child.wait();
    if unheard {
        return fail(
            "the command was killed",
            &"the worker does not answer",
            UNHEARD,
        );
    }
    match status {
        Ok(status) => code_of(status),
        Err(error) => fail(
            "the exit status of the command is unknown",
            &error,
            NOT_STARTED,
        ),
    }
}

/// Waits until the command has ended, without reaping it.
fn ended(pid: Pid) {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    while let Err(rustix::io::Errno::INTR) = waitid(WaitId::Pid(pid), options) {}
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
        && error != rustix::io::Errno::SRCH
    {
        fail("the command was not signalled", &error, 0);
    }
}

/// The exit code as shells report it: the code, or 128 and the signal.
fn code_of(status: ExitStatus) -> u8 {
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok())
        .unwrap_or(u8::MAX)
}

/// Prints an error and returns `code`. Standard error is the command's, and the
/// worker makes its end the operation's message.
fn fail(what: &str, why: &dyn std::fmt::Display, code: u8) -> u8 {
    drop(writeln!(io::stderr(), "{what}: {why}"));
    code
}
