//! Encrypted connections to Redis and RabbitMQ: everything works over them, and each
//! mistake is told in one line that names the host and the way out.

use std::fs;
use std::process::Command;

use drumline_test_servers::{
    Authority, Certificate, RabbitOptions, RabbitServer, RedisOptions, RedisServer, TlsPort,
};

use crate::run::{Ended, Process, drumline, end, file, folder};

/// A password with the characters that mean something in a URL.
const SECRET: &str = "hush%2F%40%3A%25%23";

/// Both servers with TLS on their second ports.
struct Encrypted {
    redis: RedisServer,
    rabbit: RabbitServer,
    authority: Authority,
    /// The certificate of both.
    server: Certificate,
    client: Certificate,
}

impl Encrypted {
    async fn start() -> Self {
        let authority = Authority::create(&folder()).expect("an authority");
        let server = authority
            .issue("server", &["localhost"])
            .expect("a certificate");
        let client = authority
            .issue("client", &["drumline"])
            .expect("a certificate");
        let tls = TlsPort {
            certificate: server.clone(),
            client_ca: authority.ca(),
            wants_certificates: true,
        };
        let redis = RedisServer::start_with(RedisOptions {
            tls: Some(tls.clone()),
            ..RedisOptions::default()
        });
        let rabbit = RabbitServer::start_with(RabbitOptions {
            tls: Some(tls),
            ..RabbitOptions::default()
        });
        let (redis, rabbit) = tokio::try_join!(redis, rabbit).expect("servers");
        Self {
            redis,
            rabbit,
            authority,
            server,
            client,
        }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = drumline();
        command
            .args(arguments)
            .env("DRUMLINE_REDIS_URL", self.redis.tls_url("localhost"))
            .env("DRUMLINE_AMQP_URL", self.rabbit.tls_url("localhost"));
        for server in ["REDIS", "AMQP"] {
            command
                .env(format!("DRUMLINE_{server}_CA_FILE"), self.authority.ca())
                .env(format!("DRUMLINE_{server}_CERT"), &self.client.cert)
                .env(format!("DRUMLINE_{server}_KEY"), &self.client.key);
        }
        command
    }

    /// Runs doctor with other settings of both servers.
    fn doctor(&self, settings: &[(&str, &str)]) -> Ended {
        let mut command = self.command(&["doctor", "-o", "json"]);
        // The handshake fails before the password is sent.
        let with_secret = |url: String| url.replace("localhost", &format!("me:{SECRET}@localhost"));
        command
            .env(
                "DRUMLINE_REDIS_URL",
                with_secret(self.redis.tls_url("localhost")),
            )
            .env(
                "DRUMLINE_AMQP_URL",
                with_secret(self.rabbit.tls_url("localhost")),
            );
        for server in ["REDIS", "AMQP"] {
            for (name, value) in settings {
                let name = format!("DRUMLINE_{server}_{name}");
                if value.is_empty() {
                    command.env_remove(name);
                } else {
                    command.env(name, value);
                }
            }
        }
        end(&mut command)
    }

    /// Gives both servers another certificate.
    async fn serve(&self, other: &Certificate) {
        fs::copy(&other.cert, &self.server.cert).expect("written");
        fs::copy(&other.key, &self.server.key).expect("written");
        self.redis.restart().await.expect("a Redis");
        let forget = self.rabbit.rabbitmqctl(&["eval", "ssl:clear_pem_cache()."]);
        forget.await.expect("a RabbitMQ");
    }
}

/// Both servers are refused with these words and the way out. RabbitMQ may close the
/// connection before its reason can be read.
fn assert_told(ended: &Ended, reason: &str, hints: [&str; 2]) {
    assert_eq!(ended.code, 1, "{ended:?}");
    let findings = ended.json();
    for hint in hints {
        let told = findings.iter().any(|finding| {
            let text = finding["text"].as_str().unwrap_or_default();
            finding["level"] == "bad" && text.contains(reason) && text.contains(hint)
        });
        assert!(told, "{reason}, {hint}: {ended:?}");
    }
}

