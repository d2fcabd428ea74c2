//! The worker over the embedded backend: what producers, clients and handlers
//! can see of it.

mod chains;
mod command;
mod control;
mod delivery;
mod faulty;
mod http;
mod leases;
mod outages;
mod outcomes;
mod supervised;
mod throughput;
mod traces;
mod yard;
