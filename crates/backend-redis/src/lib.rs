//! Drumline's store, membership and limiter on Redis.
//!
//! Redis decides: every change of an operation is one script on one partition,
//! and a script knows effects (put into the outbox, leave the chain), not
//! states. The rules that choose the effects are Rust, in the protocol crate.
//!
//! ```text
//! RedisStore ─┬─ store/…     one file per verb: arguments in, answer out
//!             ├─ scripts/…   one .lua file per verb that writes
//!             ├─ link        a connection to each server, which rebuilds itself, and repeats
//!             │   └─ connect one place that opens sockets, with TLS or without,
//!             │              to the primary that sentinels name where there are some
//!             ├─ replicas    waits until replicas have a write, where that is wanted
//!             ├─ accepted    counts what a promotion has lost
//!             ├─ clock       the server's time, without a round trip
//!             └─ completions a second connection, for the ends
//! ```
//!
//! Every verb is harmless to repeat, and the link repeats it: a timeout is not
//! a failure.
//!
//! The keys of a partition are in one slot of a Redis Cluster, and the link sends each command
//! to the node of its slot. On a single server one call takes several partitions, because a call
//! costs as much as several items in it; on a cluster it takes one.

mod accepted;
mod baseline;
mod clock;
mod cluster_view;
mod completions;
mod connect;
mod keys;
mod limiter;
mod link;
mod membership;
mod namespace;
mod options;
mod record;
mod replicas;
mod reply;
mod rights;
mod scripts;
mod server_info;
mod store;
mod store_format;

pub use baseline::RedisBaseline;
pub use cluster_view::{ClusterView, cluster_view};
pub use connect::{SentinelView, check_url, sentinel_views};
pub use limiter::RedisLimiter;
pub use membership::RedisMembership;
pub use namespace::{memory_by_kind, remove_operations, remove_store, store_exists};
pub use options::Options;
pub use rights::{MissingRight, missing_rights};
pub use server_info::{ServerInfo, inspect, inspect_each};
pub use store::{IndexUse, RebuildStep, RedisStore};
