//! Passwords, keys and payloads with a mark, and the search for the mark in all that
//! the programs print and answer.

use std::fs;
use std::process::Command;
use std::thread;

use crate::run::{Ended, Process, drumline, end, file, folder};

/// The mark. No program prints it by chance.
const MARK: &str = "m4rk3r";

fn clean(about: &str, text: &str) {
    assert!(!text.contains(MARK), "{about}: {text}");
}

fn clean_end(about: &str, ended: &Ended) {
    clean(about, &ended.out);
    clean(about, &ended.err);
}

/// Passwords as people put them into URLs: escaped, and not.
const PASSWORDS: &[&str] = &[
    "m4rk3r",
    "a/m4rk3r",
    "m4rk3r/a",
    "a@m4rk3r",
    "m4rk3r@a",
    "a:m4rk3r",
    "m4rk3r:6379",
    "%m4rk3r",
    "a%2Fm4rk3r%40",
    "a#m4rk3r",
    "m4rk3r?a",
];

#[test]
fn no_password_of_a_server_is_printed_however_it_is_written() {
    let handlers = file(
        "handlers.toml",
        "[[handler]]\nmessage = \"A\"\ncommand = [\"true\"]\n",
    );
    let handlers = handlers.display().to_string();
    let commands: &[&[&str]] = &[
        &[
            "queue-manager",
            "--listen=127.0.0.1:0",
            "--start-patience=1ms",
        ],
        &["worker", "--handlers", &handlers, "--start-patience=1ms"],
        &["doctor"],
        &["index"],
        &["export"],
        &["config"],
    ];
    // A program that does not reach Redis tries for seconds, hence all at a time.
    thread::scope(|runs| {
        for password in PASSWORDS {
            for (redis, amqp) in [("redis", "amqp"), ("http", "amqp"), ("redis", "http")] {
                let redis = format!("{redis}://ada:{password}@127.0.0.1:1/0");
                let amqp = format!("{amqp}://ada:{password}@127.0.0.1:1/v");
                let toml = file(
                    "drumline.toml",
                    &format!("redis-url = {redis:?}\namqp-url = {amqp:?}\n"),
                );
                for command in commands {
                    let mut by_variable = drumline();
                    by_variable
                        .args(*command)
                        .env("DRUMLINE_REDIS_URL", &redis)
                        .env("DRUMLINE_AMQP_URL", &amqp);
                    let mut by_file = drumline();
                    by_file.args(*command).env("DRUMLINE_CONFIG", &toml);
                    for mut program in [by_variable, by_file] {
                        runs.spawn(move || {
                            let ended = end(program.env("DRUMLINE_LOG", "debug"));
                            clean_end(&format!("{password} {command:?}"), &ended);
                        });
                    }
                }
            }
        }
    });
}

/// A process whose log is in a file.
fn logged(program: &Command, log: &str) -> Command {
    let mut command = Command::new("sh");
    command
        .args(["-c", "log=$1; shift; exec \"$@\" 2> \"$log\"", "sh", log])
        .arg(program.get_program())
        .args(program.get_args());
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
}

#[test]
fn no_key_payload_or_address_is_logged_or_in_a_refusal() {
    let folder = folder();
    let path = |name: &str| folder.join(name).display().to_string();
    let auth = path("auth.toml");
    let key = |role| {
        let flags = [
            "create", "--org", "contoso", "--role", role, "--caller", "jo",
        ];
        let made = end(drumline().args(["key", "--auth-file", &auth]).args(flags));
        made.out.trim().to_owned()
    };
    let (operator, reader) = (key("operator"), key("reader"));
    let handlers = "\
        [[handler]]\nmessage = \"Command\"\n\
        command = [\"sh\", \"-c\", \"cat > /dev/null; exit 1\"]\nenv = { PASSWORD = \"m4rk3r\" }\n\
        [[handler]]\nmessage = \"Service\"\nhttp = \"http://127.0.0.1:1/m4rk3r?token=m4rk3r\"\n\
        headers = { Authorization = \"Bearer m4rk3r\" }\n\
        [[handler]]\nmessage = \"Named\"\nhttp = \"http://localhost.invalid/m4rk3r?token=m4rk3r\"\n";
    fs::write(path("handlers.toml"), handlers).unwrap();
    // 24 bytes that have the mark in their base64.
    let secret = "whsec_m4rk3rm4rk3rm4rk3rm4rk3rm4rk3rm4";
    let (log, audit) = (path("log"), path("audit.jsonl"));
    let mut dev = drumline();
    dev.args(["dev", "--listen", "127.0.0.1:0", "--log", "debug"])
        .args(["--auth-file", &auth, "--audit-log", &audit])
        .args(["--handlers", &path("handlers.toml")])
        .env("DRUMLINE_WEBHOOK_SECRET", secret)
        .env("DRUMLINE_WEBHOOK_ALLOW_PRIVATE", "true");
    let dev = Process::start(&mut logged(&dev, &log));
    let url = dev.url();
    let run = |key: &str, arguments: &[&str]| {
        let mut command = drumline();
        command
            .args(arguments)
            .env("DRUMLINE_SERVER", &url)
            .env("DRUMLINE_API_KEY", key);
        end(&mut command)
    };
    let hook = "http://127.0.0.1:1/m4rk3r?token=m4rk3r";
    for message in ["Command", "Service", "Named"] {
        let made = run(
            &operator,
            &[
                "submit",
                message,
                "--data",
                "\"m4rk3r\"",
                "--webhook",
                hook,
                "-o",
                "json",
            ],
        );
        assert_eq!(made.code, 0, "{made:?}");
        let id = made.json().remove(0)["id"].as_str().unwrap().to_owned();
        let history = |state: &str| {
            run(&operator, &["history", &id, "-o", "json"])
                .out
                .contains(state)
        };
        while !(history("retry") || history("fail")) {
            thread::yield_now();
        }
        clean_end("history", &run(&operator, &["history", &id]));
        let got = run(&operator, &["get", &id, "-o", "json"]).json().remove(0);
        clean("message", &got["message"].to_string());
        clean("friendlyMessage", &got["friendlyMessage"].to_string());
    }
    for (key, arguments) in [
        (&reader, &["submit", "Command", "--data", "\"m4rk3r\""][..]),
        (&operator, &["submit", "Command", "--data", "[\"m4rk3r\""]),
        (
            &operator,
            &[
                "submit",
                "Command",
                "--webhook",
                "ftp://m4rk3r:m4rk3r@x/m4rk3r",
            ],
        ),
        (
            &operator,
            &[
                "submit",
                "Command",
                "--webhook",
                "http://169.254.169.254/m4rk3r",
            ],
        ),
        (&"drl_m4rk3r".to_owned(), &["list"]),
        (&"drt_m4rk3r".to_owned(), &["list"]),
    ] {
        let refused = run(key, arguments);
        assert_ne!(refused.code, 0, "{arguments:?}");
        clean_end(&format!("{arguments:?}"), &refused);
    }
    assert_eq!(dev.terminate(), 0);
    let log = fs::read_to_string(&log).unwrap();
    assert!(log.contains("listening"), "{log}");
    let audit = fs::read_to_string(&audit).unwrap();
    assert!(audit.lines().count() >= 3, "{audit}");
    for (about, text) in [("log", log), ("audit", audit)] {
        clean(about, &text);
        for key in [&operator, &reader] {
            assert!(!text.contains(key.as_str()), "{about}: {text}");
        }
    }
}
