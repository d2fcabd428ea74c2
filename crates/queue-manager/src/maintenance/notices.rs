//! Notices: ends that are to be reported by webhook.
//!
//! ```text
//! notices of my partitions ─ operation ─ signed POST ─┬─ 2xx: done
//!    ▲                                                ├─ 410, or nowhere to send to: done
//!    ├──────── after a rest that grows ◀── else ──────┴─ after the last try: given up
//!    └──────── soon, uncounted ◀── its receiver is slow and has enough tries
//! ```
//!
//! A notice is removed after it was delivered. So it is never forgotten, and it
//! comes twice if a manager is lost in between, or if two managers maintain one
//! partition for a moment. Nothing else waits for a receiver: tries run beside
//! the looks, and their number is bounded.
//!
//! A look reads the earliest notices of each partition, and no more than there
//! is room to try. The notices of a silent receiver would stay the earliest and
//! hide those of all other receivers. So they are put behind the others, without
//! having been tried.

use std::collections::HashMap;
use std::time::Duration;

use drumline_backend::store::{self, Notice, Summary, Work};
use drumline_protocol::{OperationId, Partition};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use reqwest::Url;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, timeout};

use super::task::{Look, Task, for_each};
use crate::service::QueueManager;
use crate::webhook::{Delivery, Sender, Webhooks};

/// The time that a look waits for room while all tries are under way.
const ROOM_TIMEOUT: Duration = Duration::from_secs(1);
/// A host whose latest try is younger than this is quick enough to be waited
/// for. A longer time keeps other hosts waiting; a shorter one puts off tries
/// that end in a moment.
const QUICK: Duration = Duration::from_millis(200);
/// A notice that is delayed comes back after so many times the age of its
/// host's latest try: less often, the longer the host is silent.
const BACK_OFF: u32 = 4;
/// The time after which a notice comes back whose operation cannot be read:
/// only another release can report it.
const UNREADABLE: Duration = Duration::from_secs(60);
/// Notices that are delayed at the same time: enough to hide the round trips.
const PUT_OFF_AT_ONCE: usize = 16;

/// The task that delivers notices.
pub(super) struct Notices {
    sender: Sender,
    tries: JoinSet<()>,
    under_way: HashMap<Id, Try>,
    /// The partition with which the next look begins: all get their turn.
    turn: usize,
}

/// One try that is under way.
struct Try {
    id: OperationId,
    host: String,
    began: Instant,
}

/// A notice that is to be tried.
struct Due {
    notice: Notice,
    url: String,
    host: String,
}

impl Due {
    fn new(notice: Notice, operation: Summary) -> Self {
        let url = operation.body.webhook_url.unwrap_or_default();
        let host = Url::parse(&url).ok();
        let host = host.and_then(|url| url.host_str().map(str::to_owned));
        Self {
            notice,
            url,
            host: host.unwrap_or_default(),
        }
    }
}

impl Notices {
    /// Creates the task; `None` if there is nothing to sign with, or nothing
    /// to send with, and the notices are left to other managers.
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
                tracing::error!(%error, "a try of a webhook panicked or was aborted");
                error.id()
            }
        };
        self.under_way.remove(&id);
    }

    /// Waits until half of the tries have ended, but not for long.
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
        drop(timeout(ROOM_TIMEOUT, room).await);
    }

    fn is_under_way(&self, id: OperationId) -> bool {
        self.under_way.values().any(|other| other.id == id)
    }

    /// Starts the tries whose hosts have room, waiting a little for hosts that
    /// are quick. Returns the others, and the time for which each is to be put
    /// off.
    async fn start_all(
        &mut self,
        manager: &QueueManager,
        mut due: Vec<Due>,
    ) -> Vec<(OperationId, Duration)> {
        let longest = manager.options().webhooks.timeout;
        let mut put_off = Vec::new();
        loop {
            let mut waiting = Vec::new();
            for one in due {
                match self.crowded_since(manager, &one.host) {
                    None => self.start(manager, one),
                    Some(age) if age < QUICK => waiting.push(one),
                    Some(age) => {
                        let delay = age.saturating_mul(BACK_OFF).min(longest);
                        put_off.push((one.notice.id, delay));
                    }
                }
            }
            if waiting.is_empty() {
                return put_off;
            }
            due = waiting;
            // Elapsed: their hosts are not quick any more.
            if let Ok(Some(ended)) = timeout(QUICK, self.tries.join_next_with_id()).await {
                self.forget(ended);
            }
        }
    }

    /// The age of the latest try to a host that has no room for another;
    /// `None`: it has room.
    fn crowded_since(&self, manager: &QueueManager, host: &str) -> Option<Duration> {
        let most = manager.options().webhooks.at_once_per_host;
        let to_host = self.under_way.values().filter(|other| other.host == host);
        let ages: Vec<_> = to_host.map(|other| other.began.elapsed()).collect();
        if ages.len() < most {
            return None;
        }
        Some(ages.into_iter().min().unwrap_or(QUICK))
    }

    fn start(&mut self, manager: &QueueManager, due: Due) {
        let Due { notice, url, host } = due;
        let id = notice.id;
        let trying = deliver(manager.clone(), self.sender.clone(), url, notice);
        let task = self.tries.spawn(trying).id();
        let began = Instant::now();
        self.under_way.insert(task, Try { id, host, began });
    }
}

