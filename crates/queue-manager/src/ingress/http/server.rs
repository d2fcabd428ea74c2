//! The server: listens, serves, and ends in order.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::serve::ListenerExt;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::router;
use crate::service::QueueManager;

/// A manager on the network.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    manager: QueueManager,
    stop: CancellationToken,
    serving: JoinHandle<io::Result<()>>,
}

impl Server {
    /// Listens on an address and serves in the background.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub async fn start(listen: SocketAddr, manager: QueueManager) -> io::Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        // Answers are small and each is written at once: waiting for more data
        // would only delay them.
        let listener = listener.tap_io(|stream| {
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "a connection may be slow");
            }
        });
        let stop = CancellationToken::new();
        let served = axum::serve(listener, router(manager.clone()))
            .with_graceful_shutdown(stop.clone().cancelled_owned());
        let tasks = TaskTracker::new();
        let serving = tasks.spawn(async move { served.await });
        tracing::info!(%address, "listening");
        Ok(Self {
            address,
            manager,
            stop,
            serving,
        })
    }

    /// The address that it listens on, with the chosen port if the option was
    /// any.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Drains the manager, accepts nothing new, and lets the requests in
    /// progress end, for `grace` at most.
    ///
    /// # Errors
    /// When the server had ended before, with the reason.
    pub async fn shutdown(self, grace: Duration) -> io::Result<()> {
        self.manager.drain();
        self.stop.cancel();
        let mut serving = self.serving;
        match tokio::time::timeout(grace, &mut serving).await {
            Ok(Ok(ended)) => ended,
            Ok(Err(error)) => Err(io::Error::other(error)),
            Err(_elapsed) => {
                serving.abort();
                tracing::warn!("some requests were still running when the server ended");
                Ok(())
            }
        }
    }
}
