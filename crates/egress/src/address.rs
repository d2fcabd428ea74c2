//! The addresses that may be called.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use reqwest::Url;

/// The longest address, in bytes: the size that proxies and receivers agree on.
const LONGEST: usize = 2048;

/// Reads an address.
///
/// # Errors
/// The rule that it breaks, as a clause. The address is not repeated.
pub fn check(text: &str) -> Result<Url, &'static str> {
    if text.len() > LONGEST {
        return Err("is too long: 2048 bytes are allowed");
    }
    let url: Url = text
        .parse()
        .map_err(|_why| "must be an absolute http or https address")?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("must be an absolute http or https address");
    }
    if !url.username().is_empty() || url.password().is_some() {
        // Every caller that may read the operation could read them.
        return Err("must not contain a user name or a password");
    }
    Ok(url)
}

/// The addresses that may be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Those of the public internet.
    Public,
    /// Private networks and this machine, too. Link-local addresses and those of
    /// clouds' metadata services are still refused: they hand out credentials to
    /// every program that asks from this machine.
    Private,
}

impl Reach {
    /// Returns true if an IP address may be called.
    #[must_use]
    pub fn allows(self, address: IpAddr) -> bool {
        if is_metadata(address) {
            return false;
        }
        match (self, address) {
            (Self::Private, _) => true,
            (Self::Public, IpAddr::V4(v4)) => is_public_v4(v4),
            (Self::Public, IpAddr::V6(v6)) => is_public_v6(v6),
        }
    }

    /// Returns false if the text of an address shows that it may not be called. A name
    /// may still resolve to anything.
    #[must_use]
    pub fn allows_text(self, url: &Url) -> bool {
        match host_of(url) {
            Host::None => false,
            Host::Address(address) => self.allows(address),
            Host::ThisMachine => self == Self::Private,
            Host::Name => true,
        }
    }

    /// The reach of an address that its user has written down as an address and not as
    /// a name, or as this machine: it says where the call goes. `None` for a name.
    #[must_use]
    pub fn of_literal(url: &Url) -> Option<Self> {
        match host_of(url) {
            Host::Address(_) | Host::ThisMachine => Some(Self::Private),
            Host::None | Host::Name => None,
        }
    }
}

/// The host in an address.
enum Host {
    None,
    Address(IpAddr),
    /// `localhost`, which every resolver knows.
    ThisMachine,
    Name,
}

fn host_of(url: &Url) -> Host {
    let Some(host) = url.host_str() else {
        return Host::None;
    };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = bare.parse() {
        return Host::Address(address);
    }
    let name = bare.trim_end_matches('.').to_ascii_lowercase();
    if name == "localhost" || name.ends_with(".localhost") {
        Host::ThisMachine
    } else {
        Host::Name
    }
}

/// Returns true for addresses that serve programs of this machine, and no other:
/// link-local ones, and those of clouds.
fn is_metadata(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_metadata_v4(v4),
        IpAddr::V6(v6) => {
            v6.is_unicast_link_local()
                || is_hidden_v4(v6)
                || embedded_v4(v6).is_some_and(is_metadata_v4)
                // EC2 and Google Cloud.
                || matches!(v6.segments(), [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254])
                || matches!(v6.segments(), [0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254])
        }
    }
}

fn is_metadata_v4(v4: Ipv4Addr) -> bool {
    // Azure, Alibaba Cloud, Oracle Cloud.
    const CLOUDS: [Ipv4Addr; 3] = [
        Ipv4Addr::new(168, 63, 129, 16),
        Ipv4Addr::new(100, 100, 100, 200),
        Ipv4Addr::new(192, 0, 0, 192),
    ];
    v4.is_link_local() || CLOUDS.contains(&v4)
}

fn is_public_v4(v4: Ipv4Addr) -> bool {
    let [first, second, third, _] = v4.octets();
    let is_special = v4.is_loopback()
        || v4.is_private()
        || v4.is_link_local()
        || v4.is_multicast()
        || v4.is_documentation()
        || matches!(
            (first, second, third),
            // In this order: "this network", shared by carriers, IETF protocols, relays
            // of 6to4, benchmarks, and reserved ones with the broadcast address.
            (0, ..)
                | (100, 64..=127, _)
                | (192, 0, 0)
                | (192, 88, 99)
                | (198, 18..=19, _)
                | (240.., ..)
        );
    !is_special
}

/// Only `2000::/3` is given out. So loopback, private, link-local, mapped, translated
/// (NAT64) and multicast addresses are none; of those in it, some lead elsewhere.
fn is_public_v6(v6: Ipv6Addr) -> bool {
    let [first, second, ..] = v6.segments();
    let is_special = matches!(
        (first, second),
        // In this order: IETF protocols with Teredo, documentation, 6to4, and
        // documentation once more.
        (0x2001, 0..=0x1ff) | (0x2001, 0xdb8) | (0x2002, _) | (0x3fff, 0..=0xfff)
    );
    matches!(first, 0x2000..=0x3fff) && !is_special
}

/// Returns true for forms of IPv6 that hide the IPv4 address at which a packet ends:
/// Teredo, and NAT64 of local networks. Nothing is called through them.
fn is_hidden_v4(v6: Ipv6Addr) -> bool {
    matches!(v6.segments(), [0x2001, 0, ..] | [0x64, 0xff9b, 1, ..])
}

/// The IPv4 address that a packet to this IPv6 address ends at: compatible, mapped,
/// translated, NAT64, 6to4.
fn embedded_v4(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    let of = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        Ipv4Addr::new(a, b, c, d)
    };
    match v6.segments() {
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..] => Some(of(high, low)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_http_without_credentials_is_an_address() {
        assert!(check("https://example.com/hook?a=b").is_ok());
        assert!(check("http://10.0.0.1:8080/").is_ok());
        let long = format!("https://example.com/{}", "a".repeat(LONGEST));
        for bad in [
            "",
            "/hook",
            "example.com/hook",
            "ftp://example.com/",
            "file:///etc/passwd",
            "gopher://127.0.0.1:6379/_FLUSHALL",
            "https://",
            "https://user:secret@example.com/",
            "https://example.com@127.0.0.1/",
            &long,
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_a_user_writes_down_as_an_address_is_meant() {
        let reach = |text: &str| Reach::of_literal(&check(text).unwrap());
        for literal in [
            "http://10.0.0.1/",
            "http://[::1]:9000/",
            "http://localhost/",
        ] {
            assert_eq!(reach(literal), Some(Reach::Private), "{literal}");
        }
        assert_eq!(reach("http://imports:9000/"), None);
    }
}
