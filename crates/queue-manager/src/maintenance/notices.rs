//! Notices: ends that somebody is to be told of by webhook.
//!
//! ```text
//! notices of my partitions ─ operation ─ signed POST ─┬─ 2xx: done
//!    ▲                                                ├─ 410, or nowhere to send to: done
//!    └──────── after a rest that grows ◀── else ──────┴─ after the last try: given up
//! ```
//!
//! A notice is taken out after it was delivered, so it is never forgotten, and
//! comes twice where a manager is lost in between, or two look after one
//! partition for a moment. Nothing else waits for a receiver: tries run beside
//! the looks, so many at once and no more.

use std::collections::HashMap;
use std::time::Duration;

use drumline_backend::store::{self, Notice};
use drumline_protocol::{Operation, OperationId, Partition};
use reqwest::Url;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::timeout;

use super::Rhythm;
use super::chore::{Chore, Look, for_each};
use crate::manager::QueueManager;
use crate::webhook::{Delivery, Sender, Webhooks};

/// How long a look waits for room while all tries are under way.
const PATIENCE: Duration = Duration::from_secs(1);

/// See the module's text.
pub(super) struct Notices {
    sender: Sender,
    tries: JoinSet<()>,
    under_way: HashMap<Id, Try>,
    /// With which partition the next look begins: all get their turn.
    turn: usize,
}

/// One try that is under way.
struct Try {
    id: OperationId,
    host: String,
}

impl Notices {
    /// The chore; `None` where there is nothing to sign with, or nothing to
    /// send with, and the notices are left to other managers.
    pub(super) fn new(webhooks: &Webhooks) -> Option<Self> {
        if !webhooks.are_on() {
            return None;
        }
        match Sender::new(webhooks) {
            Ok(sender) => Some(Self {
                sender,
                tries: JoinSet::new(),
                under_way: HashMap::new(),
                turn: 0,
            }),
            Err(error) => {
                tracing::error!(%error, "this manager cannot send webhooks");
                None
            }
        }
    }

    /// Forgets the tries that have ended.
    fn reap(&mut self) {
        while let Some(ended) = self.tries.try_join_next_with_id() {
            self.forget(ended);
        }
    }

    fn forget(&mut self, ended: Result<(Id, ()), JoinError>) {
        let id = match ended {
            Ok((id, ())) => id,
            Err(error) => {
                tracing::error!(%error, "a webhook's try has ended badly");
                error.id()
            }
        };
        self.under_way.remove(&id);
    }

    /// Waits until half of what is under way has ended, but not for long.
    async fn make_room(&mut self) {
        let few = self.under_way.len() / 2;
        let room = async {
            while self.under_way.len() > few {
                match self.tries.join_next_with_id().await {
                    Some(ended) => self.forget(ended),
                    None => return,
                }
            }
        };
        // Elapsed: the next look waits again.
        drop(timeout(PATIENCE, room).await);
    }

    fn is_under_way(&self, id: OperationId) -> bool {
        self.under_way.values().any(|other| other.id == id)
    }

    /// Starts a try; `false` where its host has no room for one.
    fn start(&mut self, manager: &QueueManager, operation: Operation, notice: Notice) -> bool {
        let url = operation.body.webhook_url.clone().unwrap_or_default();
        let host = Url::parse(&url).ok();
        let host = host.and_then(|url| url.host_str().map(str::to_owned));
        let host = host.unwrap_or_default();
        let to_host = self.under_way.values().filter(|other| other.host == host);
        if to_host.count() >= manager.options().webhooks.at_once_per_host {
            return false;
        }
        let id = operation.id;
        let trying = tell(manager.clone(), self.sender.clone(), url, operation, notice);
        let task = self.tries.spawn(trying).id();
        self.under_way.insert(task, Try { id, host });
        true
    }
}

impl Chore for Notices {
    const NAME: &'static str = "notices";

    fn rest(rhythm: &Rhythm) -> Duration {
        rhythm.notices
    }

    async fn look(&mut self, manager: &QueueManager, share: &[Partition]) -> store::Result<Look> {
        self.reap();
        let at_once = manager.options().webhooks.at_once;
        let room = at_once.saturating_sub(self.under_way.len());
        // Those that are under way are still there, and come first.
        let mut due = for_each(share, |partition| {
            manager.store().notices(partition, at_once)
        })
        .await?;
        if due.is_empty() {
            return Ok(Look::Clear);
        }
        self.turn = (self.turn + 1) % due.len();
        due.rotate_left(self.turn);
        let due = due.into_iter().flatten();
        let due: Vec<Notice> = due
            .filter(|notice| !self.is_under_way(notice.id))
            .take(room)
            .collect();
        let ids: Vec<_> = due.iter().map(|notice| notice.id).collect();
        let found = manager.readable(&ids).await?;
        let mut is_more = room <= due.len();
        for (notice, operation) in due.into_iter().zip(found) {
            match operation {
                Some(operation) => is_more |= !self.start(manager, operation, notice),
                // Removed, or of a later release, which will tell it.
                None => tracing::debug!(id = %notice.id, "nothing to tell"),
            }
        }
        if !is_more || self.under_way.is_empty() {
            return Ok(Look::Clear);
        }
        self.make_room().await;
        Ok(Look::More)
    }
}

/// One try, and what follows from it. Dropped in between, the notice is still
/// there, and comes again.
async fn tell(
    manager: QueueManager,
    sender: Sender,
    url: String,
    operation: Operation,
    notice: Notice,
) {
    let store = manager.store();
    let id = operation.id;
    let delivery = sender.tell(&url, &operation, store.now()).await;
    let tried = notice.attempt.saturating_add(1);
    let rest = manager
        .options()
        .webhooks
        .rest_after(tried, fastrand::f64());
    let noted = match (delivery, rest) {
        (Delivery::Taken, _) => {
            manager.metrics().told("delivered");
            tracing::debug!(%id, tried, "webhook delivered");
            store.notice_done(id).await
        }
        (Delivery::Unwanted(why), _) => {
            manager.metrics().told("unwanted");
            tracing::warn!(%id, tried, why, "webhook not wanted");
            store.notice_done(id).await
        }
        (Delivery::Failed(why), Some(rest)) => {
            manager.metrics().told("failed");
            tracing::info!(%id, tried, why, ?rest, "webhook not delivered, to be tried again");
            store.notice_later(id, rest).await
        }
        (Delivery::Failed(why), None) => {
            manager.metrics().told("given up");
            tracing::warn!(%id, tried, why, "webhook given up");
            store.notice_done(id).await
        }
    };
    if let Err(error) = noted {
        tracing::debug!(%id, %error, "a webhook's try was not noted: it comes again");
    }
}
