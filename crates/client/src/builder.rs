//! The settings of a client.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use drumline_tls::ClientFiles;
use reqwest::Url;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};

use rustls::ClientConfig;

use crate::client::Client;
use crate::error::{Error, Result, Unreachable};

/// The tenant that requests belong to.
const ORGANIZATION: HeaderName = HeaderName::from_static("drumline-organization");
/// The caller's name.
const CALLER: HeaderName = HeaderName::from_static("drumline-caller");
/// The trace that requests are part of (W3C Trace Context).
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Sets a [`Client`] up; see [`Client::builder`].
#[derive(Clone)]
#[must_use]
pub struct Builder {
    url: String,
    organization: Option<String>,
    caller: Option<String>,
    api_key: Option<String>,
    traceparent: Option<String>,
    tls: ClientFiles,
    connect_to: Option<IpAddr>,
    user_agent: String,
    timeout: Duration,
    patience: Duration,
}

impl fmt::Debug for Builder {
    /// Shows everything but the API key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("url", &self.url)
            .field("organization", &self.organization)
            .field("caller", &self.caller)
            .finish_non_exhaustive()
    }
}

impl Builder {
    pub(crate) fn new(url: String) -> Self {
        Self {
            url,
            organization: None,
            caller: None,
            api_key: None,
            traceparent: None,
            tls: ClientFiles::default(),
            connect_to: None,
            user_agent: concat!("drumline-client/", env!("CARGO_PKG_VERSION")).to_owned(),
            timeout: Duration::from_secs(30),
            patience: Duration::from_secs(30),
        }
    }

    /// The organization whose operations are meant: `default` unless said. Up
    /// to 256 visible characters. A gateway in front may set it instead.
    pub fn organization(mut self, organization: impl Into<String>) -> Self {
        self.organization = Some(organization.into());
        self
    }

    /// The caller's name, for `ownerId` and `createdBy`, and for the limits per
    /// caller: `anonymous` unless said. Up to 256 visible characters. A gateway
    /// in front may set it instead.
    pub fn caller(mut self, caller: impl Into<String>) -> Self {
        self.caller = Some(caller.into());
        self
    }

    /// The API key, `drl_…`, of a service that has keys. It is sent with every
    /// request, and not shown in errors. In a command that a worker runs, a client
    /// without a key sends the token of the run (`DRUMLINE_TOKEN`) to the service
    /// that the run belongs to (`DRUMLINE_SERVER`).
    pub fn api_key(mut self, key: impl Into<String>) -> Self {
        self.api_key = Some(key.into());
        self
    }

