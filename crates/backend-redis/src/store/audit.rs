//! The audit stream: a stream of Redis, whose ids are the places.

use std::time::Duration;

use async_trait::async_trait;
use drumline_backend::store::{
    AUDIT_ENTRIES, AUDIT_PAGE, AuditEntry, AuditPlace, AuditStore, Result, check_audit_entries,
};
use drumline_protocol::CommitId;

use super::RedisStore;
use crate::reply::{self, Parts};
use crate::scripts::SCRIPTS;

/// The time for which a batch is remembered: a multiple of what a caller takes to
/// repeat it. A batch that is repeated later is in the stream twice, which harms
/// nothing.
const REMEMBERED: Duration = Duration::from_secs(600);

#[async_trait]
impl AuditStore for RedisStore {
    async fn append_audit(&self, batch: CommitId, entries: &[String]) -> Result<()> {
        check_audit_entries(entries)?;
        if entries.is_empty() {
            return Ok(());
        }
        let keys = [
            self.keys().audit().into_bytes(),
            self.keys().audit_batch(batch),
        ];
        let mut command = SCRIPTS.append_audit.call(&keys);
        command.arg(AUDIT_ENTRIES).arg(REMEMBERED.as_secs() * 1000);
        for entry in entries {
            command.arg(entry);
        }
        self.link().run_one("audit", command).await?;
        Ok(())
    }

    async fn audit_before(
        &self,
        place: Option<AuditPlace>,
        limit: usize,
    ) -> Result<Vec<AuditEntry>> {
        let newest = match place.map(AuditPlace::before) {
            None => "+".to_owned(),
            Some(Some(place)) => place.to_string(),
            Some(None) => return Ok(Vec::new()),
        };
        let limit = limit.min(AUDIT_PAGE);
        if limit == 0 {
            return Ok(Vec::new());
        }
        let mut command = redis::cmd("XREVRANGE");
        command.arg(self.keys().audit()).arg(newest).arg("-");
        command.arg("COUNT").arg(limit);
        let mut answer = Parts::of(self.link().run_one("audit", command).await?)?;
        let mut entries = Vec::new();
        while answer.len() > 0 {
            let mut entry = answer.parts()?;
            let place = reply::text(entry.value()?)?;
            let place: AuditPlace = place.parse().map_err(|_not_a_place| reply::unexpected())?;
            let mut fields = entry.parts()?;
            let _name = fields.bytes()?;
            let text = reply::text(fields.value()?)?;
            entries.push(AuditEntry { place, text });
        }
        Ok(entries)
    }
}
