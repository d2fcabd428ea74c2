//! Commands as handlers.

mod ends;

use std::path::Path;
use std::time::Duration;

use drumline_protocol::{ErrorCode, Event, Operation, RetryPolicy, Status};
use drumline_worker::Builder;
use drumline_worker::handlers_file::HandlersFile;
use drumline_worker::supervise::Supervisor;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::control::Promptness;
use crate::harness::{Draft, Harness, draft, in_time};

pub(crate) const SUPERVISOR: &str = env!("CARGO_BIN_EXE_drumline-supervise");

/// A worker whose only handler runs a script in a shell.
pub(crate) fn shell(script: &str, more: &str) -> Builder {
    let script = serde_json::to_string(script).expect("JSON strings are TOML strings");
    let text = format!("[[handler]]\nmessage = '*'\ncommand = ['sh', '-c', {script}]\n{more}");
    HandlersFile::parse(&text, Path::new("/"))
        .expect("a good file")
        .register(Harness::builder(), &Supervisor::at(SUPERVISOR))
        .expect("registered")
}

async fn run(builder: Builder, draft: Draft) -> Operation {
    let harness = Harness::new();
    let worker = harness.start(builder).await;
    let id = harness.submit(draft).await;
    let operation = harness
        .until(id, |operation| {
            let header = &operation.header;
            match header.status {
                Status::Waiting => header.postpone_until.is_none(),
                status => matches!(
                    status,
                    Status::Succeeded | Status::Failed | Status::Canceled
                ),
            }
        })
        .await;
    worker.drain().await;
    operation
}

fn message(operation: &Operation) -> &str {
    let fault = operation.report.fault.as_ref();
    &fault.expect("a fault").message
}

fn code(operation: &Operation) -> ErrorCode {
    let fault = operation.report.fault.as_ref();
    fault.expect("a fault").code
}

fn result(operation: &Operation) -> Value {
    let result = operation.report.result.as_deref();
    serde_json::from_str(result.expect("a result")).expect("JSON")
}

/// Returns true if a process is there and no zombie.
pub(crate) fn is_alive(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(") ").next().unwrap_or("Z").starts_with('Z'))
}

/// The number that a script has printed as its progress text.
pub(crate) async fn told_pid(harness: &Harness, id: drumline_protocol::OperationId) -> u32 {
    let operation = harness
        .until(id, |operation| operation.report.progress.is_some())
        .await;
    let progress = operation.report.progress.expect("there");
    progress.text.parse().expect("a process id")
}