    /// A file with the CAs, in PEM, that may have signed the service's certificate. With
    /// it, the CAs of the system are not trusted.
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.tls.ca = Some(path.into());
        self
    }

    /// The address to connect to, on the port of the URL. The name in the URL is still
    /// the one that the service's certificate must be for. Default: the addresses of
    /// that name.
    pub const fn connect_to(mut self, address: IpAddr) -> Self {
        self.connect_to = Some(address);
        self
    }

    /// The certificate that is shown to a service that wants one, with its key: two
    /// files in PEM.
    pub fn client_certificate(mut self, cert: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.tls.cert = Some(cert.into());
        self.tls.key = Some(key.into());
        self
    }

    /// The trace that all requests are part of: a `traceparent` as W3C Trace
    /// Context writes it. Operations that are created belong to it too.
    pub fn traceparent(mut self, traceparent: impl Into<String>) -> Self {
        self.traceparent = Some(traceparent.into());
        self
    }

    /// The client's name in logs.
    pub fn user_agent(mut self, name: impl Into<String>) -> Self {
        self.user_agent = name.into();
        self
    }

    /// The time that one request may take, 30 s unless said. A long poll may
    /// take longer by the time that it waits, and a stream of events may take
    /// any time.
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The time for which a request that may be repeated is repeated, 30 s
    /// unless said: a restart of a queue manager, or a fail-over behind it,
    /// takes less. [`Duration::ZERO`]: every request is sent once.
    pub const fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// The client. Nothing is sent yet. Reads the files of [`Self::ca_file`] and
    /// [`Self::client_certificate`].
    ///
    /// # Errors
    /// [`Error::Invalid`] when the address is none of HTTP, or a name cannot
    /// be sent in a header, or a file cannot be used; [`Error::Unreachable`] when TLS
    /// cannot be set up.
    pub fn build(self) -> Result<Client> {
        let base = address(&self.url)?;
        let mut headers = HeaderMap::new();
        for (name, value) in [
            (ORGANIZATION, &self.organization),
            (CALLER, &self.caller),
            (TRACEPARENT, &self.traceparent),
        ] {
            if let Some(value) = value {
                let value = header(name.as_str(), value)?;
                headers.insert(name, value);
            }
        }
        if let Some(key) = self.api_key.or_else(|| run_token(&base)) {
            let mut value =
                HeaderValue::from_str(&format!("Bearer {key}")).map_err(|_shows_the_key| {
                    let why = "the API key has characters that are not allowed in a header";
                    Error::Invalid {
                        what: "API key",
                        why: why.to_owned(),
                    }
                })?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        provide_cryptography();
        let mut http = reqwest::Client::builder()
            .user_agent(header("user agent", &self.user_agent)?)
            .default_headers(headers)
            .connect_timeout(self.timeout)
            // A redirected POST would become a GET: an address that redirects
            // is a wrong address.
            .redirect(reqwest::redirect::Policy::none());
        if !self.tls.is_empty() {
            let config = self.tls.config().map_err(|error| Error::Invalid {
                what: "TLS files",
                why: error.to_string(),
            })?;
            http = http.tls_backend_preconfigured(ClientConfig::clone(&config));
        }
        if let (Some(address), Some(host)) = (self.connect_to, base.host_str()) {
            // The port of the URL is taken for 0.
            http = http.resolve(host, SocketAddr::new(address, 0));
        }
        let http = http.build().map_err(Unreachable::error)?;
        Ok(Client::new(http, base, self.timeout, self.patience))
    }
}

/// The token of the run of a handler that this process belongs to. No other service
/// than that of the run gets it.
#[expect(
    clippy::disallowed_methods,
    reason = "a worker gives a command the token of its run there"
)]
fn run_token(base: &Url) -> Option<String> {
    let token = std::env::var("DRUMLINE_TOKEN").ok()?;
    let is_own = std::env::var("DRUMLINE_SERVER").map_or_else(
        |_none| matches!(base.host_str(), Some("127.0.0.1" | "localhost" | "[::1]")),
        |server| address(&server).is_ok_and(|server| server.origin() == base.origin()),
    );
    is_own.then_some(token)
}

fn address(text: &str) -> Result<Url> {
    let invalid = |why: String| Error::Invalid { what: "url", why };
    let url: Url = text.parse().map_err(|error| {
        invalid(format!(
            "{error}; expected for example http://127.0.0.1:8080"
        ))
    })?;
    match url.scheme() {
        "http" | "https" if url.has_host() => Ok(url),
        other => Err(invalid(format!("{other}: expected http or https"))),
    }
}

/// A header's value. HTTP has room for visible ASCII; any other character would
/// arrive as something different.
fn header(what: &str, value: &str) -> Result<HeaderValue> {
    HeaderValue::from_str(value)
        .ok()
        .filter(|value| value.to_str().is_ok())
        .ok_or_else(|| Error::Invalid {
            what: "header",
            why: format!("{what}: {value:?} has characters that are not allowed in a header"),
        })
}

/// Installs a cryptography provider, which the HTTP library demands even for
/// addresses without TLS. A provider that was chosen before stays.
fn provide_cryptography() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Another thread may have been faster, which is as good.
        let _already_there = rustls::crypto::ring::default_provider().install_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_cannot_be_one_is_refused_at_once() {
        for bad in ["", "127.0.0.1:8080", "ftp://x", "redis://host"] {
            let built = Builder::new(bad.to_owned()).build();
            assert!(
                matches!(built, Err(Error::Invalid { what: "url", .. })),
                "{bad}"
            );
        }
        assert!(
            Builder::new("https://drumline/base".to_owned())
                .build()
                .is_ok()
        );
    }

    #[test]
    fn names_that_no_header_can_carry_are_refused() {
        for bad in ["a\nb", "Ärger"] {
            let built = Builder::new("http://x".to_owned())
                .organization(bad)
                .build();
            assert!(matches!(built, Err(Error::Invalid { .. })), "{bad}");
        }
    }
}
