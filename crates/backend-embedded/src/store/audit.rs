//! The part of the store that keeps the audit stream.

use async_trait::async_trait;
use drumline_backend::store::{
    AUDIT_PAGE, AuditEntry, AuditPlace, AuditStore, Result, check_audit_entries,
};
use drumline_protocol::CommitId;

use super::EmbeddedStore;

#[async_trait]
impl AuditStore for EmbeddedStore {
    async fn append_audit(&self, batch: CommitId, entries: &[String]) -> Result<()> {
        check_audit_entries(entries)?;
        let done = self.answer(|state, now| state.append_audit(batch, entries, now));
        done.written().await
    }

    async fn audit_before(
        &self,
        place: Option<AuditPlace>,
        limit: usize,
    ) -> Result<Vec<AuditEntry>> {
        let limit = limit.min(AUDIT_PAGE);
        let entries = self.answer(|state, _| state.audit_before(place, limit));
        entries.written().await
    }
}
