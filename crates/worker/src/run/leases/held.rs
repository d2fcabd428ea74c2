//! The runs whose leases a worker renews.

use std::collections::{BTreeMap, btree_map};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use drumline_protocol::{Fence, OperationId};

use crate::context::execution::Execution;
use crate::context::stop::StopReason;

/// The runs whose leases the worker renews now.
#[derive(Debug, Default)]
pub(crate) struct Held(Mutex<Inner>);

#[derive(Debug, Default)]
pub(super) struct Inner {
    /// Runs whose lease the store did not renew, because another worker may have it.
    refused: u64,
    /// Sorted, so that renewals are the same in every run of a simulation.
    pub(super) executions: BTreeMap<OperationId, Arc<Execution>>,
    /// The reason for which all handlers are asked to stop, also the handlers
    /// that have yet to start.
    stopping: Option<StopReason>,
}

impl Held {
    pub(super) fn inner(&self) -> MutexGuard<'_, Inner> {
        // Each change is a single call that leaves the map whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Renews the lease of a run from now on.
    pub(crate) fn hold(&self, execution: &Arc<Execution>) {
        let mut inner = self.inner();
        if let Some(reason) = inner.stopping {
            execution.stop.request(reason);
        }
        let before = inner
            .executions
            .insert(execution.operation.id, Arc::clone(execution));
        // The store has lost the claim of a run that is still under way, and this worker
        // was granted another one.
        if let Some(before) = before
            && before.fence != execution.fence
            && !before.finishing.load(Ordering::Acquire)
        {
            before.stop.request(StopReason::LeaseLost);
        }
    }

    /// Stops a run whose lease the store did not renew, because another worker may
    /// have it.
    pub(super) fn refuse(&self, execution: &Execution) {
        if !execution.stop.is_lost() {
            self.inner().refused += 1;
        }
        execution.stop.request(StopReason::LeaseLost);
    }

    /// The number of runs whose lease the store did not renew.
    pub(crate) fn refused(&self) -> u64 {
        self.inner().refused
    }

    /// Ends the renewals of a run's lease.
    pub(crate) fn release(&self, execution: &Execution) {
        let mut inner = self.inner();
        // This worker may hold the same operation again, with another fence.
        if let btree_map::Entry::Occupied(entry) = inner.executions.entry(execution.operation.id)
            && entry.get().fence == execution.fence
        {
            entry.remove();
        }
    }

    /// Asks every handler to stop.
    pub(crate) fn stop_all(&self, reason: StopReason) {
        let mut inner = self.inner();
        inner.stopping = Some(reason);
        for execution in inner.executions.values() {
            execution.stop.request(reason);
        }
    }

    /// The runs of these locks that the worker has now.
    pub(super) fn of(
        &self,
        locks: &[(OperationId, Fence)],
    ) -> impl Iterator<Item = Arc<Execution>> {
        let inner = self.inner();
        let with_fence = |(id, fence): &(OperationId, Fence)| {
            let execution = inner.executions.get(id)?;
            (execution.fence == *fence).then(|| Arc::clone(execution))
        };
        locks
            .iter()
            .filter_map(with_fence)
            .collect::<Vec<_>>()
            .into_iter()
    }

    pub(super) fn all(&self) -> Vec<Arc<Execution>> {
        self.inner().executions.values().map(Arc::clone).collect()
    }
}
