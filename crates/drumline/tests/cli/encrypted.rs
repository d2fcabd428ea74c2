//! HTTPS: a server with a certificate, and what each wrong pair of client and server
//! is told, in one line.

use std::path::{Path, PathBuf};

use drumline_test_servers::{Authority, Certificate};

use crate::dev::Dev;
use crate::run::{Ended, drumline, end, folder};

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// A server with a certificate.
fn serve(certificate: &Certificate, more: &[&str]) -> Dev {
    let (cert, key) = (text(&certificate.cert), text(&certificate.key));
    let mut flags = vec!["--tls-cert", &cert, "--tls-key", &key];
    flags.extend_from_slice(more);
    Dev::start_with(&flags)
}

fn whoami(dev: &Dev, ca: PathBuf) -> Ended {
    end(dev.command(&["whoami"]).env("DRUMLINE_CA_FILE", ca))
}

#[test]
fn a_client_verifies_its_server_and_is_told_what_is_wrong() {
    let folder = folder();
    let authority = Authority::create(&folder.join("known")).unwrap();
    let other = Authority::create(&folder.join("other")).unwrap();
    let local = &["127.0.0.1", "localhost"];
    let good = serve(&authority.issue("good", local).unwrap(), &[]);
    assert!(good.url.starts_with("https://"), "{}", good.url);
    let ca = text(&authority.ca());
    let done = good.run(&["submit", "Echo", "--wait", "--ca-file", &ca]);
    assert_eq!(done.code, 0, "{done:?}");

    let name_ca = "name the file with its CA with --ca-file";
    for (certificate, reason, remedy) in [
        (
            other.issue("a", local),
            "its CA is not trusted here",
            name_ca,
        ),
        (
            authority.self_signed("b", local),
            "its certificate is self-signed",
            name_ca,
        ),
        (
            authority.issue_expired("c", local),
            "its certificate has expired",
            "renew the server's certificate",
        ),
        (
            authority.issue("d", &["db.example"]),
            "and not for \"127.0.0.1\"",
            "use an address with a name of the certificate",
        ),
    ] {
        let dev = serve(&certificate.unwrap(), &[]);
        let refused = whoami(&dev, authority.ca());
        assert_eq!(refused.code, 69, "{refused:?}");
        let first = refused.err.lines().next().unwrap_or_default();
        assert!(
            first.contains(&dev.url) && first.contains(reason),
            "{refused:?}"
        );
        assert!(refused.err.contains(remedy), "{refused:?}");
        assert_eq!(refused.err.lines().count(), 2, "{refused:?}");
    }
}

#[test]
fn the_wrong_scheme_is_told_on_both_sides() {
    let authority = Authority::create(&folder()).unwrap();
    let certificate = authority.issue("server", &["127.0.0.1"]).unwrap();
    let encrypted = serve(&certificate, &[]);
    let plain = Dev::start();
    let ask = |url: String| {
        let mut command = drumline();
        command.args(["whoami", "--server", &url]);
        end(command.env("DRUMLINE_CA_FILE", authority.ca()))
    };
    let over_http = ask(encrypted.url.replace("https://", "http://"));
    assert_eq!(over_http.code, 64, "{over_http:?}");
    assert!(
        over_http.err.contains("takes HTTPS only") && over_http.err.contains("HttpsRequired"),
        "{over_http:?}"
    );
    let over_https = ask(plain.url.replace("http://", "https://"));
    assert_eq!(over_https.code, 69, "{over_https:?}");
    assert!(
        over_https.err.contains("it does not speak TLS there")
            && over_https.err.contains("--server http://"),
        "{over_https:?}"
    );
}

#[test]
fn a_client_certificate_is_asked_for_and_shown() {
    let authority = Authority::create(&folder()).unwrap();
    let certificate = authority.issue("server", &["127.0.0.1"]).unwrap();
    let ca = text(&authority.ca());
    let dev = serve(&certificate, &["--tls-client-ca", &ca]);
    let without = whoami(&dev, authority.ca());
    assert_eq!(without.code, 69, "{without:?}");
    assert!(
        without.err.contains("it wants a client certificate")
            && without.err.contains("--client-cert and --client-key"),
        "{without:?}"
    );
    let client = authority.issue("client", &["orders.example"]).unwrap();
    let with = end(dev
        .command(&["whoami"])
        .env("DRUMLINE_CA_FILE", &ca)
        .env("DRUMLINE_CLIENT_CERT", &client.cert)
        .env("DRUMLINE_CLIENT_KEY", &client.key));
    assert_eq!(with.code, 0, "{with:?}");
    let half = dev.run(&["whoami", "--client-cert", "client.pem"]);
    assert_eq!(half.code, 64, "{half:?}");
    assert!(half.err.contains("--client-key"), "{half:?}");
}

#[test]
fn files_that_cannot_be_used_are_told_before_anything_starts() {
    let authority = Authority::create(&folder()).unwrap();
    let (one, other) = (
        authority.issue("one", &["localhost"]).unwrap(),
        authority.issue("other", &["localhost"]).unwrap(),
    );
    let (cert, key) = (text(&one.cert), text(&other.key));
    for (flags, expected) in [
        (
            &["--tls-cert", "nowhere.pem", "--tls-key", &key][..],
            "nowhere.pem",
        ),
        (&["--tls-cert", &cert, "--tls-key", &key], "is not that of"),
        (&["--tls-cert", &cert], "--tls-key"),
        (
            &["--listen", "0.0.0.0:0", "--auth-file", "auth.toml"],
            "--tls-cert",
        ),
    ] {
        let ended = end(drumline().arg("dev").args(flags));
        assert_eq!(ended.code, 64, "{ended:?}");
        assert!(ended.err.contains(expected), "{ended:?}");
    }
    let client = end(drumline().args([
        "whoami",
        "--server",
        "https://127.0.0.1:1",
        "--ca-file",
        "nowhere.pem",
    ]));
    assert_eq!(client.code, 64, "{client:?}");
    assert!(client.err.contains("nowhere.pem"), "{client:?}");
}
