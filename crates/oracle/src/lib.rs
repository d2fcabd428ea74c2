//! Judges the history of a run against Drumline's promises.
//!
//! Handlers write a [`journal`]; [`check`] holds it against what the service says at the end.

pub mod check;
pub mod journal;
