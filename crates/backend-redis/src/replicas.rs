//! Waits until replicas have the writes that callers are about to rely on.
//!
//! ```text
//! create, commit ─→ answered by server S ─┐
//! create, commit ─→ answered by server S ─┼─ task: one write and WAIT for all, on a
//! create, commit ─→ answered by server S ─┘  connection of its own
//! ```
//!
//! WAIT holds up all that comes behind it on its connection, so it has one of its own.
//! There it would wait for nothing, because it waits for the writes of its connection. So
//! the task writes something itself: a replica that has this write has all before it. One
//! round stands for all callers that have come since the last one began.

use std::time::Duration;

use drumline_backend::store::{Error, Result};
use tokio::sync::{mpsc, oneshot};

use crate::link::{Life, Link};
use crate::reply;

/// The callers that may wait for a round; further ones wait before that.
const WAITING: usize = 1_024;
/// The time that replicas have to receive a write. A replica that follows needs less than
/// a millisecond; one that does not has no place in a promise to a caller.
const PATIENCE: Duration = Duration::from_secs(1);
/// The life of the key that is written, in seconds.
const PROBE_SECONDS: u16 = 60;

/// The result of waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    /// Enough replicas have the write.
    Yes,
    /// Another server has become the primary, which may or may not have the write.
    Elsewhere,
}

/// A handle to the task.
#[derive(Debug)]
pub(crate) struct Replicas(mpsc::Sender<Waiter>);

struct Waiter {
    life: Life,
    answer: oneshot::Sender<Result<Kept>>,
}

impl Replicas {
    /// Returns the handle, and the task, which its owner ends.
    pub(crate) fn new(
        link: Link,
        count: u16,
        probe: String,
    ) -> (Self, impl Future<Output = ()> + use<>) {
        let (sender, waiters) = mpsc::channel(WAITING);
        (Self(sender), serve(link, count, probe, waiters))
    }

    /// Waits until enough replicas have all that the server with this life has written so
    /// far.
    ///
    /// # Errors
    /// When too few have it in time: the write is done, and may be lost with the primary.
    pub(crate) async fn wait(&self, life: Life) -> Result<Kept> {
        let (answer, kept) = oneshot::channel();
        let sent = self.0.send(Waiter { life, answer }).await;
        match (sent, kept.await) {
            (Ok(()), Ok(kept)) => kept,
            _ => Err(unavailable("the store is closing".to_owned())),
        }
    }
}

async fn serve(link: Link, count: u16, probe: String, mut waiters: mpsc::Receiver<Waiter>) {
    let mut some = Vec::new();
    while waiters.recv_many(&mut some, WAITING).await > 0 {
        let round = round(&link, count, &probe).await;
        for Waiter { life, answer } in some.drain(..) {
            let kept = match &round {
                Ok(served) if *served == life => Ok(Kept::Yes),
                Ok(_another) => Ok(Kept::Elsewhere),
                Err(error) => Err(error.clone()),
            };
            // A caller that has given up does not listen.
            drop(answer.send(kept));
        }
    }
    // The store is going, and ends the task itself.
    std::future::pending::<()>().await;
}

/// Writes something and waits until so many replicas have it. Returns the life of the
/// server.
async fn round(link: &Link, count: u16, probe: &str) -> Result<Life> {
    let mut commands = redis::pipe();
    let write = commands.cmd("SET").arg(probe).arg("");
    write.arg("EX").arg(PROBE_SECONDS);
    let wait = commands.cmd("WAIT").arg(count);
    wait.arg(u64::try_from(PATIENCE.as_millis()).unwrap_or(u64::MAX));
    let (answers, life) = link.run_on("wait", &commands, PATIENCE).await?;
    let answer = answers.into_iter().last().ok_or_else(reply::unexpected)?;
    let have = reply::number(answer)?;
    if have >= u64::from(count) {
        Ok(life)
    } else {
        Err(unavailable(format!(
            "only {have} of {count} replicas have received it within {PATIENCE:?}: it may be stored, and may be lost \
             with the primary"
        )))
    }
}

fn unavailable(message: String) -> Error {
    Error::Unavailable {
        message,
        source: None,
    }
}
