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
        let now = self.clock.now();
        self.state().append_audit(batch, entries, now);
        Ok(())
    }

    async fn audit_before(
        &self,
        place: Option<AuditPlace>,
        limit: usize,
    ) -> Result<Vec<AuditEntry>> {
        Ok(self.state().audit_before(place, limit.min(AUDIT_PAGE)))
    }
}
