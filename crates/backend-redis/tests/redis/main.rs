//! The Redis store and membership against real servers.

mod common;
mod conformance;
