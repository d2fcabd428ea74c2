//! Drumline end to end: real servers, whole processes, and faults.
//!
//! A test here starts a [`fleet`] (private RabbitMQ and Redis, queue managers,
//! workers), drives it over HTTP ([`api`]), hurts it, and at the end holds the
//! [`journal`] that the handlers wrote against the promises ([`check`]).

pub mod api;
pub mod check;
pub mod data_set;
pub mod fleet;
pub mod journal;
pub mod load;
pub mod ports;
pub mod secrets;
