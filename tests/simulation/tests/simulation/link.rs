//! The link between a process and the servers: where all faults happen.
//!
//! ```text
//! process ─ gate ─ delay ─┬─ request lost: no answer until the time is up
//!                         └─ server ─┬─ answer lost: the same
//!                                    └─ delay ─ gate ─ process
//! gate: open; shut while the process stands still; shut for ever once it is dead
//! ```

use std::fmt;
use std::hash::Hasher as _;
use std::sync::Arc;
use std::time::Duration;

use drumline_backend::Random;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

/// The time after which a request without an answer is given up.
const TIMEOUT: Duration = Duration::from_millis(900);

/// Everything that happened, as one number, and the last lines of it.
#[derive(Debug)]
pub(crate) struct Trace {
    begun: Instant,
    hash: Mutex<Fnv>,
    is_told: bool,
}

/// The hash of Fowler, Noll and Vo: the same on every machine.
#[derive(Debug)]
struct Fnv(u64);

impl std::hash::Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

impl Trace {
    pub(crate) fn new(is_told: bool) -> Self {
        Self {
            begun: Instant::now(),
            hash: Mutex::new(Fnv(0xcbf2_9ce4_8422_2325)),
            is_told,
        }
    }

    pub(crate) fn note(&self, who: &str, what: &str, how: fmt::Arguments<'_>) {
        let at = self.begun.elapsed().as_millis();
        let line = format!("{at:>7} {who:<12} {what} {how}");
        self.hash.lock().write(line.as_bytes());
        if self.is_told {
            println!("{line}");
        }
    }

    /// The hash of all lines.
    pub(crate) fn hash(&self) -> u64 {
        self.hash.lock().finish()
    }
}

/// The server at the other end of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Server {
    Store,
    Broker,
}

/// The calls that change nothing for others, or that a process makes again and again while
/// it has nothing to do. A call that is not among them is one of [`Calls::changes`], so that
/// a new one is tried.
const IDLE: [&str; 23] = [
    "backlog",
    "beat",
    "changes",
    "due",
    "ended",
    "enter_offered",
    "get",
    "history",
    "idle_queues",
    "incarnation",
    "list_summaries",
    "locks",
    "note_minor",
    "offered",
    "open_actions",
    "outbox_entries",
    "pause_copies",
    "pauses",
    "remove_actions",
    "stop_requests",
    "subscribe",
    "summaries",
    "with_work",
];

/// The calls of a process, from its start.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Calls {
    pub(crate) count: u64,
    /// The numbers of those that change something.
    pub(crate) changes: Vec<u64>,
}

/// The condition of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    Live,
    /// Stopped by a signal, or by its virtual machine: goes on later.
    Still,
    Dead,
}

/// The direction in which a link is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    Request,
    Answer,
}

/// The faults of a link now.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults {
    /// Of a thousand calls, those whose request or answer is lost.
    pub(crate) lossy: u64,
    /// The longest delay of a request or an answer, in milliseconds.
    pub(crate) delay_ms: u64,
    /// All calls to the store are lost.
    pub(crate) store_cut: Option<Lost>,
    /// All calls to the broker are lost.
    pub(crate) broker_cut: Option<Lost>,
}

/// A call at which a process dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CrashAt {
    /// The number of the call.
    pub(crate) call: u64,
    /// True if the server has done what was asked for.
    pub(crate) after: bool,
}

/// The link of one process.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) name: String,
    pub(crate) trace: Arc<Trace>,
    random: Random,
    faults: Mutex<Faults>,
    condition: watch::Sender<Condition>,
    /// The time at which the process stood still for the last time.
    stood_still: Mutex<Option<Instant>>,
    calls: Mutex<Calls>,
    crash_at: Option<CrashAt>,
    /// The breaks of the connection to the broker.
    breaks: watch::Sender<u64>,
}

/// No answer came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NoAnswer;

impl Link {
    pub(crate) fn new(
        name: String,
        trace: Arc<Trace>,
        random: Random,
        crash_at: Option<CrashAt>,
    ) -> Arc<Self> {
        Arc::new(Self {
            name,
            trace,
            random,
            faults: Mutex::new(Faults::default()),
            condition: watch::Sender::new(Condition::Live),
            stood_still: Mutex::new(None),
            calls: Mutex::default(),
            crash_at,
            breaks: watch::Sender::new(0),
        })
    }

