//! One run of a command under its supervisor.
//!
//! ```text
//! handler's future ─┬─ read: reports, checkpoint, result, end of standard error
//!                   ├─ talk: input, beats; `term` when asked to stop; `kill` after
//!                   └─ wait: exit code
//! ```
//!
//! A run that is dropped closes the supervisor's pipe, and the supervisor kills
//! the command's whole process group.

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::process::Stdio;
use std::time::Duration;

use drumline_api::view::OperationView;
use serde_json::value::RawValue;
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout};
use tokio::time::{Instant, MissedTickBehavior, sleep_until};

use super::environment::{self, CHECKPOINT_BYTES};
use super::output::{Line, read_lines, read_tail, tail_text};
use super::{Command, KILL_MARGIN};
use crate::context::Context;
use crate::handlers::supervise::Supervisor;

/// The time after the command's end in which its output may still come. A process
/// that has left its group may hold the pipe for ever.
const OUTPUT_AFTER: Duration = Duration::from_millis(500);
/// The number of beats per remaining lease. Several beats may be late before the
/// supervisor acts.
const BEATS: u32 = 8;
/// The longest time between two beats.
const BEAT_MAX: Duration = Duration::from_secs(1);

/// A started command.
pub(super) struct Process {
    child: Child,
    stdin: ChildStdin,
    stdout: ChildStdout,
    stderr: ChildStderr,
}

/// The end of a command.
pub(super) struct Exit {
    /// The exit code. `None` if the supervisor was killed.
    pub(super) code: Option<i32>,
    /// True if the command was asked to stop before it ended.
    pub(super) asked_to_stop: bool,
    /// The last line of output that was JSON and no report.
    pub(super) result: Option<String>,
    /// The end of standard error.
    pub(super) errors: String,
}

impl Process {
    /// Starts the supervisor, which starts the command once it has the input.
    pub(super) fn start(
        command: &Command,
        supervisor: &Supervisor,
        context: &Context,
    ) -> io::Result<Self> {
        let mut supervised = supervisor.command(&command.command);
        supervised
            .current_dir(&command.directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        environment::set(&mut supervised, context);
        supervised.envs(
            command
                .environment
                .iter()
                .map(|(name, value)| (name, value)),
        );
        let mut child = supervised.spawn()?;
        let (Some(stdin), Some(stdout), Some(stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(io::Error::other("a pipe is missing"));
        };
        Ok(Self {
            child,
            stdin,
            stdout,
            stderr,
        })
    }

    /// Runs the command to its end.
    pub(super) async fn run(self, command: &Command, context: &Context) -> io::Result<Exit> {
        let Self {
            mut child,
            stdin,
            stdout,
            stderr,
        } = self;
        let mut result = None;
        let mut tail = Vec::new();
        let status = {
            let mut output = pin!(async {
                let lines = read_lines(BufReader::new(stdout), |line| {
                    take_line(line, context, &mut result);
                });
                let errors = read_tail(stderr, &mut tail);
                // A broken pipe is an ended pipe.
                drop(tokio::join!(lines, errors));
            });
            let mut talk = pin!(talk(stdin, command, context));
            let mut all_read = false;
            let status = loop {
                tokio::select! {
                    status = child.wait() => break status,
                    () = &mut output, if !all_read => all_read = true,
                    never = &mut talk => match never {},
                }
            };
            if !all_read {
                drop(tokio::time::timeout(OUTPUT_AFTER, output).await);
            }
            status?
        };
        Ok(Exit {
            code: status.code(),
            asked_to_stop: context.stop_reason().is_some(),
            result,
            errors: tail_text(&tail),
        })
    }
}

fn take_line(line: &[u8], context: &Context, result: &mut Option<String>) {
    match Line::parse(line) {
        Line::Report {
            progress,
            checkpoint,
        } => {
            if let Some((percent, text)) = progress {
                context.progress(percent, &text);
            }
            if let Some(json) = checkpoint {
                take_checkpoint(json, context);
            }
        }
        Line::Result(json) => *result = Some(json).filter(|json| json != "null"),
        Line::Chatter => {}
    }
}

fn take_checkpoint(json: String, context: &Context) {
    let bytes = json.len();
    let taken = bytes <= CHECKPOINT_BYTES
        && RawValue::from_string(json).is_ok_and(|json| context.checkpoint(&*json).is_ok());
    if !taken {
        let id = context.operation().id;
        tracing::warn!(%id, bytes, "a checkpoint is too large for a command and was ignored");
    }
}

/// Talks to the supervisor: the input, beats while the lease is held, signals when
/// the handler is to stop. Never returns, because the end of a supervisor that does
/// not listen any more is noticed by its exit code.
async fn talk(stdin: ChildStdin, command: &Command, context: &Context) -> Infallible {
    if let Err(error) = try_talk(stdin, command, context).await {
        tracing::debug!(%error, "the connection to the supervisor has ended");
    }
    std::future::pending().await
}

async fn try_talk(mut stdin: ChildStdin, command: &Command, context: &Context) -> io::Result<()> {
    let input = serde_json::to_vec(&OperationView::from(context.operation()))?;
    let start = format!(
        "start {} {}\n",
        input.len(),
        context.lease_left().as_millis()
    );
    stdin.write_all(start.as_bytes()).await?;
    stdin.write_all(&input).await?;
    let every = (context.lease_left() / BEATS).clamp(Duration::from_millis(50), BEAT_MAX);
    let mut beats = tokio::time::interval(every);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut kill_at = None;
    loop {
        tokio::select! {
            _now = beats.tick() => {
                let left = context.lease_left().as_millis();
                stdin.write_all(format!("beat {left}\n").as_bytes()).await?;
            }
            _reason = context.stop_requested(), if kill_at.is_none() => {
                stdin.write_all(b"term\n").await?;
                kill_at = Some(kill_time(command.grace, context));
            }
            () = sleep_until(kill_at.unwrap_or_else(Instant::now)), if kill_at.is_some() => {
                stdin.write_all(b"kill\n").await?;
                // The pipe stays open, because the end of the pipe would say that
                // the worker is dead.
                std::future::pending::<()>().await;
            }
        }
    }
}

/// The time at which a command that was asked to stop is killed: after its grace,
/// and early enough to notice its end before the worker drops this handler.
fn kill_time(grace: Duration, context: &Context) -> Instant {
    let by_grace = Instant::now() + grace;
    context
        .stop_by()
        .and_then(|by| by.checked_sub(KILL_MARGIN))
        .map_or(by_grace, |latest| by_grace.min(latest))
}
