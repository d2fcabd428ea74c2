//! The worker: one handler, which notes the time.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use drumline_sdk::{Context, HandlerError};
use serde::Serialize;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::line::{now, tell};
use crate::payload::{MESSAGE, Task};

/// The time from a run to its line to the driver: short beside a measurement, and so long
/// that the lines cost the worker nothing to speak of.
const TELL_EVERY: Duration = Duration::from_millis(50);

/// The runs since the last line.
#[derive(Debug, Default, Serialize)]
struct Ran {
    ran: u64,
    /// The start of the first run, in microseconds since 1970.
    first: u64,
    /// The end of the last run.
    last: u64,
    /// Key, place, submit and start of each run that the driver wants to hear of.
    noted: Vec<[u64; 4]>,
}

/// The runs of this worker, for the handler and the lines.
#[derive(Clone, Debug, Default)]
struct Journal(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    ran: Mutex<Ran>,
    /// Told of the first run since the last line: a worker with nothing to do has no timer here.
    has_run: Notify,
}

impl Journal {
    fn note(&self, task: &Task, started: u64) {
        let mut ran = self.0.ran.lock().unwrap_or_else(PoisonError::into_inner);
        if ran.ran == 0 {
            self.0.has_run.notify_one();
        }
        if ran.ran == 0 || started < ran.first {
            ran.first = started;
        }
        ran.ran += 1;
        ran.last = ran.last.max(now());
        if task.note {
            ran.noted.push([task.key, task.seq, task.at, started]);
        }
    }

    fn take(&self) -> Ran {
        std::mem::take(&mut *self.0.ran.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Tells the driver of new runs, for ever.
    async fn tell(self) -> anyhow::Result<()> {
        loop {
            self.0.has_run.notified().await;
            sleep(TELL_EVERY).await;
            let ran = self.take();
            if ran.ran > 0 {
                tell(&ran)?;
            }
        }
    }
}

async fn note(task: Task, journal: Journal) -> Result<(), HandlerError> {
    let started = now();
    if task.sleep > 0 {
        sleep(Duration::from_millis(task.sleep)).await;
    }
    journal.note(&task, started);
    Ok(())
}

/// Runs until SIGTERM. The log on standard error says when the worker is ready.
pub(crate) fn run() -> anyhow::Result<()> {
    let mut telling = JoinSet::new();
    drumline_sdk::run(|worker| {
        let journal = Journal::default();
        telling.spawn(journal.clone().tell());
        worker.handler(MESSAGE, move |task: Task, _context: Context| {
            note(task, journal.clone())
        })
    })?;
    Ok(())
}
