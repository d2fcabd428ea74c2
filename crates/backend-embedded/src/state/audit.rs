//! The audit stream: the newest entries, and the batches that were added lately.

use std::collections::VecDeque;

use drumline_backend::store::{AUDIT_ENTRIES, AuditEntry, AuditPlace};
use drumline_protocol::{CommitId, Timestamp};

use super::State;

/// Batches that are remembered. Callers repeat one at once, or never.
const BATCHES: usize = 64;

/// The entries, oldest first.
#[derive(Clone, Debug, Default)]
pub(super) struct AuditStream {
    pub(super) entries: VecDeque<AuditEntry>,
    pub(super) batches: VecDeque<CommitId>,
}

impl AuditStream {
    /// The place of the next entry.
    fn next(&self, now: Timestamp) -> AuditPlace {
        let now = AuditPlace {
            ms: u64::try_from(now.as_millis()).unwrap_or(0),
            number: 0,
        };
        match self.entries.back() {
            Some(AuditEntry { place, .. }) if *place >= now => AuditPlace {
                number: place.number + 1,
                ..*place
            },
            Some(_) | None => now,
        }
    }
}

impl State {
    /// Adds entries, unless the batch was added before.
    pub fn append_audit(&mut self, batch: CommitId, entries: &[String], now: Timestamp) {
        if self.audit.batches.contains(&batch) {
            return;
        }
        self.audit.batches.push_back(batch);
        if self.audit.batches.len() > BATCHES {
            self.audit.batches.pop_front();
        }
        for text in entries {
            let place = self.audit.next(now);
            let text = text.clone();
            self.audit.entries.push_back(AuditEntry { place, text });
            self.touched.audit(place);
            if self.audit.entries.len() > AUDIT_ENTRIES
                && let Some(oldest) = self.audit.entries.pop_front()
            {
                self.touched.audit(oldest.place);
            }
        }
    }

    /// The entries before a place, newest first.
    #[must_use]
    pub fn audit_before(&self, place: Option<AuditPlace>, limit: usize) -> Vec<AuditEntry> {
        let entries = &self.audit.entries;
        let end = place.map_or(entries.len(), |place| {
            entries.partition_point(|entry| entry.place < place)
        });
        entries.range(..end).rev().take(limit).cloned().collect()
    }
}
