//! The Redis store, membership and limiter against real servers.
#![expect(clippy::panic, reason = "a test fails by panicking")]

mod buckets;
mod check;
mod clock_set_back;
mod cluster;
mod common;
mod conformance;
mod creates;
mod differential;
mod earlier_build;
mod expiries;
mod fitness;
mod hearing;
mod holders;
mod indexes;
mod large;
mod limits;
mod lost_answers;
mod members;
mod memory;
mod overload;
mod parked;
mod renewals;
mod rights;
mod sentinels;
mod server_trouble;
mod tools;
mod traces;
mod unreadable;
mod written;
