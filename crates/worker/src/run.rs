//! From a claim to the end of a run, and the lease in between.

pub(crate) mod claim;
pub(crate) mod committer;
pub(crate) mod end;
pub(crate) mod execute;
pub(crate) mod finish;
pub(crate) mod leases;
pub(crate) mod shared;
pub(crate) mod task_scope;
pub(crate) mod trace;
