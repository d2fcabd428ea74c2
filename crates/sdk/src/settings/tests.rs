use std::collections::BTreeMap;
use std::time::Duration;

use super::keys::{OF_OTHERS, OTHER_TABLES};
use super::*;

/// Resolves variables and the text of a file.
fn resolve(variables: &[(&str, &str)], file: Option<&str>) -> Result<Settings> {
    let folder = std::env::temp_dir().join(format!(
        "drumline-sdk-{}-{:?}",
        std::process::id(),
        std::thread::current().id()
    ));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("drumline.toml");
    if let Some(text) = file {
        std::fs::write(&path, text).unwrap();
    }
    let variables: BTreeMap<_, _> = variables.iter().copied().collect();
    let settings = Settings::resolve(&|name| Some(variables.get(name)?.into()), &path);
    std::fs::remove_dir_all(&folder).unwrap();
    settings
}

/// The mistakes, without the folder of the file.
fn mistakes(variables: &[(&str, &str)], file: Option<&str>) -> Vec<String> {
    match resolve(variables, file) {
        Err(Error::Settings(mistakes)) => mistakes
            .iter()
            .map(|mistake| {
                let text = mistake.to_string();
                match text.rsplit_once("/drumline.toml") {
                    Some((_folder, rest)) => format!("drumline.toml{rest}"),
                    None => text,
                }
            })
            .collect(),
        other => panic!("no mistakes: {other:?}"),
    }
}

#[test]
fn without_variables_and_file_the_defaults_hold() {
    let settings = resolve(&[], None).unwrap();
    assert_eq!(settings.connection, Connection::default());
    assert_eq!(settings.worker.concurrency, 16);
    assert!(
        settings
            .worker
            .host
            .ends_with(&std::process::id().to_string())
    );
    assert!(!settings.telemetry.export);
}

#[test]
fn a_variable_wins_over_the_table_and_the_table_over_the_rest_of_the_file() {
    let file = r#"
        redis-url = "redis://file:1"
        concurrency = 2
        lease = "10s"
        queue = ["a", "b"]
        listen = "127.0.0.1:0"

        [worker]
        concurrency = 3
        lease = "20s"
        host-id = "imports-1"

        [queue-manager]
        intake = false
    "#;
    let variables = [
        ("DRUMLINE_AMQP_URL", "amqp://variable:2"),
        ("DRUMLINE_LEASE", "40s"),
    ];
    let settings = resolve(&variables, Some(file)).unwrap();
    assert_eq!(settings.connection.redis_url, "redis://file:1");
    assert_eq!(settings.connection.amqp_url, "amqp://variable:2");
    assert_eq!(settings.worker.concurrency, 3);
    assert_eq!(settings.worker.lease, Duration::from_secs(40));
    assert_eq!(settings.worker.host, "imports-1");
    let queues: Vec<_> = settings
        .worker
        .queues
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(queues, ["a", "b"]);
}

#[test]
fn every_mistake_is_reported_with_its_place() {
    let file = "concurency = 1\nlease = \"soon\"\n[worker]\nlog = \"info\"\nqueue = []\n[wroker]\n";
    let variables = [
        ("DRUMLINE_CONCURRENCY", "0"),
        ("DRUMLINE_REDIS_URL", "http://:hush@host"),
        ("DRUMLINE_LEASE", "1ms"),
    ];
    let mut found = mistakes(&variables, Some(file));
    found.sort();
    assert_eq!(
        found,
        [
            "DRUMLINE_CONCURRENCY: invalid value \"0\": expected 1 to 65535",
            "DRUMLINE_LEASE: invalid value \"1ms\": expected 500ms to 1h",
            "DRUMLINE_REDIS_URL: invalid value: expected redis://user:password@host:6379/0, redis+sentinel://…, redis+cluster://…, rediss://…, rediss+sentinel://…, rediss+cluster://…, redis+unix://… or unix://…",
            "drumline.toml:1: concurency: no such setting; docs/configuration.md lists them",
            "drumline.toml:2: lease: invalid value \"soon\": expected 500ms to 1h",
            "drumline.toml:4: [worker] log: no such setting; docs/configuration.md lists them",
            "drumline.toml:5: [worker] queue: an empty list",
            "drumline.toml:6: [wroker]: no command has this name",
        ]
    );
}

