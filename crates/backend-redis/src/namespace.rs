//! A namespace as a whole: its store is looked for, measured or removed, and
//! never made. For `drumline doctor` and `drumline bench`; no port can make a
//! store forget.

use std::collections::BTreeMap;
use std::time::Duration;

use drumline_backend::store::Result;
use redis::Value;

use crate::keys;
use crate::link::Link;
use crate::options::Options;
use crate::reply::{self, Parts};

/// Keys that are removed or measured in one round trip.
const KEYS: usize = 500;
/// Keys that one SCAN looks at.
const SCAN: usize = 5_000;
/// The time for one answer, and for all repetitions: a removal is in no hurry,
/// and the server may be busy with what was measured.
const PATIENCE: Duration = Duration::from_secs(60);

/// Returns true if there is a store in the namespace.
/// [`RedisStore::connect`](crate::RedisStore::connect) would make one.
///
/// # Errors
/// When the server is unavailable.
pub async fn store_exists(options: &Options) -> Result<bool> {
    let mut exists = redis::cmd("EXISTS");
    exists.arg(keys::meta(options.checked_namespace()?));
    let answer = Link::new(options)?.run_one("exists", exists).await?;
    Ok(reply::number(answer)? == 1)
}

/// Removes all operations of a namespace; the store itself stays. No process
/// may use the store meanwhile.
///
/// # Errors
/// When the server is unavailable.
pub async fn remove_operations(options: &Options) -> Result<()> {
    // Counters must go on, because stamps and fences only ever grow. Behind
    // `{m` are the store's identity and its members.
    remove(options, |key| {
        !key.ends_with(b":tick") && !key.windows(2).any(|pair| pair == b"{m")
    })
    .await
}

/// Removes the store of a namespace with all that it holds. No process may use
/// the store any more.
///
/// # Errors
/// When the server is unavailable.
pub async fn remove_store(options: &Options) -> Result<()> {
    remove(options, |_key| true).await
}

/// Measures the bytes of Redis' memory that a namespace takes, by kind of key:
/// `records`, `indexes`, `outbox` and so on. Looks at every key, so it is for a
/// namespace of a measurement.
///
/// # Errors
/// When the server is unavailable, or refuses `MEMORY USAGE`.
pub async fn memory_by_kind(options: &Options) -> Result<BTreeMap<&'static str, u64>> {
    let link = patient_link(options)?;
    let mut bytes = BTreeMap::new();
    for (_place, link) in link.each().await? {
        add_memory(&link, options, &mut bytes).await?;
    }
    Ok(bytes)
}

async fn add_memory(
    link: &Link,
    options: &Options,
    bytes: &mut BTreeMap<&'static str, u64>,
) -> Result<()> {
    for some in keys_of(link, options).await?.chunks(KEYS) {
        let mut questions = redis::pipe();
        for key in some {
            let question = questions.cmd("MEMORY").arg("USAGE").arg(key);
            question.arg("SAMPLES").arg(0);
        }
        let answers = link.run("memory", &questions).await?;
        for (key, answer) in some.iter().zip(answers) {
            // A key that has expired meanwhile takes nothing.
            if answer != Value::Nil {
                *bytes.entry(keys::kind(key)).or_default() += reply::number(answer)?;
            }
        }
    }
    Ok(())
}

/// Removes the keys of a namespace that `goes` chooses.
async fn remove(options: &Options, goes: impl Fn(&[u8]) -> bool) -> Result<()> {
    for (_place, link) in patient_link(options)?.each().await? {
        let found = keys_of(&link, options).await?;
        let going: Vec<Vec<u8>> = found.into_iter().filter(|key| goes(key)).collect();
        for some in going.chunks(KEYS) {
            let mut unlink = redis::pipe();
            // The keys of one command would have to be in one slot of a cluster.
            for key in some {
                unlink.cmd("UNLINK").arg(key);
            }
            link.run("unlink", &unlink).await?;
        }
    }
    Ok(())
}

fn patient_link(options: &Options) -> Result<Link> {
    Link::new(&Options {
        response_timeout: PATIENCE,
        patience: PATIENCE,
        ..options.clone()
    })
}

/// All keys of a namespace on one server.
async fn keys_of(link: &Link, options: &Options) -> Result<Vec<Vec<u8>>> {
    let pattern = format!("{}:{{*", options.checked_namespace()?);
    let mut keys = Vec::new();
    let mut cursor = b"0".to_vec();
    loop {
        let mut scan = redis::cmd("SCAN");
        scan.arg(&cursor);
        scan.arg("MATCH").arg(&pattern).arg("COUNT").arg(SCAN);
        let mut answer = Parts::of(link.run_one("scan", scan).await?)?;
        cursor = answer.bytes()?;
        let mut some = answer.parts()?;
        while some.len() > 0 {
            keys.push(some.bytes()?);
        }
        if cursor == b"0" {
            return Ok(keys);
        }
    }
}
