//! Drumline's store and membership on Redis.
//!
//! Redis decides: every change of an operation is one script on one partition,
//! and a script knows effects (put into the dispatch set, leave the chain), not
//! states. The rules that choose the effects are Rust, in the protocol crate.
//!
//! ```text
//! RedisStore ─┬─ store/…     one file per verb: arguments in, answer out
//!             ├─ scripts/…   one .lua file per verb that writes
//!             ├─ link        one connection that rebuilds itself and repeats
//!             ├─ clock       the server's time, without a round trip
//!             └─ completions a second connection, for what has ended
//! ```
//!
//! Every verb is harmless to repeat, and the link repeats it: a timeout is not
//! a failure. What it does not do: speak to a Redis Cluster (the keys are ready
//! for one, each script touches one slot; the client is not), or encrypt.

mod clock;
mod completions;
mod facts;
mod keys;
mod link;
mod membership;
mod meta;
mod options;
mod record;
mod reply;
mod scripts;
mod store;

pub use facts::{Facts, inspect};
pub use membership::RedisMembership;
pub use options::Options;
pub use store::RedisStore;
