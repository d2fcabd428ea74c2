//! The handler of a drill: it takes time, writes to the sink at its start and at its end, and
//! writes down what it does. The process beside it gives signs of life.
//!
//! A handler that is asked to stop writes once more before it does, and so does one that is
//! dropped. One that has lost its lock is then refused by the sink, which is what fences are
//! for.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Result;
use drumline_oracle::journal::{ALIVE_INTERVAL, Alive, Entry, Event, Journal, Line, now_ns};
use drumline_worker::{Context, ErrorCode, HandlerError};
use serde::{Deserialize, Serialize};

use crate::sink::{self, SinkConnection, Wish};

/// The time between two looks at the file that lets a held step go.
const LOOK: Duration = Duration::from_millis(100);

/// The payload of a step.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Step {
    /// Its token, as a number.
    pub token: usize,
    /// Its place in the token.
    pub index: usize,
    /// The time that it takes.
    pub ms: u64,
    /// The number of attempts that fail before one succeeds.
    #[serde(default)]
    pub retries: u32,
    /// True if it goes on until it is let go.
    #[serde(default)]
    pub held: bool,
}

/// The result of a step: the fence of the run, so that the accepted outcome can be told from
/// others.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Done {
    /// The fence.
    pub fence: u64,
}

/// The settings of a recorder.
#[derive(Clone, Debug)]
pub struct Options {
    /// The journal to append to.
    pub journal: PathBuf,
    /// The sink; `None`: handlers write to none.
    pub sink: Option<SocketAddr>,
}

/// Writes down what the handlers of a process do. Dropping it ends the signs of life.
#[derive(Debug)]
pub struct Recorder {
    journal: Journal,
    sink: Option<SocketAddr>,
    released: PathBuf,
    // Dropped before the thread is waited for.
    end: Option<Sender<()>>,
    alive: Option<JoinHandle<()>>,
}

/// The file beside a journal that lets held steps go.
#[must_use]
pub fn release_file(journal: &Path) -> PathBuf {
    journal.with_file_name("released")
}

impl Recorder {
    /// Opens the journal, and gives signs of life from now on.
    ///
    /// # Errors
    /// When the journal cannot be opened, or a thread cannot be started.
    pub fn start(options: &Options) -> Result<Arc<Self>> {
        let journal = Journal::open(&options.journal)?;
        let (end, ended) = channel::<()>();
        // A thread of its own: a busy runtime is no process that stands still.
        let alive = std::thread::Builder::new().name("alive".to_owned());
        let alive = alive.spawn(move || {
            let pid = std::process::id();
            loop {
                let at_ns = now_ns();
                // A full disk ends the signs of life, and the runs fail, too.
                if journal.append(&Line::Alive(Alive { pid, at_ns })).is_err() {
                    return;
                }
                match ended.recv_timeout(ALIVE_INTERVAL) {
                    Err(RecvTimeoutError::Timeout) => {}
                    Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        })?;
        Ok(Arc::new(Self {
            journal: Journal::open(&options.journal)?,
            sink: options.sink,
            released: release_file(&options.journal),
            end: Some(end),
            alive: Some(alive),
        }))
    }

    /// Runs a step.
    ///
    /// # Errors
    /// When it is asked to stop, is to fail, or the sink has seen a greater fence.
    pub async fn step(self: Arc<Self>, step: Step, context: Context) -> Result<Done, HandlerError> {
        let entry = Entry {
            event: Event::Start,
            id: context.operation().id.to_string(),
            token: step.token,
            index: step.index,
            pid: std::process::id(),
            fence: context.fence().0,
            attempt: context.attempt(),
            trace: trace_id(&context.trace().traceparent),
            at_ns: now_ns(),
        };
        let resource = match context.dependency_token() {
            Some(token) => format!("token {token}"),
            None => entry.id.clone(),
        };
        let mut run = Run::begin(Arc::clone(&self), entry, resource).map_err(failed)?;
        let mut sink = match self.sink {
            Some(address) => Some(SinkConnection::open(address).await.map_err(failed)?),
            None => None,
        };
        run.write(&mut sink).await?;
        let stopped = tokio::select! {
            () = self.work(&step) => false,
            _why = context.stop_requested() => true,
        };
        run.write(&mut sink).await?;
        run.has_written_last = true;
        if stopped {
            return Err(HandlerError::stopped());
        }
        if context.operation().header.retry_count < step.retries {
            let text = "as it was told to";
            return Err(HandlerError::new(ErrorCode::SERVER_BUSY, text));
        }
        run.note(Event::Report).map_err(failed)?;
        Ok(Done {
            fence: run.entry.fence,
        })
    }

    async fn work(&self, step: &Step) {
        tokio::time::sleep(Duration::from_millis(step.ms)).await;
        while step.held && !self.released.exists() {
            tokio::time::sleep(LOOK).await;
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(alive) = self.alive.take() {
            // A thread that has panicked has said so on standard error.
            drop(alive.join());
        }
    }
}

/// A run. Its end is written when it is dropped, also when its handler is.
struct Run {
    recorder: Arc<Recorder>,
    entry: Entry,
    /// The resource of the sink that it writes to.
    resource: String,
    has_written_last: bool,
}

impl Run {
    fn begin(recorder: Arc<Recorder>, entry: Entry, resource: String) -> Result<Self> {
        recorder.journal.append(&Line::Run(entry.clone()))?;
        Ok(Self {
            recorder,
            entry,
            resource,
            has_written_last: false,
        })
    }

    fn note(&self, event: Event) -> Result<()> {
        let entry = Entry {
            event,
            at_ns: now_ns(),
            ..self.entry.clone()
        };
        self.recorder.journal.append(&Line::Run(entry))
    }

    fn wish(&self) -> Wish {
        Wish {
            resource: self.resource.clone(),
            token: self.entry.token,
            index: self.entry.index,
            id: self.entry.id.clone(),
            fence: self.entry.fence,
        }
    }

    async fn write(&self, sink: &mut Option<SinkConnection>) -> Result<(), HandlerError> {
        let Some(sink) = sink else { return Ok(()) };
        if sink.write(&self.wish()).await.map_err(failed)? {
            Ok(())
        } else {
            Err(HandlerError::retry("the sink has seen a greater fence"))
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if let (false, Some(sink)) = (self.has_written_last, self.recorder.sink) {
            // The sink may be gone at the end of a test.
            drop(sink::write_last(sink, &self.wish()));
        }
        // The run is judged by the end that is missing.
        drop(self.note(Event::End));
    }
}

/// The failure of the drill itself, in a form that may pass.
fn failed(error: impl std::fmt::Display) -> HandlerError {
    HandlerError::retry(error.to_string())
}

/// The trace in a `traceparent`; empty without one.
fn trace_id(traceparent: &str) -> String {
    let trace = traceparent.split('-').nth(1);
    trace.unwrap_or_default().to_owned()
}
