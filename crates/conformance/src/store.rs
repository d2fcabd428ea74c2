//! The store's cases, one module per story.

pub mod chains;
pub mod commit;
pub mod create;
pub mod dispatch;
pub mod due;
pub mod ends;
pub mod expiry;
pub mod grid;
pub mod hearing;
pub mod history;
pub mod hold;
pub mod idempotency;
pub mod indexes;
pub mod large;
pub mod listing;
pub mod locks;
pub mod markers;
pub mod notices;
pub mod outputs;
pub mod pauses;
pub mod removal;
pub mod reports;
pub mod series;
pub mod several;
pub mod transact;
pub mod volume;
