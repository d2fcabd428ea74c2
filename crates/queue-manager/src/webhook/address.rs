//! The addresses that notices may go to.
//!
//! A caller that creates operations chooses the address that *this service*
//! then calls, from where it stands: behind the firewall, beside the cloud's
//! metadata service. So an address that is not public is refused, unless the
//! deployment wants it: once at the create, as far as the text of the address
//! shows, and at each delivery for the addresses that its name resolves to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use reqwest::Url;

/// The longest address, in bytes: the size that proxies and receivers agree on.
const LONGEST: usize = 2048;

/// Reads an address.
///
/// # Errors
/// The rule that it breaks, as a clause.
pub(crate) fn check(text: &str) -> Result<Url, &'static str> {
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

/// Returns true if the text of an address shows that it is not public. A name
/// may still resolve to anything.
pub(crate) fn is_private_by_its_text(url: &Url) -> bool {
    let Some(host) = url.host_str() else {
        return true;
    };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    match bare.parse() {
        Ok(address) => is_private(address),
        Err(_it_is_a_name) => {
            let name = bare.trim_end_matches('.').to_ascii_lowercase();
            name == "localhost" || name.ends_with(".localhost")
        }
    }
}

/// Returns true if an address is not of the public internet.
pub(crate) fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_private_v4(v4),
        IpAddr::V6(v6) => is_private_v6(v6),
    }
}

fn is_private_v4(v4: Ipv4Addr) -> bool {
    let [first, second, third, _] = v4.octets();
    v4.is_loopback()
        || v4.is_private()
        || v4.is_link_local()
        || v4.is_multicast()
        || v4.is_documentation()
        || matches!(
            (first, second, third),
            // In this order: "this network", shared by carriers, IETF protocols,
            // benchmarks, and reserved ones with the broadcast address.
            (0, ..) | (100, 64..=127, _) | (192, 0, 0) | (198, 18..=19, _) | (240.., ..)
        )
}

fn is_private_v6(v6: Ipv6Addr) -> bool {
    if let Some(v4) = embedded_v4(v6) {
        return is_private_v4(v4);
    }
    v6.is_loopback()
        || v6.is_unspecified()
        || v6.is_multicast()
        || v6.is_unique_local()
        || v6.is_unicast_link_local()
        // Documentation, and site-local, which some networks still route.
        || matches!(v6.segments(), [0x2001, 0x0db8, ..] | [0xfec0..=0xfeff, ..])
}

/// The IPv4 address that a packet to this IPv6 address ends at: mapped,
/// compatible, NAT64, 6to4.
fn embedded_v4(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    let of = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        Ipv4Addr::new(a, b, c, d)
    };
    match v6.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            Some(of(high, low))
        }
        [0x2002, high, low, ..] => Some(of(high, low)),
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
            "https://",
            "https://user:secret@example.com/",
            &long,
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_not_public_is_known_in_every_spelling() {
        for bad in [
            "http://localhost/",
            "http://LOCALHOST./",
            "http://a.localhost/",
            "http://127.0.0.1/",
            "http://127.1/",
            "http://2130706433/",
            "http://0x7f.0.0.1/",
            "http://0.0.0.0/",
            "http://10.1.2.3/",
            "http://172.16.0.1/",
            "http://192.168.0.1/",
            "http://169.254.169.254/latest/meta-data",
            "http://100.64.0.1/",
            "http://224.0.0.1/",
            "http://255.255.255.255/",
            "http://[::1]/",
            "http://[::]/",
            "http://[::ffff:127.0.0.1]/",
            "http://[64:ff9b::10.0.0.1]/",
            "http://[2002:7f00:1::]/",
            "http://[fe80::1]/",
            "http://[fd00::1]/",
            "http://[ff02::1]/",
        ] {
            assert!(is_private_by_its_text(&check(bad).unwrap()), "{bad}");
        }
        for good in [
            "https://example.com/",
            "https://93.184.215.14/",
            "https://172.32.0.1/",
            "https://100.128.0.1/",
            "https://[2606:4700::1111]/",
            "https://[64:ff9b::8.8.8.8]/",
        ] {
            assert!(!is_private_by_its_text(&check(good).unwrap()), "{good}");
        }
    }
}
