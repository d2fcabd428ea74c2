//! Handshakes in memory: each kind of certificate is accepted, or refused for the
//! reason that a person is told.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use drumline_test_servers::{Authority, Certificate};
use drumline_tls::{
    ClientFiles, FileError, Names, Reload, ServerFiles, ServerTls, Trouble, certificate_name,
};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection};

const NAMES: Names = Names {
    ca: "--ca-file",
    cert: "--client-cert",
    plain: "http://",
};

fn folder(test: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
    drop(fs::remove_dir_all(&path));
    path
}

fn server(certificate: &Certificate, client_ca: Option<PathBuf>) -> ServerTls {
    let files = ServerFiles {
        cert: certificate.cert.clone(),
        key: certificate.key.clone(),
        client_ca,
    };
    ServerTls::open(files).expect("good files")
}

/// Both sides talk until they are done, or the error of the side that was refused
/// first, as the client sees it.
fn shake(
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
    name: &str,
) -> Result<(ClientConnection, ServerConnection), rustls::Error> {
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    let mut client = ClientConnection::new(client, name).expect("a client");
    let mut server = ServerConnection::new(server).expect("a server");
    // A client that is refused hears of it after its own end of the handshake.
    for _ in 0..6 {
        let mut sent = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut sent).expect("memory");
        }
        let mut rest = sent.as_slice();
        while !rest.is_empty() {
            server.read_tls(&mut rest).expect("memory");
            if server.process_new_packets().is_err() {
                // The client hears of it.
                break;
            }
        }
        let mut sent = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut sent).expect("memory");
        }
        let mut rest = sent.as_slice();
        while !rest.is_empty() {
            client.read_tls(&mut rest).expect("memory");
            client.process_new_packets()?;
        }
    }
    Ok((client, server))
}

#[test]
fn each_certificate_is_accepted_or_refused_with_its_reason() {
    let folder = folder("kinds");
    let known = Authority::create(&folder.join("known")).unwrap();
    let other = Authority::create(&folder.join("other")).unwrap();
    let trusting = ClientFiles {
        ca: Some(known.ca()),
        ..ClientFiles::default()
    }
    .config()
    .unwrap();
    let said = |certificate: &Certificate| {
        let server = server(certificate, None).config();
        let Err(error) = shake(Arc::clone(&trusting), server, "db.example") else {
            return "accepted".to_owned();
        };
        // As a library wraps it.
        let wrapped = io::Error::other(error);
        let trouble = Trouble::find(&wrapped).expect("a failed handshake");
        format!("{trouble}; {}", trouble.hint(NAMES))
    };
    let name = &["db.example"];
    assert_eq!(said(&known.issue("good", name).unwrap()), "accepted");
    for (certificate, expected) in [
        (
            other.issue("stranger", name).unwrap(),
            "its certificate is self-signed, or its CA is not trusted here; name the file with its CA with --ca-file",
        ),
        (
            other.self_signed("self", name).unwrap(),
            "its certificate is self-signed, or its CA is not trusted here; name the file with its CA with --ca-file",
        ),
        (
            known.issue_expired("expired", name).unwrap(),
            "its certificate has expired; renew the server's certificate",
        ),
    ] {
        assert_eq!(said(&certificate), expected);
    }
    let elsewhere = said(&known.issue("elsewhere", &["web.example"]).unwrap());
    assert!(
        elsewhere.contains("web.example") && elsewhere.contains("not for \"db.example\""),
        "{elsewhere}"
    );
}

#[test]
fn a_server_with_a_ca_of_clients_wants_a_certificate_of_it() {
    let folder = folder("clients");
    let authority = Authority::create(&folder.join("known")).unwrap();
    let other = Authority::create(&folder.join("other")).unwrap();
    let server = server(
        &authority.issue("server", &["db.example"]).unwrap(),
        Some(authority.ca()),
    );
    let attempt = |shown: Option<Certificate>| {
        let files = ClientFiles {
            ca: Some(authority.ca()),
            cert: shown.as_ref().map(|shown| shown.cert.clone()),
            key: shown.map(|shown| shown.key),
        };
        shake(files.config().unwrap(), server.config(), "db.example")
    };
    let refused = |shown| {
        let error = attempt(shown).expect_err("refused");
        Trouble::find(&error).expect("a failed handshake")
    };
    assert_eq!(refused(None), Trouble::NoClientCertificate);
    let stranger = other.issue("stranger", &["x"]).unwrap();
    assert!(matches!(
        refused(Some(stranger)),
        Trouble::ClientCertificate(_)
    ));
    let expired = authority.issue_expired("expired", &["x"]).unwrap();
    assert!(matches!(
        refused(Some(expired)),
        Trouble::ClientCertificate(_)
    ));
    for (names, expected) in [
        (&["orders.example"][..], "orders.example"),
        (
            &["orders.example", "spiffe://contoso/orders"],
            "spiffe://contoso/orders",
        ),
    ] {
        let shown = authority.issue("client", names).unwrap();
        let (_, server) = attempt(Some(shown)).expect("accepted");
        let certificates = server.peer_certificates().expect("one was shown");
        let name = certificate_name(certificates.first().unwrap());
        assert_eq!(name.as_deref(), Some(expected));
    }
}

