//! The worker over the embedded backend, as producers, clients and handlers see
//! it.

mod attempts;
mod chains;
mod children;
mod command;
mod control;
mod delivery;
mod errors;
mod expiry;
mod faulty_store;
mod handlers_page;
mod harness;
mod http;
mod large;
mod leases;
mod metrics;
mod outages;
mod outcomes;
mod rollups;
mod supervised;
mod throttle;
mod throughput;
mod traces;
