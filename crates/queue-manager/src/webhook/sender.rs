//! One try to report an operation's end: a signed POST.

use std::error::Error as _;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use drumline_api::view::OperationView;
use drumline_protocol::{Operation, Timestamp};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, StatusCode, Url};

use super::address::{check, is_private, is_private_by_its_text};
use super::{Secret, Webhooks};

/// The result of a try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// A 2xx: the receiver has it.
    Taken,
    /// The receiver wants no more, or it can never be sent: do not try again.
    Unwanted(String),
    /// Any other result, with the reason: try again.
    Failed(String),
}

/// Sends notices; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Sender {
    client: Client,
    secrets: Arc<[Secret]>,
    allow_private: bool,
}

impl Sender {
    /// A sender with these options.
    ///
    /// # Errors
    /// When the system's certificates cannot be used.
    pub(crate) fn new(webhooks: &Webhooks) -> Result<Self, reqwest::Error> {
        // The first provider is for the whole process; any will do.
        drop(rustls::crypto::ring::default_provider().install_default());
        let client = Client::builder()
            .timeout(webhooks.timeout)
            // Each hop would have to be checked and signed for; and a
            // redirected POST becomes a GET.
            .redirect(reqwest::redirect::Policy::none())
            // A proxy would resolve the names out of our sight.
            .no_proxy()
            .retry(reqwest::retry::never())
            .pool_max_idle_per_host(1)
            .dns_resolver(Resolver {
                allow_private: webhooks.allow_private,
            })
            .user_agent(concat!("drumline/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self {
            client,
            secrets: webhooks.secrets.clone().into(),
            allow_private: webhooks.allow_private,
        })
    }

    /// Tries once to report the end of an operation. `now` is signed along, so
    /// that an old notice cannot be played again later.
    ///
    /// If the future is dropped, the receiver may or may not have the notice.
    pub(crate) async fn deliver(
        &self,
        url: &str,
        operation: &Operation,
        now: Timestamp,
    ) -> Delivery {
        let url = match check(url) {
            Ok(url) => url,
            Err(why) => return Delivery::Unwanted(format!("the address {why}")),
        };
        // Names are checked when they are resolved; IP addresses are not.
        if !self.allow_private && is_private_by_its_text(&url) {
            return Delivery::Unwanted(NotPublic.to_string());
        }
        let body = match serde_json::to_vec(&OperationView::from(operation)) {
            Ok(body) => body,
            Err(error) => return Delivery::Unwanted(error.to_string()),
        };
        self.post(url, operation, body, now).await
    }

    async fn post(
        &self,
        url: Url,
        operation: &Operation,
        body: Vec<u8>,
        now: Timestamp,
    ) -> Delivery {
        let id = operation.id.to_string();
        let timestamp = now.as_millis().div_euclid(1000);
        let signatures: Vec<String> = self
            .secrets
            .iter()
            .map(|secret| secret.sign(&id, timestamp, &body))
            .collect();
        let mut request = self
            .client
            .post(url)
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", signatures.join(" "));
        let trace = &operation.body.trace;
        if !trace.traceparent.is_empty() {
            request = request.header("traceparent", &trace.traceparent);
        }
        match request.body(body).send().await {
            // The rest of the answer is not read: it would be shown nowhere.
            Ok(response) => judge(response.status()),
            Err(error) => Delivery::Failed(reasons(&error)),
        }
    }
}

fn judge(status: StatusCode) -> Delivery {
    if status.is_success() {
        Delivery::Taken
    } else if status == StatusCode::GONE {
        Delivery::Unwanted("the receiver answered 410 Gone".to_owned())
    } else {
        Delivery::Failed(format!("the receiver answered {status}"))
    }
}

/// An error with its causes, and without the address: it may hold a token.
fn reasons(error: &reqwest::Error) -> String {
    let mut text = if error.is_timeout() {
        "no answer in time".to_owned()
    } else if error.is_connect() {
        "no connection".to_owned()
    } else {
        "the request failed".to_owned()
    };
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// Looks names up, and leaves out addresses that are not public.
#[derive(Clone, Copy, Debug)]
struct Resolver {
    allow_private: bool,
}

#[derive(Debug)]
struct NotPublic;

impl fmt::Display for NotPublic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "the address is not of the public internet, and this deployment allows no other",
        )
    }
}

impl std::error::Error for NotPublic {}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let Self { allow_private } = *self;
        Box::pin(async move {
            // The port is the caller's business.
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0))
                .await?
                .filter(|found| allow_private || !is_private(found.ip()))
                .collect();
            if found.is_empty() {
                return Err(NotPublic.into());
            }
            // The connection is made to the checked addresses, not to those
            // that the name resolves to a moment later.
            let found: Addrs = Box::new(found.into_iter());
            Ok(found)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn resolved(allow_private: bool) -> Result<Vec<SocketAddr>, String> {
        // To the resolver this is a name like any other; the text of the
        // address was checked before.
        let name: Name = "localhost".parse().unwrap();
        let found = Resolver { allow_private }.resolve(name).await;
        found
            .map(Iterator::collect)
            .map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn a_name_that_resolves_to_no_public_address_is_not_connected_to() {
        let error = resolved(false).await.unwrap_err();
        assert!(error.contains("public internet"), "{error}");
        let found = resolved(true).await.unwrap();
        assert!(found.iter().any(|found| found.ip().is_loopback()));
    }

    #[test]
    fn only_a_2xx_is_taken_and_only_a_410_ends_it() {
        let judged = |status| judge(StatusCode::from_u16(status).unwrap());
        for status in [200, 202, 204] {
            assert_eq!(judged(status), Delivery::Taken);
        }
        assert!(matches!(judged(410), Delivery::Unwanted(_)));
        for status in [301, 302, 308, 400, 401, 404, 429, 500, 503] {
            assert!(matches!(judged(status), Delivery::Failed(_)), "{status}");
        }
    }
}
