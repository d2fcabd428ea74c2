//! The contents that a file may have, and the reports of its mistakes.

use std::time::Duration;

use super::*;
use crate::throttle::Throttle;

fn parse(text: &str) -> Result<HandlersFile, Error> {
    HandlersFile::parse(text, Path::new("/etc/drumline"))
}

fn mistakes(text: &str) -> Vec<String> {
    match parse(text) {
        Err(Error::Mistakes { mistakes }) => mistakes.iter().map(Mistake::to_string).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_command_and_a_web_service_are_read() {
    let file = parse(
        r#"
        [[handler]]
        message = "ImportSolution"
        command = ["./import.sh", "--strict"]
        timeout = "30m"
        grace = "5s"
        directory = "jobs"
        inherit = ["APP_*"]
        env = { LANG = "C" }
        retry_codes = [1, 2]
        suspend_codes = [3]
        retry_on_timeout = true

        [[handler]]
        message = "*"
        http = "https://example.com/hook"
        headers = { Authorization = "Bearer x" }
        "#,
    )
    .unwrap();
    let [import, others] = &file.handlers[..] else {
        panic!("{file:?}");
    };
    assert_eq!(import.message, "ImportSolution");
    assert_eq!(import.limits.timeout, Some(Duration::from_secs(1800)));
    assert_eq!(import.limits.grace, Some(Duration::from_secs(7)));
    assert!(import.limits.retry_on_timeout);
    let expected = Command {
        command: vec!["./import.sh".to_owned(), "--strict".to_owned()],
        directory: PathBuf::from("/etc/drumline/jobs"),
        inherit: vec!["APP_*".to_owned()],
        environment: vec![("LANG".to_owned(), "C".to_owned())],
        retry_codes: vec![1, 2],
        suspend_codes: vec![3],
        grace: Duration::from_secs(5),
    };
    assert_eq!(import.action, Action::Command(expected));
    assert_eq!(others.message, "*");
    let Action::Http(endpoint) = &others.action else {
        panic!("{others:?}");
    };
    assert_eq!(endpoint.url.as_str(), "https://example.com/hook");
    assert!(!format!("{endpoint:?}").contains("Bearer"));
}

#[test]
fn every_mistake_is_reported_with_its_line() {
    let text = r#"retries = 3
[[handler]]
message = "A"
comand = ["x"]

[[handler]]
message = ""
command = "x"
timeout = "soon"
env = { "A=B" = "x", C = 1 }

[[handler]]
command = []
http = "ftp://example.com"
retry_codes = [0, "a", 300]

[[handler]]
message = "B"
http = "ftp://example.com"
grace = 5
retry_codes = [1]

[[handler]]
message = "B"
http = "nowhere"
headers = { "a b" = "x" }
"#;
    let expected = [
        r#"line 1: "retries" is not known here"#,
        r#"line 2: a handler needs a command or http"#,
        r#"line 4: "comand" is not known here"#,
        r#"line 7: message: a name has 1 to 160 characters"#,
        r#"line 8: command: expected an array, found string"#,
        r#"line 9: timeout: expected number at 0, for example "30m""#,
        r#"line 10: env: expected strings, found integer"#,
        r#"line 12: a handler needs a message: a message name, or "*""#,
        r#"line 12: a handler has a command or http, not both"#,
        r#"line 19: http: expected an address with http:// or https://"#,
        r#"line 20: grace: expected a string, found integer"#,
        r#"line 21: "retry_codes" is not known here"#,
        r#"line 25: http: relative URL without a base"#,
        r#"line 26: headers: "a b" is not a header"#,
    ];
    assert_eq!(mistakes(text), expected);
}

#[test]
fn a_throttle_is_for_one_handler_or_for_all_others() {
    let file = parse(
        r#"
        throttle = { failures = 100, within = "1m", pause = "30s" }
        [[handler]]
        message = "A"
        command = ["a"]
        [[handler]]
        message = "B"
        command = ["b"]
        [handler.throttle]
        failures = 0
        within = "1h"
        pause = "5s"
        "#,
    )
    .unwrap();
    let throttle = |failures, within, pause| {
        Some(Throttle {
            failures,
            within: Duration::from_secs(within),
            pause: Duration::from_secs(pause),
        })
    };
    let throttles: Vec<_> = file.handlers.iter().map(|h| h.limits.throttle).collect();
    assert_eq!(throttles, [throttle(100, 60, 30), throttle(0, 3600, 5)]);
}

#[test]
fn a_throttle_says_all_three_or_is_a_mistake() {
    let text = r#"throttle = 7
[[handler]]
message = "A"
command = ["a"]
throttle = { failures = -1, pause = "0s", burst = 3 }
"#;
    let expected = [
        "line 1: throttle: expected a table, found integer",
        "line 5: failures: expected a number from 0 to 4294967295",
        "line 5: pause: must be more than 0s",
        "line 5: throttle: within is missing",
        "line 5: \"burst\" is not known here",
    ];
    assert_eq!(mistakes(text), expected);
}

#[test]
fn exit_codes_are_numbers_of_one_byte() {
    let text = "[[handler]]\nmessage = 'A'\ncommand = ['x']\nretry_codes = [1, 0, 256, 'a']";
    let expected = "line 4: retry_codes: an exit code is a number from 1 to 255";
    assert_eq!(mistakes(text), [expected; 3]);
}

#[test]
fn a_program_that_is_not_there_is_a_mistake_of_the_file() {
    let folder = std::env::temp_dir().join(format!("drumline-programs-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("handlers.toml");
    let entry = |name: &str, more: &str| format!("[[handler]]\nmessage = '{name}'\n{more}\n");
    let text = [
        entry("A", "command = ['sh']"),
        entry("B", "command = ['no-such-program']"),
        entry("C", "command = ['./handlers.toml']"),
        entry("D", "command = ['./gone.sh']"),
        entry("E", "command = ['sh']\ndirectory = 'gone'"),
        entry("F", "command = ['sh']\nenv = { PATH = '/gone' }"),
    ];
    std::fs::write(&file, text.concat()).unwrap();
    let read = HandlersFile::read(&file);
    std::fs::remove_dir_all(&folder).unwrap();
    let Err(Error::Mistakes { mistakes }) = read else {
        panic!("{read:?}");
    };
    let folder = folder.display();
    let hint = |name: &str| {
        format!(
            "command: there is no program \"{name}\" in the PATH; a program beside this file is \"./{name}\""
        )
    };
    let expected = [
        (4, hint("no-such-program")),
        (
            7,
            format!("command: {folder}/./handlers.toml cannot be executed"),
        ),
        (10, format!("command: {folder}/./gone.sh is not there")),
        (13, format!("directory: {folder}/gone is not there")),
        (17, hint("sh")),
    ];
    let found: Vec<_> = mistakes.into_iter().map(|m| (m.line, m.what)).collect();
    assert_eq!(found, expected);
}

#[test]
fn a_message_name_has_one_handler() {
    let text = "[[handler]]\nmessage = 'A'\ncommand = ['x']\n\
        [[handler]]\nmessage = 'A'\ncommand = ['y']";
    assert_eq!(mistakes(text), ["line 4: there are two handlers for \"A\""]);
}

#[test]
fn a_file_without_handlers_is_a_mistake() {
    assert_eq!(mistakes(""), ["line 1: there is no [[handler]]"]);
}

#[test]
fn broken_toml_is_reported_with_its_line() {
    let mistakes = mistakes("[[handler]]\nmessage = \n");
    assert!(
        mistakes.iter().any(|m| m.starts_with("line 2: ")),
        "{mistakes:?}"
    );
}

#[test]
fn passwords_of_the_worker_are_not_inherited_by_name_either() {
    for name in [
        "DRUMLINE_REDIS_URL",
        "DRUMLINE_*",
        "OTEL_EXPORTER_OTLP_HEADERS",
    ] {
        let text = format!("[[handler]]\nmessage = 'A'\ncommand = ['x']\ninherit = ['{name}']");
        let error = HandlersFile::parse(&text, Path::new("/")).unwrap_err();
        let error = error.to_string();
        assert!(error.starts_with("line 4: inherit"), "{error}");
    }
}

#[test]
fn only_what_the_file_allows_is_called() {
    use drumline_egress::Reach;
    let reach = |more: &str| {
        let text = format!("[[handler]]\nmessage = 'A'\n{more}");
        let file = HandlersFile::parse(&text, Path::new("/"))?;
        match &file.handlers[0].action {
            Action::Http(endpoint) => Ok::<_, Error>(endpoint.reach()),
            Action::Command(_) => panic!("{file:?}"),
        }
    };
    for (more, expected) in [
        ("http = 'https://hooks.example.com/'", Reach::Public),
        ("http = 'http://imports:9000/'", Reach::Public),
        (
            "http = 'http://imports:9000/'\nprivate = true",
            Reach::Private,
        ),
        ("http = 'http://10.0.0.1/'", Reach::Private),
        ("http = 'http://localhost:9000/'", Reach::Private),
    ] {
        assert_eq!(reach(more).unwrap(), expected, "{more}");
    }
    for never in [
        "169.254.169.254",
        "[fd00:ec2::254]",
        "[::ffff:169.254.169.254]",
    ] {
        let error = reach(&format!("http = 'http://{never}/'\nprivate = true")).unwrap_err();
        assert!(error.to_string().contains("metadata"), "{error}");
    }
}
