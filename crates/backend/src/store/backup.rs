//! Backups of a store that is in use.

use tokio::sync::mpsc;

use super::error::Result;

/// The pieces of a backup, in their order. If they end before the last one, or with an
/// error, there is no backup.
pub type Backup = mpsc::Receiver<Result<BackupPiece>>;

/// A piece of a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupPiece {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// True for the last piece.
    pub is_last: bool,
}
