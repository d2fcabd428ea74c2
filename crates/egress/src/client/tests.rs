//! Addresses that must not be called, in every spelling, and a listener that counts
//! the connections that came all the same.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use reqwest::Url;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::*;
use crate::check;

/// An address that counts as public and that no network has.
const NOWHERE: &str = "2e00::1";

/// Hosts that may not be called by a webhook: addresses in every spelling, and the
/// names of this machine. The port is that of the listener.
const HOSTS: &[&str] = &[
    "localhost",
    "LOCALHOST",
    "localhost.",
    "a.localhost",
    "127.0.0.1",
    "127.0.0.1.",
    "127.1",
    "127.0.1",
    "2130706433",
    "0x7f.0.0.1",
    "0x7f000001",
    "0177.0.0.1",
    "017700000001",
    "127.255.255.254",
    "１２７.0.0.1",
    "127。0。0。1",
    "0",
    "0.0.0.0",
    "0.1.2.3",
    "10.1.2.3",
    "167837955",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.0.1",
    "169.254.169.254",
    "0xa9fea9fe",
    "169.254.0.1",
    "168.63.129.16",
    "100.64.0.1",
    "100.100.100.200",
    "100.127.255.255",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "[::1]",
    "[::]",
    "[0:0:0:0:0:0:0:1]",
    "[::127.0.0.1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::ffff:8.8.8.8]",
    "[::ffff:169.254.169.254]",
    "[::ffff:0:127.0.0.1]",
    "[64:ff9b::127.0.0.1]",
    "[64:ff9b::10.0.0.1]",
    "[64:ff9b::8.8.8.8]",
    "[64:ff9b:1::a00:1]",
    "[64:ff9b:1:ffff::1]",
    "[100::1]",
    "[2001::1]",
    "[2001:0:4136:e378:8000:63bf:3fff:fdd2]",
    "[2001:2::1]",
    "[2001:db8::1]",
    "[2002:7f00:1::]",
    "[2002:a9fe:a9fe::1]",
    "[3fff::1]",
    "[fc00::1]",
    "[fd00::1]",
    "[fd00:ec2::254]",
    "[fd20:ce::254]",
    "[fe80::1]",
    "[fec0::1]",
    "[ff02::1]",
    "[4000::1]",
    "[5f00::1]",
];

/// Hosts that may be called.
const PUBLIC: &[&str] = &[
    "example.com",
    "93.184.215.14",
    "172.32.0.1",
    "100.128.0.1",
    "192.0.1.1",
    "[2606:4700::1111]",
    "[2a00::1]",
    "[2001:200::1]",
];

/// Listens on every address of this machine, and counts connections.
struct Canary {
    port: u16,
    connections: Arc<AtomicUsize>,
    _listeners: JoinSet<()>,
}

