//! The memory of processes and of Redis, in bytes.

use anyhow::{Context as _, Result, bail};

use crate::data_set::{Answer, Redis};

/// The memory that a process has now.
///
/// # Errors
/// When there is no such process.
pub fn resident(pid: u32) -> Result<u64> {
    status(pid, "VmRSS:")
}

/// The most memory that a process has had.
///
/// # Errors
/// When there is no such process.
pub fn peak(pid: u32) -> Result<u64> {
    status(pid, "VmHWM:")
}

fn status(pid: u32, name: &str) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find(|line| line.starts_with(name));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    Ok(kib.context("a line of the status")?.parse::<u64>()? * 1024)
}

/// The memory that the Redis at `address` uses: what it holds against `maxmemory`.
///
/// # Errors
/// When it cannot be reached.
pub async fn used_memory(address: &str) -> Result<u64> {
    let mut redis = Redis::connect(address).await?;
    let info = redis.call(&[b"INFO".to_vec(), b"memory".to_vec()]).await?;
    let Answer::Bytes(Some(info)) = info else {
        bail!("no information: {info:?}");
    };
    let info = String::from_utf8(info)?;
    let bytes = info
        .lines()
        .find_map(|line| line.strip_prefix("used_memory:"));
    Ok(bytes.context("used_memory")?.trim().parse()?)
}
