//! The broker's cases, one module per story.

pub mod delivery;
pub mod lanes;
pub mod routes;

mod fixtures;
