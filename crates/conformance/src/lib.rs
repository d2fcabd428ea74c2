//! The behaviour that every backend must have, as test cases over the ports.
//!
//! An adapter implements the connection to an empty store or broker (a
//! [`harness`]) and names it in one macro; each case becomes a test of its own:
//!
//! ```text
//! async fn harness() -> MyHarness { … }
//! drumline_conformance::store_suite!(harness);
//! drumline_conformance::broker_suite!(harness);
//! drumline_conformance::membership_suite!(harness);
//! drumline_conformance::limiter_suite!(harness);
//! drumline_conformance::restart_suite!(harness); // of a store that keeps its data itself
//! ```
//!
//! The cases name no product, and settle nothing with a blind sleep: events
//! that must come are waited for, with a deadline. They check behaviour that
//! callers can see. The speed of a backend, and its behaviour when its servers
//! die, are tested elsewhere.
#![expect(
    clippy::panic,
    reason = "this is a library of tests, and a test fails by panicking"
)]

pub mod broker;
mod check_all;
pub mod differential;
mod fixtures;
pub mod harness;
pub mod limiter;
pub mod membership;
pub mod restart;
pub mod store;
mod suite;
mod wait;

pub use check_all::check_all;
pub use harness::{BrokerHarness, LimiterHarness, MembershipHarness, RestartHarness, StoreHarness};
