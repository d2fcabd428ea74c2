//! Outputs: the end of what a handler prints is kept with its attempt.

use std::time::Duration;

use drumline_protocol::output::{LAST_FAILED_BYTES, OTHER_BYTES};
use drumline_protocol::{Event, OperationId, Output, Status};
use drumline_worker::{Builder, Context, HandlerError};
use serde_json::Value;

use crate::command::shell;
use crate::harness::{Draft, Harness, draft};
use crate::http::answered;

async fn outputs(harness: &Harness, id: OperationId) -> Vec<Output> {
    harness.backend.store.outputs(id).await.expect("read")
}

/// Runs one operation to its end: its status, and its outputs.
async fn run(builder: Builder, draft: Draft) -> (Status, Vec<Output>) {
    let harness = Harness::new();
    let worker = harness.start(builder).await;
    let id = harness.submit(draft).await;
    let operation = harness.completed(id).await;
    worker.drain().await;
    (operation.header.status, outputs(&harness, id).await)
}

fn texts(outputs: &[Output]) -> Vec<&str> {
    outputs.iter().map(|output| output.text.as_str()).collect()
}

#[tokio::test]
async fn a_command_leaves_what_it_prints_and_not_what_it_reports() {
    let script = r#"
        echo 'starting up'
        echo '{"progress": 40, "text": "half way"}'
        echo '{"level": "info", "line": "of a structured log"}'
        echo '{"checkpoint": 1}'
        echo 'nearly done'
        echo '{"rows": 3}'
    "#;
    let (status, found) = run(shell(script, ""), draft("X")).await;
    assert_eq!(status, Status::Succeeded);
    let expected =
        "starting up\n{\"level\": \"info\", \"line\": \"of a structured log\"}\nnearly done\n";
    assert_eq!(texts(&found), [expected]);
    assert_eq!((found[0].attempt, found[0].cut), (1, 0));
    for script in [
        "echo x; echo '{\"rows\": 3}'; echo '{\"done\": true}'",
        "echo x; echo '{\"result\": {\"rows\": 3}}'",
    ] {
        let (_, found) = run(shell(script, ""), draft("X")).await;
        assert_eq!(texts(&found), ["x\n"], "{script}");
    }
    let (_, found) = run(shell("echo '{\"rows\": 3}'", ""), draft("X")).await;
    assert_eq!(found, [], "it has printed nothing");
}

#[tokio::test]
async fn the_last_line_of_a_command_that_fails_is_kept() {
    // It is no result, because nothing was done.
    let line = "{\"level\": \"error\", \"line\": \"the database refused\"}";
    let script = format!("echo starting; echo '{line}'; exit 1");
    let (status, found) = run(shell(&script, ""), draft("X")).await;
    assert_eq!(status, Status::Failed);
    assert_eq!(texts(&found), [format!("starting\n{line}\n")]);
}

#[tokio::test]
async fn both_outputs_of_a_command_are_kept_together() {
    // The order within each is exact. Between the two it is that of reading.
    let script = "echo one >&2; echo two; printf three >&2; exit 1";
    let (status, found) = run(shell(script, ""), draft("X")).await;
    assert_eq!(status, Status::Failed);
    let text = texts(&found).concat();
    let mut lines: Vec<&str> = text.lines().collect();
    let errors = lines.iter().filter(|line| **line != "two");
    assert_eq!(Vec::from_iter(errors), [&"one", &"three"], "{text:?}");
    lines.sort_unstable();
    assert_eq!(lines, ["one", "three", "two"]);
}

#[tokio::test]
async fn the_end_of_a_long_output_is_kept() {
    let script = r#"
        i=0; while [ $i -lt 20000 ]; do echo "line $i"; i=$((i + 1)); done
        [ "$DRUMLINE_ATTEMPT" -gt 1 ] || exit 75
    "#;
    let (status, found) = run(shell(script, ""), draft("X")).await;
    assert_eq!(status, Status::Succeeded);
    let all: u64 = (0..20_000)
        .map(|number| format!("line {number}\n").len() as u64)
        .sum();
    let lengths: Vec<_> = found.iter().map(|it| (it.attempt, it.text.len())).collect();
    assert_eq!(lengths, [(1, LAST_FAILED_BYTES), (2, 1 << 10)]);
    for output in found {
        assert!(output.text.ends_with("line 19998\nline 19999\n"));
        assert_eq!(output.cut + output.text.len() as u64, all);
    }
}

#[tokio::test]
async fn a_command_that_is_killed_leaves_what_it_has_printed() {
    let script = r#"
        trap '' TERM
        echo waiting for godot
        echo '{"progress": 1}'
        while :; do sleep 0.01; done
    "#;
    let harness = Harness::new();
    let worker = harness.start(shell(script, "grace = '50ms'")).await;
    let id = harness.submit(draft("X")).await;
    harness
        .until(id, |operation| operation.report.progress.is_some())
        .await;
    harness.ask(id, Event::Cancel).await;
    let operation = harness.completed(id).await;
    assert_eq!(operation.header.status, Status::Canceled);
    let found = outputs(&harness, id).await;
    assert_eq!(texts(&found), ["waiting for godot\n"]);
    worker.drain().await;
}

#[tokio::test]
async fn a_function_logs_lines() {
    async fn handler(_data: Value, context: Context) -> Result<(), HandlerError> {
        context.log("read 3 rows");
        context.log("wrote 2\nand refused 1");
        match context.attempt() {
            1 => Err(HandlerError::from(std::io::Error::other("no more"))),
            _ => Ok(()),
        }
    }
    let builder = Harness::builder().handler("X", handler);
    let (_, found) = run(builder, draft("X")).await;
    let expected = "read 3 rows\nwrote 2\nand refused 1\n";
    assert!(!found.is_empty());
    assert!(
        texts(&found).iter().all(|text| *text == expected),
        "{found:?}"
    );
}

