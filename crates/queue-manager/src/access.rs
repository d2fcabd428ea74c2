//! Access: the callers that this manager lets in, and how it knows them.

mod issuer;

use std::sync::Arc;
use std::time::Duration;

use drumline_auth::{Authenticator, Reload};
use tokio::time::sleep;

pub(crate) use issuer::Issuer;

/// The interval at which the file with the keys is looked at. A key that was
/// revoked is refused two seconds later.
const LOOK: Duration = Duration::from_secs(2);

/// The callers that are let in.
#[derive(Clone, Debug)]
pub enum Access {
    /// All callers that reach the address, and each may do everything. Callers
    /// name themselves, and are believed.
    Open {
        /// The names under which the service is reached, without ports. A request
        /// for another name is refused: a web page may have given that name to this
        /// address. `None`: any, because a gateway is in front.
        hosts: Option<Vec<String>>,
    },
    /// Callers with a key in the file, or a token of the issuer that it names.
    Keys(Arc<Authenticator>),
}

impl Default for Access {
    /// Open, under any name. Pages of other sites are refused all the same.
    fn default() -> Self {
        Self::Open { hosts: None }
    }
}

impl Access {
    /// The keys, if there are any.
    pub(crate) fn keys(&self) -> Option<&Arc<Authenticator>> {
        match self {
            Self::Keys(keys) => Some(keys),
            Self::Open { .. } => None,
        }
    }
}

/// Looks at the file with the keys again and again, and says what it has found.
/// Never ends.
pub(crate) async fn follow(keys: Arc<Authenticator>) {
    loop {
        sleep(LOOK).await;
        let file = Arc::clone(&keys);
        let looked = tokio::task::spawn_blocking(move || file.reload()).await;
        match looked {
            Ok(Reload::Unchanged) => {}
            Ok(Reload::Changed { keys }) => {
                tracing::info!(keys, "the keys have changed");
            }
            Ok(Reload::Broken(error)) => {
                tracing::error!(%error, "the file with the keys cannot be used; the keys of before stay in force");
            }
            Err(error) => tracing::error!(%error, "the file with the keys was not read"),
        }
    }
}
