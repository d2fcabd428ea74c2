//! A client that reaches allowed addresses only.

use std::error::Error;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Client, ClientBuilder};

use crate::address::Reach;

/// A client that reaches allowed addresses only. The caller checks the text of each
/// address with [`Reach::allows_text`]: an IP address is not looked up, and so it
/// does not come here.
pub fn client(reach: Reach) -> ClientBuilder {
    with_lookup(reach, Arc::new(System))
}

fn with_lookup(reach: Reach, lookup: Arc<dyn Lookup>) -> ClientBuilder {
    // The first provider is for the whole process; any will do.
    drop(rustls::crypto::ring::default_provider().install_default());
    Client::builder()
        // Each hop would have to be checked; and a redirected POST becomes a GET.
        .redirect(reqwest::redirect::Policy::none())
        // A proxy would look the names up out of our sight.
        .no_proxy()
        .dns_resolver(Resolver { reach, lookup })
        .user_agent(concat!("drumline/", env!("CARGO_PKG_VERSION")))
}

/// The text of an error with its causes, and without the address: it may hold a token.
#[must_use]
pub fn reasons(error: &reqwest::Error) -> String {
    // A connection that takes too long is both.
    let mut text = if error.is_connect() {
        "no connection".to_owned()
    } else if error.is_timeout() {
        "no answer in time".to_owned()
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

/// A name resolves to no allowed address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAllowed(pub Reach);

impl fmt::Display for NotAllowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Reach::Public => "the address is not of the public internet, and no other is allowed here",
            Reach::Private => "the address is link-local or that of a cloud's metadata service, which is never called",
        })
    }
}

impl Error for NotAllowed {}

/// The lookup of a name.
trait Lookup: Send + Sync + 'static {
    fn addresses(&self, name: String) -> Found;
}

type Found = std::pin::Pin<Box<dyn Future<Output = std::io::Result<Vec<IpAddr>>> + Send>>;

/// The lookup of the operating system.
struct System;

impl Lookup for System {
    fn addresses(&self, name: String) -> Found {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name, 0)).await?;
            Ok(found.map(|found| found.ip()).collect())
        })
    }
}

/// Looks names up, and leaves out addresses that are not allowed.
struct Resolver {
    reach: Reach,
    lookup: Arc<dyn Lookup>,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let reach = self.reach;
        let lookup = self.lookup.addresses(name.as_str().to_owned());
        Box::pin(async move {
            let found = lookup.await?.into_iter();
            let allowed: Vec<_> = found.filter(|found| reach.allows(*found)).collect();
            if allowed.is_empty() {
                return Err(NotAllowed(reach).into());
            }
            // The connection is made to the checked addresses, not to those that the
            // name resolves to a moment later. The port is the caller's business.
            let allowed = allowed.into_iter().map(|ip| SocketAddr::new(ip, 0));
            Ok(Box::new(allowed) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests;
