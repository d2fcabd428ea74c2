//! The sources of settings, and mistakes in them.

use crate::run::{drumline, end, file, text};

/// Value and source of a setting of `drumline worker`.
fn setting(command: &mut std::process::Command, key: &str) -> (String, String) {
    let ended = end(command);
    assert_eq!(ended.code, 0, "{ended:?}");
    let all = ended.json();
    let found = all
        .iter()
        .find(|setting| setting["key"] == key)
        .expect("a setting with this key");
    let value = found["values"][0].as_str().unwrap_or_default().to_owned();
    (value, text(found, "source"))
}

#[test]
fn the_flag_wins_over_the_environment_over_the_file_over_the_default() {
    let path = file("drumline.toml", "lease = \"21s\"\n");
    let lease = |more: &[&str], environment: Option<&str>, with_file: bool| {
        let mut command = drumline();
        command.args(["config", "--output", "json"]);
        if with_file {
            command.arg("--config").arg(&path);
        }
        command.arg("worker").args(more);
        if let Some(value) = environment {
            command.env("DRUMLINE_LEASE", value);
        }
        setting(&mut command, "lease")
    };
    let pair = |value: &str, source: &str| (value.to_owned(), source.to_owned());
    let in_file = format!("{}:1", path.display());
    assert_eq!(lease(&[], None, false), pair("30s", "default"));
    assert_eq!(lease(&[], None, true), pair("21s", &in_file));
    assert_eq!(lease(&[], Some("22s"), true), pair("22s", "DRUMLINE_LEASE"));
    let flag = ["--lease", "23s"];
    assert_eq!(lease(&flag, Some("22s"), true), pair("23s", "--lease"));
}

#[test]
fn the_file_is_found_by_name_in_the_folder_and_in_the_environment() {
    let path = file("drumline.toml", "namespace = \"mine\"\n");
    let folder = path.parent().unwrap();
    let mut here = drumline();
    here.args(["config", "-o", "json", "worker"])
        .current_dir(folder);
    assert_eq!(setting(&mut here, "namespace").0, "mine");
    let mut named = drumline();
    named
        .args(["config", "-o", "json", "worker"])
        .env("DRUMLINE_CONFIG", &path);
    assert_eq!(setting(&mut named, "namespace").0, "mine");
}

#[test]
fn mistakes_end_every_command_with_64_before_it_does_anything() {
    let path = file("drumline.toml", "lisen = \"127.0.0.1:1\"\nlease = 5\n");
    for command in ["dev", "worker", "list"] {
        let ended = end(drumline().arg(command).arg("--config").arg(&path));
        assert_eq!(ended.code, 64, "{ended:?}");
        for place in [
            "drumline.toml:1: lisen: no such setting",
            "drumline.toml:2: lease: ",
        ] {
            assert!(ended.err.contains(place), "{place}: {ended:?}");
        }
    }
    let missing = end(drumline().args(["list", "--config", "none.toml"]));
    assert_eq!(missing.code, 64, "{missing:?}");
    let environment = end(drumline().arg("worker").env("DRUMLINE_CONCURRENCY", "0"));
    assert_eq!(environment.code, 64, "{environment:?}");
    for arguments in [["worker", "--concurrency=x"], ["frobnicate", "now"]] {
        assert_eq!(end(drumline().args(arguments)).code, 64, "{arguments:?}");
    }
}

#[test]
fn help_and_version_are_answers_and_no_mistakes() {
    for flag in ["--help", "-h", "--version"] {
        let ended = end(drumline().arg(flag));
        assert_eq!(ended.code, 0, "{ended:?}");
        assert!(ended.out.contains("drumline"), "{ended:?}");
    }
    let help = end(drumline().args(["submit", "--help"]));
    assert!(help.out.contains("Examples:"), "{help:?}");
}

#[test]
fn passwords_are_not_shown() {
    let ended = end(drumline()
        .args(["config", "worker"])
        .env("DRUMLINE_REDIS_URL", "redis://me:hush@host:1"));
    assert!(ended.out.contains("redis://me:***@host:1"), "{ended:?}");
    let help = end(drumline()
        .args(["worker", "--help"])
        .env("DRUMLINE_REDIS_URL", "redis://me:hush@host:1"));
    assert!(!help.out.contains("hush"), "{help:?}");
}

#[test]
fn the_secret_of_webhooks_is_not_shown_wherever_it_comes_from() {
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let path = file("drumline.toml", &format!("webhook-secret = \"{SECRET}\"\n"));
    for arguments in [
        ["config", "queue-manager"].as_slice(),
        &["queue-manager", "--help"],
    ] {
        let by_file = end(drumline().args(arguments).arg("--config").arg(&path));
        let by_environment = end(drumline()
            .args(arguments)
            .env("DRUMLINE_WEBHOOK_SECRET", SECRET));
        for ended in [by_file, by_environment] {
            assert!(ended.out.contains("webhook-secret"), "{ended:?}");
            assert!(!ended.out.contains("MfKQ"), "{ended:?}");
            assert!(!ended.err.contains("MfKQ"), "{ended:?}");
        }
    }
    // A nearly valid secret is not shown either.
    let wrong = end(drumline()
        .args(["dev", "--listen", "127.0.0.1:0"])
        .env("DRUMLINE_WEBHOOK_SECRET", "whsec_MfKQ"));
    assert_eq!(wrong.code, 64, "{wrong:?}");
    assert!(wrong.err.contains("DRUMLINE_WEBHOOK_SECRET"), "{wrong:?}");
    assert!(!wrong.err.contains("MfKQ"), "{wrong:?}");
}

#[test]
fn the_sample_can_be_used_as_it_is() {
    let sample = end(drumline().args(["config", "--sample"]));
    assert_eq!(sample.code, 0, "{sample:?}");
    let path = file("drumline.toml", &sample.out);
    let ended = end(drumline().arg("config").arg("--config").arg(path));
    assert_eq!(ended.code, 0, "{ended:?}");
}
