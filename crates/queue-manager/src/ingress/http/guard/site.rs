//! The site that a request comes from: a browser sends requests that its user knows
//! nothing of.

use axum::extract::Request;
use axum::http::header::{HOST, HeaderMap, HeaderValue, ORIGIN};

use super::super::backup;
use super::Refusal;

/// The header in which a browser says where a request comes from.
const FETCH_SITE: &str = "sec-fetch-site";

/// Refuses requests that a web page of another site may have sent: without keys,
/// every caller that reaches this address may do everything, and a browser on this
/// machine reaches it.
pub(super) fn check_site(hosts: Option<&[String]>, request: &Request) -> Result<(), Refusal> {
    let text = |name| {
        request
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
    };
    let host = text(HOST.as_str()).or_else(|| Some(request.uri().authority()?.as_str()));
    let host = host.map(host_of).unwrap_or_default();
    if let Some(hosts) = hosts
        && !is_loopback(host)
        && !hosts.iter().any(|known| known.eq_ignore_ascii_case(host))
    {
        return Err(Refusal::Site(format!(
            "this service is not known as {host:?}: use 127.0.0.1 or localhost, or start it with --public-url"
        )));
    }
    // A page cannot read the answer, but a backup takes the place of others meanwhile.
    if request.method().is_safe() && request.uri().path() != backup::PATH {
        return Ok(());
    }
    let foreign = |what: &str| {
        Err(Refusal::Site(format!(
            "a web page of another site has sent this ({what}); without authentication only pages of this address may"
        )))
    };
    match text(FETCH_SITE) {
        Some("cross-site" | "same-site") => return foreign("Sec-Fetch-Site"),
        // The browser vouches for it, and no page can set this header. `Origin` may
        // be another name than `Host` behind a gateway.
        Some("same-origin") => return Ok(()),
        Some(_) | None => {}
    }
    match text(ORIGIN.as_str()) {
        Some(origin) if !is_origin_of(origin, text(HOST.as_str()).unwrap_or_default()) => {
            foreign("Origin")
        }
        Some(_) | None => Ok(()),
    }
}

/// Returns true if an origin is the site that the request was sent to.
fn is_origin_of(origin: &str, host: &str) -> bool {
    let authority = origin.split_once("://").map_or("", |(_, rest)| rest);
    !host.is_empty() && authority.eq_ignore_ascii_case(host)
}

/// The name in `name:port`.
pub(in crate::ingress::http) fn host_of(authority: &str) -> &str {
    if let Some(rest) = authority.strip_prefix('[') {
        return rest.split_once(']').map_or(rest, |(address, _)| address);
    }
    authority
        .rsplit_once(':')
        .map_or(authority, |(name, _)| name)
}

pub(in crate::ingress::http) fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host
            .parse()
            .is_ok_and(|address: std::net::IpAddr| address.is_loopback())
}

/// Refuses a form with the cookie of a browser, unless a page of this address has
/// sent it.
pub(super) fn check_own_page(headers: &HeaderMap) -> Result<(), Refusal> {
    refused_unless(is_own_page(headers).unwrap_or(false))
}

/// Refuses a form that a page of another site has sent. One whose site is not known
/// goes on.
pub(super) fn check_no_other_page(headers: &HeaderMap) -> Result<(), Refusal> {
    // A browser says `none` if a person has started the request.
    let is_of_person = headers
        .get(FETCH_SITE)
        .is_some_and(|site: &HeaderValue| site.as_bytes() == b"none");
    refused_unless(is_of_person || is_own_page(headers).unwrap_or(true))
}

fn refused_unless(is_taken: bool) -> Result<(), Refusal> {
    let detail = "a page of another site has sent this: only pages of this address may";
    is_taken
        .then_some(())
        .ok_or_else(|| Refusal::Site(detail.to_owned()))
}

/// Returns true if a page of this address has sent a request; `None` if nothing says so.
fn is_own_page(headers: &HeaderMap) -> Option<bool> {
    let text = |name| {
        headers
            .get(name)
            .and_then(|value: &HeaderValue| value.to_str().ok())
    };
    match (text(FETCH_SITE), text(ORIGIN.as_str())) {
        (Some(site), _) => Some(site == "same-origin"),
        (None, Some(origin)) => {
            let host = text(HOST.as_str()).unwrap_or_default();
            Some(is_origin_of(origin, host))
        }
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Method;

    use super::*;

    fn request(method: Method, headers: &[(&str, &str)]) -> Request {
        let mut request = Request::new(axum::body::Body::empty());
        *request.method_mut() = method;
        for (name, value) in headers {
            let name: axum::http::HeaderName = name.parse().unwrap();
            request.headers_mut().append(name, value.parse().unwrap());
        }
        request
    }

    #[test]
    fn a_page_of_another_site_begins_no_backup() {
        let from = |path: &str, site: &str| {
            let headers = [("host", "127.0.0.1:8080"), ("sec-fetch-site", site)];
            let mut request = request(Method::GET, &headers);
            *request.uri_mut() = path.parse().unwrap();
            check_site(None, &request).is_ok()
        };
        assert!(from("/v1/operations", "cross-site"));
        assert!(!from("/v1/backup", "cross-site"));
        assert!(!from("/v1/backup", "same-site"));
        assert!(from("/v1/backup", "none"));
    }

    #[test]
    fn only_names_of_this_machine_and_known_names_are_served() {
        let known = vec!["jobs.example.org".to_owned()];
        for host in [
            "127.0.0.1:8080",
            "localhost",
            "LOCALHOST:1",
            "[::1]:8080",
            "jobs.example.org:443",
        ] {
            let asked = request(Method::GET, &[("host", host)]);
            assert!(check_site(Some(&known), &asked).is_ok(), "{host}");
        }
        for host in [
            "evil.example",
            "10.0.0.1:8080",
            "localhost.evil.example",
            "",
        ] {
            let asked = request(Method::GET, &[("host", host)]);
            assert!(check_site(Some(&known), &asked).is_err(), "{host}");
            assert!(check_site(None, &asked).is_ok(), "behind a gateway: {host}");
        }
    }

    #[test]
    fn a_page_of_another_site_changes_nothing() {
        let own = ("host", "127.0.0.1:8080");
        for sent in [
            &[own][..],
            &[own, ("origin", "http://127.0.0.1:8080")],
            &[own, ("sec-fetch-site", "same-origin")],
            &[
                own,
                ("sec-fetch-site", "same-origin"),
                ("origin", "https://jobs.example.org"),
            ],
            &[own, ("sec-fetch-site", "none")],
        ] {
            assert!(
                check_site(None, &request(Method::POST, sent)).is_ok(),
                "{sent:?}"
            );
        }
        for sent in [
            &[own, ("origin", "http://evil.example")][..],
            &[own, ("origin", "null")],
            &[own, ("origin", "http://127.0.0.1:9090")],
            &[own, ("sec-fetch-site", "cross-site")],
            &[own, ("sec-fetch-site", "same-site")],
        ] {
            assert!(
                check_site(None, &request(Method::POST, sent)).is_err(),
                "{sent:?}"
            );
            assert!(
                check_site(None, &request(Method::GET, sent)).is_ok(),
                "{sent:?}"
            );
        }
    }
}
