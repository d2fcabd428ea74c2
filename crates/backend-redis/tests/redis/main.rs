//! The Redis store and membership against real servers.
#![expect(clippy::panic, reason = "a test fails by panicking")]

mod common;
mod conformance;
mod fitness;
mod hearing;
mod lost_answers;
mod memory;
mod server_trouble;
