//! The client against a service that does what a test wants: answers from a
//! script, or none.

#[path = "it/batches.rs"]
mod batches;
#[path = "it/pages.rs"]
mod pages;
#[path = "it/repeating.rs"]
mod repeating;
#[path = "it/service.rs"]
mod service;
#[path = "it/sharing.rs"]
mod sharing;
#[path = "it/streaming.rs"]
mod streaming;
