//! The marks of imports: which exports were imported, and which only in part.

use drumline_backend::store::Result;

use super::RedisStore;
use crate::reply::{self, Parts};

/// The mark of an import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// The name of the export.
    pub id: String,
    /// True if it came to its end. If not, operations may be suspended that were not when
    /// they were exported.
    pub is_done: bool,
    /// The time since which it is so, by the store's clock.
    pub since: String,
}

/// The words in front of the time.
const DONE: &str = "done ";
const BEGUN: &str = "begun ";

impl RedisStore {
    /// Notes that an import has begun or is done. May be repeated.
    ///
    /// # Errors
    /// When Redis is unavailable.
    pub async fn note_import(&self, import: &Import) -> Result<()> {
        let word = if import.is_done { DONE } else { BEGUN };
        let mut command = redis::cmd("HSET");
        command.arg(self.keys().imports()).arg(&import.id);
        command.arg(format!("{word}{}", import.since));
        self.link().run_one("import", command).await?;
        Ok(())
    }

    /// Returns the marks of all imports, in no order.
    ///
    /// # Errors
    /// When Redis is unavailable.
    pub async fn imports(&self) -> Result<Vec<Import>> {
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
