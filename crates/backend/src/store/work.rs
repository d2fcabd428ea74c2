//! Kinds of work that maintenance looks for. Most partitions have none at most times,
//! and one call tells which.

use drumline_protocol::transition::EndClass;

use super::Stamp;

/// Work that partitions may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Entries of the outbox, of any age.
    Outbox,
    /// Operations in the offered set.
    Offered,
    /// Locks.
    Locks,
    /// Operations whose time has come.
    Due,
    /// Notices whose time has come.
    Notices,
    /// Ends of a class up to a stamp.
    Ended(EndClass, Stamp),
}
