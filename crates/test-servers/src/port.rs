//! A TCP port that no process uses.
//!
//! The port is taken from below the range that the kernel gives to outgoing
//! connections: a server that is killed and started again needs the same port,
//! and no client may have been given it meanwhile.

use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, TcpListener};

/// Below Linux's default `ip_local_port_range`, above the ports of services.
const LOWEST: u16 = 12_000;
const HIGHEST: u16 = 31_999;

/// More tries than there could be test servers on a machine.
const TRIES: u64 = 200;

/// A port on the loopback interface that was free a moment ago.
///
/// # Errors
/// When there is none.
pub fn free() -> anyhow::Result<u16> {
    let random = RandomState::new();
    for attempt in 0..TRIES {
        let offset = random.hash_one(attempt) % u64::from(HIGHEST - LOWEST);
        let port = LOWEST + u16::try_from(offset)?;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    anyhow::bail!("no free port between {LOWEST} and {HIGHEST}")
}
