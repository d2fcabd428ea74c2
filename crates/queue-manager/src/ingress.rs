//! The ways in: both translate requests of their protocol, and call the service.

pub mod amqp;
mod headers;
pub mod http;
mod media_type;
mod problem;
mod refusal;
