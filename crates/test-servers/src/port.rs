//! A TCP port that no process uses.
//!
//! The port is taken from below the range that the kernel gives to outgoing
//! connections: a server that is killed and started again needs the same port,
//! and no client may have been given it meanwhile.
//!
//! A server listens some time after its port was chosen, RabbitMQ after seconds. Until
//! then another test would find the port free, too. So it is this process's own from the
//! moment it was chosen: a locked file says so, which the kernel unlocks at its end.

use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::Context as _;
use rustix::process::getuid;

/// Below Linux's default `ip_local_port_range`, above the ports of services.
const LOWEST: u16 = 12_000;
const HIGHEST: u16 = 31_999;

/// More tries than there could be test servers on a machine.
const TRIES: u64 = 200;

/// The files of the ports that this process has chosen.
static CHOSEN: Mutex<Vec<File>> = Mutex::new(Vec::new());

/// A port on the loopback interface that was free a moment ago, and that no other process
/// gets from here as long as this one lives.
///
/// # Errors
/// When there is none, or the files that say so cannot be written.
pub fn free() -> anyhow::Result<u16> {
    let folder = folder();
    std::fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
    let random = RandomState::new();
    for attempt in 0..TRIES {
        let offset = random.hash_one(attempt) % u64::from(HIGHEST - LOWEST);
        let port = LOWEST + u16::try_from(offset)?;
        if let Some(file) = choose(&folder, port)? {
            let mut chosen = CHOSEN.lock().unwrap_or_else(PoisonError::into_inner);
            chosen.push(file);
            return Ok(port);
        }
    }
    anyhow::bail!("no free port between {LOWEST} and {HIGHEST}")
}

/// The folder of the locked files: each user of the machine has one.
fn folder() -> PathBuf {
    let name = format!("drumline-test-ports-{}", getuid().as_raw());
    std::env::temp_dir().join(name)
}

/// Makes a port this process's own, unless it is another one's or in use.
fn choose(folder: &Path, port: u16) -> anyhow::Result<Option<File>> {
    let path = folder.join(port.to_string());
    let file = File::options().create(true).append(true).open(&path);
    let file = file.with_context(|| format!("open {}", path.display()))?;
    let is_ours = file.try_lock().is_ok();
    let is_unused = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    Ok((is_ours && is_unused).then_some(file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_chosen_once_as_long_as_nothing_listens_there() {
        let port = free().unwrap();
        assert!(choose(&folder(), port).unwrap().is_none());
    }
}