impl Canary {
    async fn start() -> Self {
        let first = TcpListener::bind("0.0.0.0:0").await.expect("a port");
        let port = first.local_addr().expect("an address").port();
        let connections = Arc::new(AtomicUsize::new(0));
        let mut listeners = JoinSet::new();
        // A machine without IPv6 has no second one.
        let second = TcpListener::bind(("::1", port)).await.ok();
        for listener in std::iter::once(first).chain(second) {
            let count = Arc::clone(&connections);
            listeners.spawn(async move {
                while listener.accept().await.is_ok() {
                    count.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        Self {
            port,
            connections,
            _listeners: listeners,
        }
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// Answers the first lookup of a name with one list, and later ones with another.
struct Changing {
    first: Vec<IpAddr>,
    later: Vec<IpAddr>,
    lookups: AtomicUsize,
}

impl Changing {
    fn new(first: &[&str], later: &[&str]) -> Arc<Self> {
        let read = |list: &[&str]| {
            let list = list.iter();
            list.map(|text| text.parse().expect("an address")).collect()
        };
        Arc::new(Self {
            first: read(first),
            later: read(later),
            lookups: AtomicUsize::new(0),
        })
    }
}

impl Lookup for Changing {
    fn addresses(&self, _name: String) -> Found {
        let found = match self.lookups.fetch_add(1, Ordering::SeqCst) {
            0 => self.first.clone(),
            _ => self.later.clone(),
        };
        Box::pin(async move { Ok(found) })
    }
}

/// Calls an address as webhooks are called. Returns the reason that it failed for.
async fn call(client: &Client, reach: Reach, url: Url) -> String {
    if !reach.allows_text(&url) {
        return NotAllowed(reach).to_string();
    }
    match client.post(url).send().await {
        Ok(response) => format!("answered {}", response.status()),
        Err(error) => reasons(&error),
    }
}

#[tokio::test]
async fn what_is_not_public_is_not_called_in_any_spelling() {
    let canary = Canary::start().await;
    let client = client(Reach::Public).build().expect("a client");
    for host in HOSTS {
        let url = format!("http://{host}:{}/?token=secret", canary.port);
        let Ok(url) = check(&url) else { continue };
        let failed = call(&client, Reach::Public, url).await;
        assert!(
            failed.contains("not of the public internet"),
            "{host}: {failed}"
        );
    }
    for host in PUBLIC {
        let url = check(&format!("https://{host}/")).expect("an address");
        assert!(Reach::Public.allows_text(&url), "{host}");
    }
    assert_eq!(canary.connections(), 0);
}

#[tokio::test]
async fn a_name_is_called_at_the_addresses_that_were_checked() {
    let canary = Canary::start().await;
    for (first, later) in [
        (&["127.0.0.1"][..], &["127.0.0.1"][..]),
        (&["::1"], &["::1"]),
        (&["::ffff:127.0.0.1"], &["10.0.0.1"]),
        (&[NOWHERE], &["127.0.0.1"]),
        (&[NOWHERE, "127.0.0.1"], &["127.0.0.1", "::1"]),
        (&["10.0.0.1", "169.254.169.254"], &["0.0.0.0"]),
    ] {
        let lookup = Changing::new(first, later);
        let client = with_lookup(Reach::Public, Arc::clone(&lookup) as Arc<dyn Lookup>)
            .connect_timeout(Duration::from_millis(200))
            .build()
            .expect("a client");
        for _ in 0..2 {
            let before = lookup.lookups.load(Ordering::SeqCst);
            let url = format!("http://hook.example:{}/?token=secret", canary.port);
            let url = check(&url).expect("an address");
            let failed = call(&client, Reach::Public, url).await;
            assert!(failed.contains("no connection"), "{first:?}: {failed}");
            assert!(!failed.contains("secret"), "{failed}");
            let lookups = lookup.lookups.load(Ordering::SeqCst) - before;
            assert_eq!(lookups, 1, "{first:?}: one lookup for one connection");
        }
    }
    assert_eq!(canary.connections(), 0);
}

#[tokio::test]
async fn private_networks_are_called_where_that_is_allowed_and_metadata_never() {
    let canary = Canary::start().await;
    let lookup = Changing::new(&["127.0.0.1"], &["169.254.169.254", "fd00:ec2::254"]);
    let client = with_lookup(Reach::Private, Arc::clone(&lookup) as Arc<dyn Lookup>)
        .timeout(Duration::from_secs(5))
        .build()
        .expect("a client");
    let url = |host: &str| {
        let url = format!("http://{host}:{}/", canary.port);
        check(&url).expect("an address")
    };
    // The listener never answers, so the connection is ended by dropping the call.
    tokio::select! {
        failed = call(&client, Reach::Private, url("imports.example")) => panic!("{failed}"),
        () = async {
            while canary.connections() == 0 {
                tokio::task::yield_now().await;
            }
        } => {}
    }
    let failed = call(&client, Reach::Private, url("imports.example")).await;
    assert!(failed.contains("metadata"), "{failed}");
    for host in [
        "169.254.169.254",
        "168.63.129.16",
        "100.100.100.200",
        "[::ffff:169.254.169.254]",
        "[64:ff9b::169.254.169.254]",
        "[64:ff9b:1::1]",
        "[2001:0::1]",
        "[2002:a9fe:a9fe::1]",
        "[fd00:ec2::254]",
        "[fe80::1]",
    ] {
        assert!(!Reach::Private.allows_text(&url(host)), "{host}");
    }
    assert!(Reach::Private.allows_text(&url("10.0.0.1")));
    assert_eq!(canary.connections(), 1);
}
