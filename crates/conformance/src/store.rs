//! The store's cases, one module per story.

pub mod chains;
pub mod commit;
pub mod create;
pub mod dispatch;
pub mod due;
pub mod grid;
pub mod hearing;
pub mod idempotency;
pub mod listing;
pub mod locks;
pub mod markers;
pub mod removal;
pub mod volume;
