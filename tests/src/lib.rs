//! Drumline end to end: real servers, whole processes, and faults.
//!
//! A test here starts a [`fleet`] (private RabbitMQ and Redis, queue managers,
//! workers), drives it over HTTP ([`api`]), hurts it, and at the end has the oracle hold the
//! journal that the handlers wrote against the promises.

pub mod api;
pub mod clients;
pub mod data_set;
pub mod fleet;
pub mod load;
pub mod losses;
pub mod memory;
pub mod ports;
pub mod secrets;
