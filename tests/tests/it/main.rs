//! One test at a time, each on a fleet of its own.

mod batches;
mod bypass;
mod expiry;
mod faults;
mod history;
mod recurrence;
mod replay;
mod running;
mod storm;