pub(crate) async fn is_gone(pid: u32) {
    in_time("the end of a process", async {
        while is_alive(pid) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_command_gets_the_operation_and_gives_a_result() {
    let script = r#"
        echo "starting up"
        echo '{"progress": 40, "text": "half way"}'
        echo '{"ignored": "an earlier result"}'
        cat
        echo
        echo 'not { json'
    "#;
    let operation = run(
        shell(script, ""),
        draft("ImportSolution")
            .token("contoso")
            .data(&json!({"file": "a.zip"})),
    )
    .await;
    assert_eq!(operation.header.status, Status::Succeeded);
    let progress = operation.report.progress.clone().expect("reported");
    assert_eq!((progress.percent, &*progress.text), (40, "half way"));
    // The command's standard input is the operation as the API shows it.
    let shown = result(&operation);
    assert_eq!(shown["id"], operation.id.to_string());
    assert_eq!(shown["messageName"], "ImportSolution");
    assert_eq!(shown["status"], "InProgress");
    assert_eq!(shown["data"], json!({"file": "a.zip"}));
}

#[tokio::test]
async fn a_command_finds_the_facts_of_its_run_in_the_environment() {
    let script = r#"
        printf '{"id": "%s", "fence": %s, "attempt": %s, "token": "%s", "saved": "%s",
            "trace": "%s", "organization": "%s", "caller": "%s",
            "extra": "%s"}' "$DRUMLINE_OPERATION_ID" "$DRUMLINE_FENCE" \
            "$DRUMLINE_ATTEMPT" "$DRUMLINE_DEPENDENCY_TOKEN" "$DRUMLINE_CHECKPOINT" \
            "$TRACEPARENT" "$DRUMLINE_ORGANIZATION" "$DRUMLINE_CALLER" "$EXTRA" | tr -d '\n'
    "#;
    let operation = run(
        shell(script, "env = { EXTRA = 'more' }"),
        draft("X").token("a b").data(&json!(1)),
    )
    .await;
    assert_eq!(operation.header.status, Status::Succeeded, "{operation:?}");
    let found = result(&operation);
    assert_eq!(found["id"], operation.id.to_string());
    assert!(found["fence"].as_u64() > Some(0));
    assert_eq!(found["attempt"], 1);
    assert_eq!(found["token"], "a b");
    assert_eq!(found["saved"], "");
    assert_eq!(found["organization"], operation.body.organization.0);
    assert_eq!(found["caller"], operation.body.owner);
    assert_eq!(found["extra"], "more");
    // No subscriber records spans here, so the creating span is the nearest.
    assert_eq!(found["trace"], operation.body.trace.traceparent);
}

#[tokio::test]
async fn a_command_is_told_where_the_service_is() {
    let text =
        "[[handler]]\nmessage = '*'\ncommand = ['sh', '-c', 'echo \"\\\"$DRUMLINE_SERVER\\\"\"']";
    for (env, expected) in [
        ("", "http://127.0.0.1:4711"),
        (
            "env = { DRUMLINE_SERVER = 'http://elsewhere' }",
            "http://elsewhere",
        ),
    ] {
        let builder = HandlersFile::parse(&format!("{text}\n{env}"), Path::new("/"))
            .expect("a good file")
            .server("http://127.0.0.1:4711")
            .register(Harness::builder(), &Supervisor::at(SUPERVISOR))
            .expect("registered");
        let operation = run(builder, draft("X")).await;
        assert_eq!(result(&operation), json!(expected));
    }
}

#[tokio::test]
async fn exit_codes_say_what_becomes_of_the_operation() {
    let more = "retry_codes = [3]\nsuspend_codes = [4]";
    for (script, status, starts, expected) in [
        ("exit 0", Status::Succeeded, 1, ""),
        ("echo oops >&2; exit 1", Status::Failed, 1, "oops"),
        ("exit 75", Status::Failed, 2, "ended with exit code 75"),
        ("exit 3", Status::Failed, 2, "ended with exit code 3"),
        ("echo who >&2; exit 77", Status::Waiting, 1, "who"),
        ("exit 4", Status::Waiting, 1, "ended with exit code 4"),
        ("kill -9 $$", Status::Failed, 1, "was killed by signal 9"),
    ] {
        let retry = RetryPolicy {
            max_retries: 1,
            initial_ms: 1,
            ..RetryPolicy::default()
        };
        let draft = Draft {
            retry,
            ..draft("X")
        };
        let operation = run(shell(script, more), draft).await;
        assert_eq!(operation.header.status, status, "{script}");
        assert_eq!(operation.header.starts, starts, "{script}");
        if !expected.is_empty() {
            let message = message(&operation);
            assert!(message.contains(expected), "{script}: {message}");
        }
    }
}

#[tokio::test]
async fn a_command_that_cannot_be_started_waits_for_a_person_and_says_why() {
    let text = "[[handler]]\nmessage = '*'\ncommand = ['./no-such-program']";
    let builder = HandlersFile::parse(text, Path::new("/"))
        .expect("a good file")
        .register(Harness::builder(), &Supervisor::at(SUPERVISOR))
        .expect("registered");
    let operation = run(builder, draft("X")).await;
    assert_eq!(operation.header.status, Status::Waiting);
    let text = message(&operation);
    assert!(text.contains("./no-such-program"), "{text}");
    // The shell was started, and what it did not find is its own affair.
    let operation = run(shell("no-such-program", ""), draft("X")).await;
    assert_eq!(operation.header.status, Status::Failed);
    let text = message(&operation);
    assert!(text.contains("not found"), "{text}");
}

#[tokio::test]
async fn a_command_goes_on_from_its_checkpoint() {
    let script = r#"
        if [ -n "$DRUMLINE_CHECKPOINT" ]; then echo "$DRUMLINE_CHECKPOINT"; exit 0; fi
        echo '{"checkpoint": {"page":7}}'
        exit 75
    "#;
    let operation = run(shell(script, ""), draft("X")).await;
    assert_eq!(operation.header.status, Status::Succeeded);
    assert_eq!(operation.header.starts, 2);
    assert_eq!(result(&operation), json!({"page": 7}));
}

#[tokio::test]
async fn a_cancelled_command_gets_sigterm_within_a_second_and_may_clean_up() {
    let harness = Harness::new();
    let script = r#"
        trap 'echo "{\"progress\": 99, \"text\": \"cleaned up\"}"; exit 1' TERM
        echo "{\"progress\": 1, \"text\": \"$$\"}"
        while true; do sleep 0.01; done
    "#;
    let worker = harness.start(shell(script, "")).await;
    let mut promptness = Promptness::default();
    while !promptness.is_decided() {
        let id = harness.submit(draft("X")).await;
        let pid = told_pid(&harness, id).await;
        let asked = Instant::now();
        harness.ask(id, Event::Cancel).await;
        is_gone(pid).await;
        promptness.note(asked.elapsed());
        let operation = harness.completed(id).await;
        assert_eq!(operation.header.status, Status::Canceled);
        let progress = operation.report.progress.expect("reported");
        assert_eq!(progress.text, "cleaned up");
    }
    promptness.assert_prompt();
    worker.drain().await;
}

#[tokio::test]
async fn a_command_that_ignores_sigterm_is_killed_with_its_whole_group() {
    let harness = Harness::new();
    let script = r#"
        trap '' TERM
        sh -c 'trap "" TERM; while true; do sleep 1; done' &
        echo "{\"progress\": 1, \"text\": \"$!\"}"
        wait
    "#;
    let worker = harness.start(shell(script, "grace = '100ms'")).await;
    let id = harness.submit(draft("X")).await;
    let grandchild = told_pid(&harness, id).await;
    harness.ask(id, Event::Cancel).await;
    let operation = harness.completed(id).await;
    assert_eq!(operation.header.status, Status::Canceled);
    is_gone(grandchild).await;
    worker.drain().await;
}

#[tokio::test]
async fn what_a_command_leaves_running_is_killed_when_it_ends() {
    let script = r#"
        sleep 1000 &
        echo "$!"
    "#;
    let operation = run(shell(script, ""), draft("X")).await;
    assert_eq!(operation.header.status, Status::Succeeded);
    let pid = result(&operation).as_u64().expect("a process id");
    is_gone(u32::try_from(pid).expect("a process id")).await;
}

#[tokio::test]
async fn a_command_that_takes_too_long_is_stopped_and_fails() {
    let operation = run(shell("sleep 1000", "timeout = '100ms'"), draft("X")).await;
    assert_eq!(operation.header.status, Status::Failed);
    assert!(message(&operation).contains("100ms"));
}

#[tokio::test]
async fn a_command_ends_with_its_worker() {
    let harness = Harness::new();
    let script = r#"
        trap '' TERM
        echo "{\"progress\": 1, \"text\": \"$$\"}"
        while true; do sleep 1; done
    "#;
    let worker = harness.start(shell(script, "")).await;
    let id = harness.submit(draft("X")).await;
    let pid = told_pid(&harness, id).await;
    worker.stop_now().await;
    is_gone(pid).await;
    assert_eq!(harness.get(id).await.header.status, Status::InProgress);
}

#[tokio::test]
async fn a_killed_supervisor_leaves_nothing_beside_the_next_attempt() {
    let folder = std::env::temp_dir().join(format!("drumline-orphans-{}", std::process::id()));
    // A test of the same process id may have left it behind.
    drop(std::fs::remove_dir_all(&folder));
    std::fs::create_dir_all(&folder).expect("a folder");
    // The second attempt looks at the processes of the first before all else.
    let script = r#"
        if [ "$DRUMLINE_ATTEMPT" != 1 ]; then
            for pid in $(cat pids); do
                state=$(cut -d ' ' -f 3 /proc/$pid/stat 2>/dev/null) || continue
                [ "$state" = Z ] || { echo "$pid runs: $state" >&2; exit 1; }
            done
            echo '"alone"'
            exit 0
        fi
        setsid sh -c 'trap "" TERM HUP; sleep 1000 & echo $$ $! >>pids; mv pids ready; wait' &
        echo $$ >>pids
        while [ ! -e ready ]; do sleep 0.01; done
        mv ready pids
        kill -9 $PPID
        sleep 1000
    "#;
    let more = format!("directory = {:?}", folder.display().to_string());
    let operation = run(shell(script, &more), draft("X")).await;
    std::fs::remove_dir_all(&folder).expect("removed");
    assert_eq!(
        operation.header.status,
        Status::Succeeded,
        "{:?}",
        operation.report.fault
    );
    assert_eq!(operation.header.starts, 2);
    assert_eq!(result(&operation), json!("alone"));
}

#[tokio::test]
async fn a_drained_command_is_given_back() {
    let harness = Harness::new();
    let script = r#"
        echo "{\"progress\": 1, \"text\": \"$$\"}"
        while true; do sleep 0.01; done
    "#;
    let builder = shell(script, "grace = '1s'")
        .grace(Duration::from_secs(5))
        .drain_timeout(Duration::from_millis(5_100));
    let worker = harness.start(builder).await;
    let id = harness.submit(draft("X")).await;
    let pid = told_pid(&harness, id).await;
    let drained = in_time("drain", worker.drain()).await;
    assert_eq!(drained.left_behind, 0);
    assert!(!is_alive(pid));
    let operation = harness.get(id).await;
    assert_eq!(operation.header.status, Status::WaitingForResources);
    assert_eq!(operation.header.attempt(), 1);
}

#[tokio::test]
async fn a_command_that_prints_without_end_does_not_hurt_the_worker() {
    let script = r#"
        head -c 50000000 /dev/zero | tr '\0' x
        echo
        head -c 5000000 /dev/zero | tr '\0' y >&2
        echo '"done"'
        echo >&2
        echo end >&2
        exit 1
    "#;
    let operation = run(shell(script, ""), draft("X")).await;
    assert_eq!(operation.header.status, Status::Failed);
    assert_eq!(message(&operation), "end");
}
