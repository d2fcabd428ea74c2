//! Private servers for tests: start, kill, freeze, wipe; and a bad network.
//!
//! Every server has its own ports, its own temporary directory and (RabbitMQ)
//! its own name service, so that tests disturb neither each other nor a server
//! that happens to run on the machine. No containers.
//!
//! Nothing is left behind: dropping a server kills it and removes its files,
//! and when the test process itself dies, by whatever signal, a `reaper`
//! that reads a pipe from it does the same. Only the empty files that say
//! whose a port is stay, in the folder for temporary files.
//!
//! The crate does not install the servers. If the programs are missing,
//! starting fails and names the packages; a test is never skipped.

mod authority;
mod port;
mod process;
mod prometheus;
mod proxy;
mod questions;
mod rabbit;
mod rabbit_cluster;
mod ready;
mod reaper;
mod redis;
mod redis_cluster;
mod redis_group;
mod server_dir;
mod shared;
mod tls_port;

pub use authority::{Authority, Certificate};
pub use port::free as free_port;
pub use prometheus::Prometheus;
pub use proxy::{Direction, TcpProxy};
pub use rabbit::{RabbitOptions, RabbitServer};
pub use rabbit_cluster::RabbitCluster;
pub use redis::{RedisOptions, RedisServer};
pub use redis_cluster::RedisCluster;
pub use redis_group::RedisGroup;
pub use shared::{AMQP_URL, REDIS_CLUSTER_URL, REDIS_URL, amqp_url, redis_cluster_url, redis_url};
pub use tls_port::TlsPort;
