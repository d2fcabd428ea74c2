//! The health of a manager: the reasons, if any, why it takes no work now.

use std::time::Duration;

use tokio::time::timeout;

use super::QueueManager;

/// The time that the store may take to answer. Probes give up after a second or
/// two themselves.
const STORE_TIMEOUT: Duration = Duration::from_secs(1);

/// The health of a manager, as of one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// The fault of the store, if it has one.
    pub store: Option<String>,
    /// The fault of the broker, if it has one.
    pub broker: Option<String>,
    /// The fault of the file with the keys, if it has one. The manager is ready all
    /// the same: the keys of before are in force.
    pub keys: Option<String>,
    /// The fault of the issuer of tokens, if it has one. The manager is ready all the
    /// same: the keys of before are in force.
    pub issuer: Option<String>,
    /// The fault of the files of the TLS certificate, if they have one. The manager is
    /// ready all the same: the certificate of before is in force.
    pub certificate: Option<String>,
    /// True if the manager is about to end.
    pub draining: bool,
}

impl Health {
    /// Returns true if store and broker take work and the manager is to
    /// stay.
    #[must_use]
    pub const fn is_ready(&self) -> bool {
        self.store.is_none() && self.broker.is_none() && !self.draining
    }
}

impl QueueManager {
    /// Asks the store, and looks at what is known of the broker. Takes a second
    /// at most. Cancel-safe.
    pub async fn health(&self) -> Health {
        let store = match timeout(STORE_TIMEOUT, self.store().check()).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_elapsed) => Some("the store does not answer".to_owned()),
        };
        let broker = self.backend().broker.check().err();
        let keys = self.options().access.keys().and_then(|keys| keys.broken());
        let certificate = self.options().tls.as_ref().and_then(|tls| tls.broken());
        Health {
            keys: keys.map(|error| error.to_string()),
            issuer: self.issuer().trouble(),
            certificate: certificate.map(|error| error.to_string()),
            store,
            broker: broker.map(|error| error.to_string()),
            draining: self.is_leaving(),
        }
    }
}
