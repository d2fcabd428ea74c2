//! The check of the address that HTTP is served on.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use drumline_auth::{Authenticator, RunSecrets};
use drumline_queue_manager::Access;
use drumline_queue_manager::quotas::Quotas;
use drumline_tls::{ServerFiles, ServerTls};
use reqwest::Url;

use crate::cli::service::Http;
use crate::exit::{Exit, Failure, Result};

/// Refuses to serve other machines unless flags say who authenticates and who
/// encrypts: every caller that reaches the port may do everything otherwise, or
/// reads keys on the way.
pub(crate) fn check(http: &Http) -> Result<()> {
    let is_safe = if http.auth_file.is_some() {
        http.behind_proxy || http.tls_cert.is_some()
    } else {
        http.allow_unauthenticated
    };
    if http.listen.ip().is_loopback() || is_safe {
        return Ok(());
    }
    let (what, remedy) = if http.auth_file.is_some() {
        (
            "keys would travel unencrypted",
            "listen on 127.0.0.1; or name a certificate and its key with --tls-cert and --tls-key; or put a proxy with \
             TLS in front, and add --behind-proxy",
        )
    } else {
        (
            "nobody is authenticated",
            "listen on 127.0.0.1; or name the file with the API keys with --auth-file (`drumline key create` makes \
             it); or put a gateway in front that authenticates, and add --allow-unauthenticated",
        )
    };
    Err(Failure::new(
        Exit::Usage,
        format!(
            "--listen {} is open to other machines, and {what}\n  what to do: {remedy}",
            http.listen
        ),
    ))
}

/// The file of the audit log, which can be written.
///
/// # Errors
/// When it cannot be.
pub(crate) fn audit_log(http: &Http) -> Result<Option<PathBuf>> {
    let Some(path) = &http.audit_log else {
        return Ok(None);
    };
    drumline_queue_manager::open_audit_log(path).map_err(|error| {
        let text = format!(
            "--audit-log {}: {error}\n  what to do: name a file in a folder that this user may write",
            path.display()
        );
        Failure::new(Exit::Usage, text)
    })?;
    Ok(Some(path.clone()))
}

/// The quotas of organizations.
///
/// # Errors
/// When the file cannot be used.
pub(crate) fn quotas(path: Option<&Path>) -> Result<Arc<Quotas>> {
    let Some(path) = path else {
        return Ok(Arc::default());
    };
    let quotas = Quotas::open(path).map_err(|error| {
        let text = format!(
            "--quota-file {}: {error}\n  what to do: correct the file; docs/limits.md has an example",
            path.display()
        );
        Failure::new(Exit::Usage, text)
    })?;
    Ok(Arc::new(quotas))
}

/// The secrets of run tokens in a file, if there is one.
///
/// # Errors
/// When the file cannot be used.
pub(crate) fn run_secrets(path: Option<&Path>) -> Result<Option<RunSecrets>> {
    let Some(path) = path else { return Ok(None) };
    match RunSecrets::open(path) {
        Ok(secrets) => Ok(Some(secrets)),
        Err(error) => {
            let text = format!(
                "--run-key-file {}: {error}\n  what to do: `openssl rand -hex 32` writes a secret; all queue managers and \
                 workers need the same file",
                path.display()
            );
            Err(Failure::new(Exit::Usage, text))
        }
    }
}

/// The callers that a process lets in.
///
/// # Errors
/// When the file with the keys cannot be used.
pub(crate) fn access(http: &Http, runs: Option<RunSecrets>) -> Result<Access> {
    if let Some(path) = &http.auth_file {
        let keys = Authenticator::open(path).map_err(|error| {
            let text = format!(
                "--auth-file {}: {error}\n  what to do: correct the file, or make one with `drumline key create \
                 --auth-file {}`",
                path.display(),
                path.display()
            );
            Failure::new(Exit::Usage, text)
        })?;
        let keys = match runs {
            Some(secrets) => keys.with_runs(secrets),
            None => keys,
        };
        return Ok(Access::Keys(Arc::new(keys)));
    }
    // A gateway in front knows the names; on loopback, this process does.
    let is_local = http.listen.ip().is_loopback() && !http.allow_unauthenticated;
    let public = http.public_url.as_ref().and_then(Url::host_str);
    Ok(Access::Open {
        hosts: is_local.then(|| public.map(str::to_owned).into_iter().collect()),
    })
}

