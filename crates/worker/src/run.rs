//! From the claim to the end of one operation, and the lease in between.
//!
//! ```text
//! slot ─→ claim ─→ execute: handler, stop signals, reports ─→ end ─→ finish ─→ slot
//!           │          │                                               │
//!           │          └── holds a lease ─→ leases ─→ store            │
//!           └───────────────────── committer ──────────────────────────┘
//!                                      └─→ store
//! ```
//!
//! The slot's task runs the upper row. The committer is a task that gathers the
//! commits of all slots, and the leases have a thread of their own.

pub(crate) mod claim;
pub(crate) mod committer;
pub(crate) mod end;
pub(crate) mod execute;
pub(crate) mod finish;
pub(crate) mod leases;
pub(crate) mod shared;
pub(crate) mod task_scope;
pub(crate) mod trace;
