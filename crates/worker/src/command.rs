//! The ready-made handler that runs a command: no Rust is needed.
//!
//! The command finds the operation as JSON on its standard input, as the API
//! shows it, and what it needs for bookkeeping in its environment. What it
//! prints are reports and, last, the result ([`output`]). It runs under a
//! [supervisor](crate::supervise), so that it ends when the worker does.
//!
//! | exit code | what becomes of the operation |
//! |---|---|
//! | 0 | Succeeded, with the last line of output that is JSON and no report |
//! | 75 (`EX_TEMPFAIL`), or listed as retry | tried again by the retry policy |
//! | 77 (`EX_NOPERM`), or listed as suspend | suspended for a person |
//! | anything else, or a signal | Failed; the end of standard error is the message |
//!
//! Asked to stop, it gets SIGTERM, and SIGKILL after the grace, each for its
//! whole process group.

mod environment;
pub mod output;
mod process;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use drumline_protocol::{ErrorCode, Fault};

use crate::context::Context;
use crate::handler::{Handler, HandlerFuture};
use crate::outcome::Outcome;
use crate::supervise::Supervisor;

use self::process::{Ended, Process};

/// `EX_TEMPFAIL`: retry later.
const RETRY: i32 = 75;
/// `EX_NOPERM`: suspend for a person.
const SUSPEND: i32 = 77;
/// What the worker adds to the grace of a command before it drops the handler:
/// SIGKILL works at once, but the end has to be seen.
pub(crate) const KILL_MARGIN: Duration = Duration::from_secs(2);

/// A command to run. See the module's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// The program and its arguments; no shell is involved. Not empty.
    pub command: Vec<String>,
    /// The folder it runs in, and from which `./program` is found.
    pub directory: PathBuf,
    /// Added to its environment.
    pub environment: Vec<(String, String)>,
    /// Exit codes that mean "try again", besides 75.
    pub retry_codes: Vec<i32>,
    /// Exit codes that mean "ask a person", besides 77.
    pub suspend_codes: Vec<i32>,
    /// How long it may take to end after SIGTERM.
    pub grace: Duration,
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
                    Ok(ended) => outcome(&command, ended),
                    Err(error) => not_run(&error),
                },
                Err(error) => not_run(&error),
            }
        })
    }
}

/// The supervisor itself could not be run: the machine is short of something.
fn not_run(error: &std::io::Error) -> Outcome {
    Outcome::Retry {
        fault: Fault::new(
            ErrorCode::HANDLER_FAILED,
            "The operation could not be started. It will be tried again.",
            &format!("the command cannot be run: {error}"),
        ),
        after: None,
    }
}

fn outcome(command: &Command, ended: Ended) -> Outcome {
    let Ended {
        code,
        asked_to_stop,
        result,
        errors,
    } = ended;
    let Some(code) = code else {
        let signal = "its supervisor was killed".to_owned();
        return Outcome::Retry {
            fault: fault(ErrorCode::HANDLER_FAILED, "was killed", signal),
            after: None,
        };
    };
    let ended = format!("ended with exit code {code}");
    match code {
        // It came to its end before it heard.
        0 => Outcome::Done(result),
        _ if asked_to_stop => Outcome::Stopped,
        _ if code == RETRY || command.retry_codes.contains(&code) => Outcome::Retry {
            fault: fault(ErrorCode::HANDLER_FAILED, &ended, errors),
            after: None,
        },
        _ if code == SUSPEND || command.suspend_codes.contains(&code) => {
            Outcome::Suspend(fault(ErrorCode::PRIVILEGE_DENIED, &ended, errors))
        }
        _ => Outcome::Fail(fault(ErrorCode::HANDLER_FAILED, &ended, errors)),
    }
}

fn fault(code: ErrorCode, ended: &str, errors: String) -> Fault {
    let message = if errors.is_empty() {
        format!("the command {ended} and wrote nothing to standard error")
    } else {
        errors
    };
    Fault::new(code, &format!("The command {ended}."), &message)
}
