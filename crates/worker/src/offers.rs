//! From the broker to a slot: subscriptions, the delivery queue, and the ways of
//! an offer that this worker does not run.

pub(crate) mod delivery_ack;
pub(crate) mod delivery_queue;
pub(crate) mod lanes;
pub(crate) mod redistribute;
pub(crate) mod slot;
pub(crate) mod sources;
pub(crate) mod unhandled;
