//! SIGTERM and SIGINT: the first asks the worker to drain, the second ends it.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::error::{Error, Result};

/// The signals of this process. Caught before anything is started, so that
/// none is missed.
#[derive(Debug)]
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Catches both signals from now on, in place of the system's default.
    ///
    /// # Errors
    /// [`Error::Signals`] when the system refuses.
    pub(crate) fn catch() -> Result<Self> {
        let catch = |kind| signal(kind).map_err(Error::Signals);
        Ok(Self {
            terminate: catch(SignalKind::terminate())?,
            interrupt: catch(SignalKind::interrupt())?,
        })
    }

    /// Returns the next of either. Cancel-safe.
    pub(crate) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }

    /// Waits for the drain that a signal has asked for.
    ///
    /// # Errors
    /// [`Error::Interrupted`] when another signal comes first.
    pub(crate) async fn drain(
        &mut self,
        signal: &str,
        drained: impl Future<Output = ()>,
    ) -> Result<()> {
        tracing::info!(signal, "draining; another signal ends at once");
        tokio::select! {
            () = drained => Ok(()),
            signal = self.next() => Err(Error::Interrupted { signal }),
        }
    }
}