/// Both servers are refused for this reason, in one line with the way out.
fn assert_refused(ended: &Ended, reason: &str, hints: [&str; 2]) {
    assert_eq!(ended.code, 1, "{ended:?}");
    for (subject, hint) in ["Redis", "RabbitMQ"].into_iter().zip(hints) {
        let findings = ended.json();
        let finding = findings
            .iter()
            .find(|finding| finding["subject"] == subject && finding["level"] == "bad");
        let finding = finding.expect(subject);
        let text = finding["text"].as_str().expect("a text");
        for part in [reason, hint, "TLS with localhost"] {
            assert!(text.contains(part), "{part:?} is not in {text:?}");
        }
        assert_eq!(text.matches(reason).count(), 1, "told once: {text}");
        assert_eq!(text.lines().count(), 1, "{text}");
    }
    for secret in ["hush", "%2F%40"] {
        assert!(!ended.out.contains(secret), "{ended:?}");
        assert!(!ended.err.contains(secret), "{ended:?}");
    }
}

#[tokio::test]
async fn everything_works_over_tls_and_each_mistake_is_told() {
    let servers = Encrypted::start().await;
    let handlers = file(
        "handlers.toml",
        "[[handler]]\nmessage = \"Greet\"\ncommand = [\"sh\", \"-c\", \"cat >/dev/null; echo '{\\\"hello\\\": \\\"you\\\"}'\"]\n",
    );
    let handlers = handlers.display().to_string();
    let manager = Process::start(&mut servers.command(&["queue-manager", "--listen=127.0.0.1:0"]));
    let worker = Process::start(&mut servers.command(&["worker", "--handlers", &handlers]));
    let url = manager.url();
    let client = |arguments: &[&str]| end(servers.command(arguments).env("DRUMLINE_SERVER", &url));
    let submitted = client(&["submit", "Greet", "--token", "t", "--wait", "-o", "json"]);
    assert_eq!(submitted.code, 0, "{submitted:?}");
    assert_eq!(submitted.json()[0]["result"]["hello"], "you");
    for arguments in [
        &["doctor"][..],
        &["index"],
        &[
            "bench",
            "--only",
            "floor",
            "--seconds",
            "1",
            "--rounds",
            "1",
        ],
    ] {
        let ended = client(arguments);
        assert_eq!(ended.code, 0, "{arguments:?}: {ended:?}");
    }
    assert_eq!(worker.terminate(), 0);
    assert_eq!(manager.terminate(), 0);

    let other = Authority::create(&folder()).expect("an authority");
    let other_ca = other.ca().display().to_string();
    let name_ca = ["--redis-ca-file", "--amqp-ca-file"];
    let unknown = "its certificate is self-signed, or its CA is not trusted here";
    assert_refused(&servers.doctor(&[("CA_FILE", &other_ca)]), unknown, name_ca);
    assert_refused(
        &servers.doctor(&[("CA_FILE", "nowhere.pem")]),
        "nowhere.pem: No such file",
        ["correct the file"; 2],
    );
    assert_refused(
        &servers.doctor(&[("SERVER_NAME", "db.example")]),
        "not for \"db.example\"",
        ["with this name"; 2],
    );
    assert_told(
        &servers.doctor(&[("CERT", ""), ("KEY", "")]),
        "wants a client certificate",
        ["--redis-cert and --redis-key", "--amqp-cert and --amqp-key"],
    );
    let stranger = other
        .issue("stranger", &["drumline"])
        .expect("a certificate");
    let (cert, key) = (
        stranger.cert.display().to_string(),
        stranger.key.display().to_string(),
    );
    assert_told(
        &servers.doctor(&[("CERT", &cert), ("KEY", &key)]),
        "refuses the client certificate",
        ["--redis-cert", "--amqp-cert"],
    );
    let mut plain = servers.command(&["doctor", "-o", "json"]);
    plain
        .env(
            "DRUMLINE_REDIS_URL",
            format!("rediss://{}", servers.redis.address()),
        )
        .env(
            "DRUMLINE_AMQP_URL",
            format!("amqps://{}", servers.rabbit.address()),
        )
        .env("DRUMLINE_REDIS_SERVER_NAME", "localhost")
        .env("DRUMLINE_AMQP_SERVER_NAME", "localhost");
    let plain = end(&mut plain);
    // A Redis without TLS takes the handshake for the start of a command, and waits for
    // the rest.
    for part in ["it does not speak TLS there", "no answer within"] {
        assert!(plain.out.contains(part), "{part}: {plain:?}");
    }

    // A process does not wait for what will not change by itself.
    let mut refused = servers.command(&["queue-manager", "--listen=127.0.0.1:0"]);
    let refused = end(refused.env("DRUMLINE_REDIS_CA_FILE", other.ca()));
    assert_eq!(refused.code, 64, "{refused:?}");
    assert!(refused.err.contains(unknown), "{refused:?}");
    let mut refused = servers.command(&["worker", "--handlers", &handlers]);
    let refused = end(refused.env("DRUMLINE_AMQP_CA_FILE", other.ca()));
    assert_eq!(refused.code, 64, "{refused:?}");
    assert!(refused.err.contains(unknown), "{refused:?}");

    let expired = servers.authority.issue_expired("expired", &["localhost"]);
    servers.serve(&expired.expect("a certificate")).await;
    assert_refused(
        &servers.doctor(&[]),
        "its certificate has expired",
        ["renew the server's certificate"; 2],
    );
    let own = servers.authority.self_signed("own", &["localhost"]);
    servers.serve(&own.expect("a certificate")).await;
    assert_refused(&servers.doctor(&[]), unknown, name_ca);
}