#[test]
fn what_does_not_speak_tls_is_told() {
    let authority = Authority::create(&folder("plain")).unwrap();
    let files = ClientFiles {
        ca: Some(authority.ca()),
        ..ClientFiles::default()
    };
    let name = ServerName::try_from("db.example").unwrap();
    let mut client = ClientConnection::new(files.config().unwrap(), name).unwrap();
    let mut answer = &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..];
    client.read_tls(&mut answer).unwrap();
    let error = client.process_new_packets().expect_err("no TLS");
    assert_eq!(Trouble::find(&error), Some(Trouble::NotTls));
    assert_eq!(Trouble::find(&io::Error::other("full")), None);
}

#[test]
fn files_that_cannot_be_used_are_named_without_their_content() {
    let folder = folder("files");
    let authority = Authority::create(&folder).unwrap();
    let certificate = authority.issue("a", &["a"]).unwrap();
    let other = authority.issue("b", &["b"]).unwrap();
    let nonsense = folder.join("nonsense");
    fs::write(&nonsense, "hush").unwrap();
    let open = |cert: &Path, key: &Path| {
        let files = ServerFiles {
            cert: cert.to_owned(),
            key: key.to_owned(),
            client_ca: None,
        };
        ServerTls::open(files).expect_err("a mistake")
    };
    let missing = folder.join("missing");
    for (error, expected) in [
        (open(&missing, &certificate.key), "missing: No such file"),
        (
            open(&nonsense, &certificate.key),
            "nonsense: no certificate",
        ),
        (
            open(&certificate.cert, &nonsense),
            "nonsense: no private key",
        ),
        (
            open(&certificate.cert, &other.key),
            "is not that of the first certificate",
        ),
    ] {
        let text = error.to_string();
        assert!(text.contains(expected), "{text}");
        assert!(!text.contains("hush"), "{text}");
    }
    let half = ClientFiles {
        ca: Some(authority.ca()),
        cert: Some(certificate.cert),
        key: None,
    };
    assert_eq!(half.config().expect_err("half"), FileError::Half);
}

#[test]
fn changed_files_are_used_and_broken_ones_are_not() {
    let authority = Authority::create(&folder("reload")).unwrap();
    let certificate = authority.issue("server", &["db.example"]).unwrap();
    let server = server(&certificate, None);
    let first = server.config();
    assert_eq!(server.reload(), Reload::Unchanged);

    // The key is written before the certificate, or the other way round.
    let next = authority.issue("next", &["db.example"]).unwrap();
    fs::copy(&next.cert, &certificate.cert).unwrap();
    assert!(matches!(
        server.reload(),
        Reload::Broken(FileError::OtherKey { .. })
    ));
    assert_eq!(server.reload(), Reload::Unchanged, "told once");
    assert!(server.broken().is_some());
    assert!(Arc::ptr_eq(&first, &server.config()), "the last good one");
    fs::copy(&next.key, &certificate.key).unwrap();
    assert_eq!(server.reload(), Reload::Changed);
    assert_eq!(server.broken(), None);
    assert!(!Arc::ptr_eq(&first, &server.config()));

    // A file that was missing for a moment has not changed.
    fs::rename(&certificate.key, &next.key).unwrap();
    assert!(matches!(
        server.reload(),
        Reload::Broken(FileError::Read { .. })
    ));
    fs::rename(&next.key, &certificate.key).unwrap();
    assert_eq!(server.reload(), Reload::Changed);
    assert_eq!(server.broken(), None);
}
