//! Drumline as its users run it: the producer and the worker of `make bench-peers`,
//! on the SDK alone.
//!
//! ```text
//! drumline-peer produce URL   creates what the lines on standard input order
//! drumline-peer work          runs handlers, and tells what they have seen
//! ```
//!
//! tests/peers/README.md has the lines that the driver and the programs of all peers
//! exchange. Connections, settings and limits are those of the SDK and of the
//! `DRUMLINE_…` variables.

mod line;
mod payload;
mod produce;
mod work;

use anyhow::bail;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    match (arguments.next().as_deref(), arguments.next()) {
        (Some("produce"), Some(server)) => produce::run(&server),
        (Some("work"), None) => work::run(),
        _ => bail!("usage: drumline-peer produce URL | drumline-peer work"),
    }
}
