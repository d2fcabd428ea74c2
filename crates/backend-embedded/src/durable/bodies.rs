//! Reads of bodies, whose data are on the disk alone.
//!
//! A read is of what the disk has now: an operation that was removed since the look into the
//! state is not found. The pages are those that were verified at start or were written
//! since; the checksum of each row shows those that rotted meanwhile.

use std::sync::Weak;

use drumline_protocol::{Body, OperationId, codec};

use super::database::{Database, Reading};
use super::error::Error;
use crate::state::rows::{BODY, key_of};

/// The bodies that the disk has at a moment.
pub(crate) struct Bodies(Reading);

impl Bodies {
    /// Begins to read. Waits while the file is made smaller. Cancel-safe.
    ///
    /// # Errors
    /// When the file is closed, or cannot be read.
    pub(super) async fn begin(database: &Weak<Database>) -> Result<Self, Error> {
        let database = database.upgrade().ok_or(Error::Closed)?;
        database.reading().await.map(Self)
    }

    /// Reads a body; `None` if there is none with this checksum. Blocks for the time of
    /// some reads of the disk at most: most pages are in the memory of the system.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub(crate) fn read(&self, id: OperationId, sum: u32) -> Result<Option<Body>, Error> {
        let row = self.0.row(&key_of(BODY, id))?;
        let row = row.filter(|row| crc32fast::hash(row) == sum);
        let body = row.map(|row| codec::decode(&row)).transpose();
        body.map_err(|error| Error::undecodable(&id.to_string(), error))
    }
}
