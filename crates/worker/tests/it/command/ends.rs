//! The end of a command: what its last lines, its exit code and a stop request make of it.

use drumline_protocol::{ErrorCode, Event, Operation, Status};
use serde_json::{Value, json};

use super::{code, message, result, run, shell, told_pid};
use crate::harness::{Harness, draft};

/// Starts a script, asks it to stop once it has printed its first progress, and
/// returns the operation when its run has ended.
async fn stopped(script: &str, event: Event) -> Operation {
    let harness = Harness::new();
    let script = format!("{script}\nwhile true; do sleep 0.01; done");
    let worker = harness.start(shell(&script, "")).await;
    let id = harness.submit(draft("X")).await;
    told_pid(&harness, id).await;
    harness.ask(id, event).await;
    let operation = harness
        .until(id, |operation| {
            let status = operation.header.status;
            !matches!(
                status,
                Status::InProgress | Status::Pausing | Status::Canceling
            )
        })
        .await;
    worker.drain().await;
    operation
}

const STARTED: &str = "echo \"{\\\"progress\\\": 1, \\\"text\\\": \\\"$$\\\"}\"";

#[tokio::test]
async fn exit_0_after_a_stop_request_is_no_success() {
    for last in ["", "echo '{\"rows\": 3}';", "echo 7;"] {
        let script = format!(
            "trap '{} exit 0' TERM\n{STARTED}",
            last.replace('\'', "'\\''")
        );
        let operation = stopped(&script, Event::Pause).await;
        assert_eq!(operation.header.status, Status::Waiting, "{last}");
        let operation = stopped(&script, Event::Cancel).await;
        assert_eq!(operation.header.status, Status::Canceled, "{last}");
    }
}

#[tokio::test]
async fn explicit_success_after_a_stop_request_is_success() {
    for (last, expected) in [
        ("{\"done\": true}", Value::Null),
        ("{\"result\": {\"rows\": 3}}", json!({"rows": 3})),
    ] {
        let line = format!("echo {}", serde_json::to_string(last).expect("text"));
        let script = format!("trap '{line}; exit 0' TERM\n{STARTED}");
        let operation = stopped(&script, Event::Cancel).await;
        assert_eq!(operation.header.status, Status::Succeeded, "{last}");
        let result = operation.report.result.as_deref();
        let result = result.map_or(Value::Null, |json| {
            serde_json::from_str(json).expect("JSON")
        });
        assert_eq!(result, expected);
    }
}

#[tokio::test]
async fn after_a_timeout_nothing_is_success() {
    let script = r#"
        trap 'echo "{\"done\": true}"; exit 0' TERM
        while true; do sleep 0.01; done
    "#;
    let operation = run(shell(script, "timeout = '100ms'"), draft("X")).await;
    assert_eq!(operation.header.status, Status::Failed);
    assert_eq!(code(&operation), ErrorCode::HANDLER_TIMEOUT);
}

#[tokio::test]
async fn done_confirms_the_result_before() {
    let script = r#"echo '{"rows": 3}'; echo '{"done": true}'"#;
    let operation = run(shell(script, ""), draft("X")).await;
    assert_eq!(result(&operation), json!({"rows": 3}));
}

#[tokio::test]
async fn a_result_line_that_is_too_long_fails_and_no_earlier_line_takes_its_place() {
    let script = r#"
        echo '{"rows": 3}'
        printf '{"rows": "'; head -c 2000000 /dev/zero | tr '\0' x; echo '"}'
    "#;
    let operation = run(shell(script, ""), draft("X")).await;
    assert_eq!(operation.header.status, Status::Failed);
    assert_eq!(code(&operation), ErrorCode::TOO_LARGE);
    assert!(message(&operation).starts_with("2000012 bytes"));
}

#[tokio::test]
async fn the_code_of_an_error_that_is_cut_off_decides() {
    let script = r#"
        printf '{"error": {"code": "0x80040220", "message": "'
        head -c 2000000 /dev/zero | tr '\0' x; echo '"}}'
        exit 1
    "#;
    let operation = run(shell(script, ""), draft("X")).await;
    assert_eq!(operation.header.status, Status::Waiting);
    assert_eq!(code(&operation), ErrorCode::PRIVILEGE_DENIED);
}

#[tokio::test]
async fn a_result_that_readers_cannot_parse_is_mended_or_refused() {
    let script = r#"printf '%s\n' '{"file": "a\udc80"}'"#;
    let operation = run(shell(script, ""), draft("X")).await;
    assert_eq!(result(&operation), json!({"file": "a\u{fffd}"}));
    for script in [
        "echo 1e999",
        "head -c 101 /dev/zero | tr '\\0' '['; head -c 101 /dev/zero | tr '\\0' ']'",
    ] {
        let operation = run(shell(script, ""), draft("X")).await;
        assert_eq!(operation.header.status, Status::Failed, "{script}");
        assert_eq!(code(&operation), ErrorCode::BAD_JSON, "{script}");
    }
}

#[tokio::test]
async fn a_checkpoint_of_a_mebibyte_is_in_the_input() {
    let script = r#"
        input=$(cat)
        case "$input" in
            *'"checkpoint":{"page":'*)
                [ "${#input}" -gt 1048576 ] && echo "${#DRUMLINE_CHECKPOINT}"; exit 0;;
        esac
        # The value has exactly 1 MiB.
        printf '{"checkpoint": {"page":7,"seen":"'; head -c 1048556 /dev/zero | tr '\0' x
        echo '"}}'
        exit 75
    "#;
    let operation = run(shell(script, ""), draft("X")).await;
    assert_eq!(
        operation.header.status,
        Status::Succeeded,
        "{:?}",
        operation.report.fault
    );
    assert_eq!(operation.header.starts, 2);
    // It has more than the environment can hold.
    assert_eq!(result(&operation), json!(0));
}
