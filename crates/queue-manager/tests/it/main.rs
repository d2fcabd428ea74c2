//! The queue manager over the embedded backend, through its public faces.
//!
//! Time is paused and moves when all tasks wait, the store's clock with it:
//! minutes pass in milliseconds, and nothing depends on the machine's speed.

mod access;
mod actions;
mod actions_of_managers;
mod actions_on_many;
mod attempts;
mod auditing;
mod away;
mod bad_requests;
mod bulk;
mod bypass;
mod console;
mod creating;
mod creating_many;
mod critical;
mod draining;
mod encrypted;
mod events;
mod executing;
mod expiring;
mod explaining;
mod freezing;
mod handlers;
mod history;
mod holding;
mod idle;
mod intake;
mod limits;
mod listing;
mod lost_messages;
mod maintenance;
mod many;
mod metrics;
mod oidc;
mod organizations;
mod pauses;
mod queues;
mod quotas;
mod reconcile;
mod recurring;
mod retention;
mod round_trips;
mod running_again;
mod running_many_again;
mod scaling;
mod serving;
mod stats;
mod support;
mod upgrading;
mod waiting;
mod webhooks;
