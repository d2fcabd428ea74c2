//! One test at a time, each on a fleet of its own.

mod batches;
mod bypass;
mod cluster;
mod commands;
mod data_set;
mod drill;
mod expiry;
mod far;
mod faults;
mod full;
mod history;
mod large;
mod many_lanes;
mod mixed_fleet;
mod nodes;
mod pauses;
mod promotions;
mod recurrence;
mod replay;
mod rolling;
mod running;
mod storm;
