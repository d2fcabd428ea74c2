//! A store that a command works on itself: a namespace of Redis, or the folder of
//! `drumline standalone`.
//!
//! A folder is locked while it is open, so that no process uses it meanwhile. A namespace
//! is not: its members tell whether others work on it.

use std::path::Path;
use std::sync::Arc;

use drumline_backend::store::{ImportStore, Store};
use drumline_backend::{Membership as _, store};
use drumline_backend_embedded::Durable;
use drumline_backend_redis::{RedisMembership, RedisStore};
use drumline_protocol::PartitionCount;

use super::folder;
use super::servers::{existing_redis_store, redis_store_with};
use crate::cli::service::Servers;
use crate::exit::{Exit, Failure, Result};

/// The store.
#[derive(Debug)]
pub(crate) enum AtRest {
    /// A namespace of Redis.
    Namespace(Box<RedisStore>),
    /// A folder, which is locked.
    Folder(Durable),
}

impl AtRest {
    /// The store that is there: none is made. `what` is the word for what the command would
    /// do with it.
    ///
    /// # Errors
    /// When there is none, or it is unavailable.
    pub(crate) async fn existing(
        servers: &Servers,
        data: Option<&Path>,
        what: &str,
    ) -> Result<Self> {
        let place = if let Some(data) = data {
            let is_there = Durable::is_in(data);
            if is_there.map_err(|error| folder::failure(data, Arc::new(error)))? {
                let durable = folder::open(data, PartitionCount::DEFAULT).await?;
                return Ok(Self::Folder(durable));
            }
            format!("{} has no store", data.display())
        } else {
            let found = existing_redis_store(servers).await;
            let found = found.map_err(|error| Failure::caused(Exit::Unavailable, error))?;
            if let Some(store) = found {
                return Ok(Self::Namespace(Box::new(store)));
            }
            format!("namespace {} is unused", servers.namespace)
        };
        let text = format!("{place}: there is nothing to {what}");
        Err(Failure::new(Exit::NotFound, text))
    }

    /// The store. One that does not exist is made, with this number of partitions.
    ///
    /// # Errors
    /// When it cannot be used.
    pub(crate) async fn with_partitions(
        servers: &Servers,
        data: Option<&Path>,
        partitions: u16,
    ) -> Result<Self> {
        let Some(data) = data else {
            let store = redis_store_with(servers, partitions).await?;
            return Ok(Self::Namespace(Box::new(store)));
        };
        let count = PartitionCount::new(partitions)
            .ok_or_else(|| Failure::new(Exit::Data, "a store has 1 to 4096 partitions"))?;
        Ok(Self::Folder(folder::open(data, count).await?))
    }

    /// The port.
    pub(crate) fn store(&self) -> &dyn Store {
        match self {
            Self::Namespace(store) => &**store,
            Self::Folder(durable) => &*durable.backend().store,
        }
    }

    /// The marks of imports.
    pub(crate) fn imports(&self) -> &dyn ImportStore {
        match self {
            Self::Namespace(store) => &**store,
            Self::Folder(durable) => durable.imports(),
        }
    }

    /// The queue managers and workers that are listed. A folder has none: it is locked.
    ///
    /// # Errors
    /// When the store is unavailable.
    pub(crate) async fn members(&self) -> store::Result<usize> {
        match self {
            Self::Namespace(store) => Ok(RedisMembership::new(store).roster().await?.len()),
            Self::Folder(_) => Ok(0),
        }
    }

    /// Ends the use of the store.
    pub(crate) async fn close(&self) {
        match self {
            Self::Namespace(_) => {}
            Self::Folder(durable) => folder::close(durable).await,
        }
    }
}
