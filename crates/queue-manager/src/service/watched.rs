//! Operations that people look at: read once a second for all of them together, and
//! only while a person looks.
//!
//! Each viewer asks once a second. The first to ask reads, and the others are shown
//! what was read: a hundred viewers of one page cost the store as much as one.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use drumline_backend::store::{Filter, Summary};
use drumline_protocol::OperationId;
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::{Actor, Query, QueueManager};
use crate::error::Result;

/// The time for which a reading is shown: less than the interval of a viewer, so
/// that each viewer sees a new one each time.
const FRESH: Duration = Duration::from_millis(900);
/// The newest operations of a list that are counted.
const NEWEST: usize = 50;

/// An operation, or none if it was removed.
type Row = Option<Arc<Summary>>;

/// The latest readings.
#[derive(Debug)]
pub(super) struct Readings {
    /// One viewer reads at a time, so that the others find what it has read.
    turn: Semaphore,
    // The lock is held for a moment, never across an await.
    latest: Mutex<Latest>,
}

#[derive(Debug, Default)]
struct Latest {
    rows: HashMap<OperationId, (Instant, Row)>,
    lists: Vec<(Filter, Instant, Arc<[OperationId]>)>,
}

impl Default for Readings {
    fn default() -> Self {
        Self {
            turn: Semaphore::new(1),
            latest: Mutex::default(),
        }
    }
}

impl Latest {
    /// Forgets what is not shown any more.
    fn forget(&mut self) {
        self.rows.retain(|_, (since, _)| since.elapsed() < FRESH);
        self.lists.retain(|(_, since, _)| since.elapsed() < FRESH);
    }

    fn list(&self, filter: &Filter) -> Option<Arc<[OperationId]>> {
        let fresh = |since: &Instant| since.elapsed() < FRESH;
        let mut lists = self.lists.iter();
        let found = lists.find(|(of, since, _)| of == filter && fresh(since));
        found.map(|(_, _, ids)| Arc::clone(ids))
    }
}

impl QueueManager {
    /// Operations of the caller's organization, as they were a moment ago, in the
    /// order of `ids`. `None` for one that was removed, or is of another
    /// organization. Cancel-safe.
    ///
    /// # Errors
    /// When the store is unavailable.
    pub(crate) async fn watched(&self, actor: &Actor, ids: &[OperationId]) -> Result<Vec<Row>> {
        let readings = &self.shared.readings;
        let _turn = readings.turn.acquire().await;
        let missing: Vec<OperationId> = {
            let mut latest = readings.latest.lock();
            latest.forget();
            let missing = ids.iter().filter(|id| !latest.rows.contains_key(id));
            missing.copied().collect()
        };
        let mut rows: HashMap<OperationId, Row> = HashMap::new();
        if !missing.is_empty() {
            let found = self.summaries(&missing).await?;
            let now = Instant::now();
            let mut latest = readings.latest.lock();
            for (id, found) in missing.into_iter().zip(found) {
                let row = found.map(Arc::new);
                latest.rows.insert(id, (now, row.clone()));
                rows.insert(id, row);
            }
        }
        let latest = readings.latest.lock();
        let row = |id: &OperationId| {
            let read = rows.get(id).cloned();
            let row = read.or_else(|| latest.rows.get(id).map(|(_, row)| row.clone()));
            let is_own = |one: &Arc<Summary>| one.body.organization == actor.organization;
            row.flatten().filter(is_own)
        };
        Ok(ids.iter().map(row).collect())
    }

    /// The ids of the newest operations that a filter selects, as of a moment ago.
    /// Cancel-safe.
    ///
    /// # Errors
    /// When the store is unavailable.
    pub(crate) async fn watched_newest(
        &self,
        actor: &Actor,
        filter: &Filter,
    ) -> Result<Arc<[OperationId]>> {
        let filter = Filter {
            organization: Some(actor.organization.clone()),
            ..filter.clone()
        };
        let readings = &self.shared.readings;
        let _turn = readings.turn.acquire().await;
        let known = readings.latest.lock().list(&filter);
        if let Some(known) = known {
            return Ok(known);
        }
        let query = Query {
            filter,
            cursor: None,
            limit: NEWEST,
        };
        let page = self.glance(actor, &query).await?;
        let ids: Arc<[OperationId]> = page.operations.iter().map(|one| one.id).collect();
        let mut latest = readings.latest.lock();
        latest.forget();
        latest
            .lists
            .push((query.filter, Instant::now(), Arc::clone(&ids)));
        Ok(ids)
    }
}