#[test]
fn urls_that_cannot_be_used_are_refused_without_their_secrets() {
    for (flag, url, expected) in [
        (
            "--redis-url",
            "rediss://me:hush@host/#insecure",
            "--redis-ca-file",
        ),
        ("--redis-url", "http://me:hush@host", "expected redis://"),
        ("--redis-url", "redis://me:hush/hush@host", "%2F"),
        ("--redis-url", "redis://me:hush#hush@host", "%23"),
        (
            "--redis-url",
            "redis+sentinel://me:hush@one:1,two",
            "the name that the sentinels have",
        ),
        (
            "--amqp-url",
            "amqps://me:hush@host/#insecure",
            "--amqp-ca-file",
        ),
        (
            "--amqp-url",
            "amqp://a:hush@one/v,amqp://b:hush@other/w",
            "same virtual host",
        ),
        (
            "--amqp-url",
            "amqps://me:hush@host?cacertfile=ca.pem",
            "--amqp-ca-file",
        ),
        ("--amqp-url", "http://me:hush@host", "amqp://"),
        ("--amqp-url", "amqp://me:hush/hush@host", "%2F"),
    ] {
        let variable = flag
            .trim_start_matches("--")
            .replace('-', "_")
            .to_uppercase();
        let by_flag = end(drumline().args(["doctor", flag, url]));
        let by_variable = end(drumline()
            .arg("doctor")
            .env(format!("DRUMLINE_{variable}"), url));
        let by_file = file(
            "drumline.toml",
            &format!("{} = {url:?}\n", flag.trim_start_matches("--")),
        );
        let by_file = end(drumline().args(["doctor", "--config"]).arg(by_file));
        for ended in [by_flag, by_variable, by_file] {
            assert_eq!(ended.code, 64, "{url}: {ended:?}");
            assert!(ended.err.contains(expected), "{url}: {ended:?}");
            assert!(!ended.err.contains("hush"), "{url}: {ended:?}");
        }
    }
    // Settings of TLS are of no use without it.
    let unused = [
        "doctor",
        "--redis-ca-file",
        "ca.pem",
        "--amqp-server-name",
        "rabbit.example",
    ];
    let unused = end(drumline().args(unused));
    assert_eq!(unused.code, 1, "{unused:?}");
    assert!(unused.out.contains("needs rediss://"), "{unused:?}");
    assert!(unused.out.contains("use amqps://"), "{unused:?}");
}
