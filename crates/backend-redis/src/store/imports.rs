//! The marks of imports: which exports were imported, and which only in part.

use async_trait::async_trait;
use drumline_backend::store::{Import, ImportStore, Result};

use super::RedisStore;
use crate::reply::{self, Parts};

/// The words in front of the time.
const DONE: &str = "done ";
const BEGUN: &str = "begun ";

#[async_trait]
impl ImportStore for RedisStore {
    async fn note_import(&self, import: &Import) -> Result<()> {
        let word = if import.is_done { DONE } else { BEGUN };
        let mut command = redis::cmd("HSET");
        command.arg(self.keys().imports()).arg(&import.id);
        command.arg(format!("{word}{}", import.since));
        self.link().run_one("import", command).await?;
        Ok(())
    }

    async fn imports(&self) -> Result<Vec<Import>> {
        let mut command = redis::cmd("HGETALL");
        command.arg(self.keys().imports());
        let mut parts = Parts::of(self.link().run_one("imports", command).await?)?;
        let mut imports = Vec::new();
        while parts.len() > 0 {
            let (id, mark) = (reply::text(parts.value()?)?, reply::text(parts.value()?)?);
            let done = mark.strip_prefix(DONE);
            let since = done.or_else(|| mark.strip_prefix(BEGUN));
            imports.push(Import {
                id,
                is_done: done.is_some(),
                since: since.unwrap_or_default().to_owned(),
            });
        }
        Ok(imports)
    }
}
