//! The backend that a process uses. The rest of the program gets its ports and
//! names no product; `doctor` alone asks the products about themselves.
//!
//! ```text
//! Connected ─┬─ Embedded   everything in this process
//!            ├─ Durable    everything in this process, and the store in a folder
//!            └─ Servers    Redis and RabbitMQ, see `servers`
//! ```
//!
//! A further backend is a crate and a variant of [`Connected`]; to be measured,
//! it has a target, too ([`target`]).

pub(crate) mod at_rest;
pub(crate) mod drill_target;
pub(crate) mod folder;
pub(crate) mod servers;
pub(crate) mod target;

use std::sync::Arc;

use drumline_backend::{Backend, Intake};
use drumline_backend_embedded::Durable;
use drumline_process::Servers;
use drumline_protocol::PartitionCount;
use drumline_worker::LeaseStore;

use crate::cli::service::ServerConnection;
use crate::exit::Result;

/// A backend with its connections.
#[derive(Debug)]
pub(crate) enum Connected {
    /// In this process; all operations are gone when it ends.
    Embedded(Backend),
    /// In this process, with the store in a folder.
    Durable(Durable),
    /// Redis and RabbitMQ.
    Servers(Box<Servers>),
}

impl Connected {
    /// A new backend in this process.
    pub(crate) fn embedded() -> Self {
        Self::Embedded(drumline_backend_embedded::backend(PartitionCount::DEFAULT))
    }

    /// Waits until the servers are up, and connects. Cancel-safe.
    ///
    /// # Errors
    /// When a server stays unavailable, or must not be used.
    pub(crate) async fn to_servers(connection: &ServerConnection, purpose: &str) -> Result<Self> {
        let servers = servers::connect(connection, purpose).await?;
        Ok(Self::Servers(Box::new(servers)))
    }

    /// The ports.
    pub(crate) fn backend(&self) -> &Backend {
        match self {
            Self::Embedded(backend) => backend,
            Self::Durable(durable) => durable.backend(),
            Self::Servers(servers) => servers.backend(),
        }
    }

    /// The store for a worker's leases: on servers, with a connection that is
    /// made on the lease thread.
    pub(crate) fn lease_store(&self) -> LeaseStore {
        match self {
            Self::Embedded(backend) => backend.store.clone().into(),
            Self::Durable(durable) => durable.backend().store.clone().into(),
            Self::Servers(servers) => servers.lease_store(),
        }
    }

    /// The intake beside the broker, where producers publish requests, if there
    /// is one.
    pub(crate) fn intake(&self) -> Option<Arc<dyn Intake>> {
        match self {
            Self::Embedded(_) | Self::Durable(_) => None,
            Self::Servers(servers) => Some(servers.intake()),
        }
    }

    /// Disconnects: unacknowledged messages go back to their queue at once. A folder is
    /// closed, when everything is written.
    pub(crate) async fn disconnect(&self) {
        match self {
            Self::Embedded(_) => {}
            Self::Durable(durable) => {
                // It waits for the disk: a second signal must not wait with it.
                folder::close(durable).await;
            }
            Self::Servers(servers) => servers.close().await,
        }
    }
}
