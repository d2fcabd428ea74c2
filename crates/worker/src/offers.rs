//! From the broker to a slot: the deliveries, and the ways that an offer can go.
//!
//! ```text
//!                      ┌─ slot is free ──────────→ slot: claim, run, next of the chain
//! broker ─→ sources ─→ delivery_queue ─ no slot ─→ redistribute ─→ work queue
//!              ↑       └─ no handler ────────────→ unhandled ─→ work queue, or a person
//!           heartbeat        │
//!     (members, contact)     └─ all offers of a message decided ─→ delivery_ack ─→ broker
//! ```
//!
//! Each of them is a task, except the slots, which are one task per operation
//! that runs. No offer waits in the broker, and none is kept by a worker that
//! cannot run its operation.

pub(crate) mod delivery_ack;
pub(crate) mod delivery_queue;
pub(crate) mod lanes;
pub(crate) mod redistribute;
pub(crate) mod slot;
pub(crate) mod sources;
pub(crate) mod unhandled;
