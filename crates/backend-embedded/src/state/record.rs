//! One operation as the state holds it.

use std::sync::Arc;

use drumline_backend::store::{self, Stamp, Summary};
use drumline_protocol::history::Entry;
use drumline_protocol::{
    Body, CommitId, FlowKey, Header, IndexKey, Operation, OperationId, Outputs, Report, UsageKey,
};

use super::data::KeptBody;
use super::kept::{Encoded, KeptHeader};

#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) header: KeptHeader,
    /// The body never changes.
    pub(super) body: KeptBody,
    /// None for an operation that has none of them: most of those that wait.
    pub(super) past: Option<Box<Past>>,
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

/// The parts of an operation that its attempts leave behind.
#[derive(Clone, Debug, Default)]
pub(super) struct Past {
    /// The report, unless it is empty.
    report: Option<Encoded<Report>>,
    /// The bytes of its parts that may be large.
    report_bytes: usize,
    /// The stored entries of the history.
    pub(super) entries: Vec<Entry>,
    /// The outputs of its attempts, if one has printed something.
    pub(super) outputs: Option<Box<Outputs>>,
}

impl Record {
    /// The operation, without data that are kept apart.
    pub(super) fn operation(&self, id: OperationId) -> Operation {
        Operation {
            id,
            header: self.header.read(),
            body: self.body.read(),
            report: self.report(),
            sequence: self.sequence,
        }
    }

    /// The operation without its data and its report.
    pub(super) fn summary(&self, id: OperationId) -> Summary {
        Summary {
            id,
            header: self.header.read(),
            body: Body {
                data: None,
                ..self.body.read()
            },
            sequence: self.sequence,
        }
    }

    /// The parts that a claim brings along, without data that are kept apart.
    pub(super) fn parts(&self) -> store::Record {
        store::Record {
            body: self.body.read(),
            report: self.report(),
            sequence: self.sequence,
        }
    }

    pub(super) fn header(&self) -> Header {
        self.header.read()
    }

    pub(super) fn report(&self) -> Report {
        let report = self.encoded_report();
        report.map_or_else(Report::default, Encoded::read)
    }

    /// The report, unless it is empty.
    pub(super) fn encoded_report(&self) -> Option<&Encoded<Report>> {
        self.past.as_ref()?.report.as_ref()
    }

    pub(super) fn set_report(&mut self, report: &Report) {
        let has_content = *report != Report::default();
        if has_content || self.encoded_report().is_some() {
            let past = self.past_mut();
            past.report = has_content.then(|| Encoded::of(report));
            past.report_bytes = report.bytes();
        }
    }

    /// The stored entries of the history.
    pub(super) fn entries(&self) -> &[Entry] {
        let past = self.past.as_ref();
        past.map_or(&[], |past| past.entries.as_slice())
    }

    /// The outputs of the attempts, if there are some.
    pub(super) fn outputs(&self) -> Option<&Outputs> {
        let outputs = self.past.as_ref()?.outputs.as_deref();
        outputs.filter(|outputs| !outputs.is_empty())
    }

    /// The parts that attempts leave behind, to be written.
    pub(super) fn past_mut(&mut self) -> &mut Past {
        self.past.get_or_insert_default()
    }

    /// The bytes of the parts that may be large.
    pub(super) fn large_bytes(&self) -> usize {
        self.body.data_bytes() + self.past.as_ref().map_or(0, |past| past.report_bytes)
    }
}
