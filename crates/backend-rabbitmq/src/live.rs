//! One connection while it lives: opens channels, declares queues, and knows
//! which it has declared.
//!
//! What is declared is forgotten with the connection: a broker that comes back
//! without its data is told again.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use drumline_backend::broker::{Error, Result};
use futures_util::future::try_join_all;
use lapin::Channel;
use lapin::options::ConfirmSelectOptions;
use tokio_util::sync::CancellationToken;

use crate::dial::{Dialed, Socket};
use crate::error::{failed, is_refusal};
use crate::options::Options;
use crate::topology::{self, Target};

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Live {
    connection: lapin::Connection,
    socket: Socket,
    options: Arc<Options>,
    declared: Mutex<HashSet<Target>>,
    doubted: CancellationToken,
    ended: CancellationToken,
}

impl Live {
    pub(crate) fn new(dialed: Dialed, options: Arc<Options>) -> Self {
        Self {
            connection: dialed.connection,
            socket: dialed.socket,
            options,
            declared: Mutex::default(),
            doubted: CancellationToken::new(),
            ended: CancellationToken::new(),
        }
    }

    /// A new channel.
    pub(crate) async fn channel(&self) -> Result<Channel> {
        let channel = self.connection.create_channel().await;
        channel.map_err(|error| failed("opening a channel", error))
    }

    /// A new channel on which every message is confirmed.
    pub(crate) async fn confirm_channel(&self) -> Result<Channel> {
        let channel = self.channel().await?;
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await
            .map_err(|error| failed("asking for confirms", error))?;
        Ok(channel)
    }

    /// Declares those queues that this connection has not declared yet.
    ///
    /// # Errors
    /// When the broker refuses one: it exists with other arguments, or we may
    /// not. Others may be declared.
    pub(crate) async fn declare(&self, targets: impl Iterator<Item = &Target>) -> Result<()> {
        let unknown: HashSet<Target> = {
            let declared = self.declared();
            targets
                .filter(|target| !declared.contains(target))
                .cloned()
                .collect()
        };
        if unknown.is_empty() {
            return Ok(());
        }
        // A refusal closes the channel, so that it must not be one with
        // anything else on it.
        let channel = self.channel().await?;
        try_join_all(
            unknown
                .iter()
                .map(|target| self.declare_on(&channel, target)),
        )
        .await?;
        self.declared().extend(unknown);
        close(&channel).await;
        Ok(())
    }

    /// Declares a queue on a channel, known or not.
    pub(crate) async fn declare_on(&self, channel: &Channel, target: &Target) -> Result<()> {
        let name = target.name(&self.options.namespace);
        channel
            .queue_declare(name.clone(), topology::declaration(), target.arguments())
            .await
            .map_err(|error| failed(&format!("declaring the queue {name}"), error))?;
        Ok(())
    }

    /// The broker says that there is no such queue: somebody has deleted it.
    pub(crate) fn forget(&self, target: &Target) {
        self.declared().remove(target);
    }

    /// Something on it took too long: it is to be thrown away.
    pub(crate) fn doubt(&self) {
        self.doubted.cancel();
    }

    /// Something on it has failed: it is to be thrown away, unless the broker
    /// has said what it dislikes.
    pub(crate) fn doubt_after(&self, error: &Error) {
        if !is_refusal(error) {
            self.doubt();
        }
    }

    /// Somebody doubts it.
    pub(crate) async fn doubted(&self) {
        self.doubted.cancelled().await;
    }

    pub(crate) fn is_doubted(&self) -> bool {
        self.doubted.is_cancelled()
    }

    /// It is over, and nothing more will come of it.
    pub(crate) async fn ended(&self) {
        self.ended.cancelled().await;
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.connection.status().connected()
    }

    /// Says goodbye to the broker.
    pub(crate) async fn close(&self) -> lapin::Result<()> {
        self.connection.close(200, "OK".into()).await
    }

    /// Cuts the line, also when the broker does not answer.
    pub(crate) fn end(&self) {
        self.ended.cancel();
        self.socket.abort();
    }

    fn declared(&self) -> MutexGuard<'_, HashSet<Target>> {
        self.declared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Closes a channel; one that is closed already is fine.
pub(crate) async fn close(channel: &Channel) {
    if let Err(error) = channel.close(200, "OK".into()).await {
        tracing::debug!(%error, "a channel was closed already");
    }
}
