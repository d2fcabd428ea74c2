//! One run of a command under its supervisor.
//!
//! ```text
//! handler's future ─┬─ read: reports, checkpoint, result, end of standard error
//!                   ├─ talk: input, beats; `term` when asked to stop; `kill` after
//!                   └─ wait: exit code
//! ```
//!
//! A run that is dropped closes the supervisor's pipe, and the supervisor kills
//! the command and what it has started. If the supervisor itself was killed, the run
//! does not end before the worker has killed what is left.

use std::borrow::Cow;
use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use drumline_protocol::output::OTHER_BYTES;
use serde_json::value::RawValue;
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout};
use tokio::time::{Instant, MissedTickBehavior, sleep_until};

use super::environment;
use super::output::{Line, Read, read_lines, read_tail, tail_text};
use super::{Command, KILL_MARGIN};
use crate::context::Context;
use crate::handlers::input;
use crate::handlers::supervise::Supervisor;
use crate::later::later;

/// The time after the command's end in which its output may still come. A process
/// that has left its group may hold the pipe for ever.
const OUTPUT_AFTER: Duration = Duration::from_millis(500);
/// The number of beats per remaining lease. Several beats may be late before the
/// supervisor acts.
const BEATS: u32 = 8;
/// The longest pause between two looks for processes whose supervisor was killed.
#[cfg(target_os = "linux")]
const ORPHANS_PAUSE_MAX: Duration = Duration::from_millis(50);
/// The bytes of a long line that the output shows.
const SHOWN_BYTES: usize = 1 << 10;
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
    /// The end that its lines of JSON have announced.
    pub(super) said: Said,
    /// The end of standard error.
    pub(super) errors: String,
}

/// The end that a command's lines have announced: the last one that is JSON and no
/// report counts.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    /// The result, as JSON text.
    pub(super) result: Option<String>,
    /// True if the last line is explicit success.
    pub(super) done: bool,
    /// The last line, if it was too long to be kept.
    pub(super) too_long: Option<TooLong>,
    /// The line of the result, as it stands in the output meanwhile.
    printed: Option<Vec<u8>>,
}

/// A line that was longer than a result may be.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLong {
    /// The length of the line.
    pub(super) bytes: usize,
    /// Its start.
    pub(super) start: String,
}

impl Said {
    fn take(&mut self, read: Read<'_>, context: &Context) {
        let line = match read {
            Read::Line(line) => Line::parse(line),
            Read::TooLong { start, bytes, last } => {
                return self.take_too_long(start, bytes, last, context);
            }
        };
        match line {
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
            Line::Result(json) => {
                // A line of a structured log, unless it turns out to be the last one.
                let line = shown(&json, json.len()).into_owned().into_bytes();
                context.printed().add_line(&line);
                *self = Self {
                    printed: Some(line),
                    result: Some(json).filter(|json| json != "null"),
                    ..Self::default()
                };
            }
            // Without a result of its own it confirms the one before.
            Line::Done(json) => {
                if json.is_none() {
                    self.take_back(context);
                }
                let result = json.or_else(|| self.result.take());
                *self = Self {
                    result: result.filter(|json| json != "null"),
                    done: true,
                    ..Self::default()
                };
            }
            Line::BadProgress => {
                let id = context.operation().id;
                tracing::warn!(%id, "a progress that is not between 0 and 100 was ignored");
            }
            Line::Chatter => {
                if let Read::Line(line) = read {
                    context.printed().add_line(line);
                }
            }
        }
    }

    /// Takes the result back from the output: it is stored as the result.
    fn take_back(&mut self, context: &Context) {
        if let Some(line) = self.printed.take() {
            context.printed().take_back(&line);
        }
    }

    /// Takes a line for JSON if it begins and ends like JSON.
    fn take_too_long(&mut self, start: &[u8], bytes: usize, last: u8, context: &Context) {
        let text = String::from_utf8_lossy(start);
        let text = text.trim_start();
        let opened = text.bytes().next();
        if !matches!(
            (opened, last),
            (Some(b'{'), b'}') | (Some(b'['), b']') | (Some(b'"'), b'"')
        ) {
            context.printed().add_line(shown(text, bytes).as_bytes());
            return;
        }
        let member = text.trim_start_matches(|c: char| c == '{' || c.is_whitespace());
        if member.starts_with("\"checkpoint\"") || member.starts_with("\"progress\"") {
            let id = context.operation().id;
            tracing::warn!(%id, bytes, "a report is too large and was ignored");
            let line = format!("a report of {bytes} bytes is too large and was ignored");
            context.printed().add_line(line.as_bytes());
            return;
        }
        // If another result follows, the output shows that this one was there.
        context.printed().add_line(shown(text, bytes).as_bytes());
        *self = Self {
            too_long: Some(TooLong {
                bytes,
                start: text.to_owned(),
            }),
            ..Self::default()
        };
    }
}

