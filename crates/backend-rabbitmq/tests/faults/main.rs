//! The broker when RabbitMQ, the network or an operator does
//! something unkind.
//!
//! The cases of `intake`, `network` and `queues` use any server, under a
//! namespace of their own; those of `server` each have a private one, to kill.

mod channels;
mod fixtures;
mod intake;
mod network;
mod nodes;
mod queues;
mod server;
