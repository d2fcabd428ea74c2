use super::*;
use crate::cli::Command;

fn arguments(line: &str) -> Vec<OsString> {
    line.split_whitespace().map(OsString::from).collect()
}

fn file(text: &str) -> File {
    File::parse(Path::new("drumline.toml"), text, &Cli::command()).unwrap()
}

fn mistakes(text: &str) -> Vec<String> {
    File::parse(Path::new("drumline.toml"), text, &Cli::command())
        .unwrap_err()
        .iter()
        .map(ToString::to_string)
        .collect()
}

fn cli(line: &str, text: &str) -> Cli {
    let matches = resolve(&arguments(line), &file(text)).unwrap();
    Cli::from_arg_matches(&matches).unwrap()
}

fn worker(line: &str, text: &str) -> crate::cli::service::Worker {
    match cli(line, text).command {
        Command::Worker(worker) => worker,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_grammar_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn every_setting_has_its_own_name_in_the_environment() {
    for setting in catalogue::of(&Cli::command()) {
        let expected = format!("DRUMLINE_{}", setting.key.replace('-', "_").to_uppercase());
        assert_eq!(setting.env, expected);
    }
}

#[test]
fn a_flag_wins_over_the_file_and_the_file_over_the_default() {
    let text = "concurrency = 3\n[worker]\nlease = \"20s\"\n";
    assert_eq!(
        worker("drumline worker", "").execution.concurrency.get(),
        16
    );
    assert_eq!(
        worker("drumline worker", text).execution.concurrency.get(),
        3
    );
    let flagged = worker("drumline worker --concurrency 4", text);
    assert_eq!(flagged.execution.concurrency.get(), 4);
    assert_eq!(flagged.execution.lease.as_secs(), 20);
}

#[test]
fn a_table_wins_over_what_stands_outside() {
    let text = "concurrency = 3\n[worker]\nconcurrency = 5\n";
    assert_eq!(
        worker("drumline worker", text).execution.concurrency.get(),
        5
    );
    let Command::Dev(dev) = cli("drumline dev", text).command else {
        panic!("not dev")
    };
    assert_eq!(dev.execution.concurrency.get(), 3);
}

#[test]
fn lists_and_truths_are_read_and_can_be_overridden() {
    let text = "queue = [\"imports\", \"mails\"]\nallow-unauthenticated = true\n";
    assert_eq!(worker("drumline worker", text).execution.queue.len(), 2);
    let one = worker("drumline worker --queue other", text);
    assert_eq!(one.execution.queue, ["other".parse().unwrap()]);
    let Command::QueueManager(manager) =
        cli("drumline queue-manager --allow-unauthenticated=false", text).command
    else {
        panic!("not a queue manager")
    };
    assert!(!manager.http.allow_unauthenticated);
}

#[test]
fn all_mistakes_are_told_at_once_with_file_line_and_key() {
    let told = mistakes(
        "concurency = 3\nlease = \"soon\"\nnamespace = [\"a\"]\n\n[worker]\nlisten = \"127.0.0.1:1\"\n\n[wroker]\nx = 1\n",
    );
    let starts: Vec<_> = told
        .iter()
        .map(|line| {
            line.split_whitespace()
                .take(3)
                .collect::<Vec<_>>()
                .join(" ")
        })
        .collect();
    assert_eq!(told.len(), 5, "{told:#?}");
    for expected in [
        "drumline.toml:1: concurency: no",
        "drumline.toml:2: lease: invalid",
        "drumline.toml:3: namespace: takes",
        "drumline.toml:6: [worker] listen:",
        "drumline.toml:8: [wroker]: no",
    ] {
        assert!(
            starts.iter().any(|start| start == expected),
            "{expected}: {told:#?}"
        );
    }
}

#[test]
fn text_that_is_not_toml_is_a_mistake_with_a_line() {
    let told = mistakes("a = 1\nb = = 2\n");
    assert!(told[0].starts_with("drumline.toml:2: "), "{told:?}");
}

#[test]
fn arguments_of_a_single_call_have_no_place_in_the_file() {
    for key in ["file", "config", "timeout"] {
        let told = mistakes(&format!("{key} = \"x\"\n"));
        assert!(told[0].contains("no such setting"), "{told:?}");
    }
    // The folder of a store, which is a setting, is no data of an operation.
    let cli = cli("drumline submit Echo", "data = \"/var/lib/drumline\"\n");
    let Command::Submit(submit) = cli.command else {
        panic!("another command");
    };
    assert_eq!(submit.attributes.data, None);
}

#[test]
fn the_config_file_is_found_wherever_the_flag_stands() {
    let found = |line: &str| named_in(&arguments(line));
    assert_eq!(
        found("drumline worker --config a.toml"),
        Some("a.toml".into())
    );
    assert_eq!(
        found("drumline --config=a.toml worker"),
        Some("a.toml".into())
    );
    assert_eq!(found("drumline submit X -- --config a.toml"), None);
    let environment = Some(OsStr::new("b.toml"));
    assert_eq!(
        file_to_read(&arguments("drumline worker"), environment),
        Some("b.toml".into())
    );
    assert_eq!(
        file_to_read(&arguments("drumline worker --config a.toml"), environment),
        Some("a.toml".into())
    );
}

#[test]
fn the_sample_is_accepted_as_it_is_and_with_everything_switched_on() {
    let sample = sample::toml();
    file(&sample);
    let switched_on: String = sample
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(rest)
                if rest
                    .split_once(" = ")
                    .is_some_and(|(key, _)| !key.contains(' ')) =>
            {
                rest
            }
            Some(_) | None => line,
        })
        .fold(String::new(), |text, line| text + line + "\n");
    assert_ne!(switched_on, sample);
    file(&switched_on);
}

#[test]
fn the_committed_sample_is_the_one_that_the_program_makes() {
    let committed = include_str!("../../../../deploy/drumline.toml");
    assert_eq!(
        committed,
        sample::toml(),
        "deploy/drumline.toml is not what the code says: run `make sample` and commit it"
    );
}

#[test]
fn the_documented_settings_are_the_ones_that_there_are() {
    let page = include_str!("../../../../docs/configuration.md");
    assert!(
        page.contains(&sample::reference()),
        "docs/configuration.md is not what the code says: run `make docs` and commit it"
    );
}

#[test]
fn the_report_says_where_a_value_comes_from() {
    let file = file("redis-url = \"redis://me:secret@host/1\"\n[worker]\nconcurrency = 5\n");
    let line = arguments("worker --lease 30s");
    let report = report::of_command_line(&line, &file).unwrap();
    let find = |key: &str| report.iter().find(|entry| entry.key == key).unwrap();
    assert_eq!(
        find("redis-url").as_toml(),
        "redis-url = \"redis://me:***@host/1\""
    );
    assert_eq!(find("redis-url").source, "drumline.toml:1");
    assert_eq!(find("concurrency").source, "drumline.toml:3");
    assert_eq!(find("lease").source, "--lease");
    assert_eq!(find("namespace").source, "default");
    assert_eq!(find("queue").as_toml(), "queue = [\"default\"]");
    assert!(report::of_all(&file).unwrap().len() > report.len());
}
