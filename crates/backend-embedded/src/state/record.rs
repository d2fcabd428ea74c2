//! One operation as the state holds it.

use std::sync::Arc;

use drumline_backend::store::{self, Stamp, Summary};
use drumline_protocol::history::Entry;
use drumline_protocol::{
    Body, CommitId, FlowKey, Header, IndexKey, Operation, OperationId, Outputs, Report, UsageKey,
};

#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) header: Header,
    /// The body never changes, so versions share it.
    pub(super) body: Arc<Body>,
    pub(super) report: Arc<Report>,
    /// The stored entries of the history.
    pub(super) entries: Vec<Entry>,
    /// The outputs of its attempts.
    pub(super) outputs: Arc<Outputs>,
    /// The keys of its further indexes.
    pub(super) keys: Arc<[IndexKey]>,
    pub(super) flow: FlowKey,
    /// The key under which its organization is counted.
    pub(super) usage: UsageKey,
    pub(super) sequence: u64,
    /// The commit that created it, by which a repeated create is recognised.
    pub(super) created_by: CommitId,
    /// The stamp of its latest entry in the outbox; 0 before the first.
    pub(super) last_offer: Stamp,
}

impl Record {
    pub(super) fn operation(&self, id: OperationId) -> Operation {
        Operation {
            id,
            header: self.header.clone(),
            body: Body::clone(&self.body),
            report: Report::clone(&self.report),
            sequence: self.sequence,
        }
    }

    /// The operation without its data and its report.
    pub(super) fn summary(&self, id: OperationId) -> Summary {
        Summary {
            id,
            header: self.header.clone(),
            body: self.body.without_data(),
            sequence: self.sequence,
        }
    }

    /// The parts that a claim brings along.
    pub(super) fn parts(&self) -> store::Record {
        store::Record {
            body: Body::clone(&self.body),
            report: Report::clone(&self.report),
            sequence: self.sequence,
        }
    }
}
