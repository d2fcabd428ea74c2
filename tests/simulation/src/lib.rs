//! The judge of a simulated fleet: what clients were answered, what handlers did
//! and what is left at the end, held against the promises of Drumline.
//!
//! The fleet itself is in the tests of this package: managers, workers and
//! maintenance as they are, on one thread whose time is paused, above links that
//! delay, lose and cut. The judge knows nothing of it, so that made-up histories
//! show what it catches.

pub mod judge;

pub use judge::{Judge, Violation};