    pub(crate) fn set_faults(&self, faults: Faults) {
        let cut = faults.broker_cut.is_some();
        *self.faults.lock() = faults;
        if cut {
            self.breaks.send_modify(|breaks| *breaks += 1);
        }
    }

    pub(crate) fn set_condition(&self, condition: Condition) {
        if condition != Condition::Live || self.condition() != Condition::Live {
            *self.stood_still.lock() = Some(Instant::now());
        }
        self.condition.send_if_modified(|now| {
            // The dead stay dead.
            let changes = *now != condition && *now != Condition::Dead;
            if changes {
                *now = condition;
            }
            changes
        });
    }

    pub(crate) fn condition(&self) -> Condition {
        *self.condition.borrow()
    }

    /// Returns true if the process has stood still since then.
    pub(crate) fn stood_still_since(&self, then: Instant) -> bool {
        self.stood_still.lock().is_some_and(|last| last >= then)
    }

    /// The calls so far.
    pub(crate) fn calls(&self) -> Calls {
        self.calls.lock().clone()
    }

    /// The breaks of the connection to the broker so far.
    pub(crate) fn breaks(&self) -> u64 {
        *self.breaks.borrow()
    }

    pub(crate) fn is_cut(&self, server: Server) -> bool {
        let faults = self.faults.lock();
        let cut = match server {
            Server::Store => faults.store_cut,
            Server::Broker => faults.broker_cut,
        };
        cut.is_some()
    }

    /// Waits until the process can do something.
    pub(crate) async fn gate(&self) {
        self.until(|condition| condition == Condition::Live).await;
    }

    /// Waits until the process is dead.
    pub(crate) async fn dead(&self) {
        self.until(|condition| condition == Condition::Dead).await;
    }

    async fn until(&self, wanted: impl Fn(Condition) -> bool) {
        let mut condition = self.condition.subscribe();
        let waiting = condition.wait_for(|condition| wanted(*condition));
        // The sender lives in this link.
        drop(waiting.await);
    }

    /// Tells when the connection to the broker breaks.
    pub(crate) fn breaking(&self) -> watch::Receiver<u64> {
        self.breaks.subscribe()
    }

    /// Makes a call.
    pub(crate) async fn call<T>(
        &self,
        server: Server,
        what: &'static str,
        call: impl Future<Output = T>,
    ) -> Result<T, NoAnswer> {
        self.gate().await;
        let number = {
            let mut calls = self.calls.lock();
            calls.count += 1;
            let number = calls.count;
            if !IDLE.contains(&what) {
                calls.changes.push(number);
            }
            number
        };
        let faults = *self.faults.lock();
        let cut = match server {
            Server::Store => faults.store_cut,
            Server::Broker => faults.broker_cut,
        };
        let lost = cut.or_else(|| {
            let draw = self.random.below(1_000);
            if draw >= faults.lossy {
                None
            } else if draw.is_multiple_of(2) {
                Some(Lost::Request)
            } else {
                Some(Lost::Answer)
            }
        });
        self.trace
            .note(&self.name, what, format_args!("#{number} {lost:?}"));
        self.delay(faults).await;
        let crash = self.crash_at.filter(|at| at.call == number);
        if crash.is_some_and(|at| !at.after) {
            self.die().await;
        }
        if lost == Some(Lost::Request) {
            return self.no_answer().await;
        }
        let answer = call.await;
        if crash.is_some() {
            self.die().await;
        }
        if lost == Some(Lost::Answer) {
            return self.no_answer().await;
        }
        self.delay(faults).await;
        self.gate().await;
        Ok(answer)
    }

    async fn die(&self) {
        self.trace.note(&self.name, "dies", format_args!(""));
        self.set_condition(Condition::Dead);
        self.gate().await;
    }

    async fn no_answer<T>(&self) -> Result<T, NoAnswer> {
        sleep(TIMEOUT).await;
        self.gate().await;
        Err(NoAnswer)
    }

    async fn delay(&self, faults: Faults) {
        let span = self.random.below(faults.delay_ms + 1);
        if span > 0 {
            sleep(Duration::from_millis(span)).await;
        }
    }
}
