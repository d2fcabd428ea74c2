//! SIGTERM and SIGINT: the first asks the process to drain, the second ends it.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::exit::{Exit, Failure, Result};

/// The signals of this process. Made before anything is started, so that no
/// signal is missed.
#[derive(Debug)]
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Catches both signals from now on.
    ///
    /// # Errors
    /// When the system does not allow it.
    pub(crate) fn catch() -> Result<Self> {
        let catch = |kind| signal(kind).map_err(|error| Failure::caused(Exit::Internal, error));
        Ok(Self {
            terminate: catch(SignalKind::terminate())?,
            interrupt: catch(SignalKind::interrupt())?,
        })
    }

    /// The next of either. Cancel-safe.
    pub(crate) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }

    /// Drains, unless another signal cuts it short.
    pub(crate) async fn drain(&mut self, signal: &str, drained: impl Future<Output = ()>) -> Exit {
        tracing::info!(signal, "draining; another signal ends at once");
        tokio::select! {
            () = drained => Exit::Ok,
            signal = self.next() => {
                tracing::warn!(signal, "ended before the process was drained");
                Exit::Interrupted
            }
        }
    }
}
