//! `GET /v1/backup`: the folder of a durable process.

use reqwest::{Method, Response};
use tokio::time::timeout;

use crate::client::Client;
use crate::error::{Result, Unreachable};
use crate::http::{self, SILENCE};

/// A backup that is read.
#[derive(Debug)]
pub struct Backup(Response);

impl Client {
    /// Begins to read a backup of a durable process (`drumline standalone`). It has
    /// everything, with the data of all organizations. Needs an admin of all of them.
    ///
    /// # Errors
    /// [`Error::Refused`](crate::Error::Refused) with `0x80040217` if the service keeps its
    /// operations elsewhere, and with `0x8004A001` if a backup is under way.
    pub async fn backup(&self) -> Result<Backup> {
        let request = self.endless_request(Method::GET, &["v1", "backup"]);
        // The first piece comes at once.
        match timeout(SILENCE, http::open(request)).await {
            Ok(opened) => opened.map(Backup),
            Err(_elapsed) => Err(Unreachable::silent()),
        }
    }
}

impl Backup {
    /// Returns the next bytes, or `None` when there are no more. Only the bytes tell whether
    /// the backup is complete. Not cancel-safe: bytes may be lost.
    ///
    /// # Errors
    /// When the connection breaks, or is silent for a minute.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>> {
        match timeout(SILENCE, self.0.chunk()).await {
            Ok(Ok(bytes)) => Ok(bytes.map(Into::into)),
            Ok(Err(error)) => Err(Unreachable::error(error)),
            Err(_elapsed) => Err(Unreachable::silent()),
        }
    }
}