#[test]
fn a_file_that_was_named_must_be_readable() {
    let found = mistakes(&[("DRUMLINE_CONFIG", "/nowhere/else.toml")], None);
    assert_eq!(found.len(), 1);
    assert!(
        found[0].starts_with("/nowhere/else.toml: cannot be read"),
        "{found:?}"
    );
    let found = mistakes(&[], Some("lease = "));
    assert!(found[0].starts_with("drumline.toml:1: "), "{found:?}");
}

#[test]
fn the_sample_of_the_program_is_accepted() {
    let sample = include_str!("../../../../deploy/drumline.toml");
    let uncommented: String = sample
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(setting) if setting.contains(" = ") && !setting.contains("\"\"") => {
                format!("{setting}\n")
            }
            Some(_) | None => format!("{line}\n"),
        })
        .collect();
    // The example of this setting names a file, which is read at once.
    let secrets = std::env::temp_dir().join(format!("drumline-sdk-run-{}.key", std::process::id()));
    std::fs::write(&secrets, "0123456789abcdef0123456789abcdef\n").unwrap();
    let path = format!("{:?}", secrets.display().to_string());
    let uncommented = uncommented.replace("\"run.key\"", &path);
    assert!(uncommented.contains(&path), "{uncommented}");
    for file in [sample, &uncommented] {
        let settings = resolve(&[], Some(file)).unwrap();
        // The files of TLS have no default: the sample has examples.
        let expected = Connection {
            redis_encryption: settings.connection.redis_encryption.clone(),
            amqp_encryption: settings.connection.amqp_encryption.clone(),
            ..Connection::default()
        };
        assert_eq!(settings.connection, expected);
        assert_eq!(settings.worker.lease, Duration::from_secs(30));
        let unused: &[_] = if file == sample { &[] } else { UNUSED };
        assert_eq!(settings.unused, unused);
    }
}

/// One row of the table in docs/configuration.md.
struct Row {
    key: &'static str,
    variable: &'static str,
    default: &'static str,
    commands: Vec<&'static str>,
}

fn rows() -> Vec<Row> {
    let page = include_str!("../../../../docs/configuration.md");
    page.lines()
        .filter(|line| line.starts_with("| `") && line.contains("| `DRUMLINE_"))
        .map(|line| {
            let cells: Vec<_> = line
                .split('|')
                .map(|cell| cell.trim().trim_matches('`'))
                .collect();
            Row {
                key: cells[1],
                variable: cells[3],
                default: cells[4],
                commands: cells[5].split(", ").collect(),
            }
        })
        .collect()
}

#[test]
fn names_are_those_of_the_documentation() {
    let rows = rows();
    assert!(rows.len() > 30, "the table has been found");
    let of_worker = |row: &&Row| row.commands.contains(&"worker") || row.commands == ["all"];
    let mut expected: Vec<_> = rows.iter().filter(of_worker).map(|row| row.key).collect();
    let mut known: Vec<_> = KEYS
        .iter()
        .map(|key| key.name)
        .chain(UNUSED.iter().copied())
        .collect();
    expected.sort_unstable();
    known.sort_unstable();
    assert_eq!(known, expected);

    let mut expected: Vec<_> = rows
        .iter()
        .filter(|row| !of_worker(row))
        .map(|row| row.key)
        .collect();
    let mut known = OF_OTHERS.to_vec();
    expected.sort_unstable();
    known.sort_unstable();
    assert_eq!(known, expected);

    for row in &rows {
        assert_eq!(variable_of(row.key), row.variable);
        for command in &row.commands {
            assert!(
                ["all", "worker"].contains(command) || OTHER_TABLES.contains(command),
                "{command}"
            );
        }
    }
}

#[test]
fn defaults_are_those_of_the_documentation() {
    let defaults = Settings::default();
    for row in rows() {
        let Some(key) = KEYS.iter().find(|key| key.name == row.key) else {
            continue;
        };
        if row.default.is_empty() {
            continue;
        }
        let mut settings = defaults.clone();
        (key.set)(&mut settings, row.default).unwrap();
        // No queue at all stands for the queue `default`.
        if row.key == "queue" {
            settings.worker.queues.clear();
        }
        assert_eq!(
            format!("{settings:?}"),
            format!("{defaults:?}"),
            "{}",
            row.key
        );
    }
}