#[tokio::test]
async fn the_output_of_a_function_that_panics_or_is_dropped_is_kept() {
    async fn panics(_data: Value, context: Context) -> Result<(), HandlerError> {
        context.log("last words");
        panic!("a defect");
    }
    async fn hangs(_data: Value, context: Context) -> Result<(), HandlerError> {
        context.log("last words");
        context.progress(1, "");
        std::future::pending().await
    }
    let (status, found) = run(Harness::builder().handler("X", panics), draft("X")).await;
    assert_eq!(status, Status::Failed);
    assert_eq!(texts(&found), ["last words\n"]);

    let harness = Harness::new();
    let builder = Harness::builder().grace(Duration::from_millis(10));
    let worker = harness.start(builder.handler("X", hangs)).await;
    let id = harness.submit(draft("X")).await;
    harness
        .until(id, |operation| operation.report.progress.is_some())
        .await;
    harness.ask(id, Event::Pause).await;
    harness.reaches(id, Status::Waiting).await;
    assert_eq!(texts(&outputs(&harness, id).await), ["last words\n"]);
    worker.drain().await;
}

#[tokio::test]
async fn a_drained_worker_gives_the_output_back_with_the_operation() {
    async fn hangs(_data: Value, context: Context) -> Result<(), HandlerError> {
        context.log("half of it");
        context.progress(1, "");
        let _why = context.stop_requested().await;
        context.log("stopping");
        Err(HandlerError::stopped())
    }
    let harness = Harness::new();
    let worker = harness.start(Harness::builder().handler("X", hangs)).await;
    let id = harness.submit(draft("X")).await;
    harness
        .until(id, |operation| operation.report.progress.is_some())
        .await;
    worker.drain().await;
    harness.reaches(id, Status::WaitingForResources).await;
    let found = outputs(&harness, id).await;
    assert_eq!(texts(&found), ["half of it\nstopping\n"]);
}

#[tokio::test]
async fn a_drained_operation_that_may_start_once_keeps_the_output_of_a_failure() {
    async fn hangs(_data: Value, context: Context) -> Result<(), HandlerError> {
        context.log(&"x".repeat(20_000));
        context.progress(1, "");
        let _why = context.stop_requested().await;
        Err(HandlerError::stopped())
    }
    let harness = Harness::new();
    let worker = harness.start(Harness::builder().handler("X", hangs)).await;
    let once = Draft {
        at_most_once: true,
        ..draft("X")
    };
    let id = harness.submit(once).await;
    harness
        .until(id, |operation| operation.report.progress.is_some())
        .await;
    worker.drain().await;
    harness.reaches(id, Status::Failed).await;
    let found = outputs(&harness, id).await;
    assert_eq!(found[0].text.len(), 20_001);
}

#[tokio::test]
async fn a_long_line_of_json_beside_another_result_is_told() {
    let script = r#"
        printf '{"rows": "%05000d"}\n' 0
        printf '"%01100000d"\n' 0
        echo '{"rows": 3}'
    "#;
    let (status, found) = run(shell(script, ""), draft("X")).await;
    assert_eq!(status, Status::Succeeded);
    let text = texts(&found).concat();
    let lines: Vec<&str> = text.lines().collect();
    // Of the first line the output of a success keeps the end.
    assert_eq!(lines.len(), 1, "{text}");
    assert!(text.ends_with(" … (1100002 bytes)\n"), "{text}");
    let failing = format!("{script} exit 1");
    let (_, found) = run(shell(&failing, ""), draft("X")).await;
    let text = texts(&found).concat();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("{\"rows\": \"000"), "{text}");
    assert!(lines[0].ends_with(" … (5012 bytes)"), "{text}");
    assert!(lines[1].ends_with(" … (1100002 bytes)"), "{text}");
    assert_eq!(lines[2..], ["{\"rows\": 3}"]);
    // A long line that is the result is no output.
    let alone = r#"printf '{"rows": "%05000d"}\n' 0"#;
    let (status, found) = run(shell(alone, ""), draft("X")).await;
    assert_eq!((status, found), (Status::Succeeded, Vec::new()));
}

#[tokio::test]
async fn a_worker_keeps_as_much_output_as_it_is_told() {
    let script = "echo 0123456789; [ $DRUMLINE_ATTEMPT -gt 1 ] || exit 75";
    let few = shell(script, "").max_output(8).max_output_succeeded(4);
    let (_, found) = run(few, draft("X")).await;
    assert_eq!(texts(&found), ["3456789\n", "789\n"]);
    let (_, found) = run(shell(script, "").max_output(0), draft("X")).await;
    assert_eq!(found, []);
}

#[tokio::test]
async fn the_start_of_a_refusal_by_a_web_service_is_kept() {
    let long = format!("<h1>oops</h1>{}", "x".repeat(100_000));
    let refusal = |body: &str| {
        format!(
            "HTTP/1.1 400 Bad Request\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let (harness, id) = answered(&refusal(&long)).await;
    let found = outputs(&harness, id).await;
    let text = texts(&found).concat();
    assert!(
        text.starts_with("HTTP 400 Bad Request\n<h1>oops</h1>xx"),
        "{text}"
    );
    assert!(text.ends_with(" bytes more\n"), "{text}");
    assert!(text.len() <= OTHER_BYTES, "{}", text.len());
    let (harness, id) = answered(&refusal("")).await;
    let found = outputs(&harness, id).await;
    assert_eq!(texts(&found), ["HTTP 400 Bad Request\n"]);
    let fine = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
    let (harness, id) = answered(fine).await;
    assert_eq!(outputs(&harness, id).await, []);
}
