//! Due: Suspended operations whose time has come become Ready.
//!
//! Whether it has come is judged by the store's clock. A batch is one commit
//! per operation in one round trip; where somebody was faster, the due set
//! tells in the next look whether there is still something to do.

use std::time::Duration;

use drumline_backend::store::{self, Commit, Committed, Guard};
use drumline_protocol::transition::At;
use drumline_protocol::{Event, Operation, Partition, apply};

use super::Rhythm;
use super::chore::{Chore, Look, for_each};
use crate::manager::QueueManager;

/// See the module's text.
pub(super) struct Due;

impl Chore for Due {
    const NAME: &'static str = "due";

    fn rest(rhythm: &Rhythm) -> Duration {
        rhythm.due
    }

    async fn look(&mut self, manager: &QueueManager, share: &[Partition]) -> store::Result<Look> {
        let looks = for_each(share, |partition| wake(manager, partition)).await?;
        Ok(if looks.contains(&Look::More) {
            Look::More
        } else {
            Look::Clear
        })
    }
}

async fn wake(manager: &QueueManager, partition: Partition) -> store::Result<Look> {
    let store = manager.store();
    let batch = manager.options().rhythm.batch;
    let due = store.due(partition, batch).await?;
    if due.is_empty() {
        return Ok(Look::Clear);
    }
    let found = manager.readable(&due).await?;
    let mut waking: Vec<Operation> = Vec::new();
    let mut commits = Vec::new();
    for operation in found.into_iter().flatten() {
        let at = At {
            now: store.now(),
            commit: manager.ids().commit(),
        };
        // Refused: it is not (or no longer) due, as its newest header says.
        if let Ok(transition) = apply(&operation.header, Event::Due, at) {
            commits.push(Commit::new(
                operation.id,
                &operation.header,
                &transition,
                Guard::Open,
            ));
            waking.push(Operation {
                header: transition.header,
                ..operation
            });
        }
    }
    let answers = store.commit(commits).await?;
    let mut woken = 0;
    for (operation, answer) in waking.iter().zip(answers) {
        if let Committed::Done(done) = answer {
            woken += 1;
            manager.outlet().enqueue_all(operation, &done);
        }
    }
    manager.metrics().woken.inc_by(woken);
    // Without progress there is no hurry.
    Ok(if due.len() >= batch && woken > 0 {
        Look::More
    } else {
        Look::Clear
    })
}
