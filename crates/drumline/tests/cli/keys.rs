//! Keys: made, sent, refused; and requests of web pages without keys.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use crate::dev::Dev;
use crate::run::{drumline, end, folder};

/// The answer to a request that is written by hand.
pub(crate) fn raw(url: &str, request: &str) -> String {
    let address = url.strip_prefix("http://").expect("plain HTTP");
    let mut stream = TcpStream::connect(address).expect("it listens");
    let request = request.replace("ADDRESS", address);
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

/// The answer to a request without a key.
pub(crate) fn get(url: &str, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nhost: ADDRESS\r\nconnection: close\r\n\r\n");
    raw(url, &request)
}

#[test]
fn a_key_is_made_sent_rotated_and_revoked() {
    let auth = folder().join("auth.toml").display().to_string();
    let key = |arguments: &[&str]| {
        let mut command = drumline();
        command.args(["key", "--auth-file", &auth]).args(arguments);
        end(&mut command)
    };
    let create = |role, org| {
        let made = key(&["create", "--org", org, "--role", role, "--caller", "jo"]);
        assert_eq!(made.code, 0, "{made:?}");
        made.out.trim().to_owned()
    };
    let producer = create("producer", "contoso");
    let reader = create("reader", "contoso");
    let dev = Dev::start_with(&["--auth-file", &auth]);
    let as_key =
        |key: &str, arguments: &[&str]| end(dev.command(arguments).env("DRUMLINE_API_KEY", key));

    let none = dev.run(&["submit", "Echo"]);
    assert_eq!(none.code, 64, "{none:?}");
    assert!(none.err.contains("Unauthenticated"), "{none:?}");
    let done = as_key(&producer, &["submit", "Echo", "--wait"]);
    assert_eq!(done.code, 0, "{done:?}");
    let refused = as_key(&reader, &["submit", "Echo"]);
    assert!(refused.err.contains("PrivilegeDenied"), "{refused:?}");
    assert!(refused.err.contains("needs producer"), "{refused:?}");
    let who = as_key(&reader, &["whoami"]);
    assert!(
        who.out.contains("reader") && who.out.contains("contoso"),
        "{who:?}"
    );

    let in_a_file = folder().join("key");
    std::fs::write(&in_a_file, format!("{producer}\n")).unwrap();
    let path = in_a_file.display().to_string();
    let done = dev.run(&["list", "--api-key-file", &path]);
    assert_eq!(done.code, 0, "{done:?}");

    let id = producer.get(4..12).unwrap();
    let listed = key(&["list"]);
    assert!(
        listed.out.contains(id) && !listed.out.contains(&producer),
        "{listed:?}"
    );
    assert_eq!(key(&["revoke", id]).code, 0);
    assert_eq!(key(&["revoke", id]).code, 4);
    // Each try is a process of its own, so they take longer than a look at the file.
    let is_refused = (0..600).any(|_| as_key(&producer, &["list"]).code != 0);
    assert!(is_refused, "a revoked key is still good");
    for text in [&done.out, &done.err, &refused.err, &listed.err] {
        assert!(!text.contains(&producer), "{text}");
    }
}

#[test]
fn what_is_no_key_or_no_file_of_keys_is_told() {
    let dev = Dev::start();
    let cut = end(dev.command(&["whoami"]).env("DRUMLINE_API_KEY", "drl_x"));
    // A service without keys does not look at it.
    assert_eq!(cut.code, 0, "{cut:?}");
    assert!(cut.out.contains("no keys"), "{cut:?}");
    for (flags, expected) in [
        (&["--auth-file", "nowhere.toml"][..], "drumline key create"),
        (
            &["--auth-file", "nowhere.toml", "--listen", "0.0.0.0:0"],
            "--behind-proxy",
        ),
    ] {
        let ended = end(drumline().arg("dev").args(flags));
        assert_eq!(ended.code, 64, "{ended:?}");
        assert!(ended.err.contains(expected), "{ended:?}");
    }
}

#[test]
fn no_web_page_of_another_site_drives_a_service_without_keys() {
    let dev = Dev::start();
    let post = "POST /v1/operations/cancel?all=true HTTP/1.1\r\nConnection: close\r\nContent-Length: 0\r\n";
    for foreign in [
        "Host: ADDRESS\r\nOrigin: https://evil.example\r\n",
        "Host: ADDRESS\r\nSec-Fetch-Site: cross-site\r\n",
        "Host: evil.example\r\n",
    ] {
        let answer = raw(&dev.url, &format!("{post}{foreign}\r\n"));
        assert!(answer.starts_with("HTTP/1.1 403"), "{foreign}: {answer}");
        assert!(answer.contains("CrossSiteRequest"), "{foreign}: {answer}");
    }
    let get = "GET /v1/operations HTTP/1.1\r\nConnection: close\r\nHost: evil.example\r\n\r\n";
    assert!(raw(&dev.url, get).starts_with("HTTP/1.1 403"));
    let own = raw(
        &dev.url,
        &format!("{post}Host: ADDRESS\r\nOrigin: http://ADDRESS\r\n\r\n"),
    );
    assert!(own.starts_with("HTTP/1.1 200"), "{own}");
    let named = Dev::start_with(&["--public-url", "https://jobs.example.org"]);
    let get = "GET /v1/operations HTTP/1.1\r\nConnection: close\r\nHost: jobs.example.org\r\n\r\n";
    assert!(raw(&named.url, get).starts_with("HTTP/1.1 200"));
}
