//! SIGTERM and SIGINT: the first asks the process to drain, the second ends it.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals of this process. Caught before anything is started, so that
/// none is missed.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

/// A second signal has come before everything was drained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("ended by {signal} before the process was drained")]
pub struct Interrupted {
    /// `SIGTERM` or `SIGINT`.
    pub signal: &'static str,
}

impl Signals {
    /// Catches both signals from now on, in place of the system's default.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn catch() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Returns the next of either. Cancel-safe.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }

    /// Waits for the drain that `signal` has asked for.
    ///
    /// # Errors
    /// When another signal comes first.
    pub async fn drain(
        &mut self,
        signal: &str,
        drained: impl Future<Output = ()>,
    ) -> Result<(), Interrupted> {
        tracing::info!(signal, "draining; another signal ends at once");
        tokio::select! {
            () = drained => Ok(()),
            signal = self.next() => Err(Interrupted { signal }),
        }
    }
}
