//! `drumline health`, for containers.

use drumline_test_servers::Authority;

use crate::dev::Dev;
use crate::run::{drumline, end, folder};

#[test]
fn health_says_by_its_exit_code_whether_a_process_is_ready_or_alive() {
    let dev = Dev::start();
    for flags in [&[][..], &["--live"]] {
        let asked = end(drumline().args(["health", "--url", &dev.url]).args(flags));
        assert_eq!(asked.code, 0, "{asked:?}");
    }
    let url = dev.url.clone();
    assert_eq!(dev.terminate(), 0);
    let gone = end(drumline().args(["health", "--url", &url]));
    assert_eq!(gone.code, 1, "{gone:?}");
    assert!(gone.err.contains("not ready"), "{gone:?}");
}

#[test]
fn health_verifies_the_certificate_for_the_name_of_the_service() {
    let authority = Authority::create(&folder()).unwrap();
    let server = authority.issue("server", &["jobs.example"]).unwrap();
    let (cert, key) = (
        server.cert.display().to_string(),
        server.key.display().to_string(),
    );
    let dev = Dev::start_with(&[
        "--tls-cert",
        &cert,
        "--tls-key",
        &key,
        "--public-url",
        "https://jobs.example",
    ]);
    let by_name = dev.url.replace("127.0.0.1", "jobs.example");
    let ask = |flags: &[&str]| {
        let mut command = drumline();
        command.arg("health").args(flags);
        end(command.env("DRUMLINE_CA_FILE", authority.ca()))
    };
    let by_name = ask(&["--url", &by_name, "--connect", "127.0.0.1"]);
    assert_eq!(by_name.code, 0, "{by_name:?}");
    let by_address = ask(&["--url", &dev.url]);
    assert_eq!(by_address.code, 1, "{by_address:?}");
    assert!(by_address.err.contains("jobs.example"), "{by_address:?}");
}
