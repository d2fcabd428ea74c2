//! Writes of a holder's report.

/// The parts of a report that a write replaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportParts {
    /// All of it.
    All,
    /// All but the checkpoint, which stays as it is in the store: a checkpoint may
    /// be large, and progress is written several times a second.
    AllButCheckpoint,
}
