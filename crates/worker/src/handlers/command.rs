//! The ready-made handler that runs a command: no Rust is needed.
//!
//! ```text
//! worker ─→ supervisor ─→ command
//!   └─ environment (id, fence, trace), standard input (the operation as JSON)
//!   ↑
//!   └─ output: reports and, last, the result; exit code; end of standard error
//! ```
//!
//! The operation on the standard input is as the API shows it. The output is
//! described in [`output`]. The command runs under a
//! [supervisor](crate::supervise), so that it ends when the worker does.
//!
//! | exit code | fate of the operation |
//! |---|---|
//! | 0 | Succeeded, with the last line of output that is JSON and no report. After SIGTERM only if that line is explicit success (`{"done": true}` or `{"result": …}`), and never after a timeout |
//! | 75 (`EX_TEMPFAIL`), or listed as retry | tried again by the retry policy |
//! | 77 (`EX_NOPERM`), or listed as suspend; the command cannot be started | suspended for a person |
//! | any other code, or a signal | Failed; the end of standard error is the message |
//!
//! A command that does not succeed may give more detail in its last line of JSON:
//! `{"error": {"code": "0x80040216", "message": …, "friendlyMessage": …}}`. The
//! texts are kept. If the exit code is of the last kind, the error code decides the
//! fate of the operation, as for handlers in Rust (see [`Disposition`]).
//!
//! A command that is asked to stop gets SIGTERM, and SIGKILL after the grace. Both
//! signals are for its whole process group.

mod environment;
pub mod output;
mod process;
pub(crate) mod program;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use drumline_protocol::{ErrorCode, Fault, OperationType};

use super::error_body::ErrorBody;
use super::outcome::{Disposition, Outcome, too_large};
use super::supervise::{self, Supervisor};
use super::{Handler, HandlerFuture};
use crate::context::Context;

pub(crate) use self::environment::{SERVER, is_never_inherited};
use self::process::{Exit, Process};

/// `EX_TEMPFAIL`: retry later.
const RETRY: i32 = 75;
/// `EX_NOPERM`: suspend for a person.
const SUSPEND: i32 = 77;
/// The message when neither the command nor its supervisor is left to say more.
const SUPERVISOR_KILLED: &str = "its supervisor was killed";
/// The margin that the worker adds to the grace of a command before it drops
/// the handler. SIGKILL works at once, but the worker has to notice the end.
pub(crate) const KILL_MARGIN: Duration = Duration::from_secs(2);

/// A command to run for each operation, with its folder, environment and exit
/// codes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// The program and its arguments. Not empty. No shell is involved.
    pub command: Vec<String>,
    /// The working directory, in which `./program` is found.
    pub directory: PathBuf,
    /// The variables of the worker that it inherits besides the usual ones; a `*` at
    /// the end stands for any rest.
    pub inherit: Vec<String>,
    /// The variables that are added to its environment.
    pub environment: Vec<(String, String)>,
    /// Exit codes that mean "try again", besides 75.
    pub retry_codes: Vec<i32>,
    /// Exit codes that mean "ask a person", besides 77.
    pub suspend_codes: Vec<i32>,
    /// The time that the command may take to end after SIGTERM.
    pub grace: Duration,
}

impl Command {
    /// The disposition that an exit code states.
    fn disposition(&self, code: i32) -> Option<Disposition> {
        if code == RETRY || self.retry_codes.contains(&code) {
            Some(Disposition::Retry)
        } else if code == SUSPEND || self.suspend_codes.contains(&code) {
            Some(Disposition::Suspend)
        } else {
            None
        }
    }
}

/// A [`Command`] as a handler.
#[derive(Clone, Debug)]
pub struct CommandHandler {
    command: Arc<Command>,
    supervisor: Supervisor,
}

impl CommandHandler {
    /// Runs the command under this supervisor.
    #[must_use]
    pub fn new(command: Command, supervisor: Supervisor) -> Self {
        Self {
            command: Arc::new(command),
            supervisor,
        }
    }
}

impl Handler for CommandHandler {
    fn run(&self, context: Context) -> HandlerFuture {
        let Self {
            command,
            supervisor,
        } = self.clone();
        Box::pin(async move {
            match Process::start(&command, &supervisor, &context) {
                Ok(process) => match process.run(&command, &context).await {
                    Ok(exit) => {
                        let rules = &context.operation().header.rules;
                        outcome(&command, exit, rules.operation_type)
                    }
                    Err(error) => not_run(&error),
                },
                Err(error) => not_run(&error),
            }
        })
    }
}

/// The outcome if not even the supervisor can be run: the machine lacks some
/// resource.
fn not_run(error: &std::io::Error) -> Outcome {
    let fault = Fault::new(
        ErrorCode::HANDLER_FAILED,
        "The operation could not be started.",
        &format!("the command cannot be run: {error}"),
    );
    Disposition::Retry.outcome(fault, None)
}

fn outcome(command: &Command, exit: Exit, operation_type: OperationType) -> Outcome {
    let Exit {
        code,
        asked_to_stop,
        said,
        errors,
    } = exit;
    let Some(code) = code else {
        let fault = fault(ErrorCode::HANDLER_FAILED, "was killed", SUPERVISOR_KILLED);
        return Disposition::Retry.outcome(fault, None);
    };
    if asked_to_stop && (code != 0 || !said.done) {
        // A command that cleans up and exits with 0 has not done its work. The one
        // that has done it before the signal came says so.
        return Outcome::Stopped;
    }
    if code == 0 {
        return match said.too_long {
            Some(line) => Outcome::Fail(too_large(line.bytes)),
            None => Outcome::Done(said.result),
        };
    }
    if supervise::is_not_started(code, &errors) {
        // Another operation would not be started either, and a later try of this one
        // may be.
        let fault = Fault::new(
            ErrorCode::HANDLER_FAILED,
            "The command of this operation cannot be started. A person has to look at it.",
            &errors,
        );
        return Disposition::Suspend.outcome(fault, None);
    }
    let outright = command.disposition(code);
    let by_exit = match outright {
        Some(Disposition::Suspend) => ErrorCode::PRIVILEGE_DENIED,
        Some(Disposition::Retry | Disposition::Fail) | None => ErrorCode::HANDLER_FAILED,
    };
    let error_body = match &said.too_long {
        Some(line) => ErrorBody::of(&line.start),
        None => said
            .result
            .as_deref()
            .map(ErrorBody::of)
            .unwrap_or_default(),
    };
    let plain = fault(by_exit, &ended(code), &errors);
    let fault = error_body.fault(plain.code, &plain.friendly_message, &plain.message);
    let disposition = outright.unwrap_or_else(|| Disposition::of(fault.code, operation_type));
    disposition.outcome(fault, None)
}

/// The end in words. A signal comes as 128 and its number, as from a shell.
fn ended(code: i32) -> String {
    let signal = code
        .checked_sub(128)
        .and_then(rustix::process::Signal::from_named_raw);
    match signal {
        Some(signal) => format!("was killed by signal {}", signal.as_raw()),
        None => format!("ended with exit code {code}"),
    }
}

fn fault(code: ErrorCode, ended: &str, errors: &str) -> Fault {
    let friendly = format!("The command {ended}.");
    if errors.is_empty() {
        let message = format!("the command {ended} and wrote nothing to standard error");
        return Fault::new(code, &friendly, &message);
    }
    Fault::new(code, &friendly, errors)
}