/// A line as the output shows it: the start of one that would leave no room for others.
fn shown(line: &str, bytes: usize) -> Cow<'_, str> {
    if bytes <= OTHER_BYTES {
        return Cow::Borrowed(line);
    }
    let start = line.get(..line.floor_char_boundary(SHOWN_BYTES));
    Cow::Owned(format!("{} … ({bytes} bytes)", start.unwrap_or(line)))
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
        environment::set(&mut supervised, &command.inherit, context);
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
        let mut said = Said::default();
        let asked_to_stop = AtomicBool::new(false);
        let mut tail = Vec::new();
        let status = {
            let mut output = pin!(async {
                let lines = read_lines(BufReader::new(stdout), |read| said.take(read, context));
                let errors = read_tail(stderr, &mut tail, |read| context.printed().add(read));
                // A broken pipe is an ended pipe.
                drop(tokio::join!(lines, errors));
            });
            let mut talk = pin!(talk(stdin, command, context, &asked_to_stop));
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
        let asked_to_stop = asked_to_stop.into_inner();
        if status.code() == Some(0) && (said.done || !asked_to_stop) {
            said.take_back(context);
        }
        if status.code().is_none() {
            end_orphans(context).await;
        }
        Ok(Exit {
            code: status.code(),
            asked_to_stop,
            said,
            errors: tail_text(&tail),
        })
    }
}

/// Kills what the command has left running after its supervisor was killed, and waits
/// until it has ended: the next holder of the operation must not start beside it.
#[cfg(target_os = "linux")]
async fn end_orphans(context: &Context) {
    let marks = environment::marks(context);
    let id = context.operation().id;
    let mut pause = Duration::from_millis(1);
    let mut looks = 0_u32;
    loop {
        let marks = marks.clone();
        let left = tokio::task::spawn_blocking(move || marks.kill_marked()).await;
        // An error says that the runtime ends, and this run with it.
        match left {
            Ok(0) | Err(_) => return,
            Ok(left) => {
                if looks == 100 {
                    tracing::warn!(%id, left, "processes of a command do not end after SIGKILL");
                }
                looks = looks.saturating_add(1);
            }
        }
        tokio::time::sleep(pause).await;
        pause = ORPHANS_PAUSE_MAX.min(pause * 2);
    }
}

/// The process group cannot be named without its supervisor.
#[cfg(not(target_os = "linux"))]
async fn end_orphans(_context: &Context) {}

fn take_checkpoint(json: String, context: &Context) {
    let bytes = json.len();
    let taken = RawValue::from_string(json).is_ok_and(|json| context.checkpoint(&*json).is_ok());
    if !taken {
        let id = context.operation().id;
        tracing::warn!(%id, bytes, "a checkpoint is too large and was ignored");
    }
}

/// Talks to the supervisor: the input, beats while the lease is held, signals when
/// the handler is to stop. Never returns, because the end of a supervisor that does
/// not listen any more is noticed by its exit code.
async fn talk(
    stdin: ChildStdin,
    command: &Command,
    context: &Context,
    asked_to_stop: &AtomicBool,
) -> Infallible {
    if let Err(error) = try_talk(stdin, command, context, asked_to_stop).await {
        tracing::debug!(%error, "the connection to the supervisor has ended");
    }
    std::future::pending().await
}

async fn try_talk(
    mut stdin: ChildStdin,
    command: &Command,
    context: &Context,
    asked_to_stop: &AtomicBool,
) -> io::Result<()> {
    let input = input::of(context)?;
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
                // Set before the command can know it.
                asked_to_stop.store(true, Ordering::Release);
                stdin.write_all(b"term\n").await?;
                // The handler is polled before the limit of this stop is set.
                tokio::task::yield_now().await;
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
    let by_grace = later(Instant::now(), grace);
    context
        .stop_by()
        .and_then(|by| by.checked_sub(KILL_MARGIN))
        .map_or(by_grace, |latest| by_grace.min(latest))
}
