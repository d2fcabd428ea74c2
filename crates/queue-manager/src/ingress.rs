//! The ways in: both translate requests of their protocol, and call the service.

pub mod amqp;
pub mod http;
mod problem;