/// Puts notices behind the others, without counting a try.
async fn put_off(
    manager: &QueueManager,
    notices: Vec<(OperationId, Duration)>,
) -> store::Result<()> {
    let store = manager.store();
    stream::iter(notices)
        .map(|(id, delay)| store.notice_put_off(id, delay))
        .buffer_unordered(PUT_OFF_AT_ONCE)
        .try_collect()
        .await
}

impl Task for Notices {
    const NAME: &'static str = "notices";

    async fn look(&mut self, manager: &QueueManager, share: &[Partition]) -> store::Result<Look> {
        self.reap();
        let at_once = manager.options().webhooks.at_once;
        let room = at_once.saturating_sub(self.under_way.len());
        // Notices that are under way are still there, and come first.
        let with_notices = manager.store().with_work(Work::Notices, share).await?;
        if with_notices.partitions.is_empty() && self.under_way.is_empty() {
            return Ok(Look::Nothing(with_notices.next));
        }
        let mut due = for_each(&with_notices.partitions, |partition| {
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
        let found = manager.summaries(&ids).await?;
        let is_more = room <= due.len();
        let (mut readable, mut behind) = (Vec::new(), Vec::new());
        for (notice, operation) in due.into_iter().zip(found) {
            if let Some(operation) = operation {
                readable.push(Due::new(notice, operation));
            } else {
                // Removed, or of a later release, which will report it.
                tracing::debug!(id = %notice.id, "the operation of a notice cannot be read");
                behind.push((notice.id, UNREADABLE));
            }
        }
        behind.extend(self.start_all(manager, readable).await);
        put_off(manager, behind).await?;
        if !is_more {
            return Ok(Look::Clear);
        }
        if self.under_way.len() >= at_once {
            self.make_room().await;
        }
        Ok(Look::More)
    }
}

/// Makes one try, and acts on its result. If the future is dropped in between,
/// the notice is still there, and comes again.
async fn deliver(manager: QueueManager, sender: Sender, url: String, notice: Notice) {
    let store = manager.store();
    let id = notice.id;
    // Here and not by the look: it is in memory for no longer than its try.
    // Removed, or of a later release: the next look puts the notice behind the
    // others. Or the store is unavailable: the notice comes again.
    let read = manager.readable(&[id]).await;
    let Ok(Some(Some(operation))) = read.map(|mut one| one.pop()) else {
        return;
    };
    let delivery = sender.deliver(&url, &operation, store.now()).await;
    let tried = notice.attempt.saturating_add(1);
    let webhooks = &manager.options().webhooks;
    let rest = webhooks.rest_after(tried, manager.jitter());
    let noted = match (delivery, rest) {
        (Delivery::Taken, _) => {
            manager.metrics().webhook_tried("delivered");
            tracing::debug!(%id, tried, "webhook delivered");
            store.notice_done(id).await
        }
        (Delivery::Unwanted(why), _) => {
            manager.metrics().webhook_tried("unwanted");
            tracing::warn!(%id, tried, why, "webhook not delivered; it is not retried");
            store.notice_done(id).await
        }
        (Delivery::Failed(why), Some(rest)) => {
            manager.metrics().webhook_tried("failed");
            tracing::info!(%id, tried, why, ?rest, "webhook not delivered; it is retried");
            store.notice_later(id, rest).await
        }
        (Delivery::Failed(why), None) => {
            manager.metrics().webhook_tried("given up");
            tracing::warn!(%id, tried, why, "webhook given up");
            store.notice_done(id).await
        }
    };
    if let Err(error) = noted {
        tracing::debug!(%id, %error, "the result of a webhook was not noted; the webhook is sent again");
    }
}
