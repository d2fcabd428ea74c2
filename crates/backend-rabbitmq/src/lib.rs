//! Drumline's broker on RabbitMQ.
//!
//! ```text
//! RabbitBroker ── publisher (task) ── confirm channels ─┐ publishing
//!      │                                                ├─ connection ── supervisor (task)
//!      │          declarations ── throw-away channels ──┘
//!      ├───────── repair (task) ── a connection for each unresponsive queue
//!      ├───────── subscription ── a channel ──── acker (task) ──┐ consuming
//!      └───────── backlog ─────── throw-away channel ───────────┴─ connection ── supervisor (task)
//!
//! RabbitIntake ── requests ────── a channel ──── acker (task) ──── connection ── supervisor (task)
//!      └───────── replies (task) ─ confirm channel ── (publishing)
//! ```
//!
//! RabbitMQ only delivers hints here: the store decides. So a message may be
//! doubled, late or lost and nothing breaks, and whenever this crate is in
//! doubt it throws the connection away, connects again and repeats. The other
//! direction must be right: this crate never reports that the broker has a
//! message which it has not.
//!
//! This crate sends a message back (`basic.nack`) in one case only, when a lane leaves a
//! channel that it shares: the message may come behind all others, or count against a
//! limit of deliveries. A message is never unacknowledged for longer than its user holds it. None of lapin's own
//! recovery is used, and no exchange but the default one is published to.
//!
//! Requests of producers are no hints: until a request is acknowledged, the
//! queue has its only copy. [`RabbitIntake`] answers to that.
//!
//! Sockets are opened in `sockets`, with TLS or without. Only this crate names lapin. lapin logs with the target `lapin`, and prints
//! whole messages when the broker returns one: leave that target off.

mod ack_coalescer;
mod acker;
mod backlog;
mod baseline;
mod broker;
mod confirm;
mod connect;
mod connection;
mod connection_supervisor;
mod consumer_channels;
mod error;
mod intake;
mod namespace;
mod options;
mod overdue;
mod publish_batch;
mod publish_results;
mod publisher;
mod quarantine;
mod receipt;
mod removal;
mod repair;
mod server_info;
mod sockets;
mod subscription;
mod topology;
mod unresponsive_queues;
mod url;

pub use baseline::RabbitBaseline;
pub use broker::RabbitBroker;
pub use error::{Error, Result};
pub use intake::RabbitIntake;
pub use namespace::{delete_queues, inspect, purge_work_queue, try_quorum_queue};
pub use options::{Namespace, Options};
pub use server_info::{ServerInfo, Warning};
pub use url::AmqpUrl;
