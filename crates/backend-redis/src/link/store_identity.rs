//! The identity of a store: a key that every server of the store holds. It is
//! written to a server that is empty.
//!
//! A server may come back as another one: without its data, or at another
//! place. The processes that go on using it must not find themselves on a store
//! of another shape, nor let one be made unnoticed.

use redis::aio::MultiplexedConnection;
use redis::{ErrorKind, RedisResult};

use super::error_action;

/// One key and its value.
#[derive(Debug)]
pub(crate) struct StoreIdentity {
    /// The key.
    pub(crate) key: String,
    /// The value that the key must hold.
    pub(crate) value: String,
}

impl StoreIdentity {
    /// Verifies the keys on a server, and writes only missing ones: a full
    /// server must still be of use.
    pub(super) async fn verify_or_init(
        &self,
        connection: &mut MultiplexedConnection,
    ) -> RedisResult<()> {
        let mut get = redis::cmd("GET");
        get.arg(&self.key);
        let mut found: Option<String> = match get.query_async(connection).await {
            // One node of a cluster holds the key for all.
            Err(error) if error_action::is_elsewhere(&error) => return Ok(()),
            found => found?,
        };
        if found.is_none() {
            let mut set = redis::cmd("SET");
            set.arg(&self.key).arg(&self.value).arg("NX");
            set.exec_async(connection).await?;
            found = get.query_async(connection).await?;
        }
        if found.as_deref() == Some(self.value.as_str()) {
            return Ok(());
        }
        let found = found.unwrap_or_default();
        // `error_action` takes this kind for final.
        Err((
            ErrorKind::InvalidClientConfig,
            "the store was created again with other parameters",
            format!("{found:?} instead of {:?}", self.value),
        )
            .into())
    }
}
