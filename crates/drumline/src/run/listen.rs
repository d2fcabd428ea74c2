//! The check of the address that HTTP is served on.

use crate::cli::service::Http;
use crate::exit::{Exit, Failure, Result};

/// Refuses to serve other machines unless a flag allows it: callers are not
/// authenticated, so every caller that reaches the port may do everything.
pub(crate) fn check(http: &Http) -> Result<()> {
    if http.listen.ip().is_loopback() || http.allow_unauthenticated {
        return Ok(());
    }
    Err(Failure::new(
        Exit::Usage,
        format!(
            "--listen {} is open to other machines, and Drumline does not authenticate\n  \
             what to do: listen on 127.0.0.1, or put a gateway in front that authenticates, and add \
             --allow-unauthenticated",
            http.listen
        ),
    ))
}

/// The failure to listen: most of the time, another process has the address.
pub(crate) fn cannot_listen(address: std::net::SocketAddr, error: std::io::Error) -> Failure {
    let advice = if error.kind() == std::io::ErrorKind::AddrInUse {
        "another process listens there: end it, or choose another port with --listen; port 0 takes a free port"
    } else {
        "choose another address with --listen"
    };
    Failure::new(
        Exit::Failed,
        format!("cannot listen on {address}: {error}\n  what to do: {advice}"),
    )
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU16;
    use std::time::Duration;

    use super::*;

    fn http(listen: &str, allow_unauthenticated: bool) -> Http {
        Http {
            listen: listen.parse().unwrap(),
            allow_unauthenticated,
            max_body: 1024,
            http_header_timeout: Duration::ZERO,
            http_body_timeout: Duration::ZERO,
            max_connections: NonZeroU16::MIN,
            max_body_memory: 0,
        }
    }

    #[test]
    fn other_machines_are_served_only_where_that_is_meant() {
        for loopback in ["127.0.0.1:8080", "127.3.2.1:0", "[::1]:8080"] {
            assert!(check(&http(loopback, false)).is_ok(), "{loopback}");
        }
        for open in ["0.0.0.0:8080", "[::]:8080", "10.0.0.1:8080"] {
            let refused = check(&http(open, false)).unwrap_err();
            assert_eq!(refused.exit, Exit::Usage, "{open}");
            assert!(check(&http(open, true)).is_ok(), "{open}");
        }
    }
}
