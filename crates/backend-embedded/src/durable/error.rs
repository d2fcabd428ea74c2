//! The errors of a store on a disk.

use std::io;
use std::path::{Path, PathBuf};

use drumline_protocol::codec;

/// A folder cannot be used, or not any more.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Another process has the folder open.
    #[error("{} is in use by another process", folder.display())]
    InUse {
        /// The folder.
        folder: PathBuf,
    },
    /// The folder was written by a later release.
    #[error("{} has format {found}, and this release reads up to {reads}", folder.display())]
    Newer {
        /// The folder.
        folder: PathBuf,
        /// The format of the folder.
        found: u64,
        /// The latest format that this release reads.
        reads: u64,
    },
    /// The file is no store of Drumline.
    #[error("{} is not a store of Drumline", file.display())]
    Foreign {
        /// The file.
        file: PathBuf,
    },
    /// A row has other bytes than any release writes.
    #[error("the store is damaged: {row}: {reason}")]
    Damaged {
        /// The row.
        row: String,
        /// The fault.
        reason: String,
    },
    /// A value has a version that this release does not read.
    #[error("{row} has a version that this release does not read")]
    OtherVersion {
        /// The row.
        row: String,
        /// The error of the codec, with both versions.
        source: codec::Error,
    },
    /// A value cannot be decoded.
    #[error("the store has a record that this release cannot decode: {row}")]
    Undecodable {
        /// The row.
        row: String,
        /// The error of the codec.
        source: codec::Error,
    },
    /// A value cannot be encoded.
    #[error("a record cannot be encoded")]
    Unencodable(#[source] codec::Error),
    /// The database has failed.
    #[error("{} cannot be {doing}", file.display())]
    Database {
        /// The file.
        file: PathBuf,
        /// The action: opened, read, written.
        doing: &'static str,
        /// The error of the database.
        source: Box<redb::Error>,
    },
    /// The folder cannot be made or synced.
    #[error("{} cannot be used", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// The bytes are not a backup of this release.
    #[error("what came for {} is not a backup that this release reads", file.display())]
    OtherBackup {
        /// The file that was to be made of it.
        file: PathBuf,
    },
    /// The bytes are not a complete backup.
    #[error("the backup for {} cannot be used: {reason}", file.display())]
    NoBackup {
        /// The file that was to be made of it.
        file: PathBuf,
        /// The fault.
        reason: String,
    },
    /// The disk has no room for what is to be written. Nothing is lost by that: it is
    /// written when there is room.
    #[error(
        "the disk of {} is full: nothing is written until there is room",
        folder.display()
    )]
    Full {
        /// The folder.
        folder: PathBuf,
    },
    /// The thread that writes cannot be started.
    #[error("the thread that writes cannot be started")]
    Thread(#[source] io::Error),
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

impl Error {
    pub(crate) fn damaged(row: &str, reason: impl Into<String>) -> Self {
        Self::Damaged {
            row: row.to_owned(),
            reason: reason.into(),
        }
    }

    pub(crate) fn undecodable(row: &str, source: codec::Error) -> Self {
        let row = row.to_owned();
        match source {
            codec::Error::Version { .. } => Self::OtherVersion { row, source },
            source => Self::Undecodable { row, source },
        }
    }

    pub(super) fn database(
        file: &Path,
        doing: &'static str,
        source: impl Into<redb::Error>,
    ) -> Self {
        Self::Database {
            file: file.to_owned(),
            doing,
            source: Box::new(source.into()),
        }
    }

    /// Returns true if the bytes on the disk are not those that were written.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Damaged { .. } | Self::Undecodable { .. } => true,
            Self::Database { source, .. } => matches!(**source, redb::Error::Corrupted(_)),
            Self::InUse { .. }
            | Self::Newer { .. }
            | Self::OtherVersion { .. }
            | Self::Foreign { .. }
            | Self::Unencodable(_)
            | Self::Folder { .. }
            | Self::NoBackup { .. }
            | Self::OtherBackup { .. }
            | Self::Full { .. }
            | Self::Thread(_)
            | Self::Closed => false,
        }
    }
}
