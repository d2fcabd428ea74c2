//! The client itself: its address and its time limits.

use std::sync::Arc;
use std::time::Duration;

use reqwest::{Method, RequestBuilder, Url};

use crate::builder::Builder;
use crate::gathering::Gathering;
use crate::keys::Keys;

/// A queue manager somewhere. Cheap to clone, and to share between tasks.
///
/// All methods are cancel-safe in this sense: dropping a call leaves the client
/// as it was. The service may or may not have done what it was asked, as with
/// every request that is not answered.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    base: Url,
    timeout: Duration,
    patience: Duration,
    keys: Arc<Keys>,
    gathering: Arc<Gathering>,
}

impl Client {
    /// Sets up a client of the queue manager at `url`.
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// use drumline_client::Client;
    ///
    /// # fn example() -> drumline_client::Result<()> {
    /// let client = Client::builder("https://drumline.example.org")
    ///     .organization("contoso")
    ///     .caller("nightly-import")
    ///     .timeout(Duration::from_secs(10))
    ///     .build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn builder(url: impl Into<String>) -> Builder {
        Builder::new(url.into())
    }

    pub(crate) fn new(
        http: reqwest::Client,
        base: Url,
        timeout: Duration,
        patience: Duration,
    ) -> Self {
        Self {
            http,
            base,
            timeout,
            patience,
            keys: Arc::new(Keys::new()),
            gathering: Arc::new(Gathering::new()),
        }
    }

    /// The keys of creates that are given none.
    pub(crate) fn keys(&self) -> &Keys {
        &self.keys
    }

    /// The creates that may share requests.
    pub(crate) fn gathering(&self) -> &Gathering {
        &self.gathering
    }

    /// The same client with another [`Builder::patience`]; connections are
    /// shared.
    #[must_use]
    pub fn with_patience(&self, patience: Duration) -> Self {
        Self {
            patience,
            ..self.clone()
        }
    }

    /// The time for which requests that may be repeated are repeated.
    pub(crate) const fn patience(&self) -> Duration {
        self.patience
    }

    /// The time that one request may take.
    pub(crate) const fn timeout(&self) -> Duration {
        self.timeout
    }

    /// A request that may take the usual time.
    pub(crate) fn request(&self, method: Method, path: &[&str]) -> RequestBuilder {
        self.endless_request(method, path).timeout(self.timeout)
    }

    /// A request that may take any time.
    pub(crate) fn endless_request(&self, method: Method, path: &[&str]) -> RequestBuilder {
        let mut url = self.base.clone();
        // An address that has no path was refused by the builder.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        self.http.request(method, url)
    }
}