/// The certificate of the port, if it has one.
///
/// # Errors
/// When a file cannot be used, or one is missing.
pub(crate) fn tls(http: &Http) -> Result<Option<Arc<ServerTls>>> {
    let usage = |text: String| Err(Failure::new(Exit::Usage, text));
    let (cert, key) = match (&http.tls_cert, &http.tls_key) {
        (Some(cert), Some(key)) => (cert, key),
        (None, None) if http.tls_client_ca.is_none() => return Ok(None),
        (None, None) => {
            return usage("--tls-client-ca needs --tls-cert and --tls-key".to_owned());
        }
        (Some(_), None) => return usage("--tls-cert needs --tls-key, its key".to_owned()),
        (None, Some(_)) => return usage("--tls-key needs --tls-cert, its certificate".to_owned()),
    };
    let files = ServerFiles {
        cert: cert.clone(),
        key: key.clone(),
        client_ca: http.tls_client_ca.clone(),
    };
    match ServerTls::open(files) {
        Ok(tls) => Ok(Some(Arc::new(tls))),
        Err(error) => usage(format!(
            "--tls-cert, --tls-key or --tls-client-ca: {error}\n  what to do: correct the file; all are PEM, and the \
             key has no passphrase"
        )),
    }
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

    fn http(listen: &str) -> Http {
        Http {
            listen: listen.parse().unwrap(),
            auth_file: None,
            tls_cert: None,
            tls_key: None,
            tls_client_ca: None,
            run_key_file: None,
            audit_log: None,
            behind_proxy: false,
            public_url: None,
            allow_unauthenticated: false,
            max_body: 1024,
            http_header_timeout: Duration::ZERO,
            http_body_timeout: Duration::ZERO,
            max_connections: NonZeroU16::MIN,
            max_event_streams: 0,
            max_body_memory: 0,
        }
    }

    #[test]
    fn other_machines_are_served_only_where_that_is_meant() {
        for loopback in ["127.0.0.1:8080", "127.3.2.1:0", "[::1]:8080"] {
            assert!(check(&http(loopback)).is_ok(), "{loopback}");
        }
        for open in ["0.0.0.0:8080", "[::]:8080", "10.0.0.1:8080"] {
            let refused = check(&http(open)).unwrap_err();
            assert_eq!(refused.exit, Exit::Usage, "{open}");
            let believed = Http {
                allow_unauthenticated: true,
                ..http(open)
            };
            assert!(check(&believed).is_ok(), "{open}");
            let keyed = Http {
                auth_file: Some("auth.toml".into()),
                ..http(open)
            };
            assert!(check(&keyed).is_err(), "keys in the clear: {open}");
            let encrypted = Http {
                tls_cert: Some("tls.pem".into()),
                auth_file: Some("auth.toml".into()),
                ..http(open)
            };
            assert!(check(&encrypted).is_ok(), "{open}");
            let open_to_all = Http {
                auth_file: None,
                ..encrypted
            };
            assert!(check(&open_to_all).is_err(), "no authentication: {open}");
            let proxied = Http {
                behind_proxy: true,
                ..keyed
            };
            assert!(check(&proxied).is_ok(), "{open}");
        }
    }

    #[test]
    fn a_certificate_and_its_key_come_together() {
        let halves = [
            Http {
                tls_cert: Some("tls.pem".into()),
                ..http("127.0.0.1:0")
            },
            Http {
                tls_key: Some("tls.key".into()),
                ..http("127.0.0.1:0")
            },
            Http {
                tls_client_ca: Some("ca.pem".into()),
                ..http("127.0.0.1:0")
            },
        ];
        for half in halves {
            assert_eq!(tls(&half).unwrap_err().exit, Exit::Usage, "{half:?}");
        }
        assert!(tls(&http("127.0.0.1:0")).unwrap().is_none());
    }

    #[test]
    fn a_process_on_loopback_knows_its_names() {
        let named = Http {
            public_url: Some("https://jobs.example.org/x".parse().unwrap()),
            ..http("127.0.0.1:0")
        };
        let Access::Open { hosts: Some(hosts) } = access(&named, None).unwrap() else {
            panic!("no names");
        };
        assert_eq!(hosts, ["jobs.example.org"]);
    }
}
