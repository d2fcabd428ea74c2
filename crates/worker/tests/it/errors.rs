//! The consequences of an error: the documents' three outcomes, the same for
//! every kind of handler.

use drumline_protocol::{Exhausted, Operation, OperationType, RetryPolicy, Status};
use drumline_worker::{Builder, Context, ErrorCode, HandlerError};
use serde_json::json;

use crate::command::shell;
use crate::harness::{Draft, Harness, draft};
use crate::http::called_with;

/// The fate of an operation after one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Became {
    Failed,
    /// Suspended until a time, one retry counted.
    Retried,
    /// Suspended until a time, no retry counted.
    PutOff,
    /// Suspended until a person resumes it.
    Suspended,
}
use Became::{Failed, PutOff, Retried, Suspended};

const WORKFLOW: OperationType = OperationType(10);
/// Anything that is not 10.
const OTHER: OperationType = OperationType(54);

/// An operation that is not tried again before the test is over.
fn patient(operation_type: OperationType) -> Draft {
    Draft {
        operation_type,
        retry: RetryPolicy {
            initial_ms: 600_000,
            max_ms: 600_000,
            ..RetryPolicy::default()
        },
        ..draft("X")
    }
}

/// Runs one operation once.
async fn run(builder: Builder, draft: Draft) -> Operation {
    let harness = Harness::new();
    let worker = harness.start(builder).await;
    let id = harness.submit(draft).await;
    let operation = harness
        .until(id, |operation| {
            matches!(operation.header.status, Status::Failed | Status::Waiting)
        })
        .await;
    worker.drain().await;
    operation
}

fn became(operation: &Operation) -> (Became, ErrorCode) {
    let header = &operation.header;
    let became = match (header.status, header.postpone_until, header.retry_count) {
        (Status::Failed, None, 0) => Some(Failed),
        (Status::Waiting, Some(_), 1) => Some(Retried),
        (Status::Waiting, Some(_), 0) => Some(PutOff),
        (Status::Waiting, None, 0) => Some(Suspended),
        _ => None,
    };
    let became = became.expect("one of the three outcomes");
    let fault = operation.report.fault.as_ref().expect("a fault");
    (became, fault.code)
}

/// The table of the documents, by error code.
const BY_CODE: &[(ErrorCode, OperationType, Became)] = &[
    (ErrorCode::SERVER_BUSY, OTHER, Retried),
    (ErrorCode::DATABASE_ERROR, OTHER, Retried),
    (ErrorCode::NETWORK_ERROR, OTHER, Retried),
    (ErrorCode::COMMUNICATION_ERROR, OTHER, Retried),
    (ErrorCode::ORGANIZATION_DISABLED, OTHER, Retried),
    (ErrorCode::THROTTLED, OTHER, PutOff),
    (ErrorCode::TYPE_THROTTLED, OTHER, PutOff),
    (ErrorCode::TOO_MANY_REQUESTS, OTHER, PutOff),
    (ErrorCode::PRIVILEGE_DENIED, OTHER, Suspended),
    (ErrorCode::NOT_FOUND, WORKFLOW, Suspended),
    (ErrorCode::NOT_FOUND, OTHER, Failed),
    (ErrorCode::INFINITE_LOOP, OTHER, Failed),
    (ErrorCode::INVALID_ARGUMENT, OTHER, Failed),
    (ErrorCode(0x8004_9999), OTHER, Failed),
];

#[tokio::test]
async fn a_handler_in_rust_is_classified_by_its_code() {
    let handler = async |code: u32, _: Context| -> Result<(), HandlerError> {
        Err(HandlerError::new(ErrorCode(code), "told so"))
    };
    for (code, operation_type, expected) in BY_CODE {
        let draft = patient(*operation_type).data(&json!(code.0));
        let operation = run(Harness::builder().handler("X", handler), draft).await;
        assert_eq!(became(&operation), (*expected, *code));
    }
}

#[tokio::test]
async fn a_command_is_classified_by_the_code_that_it_prints() {
    for (code, operation_type, expected) in BY_CODE {
        let script =
            format!(r#"echo '{{"error": {{"code": "{code}", "message": "told so"}}}}'; exit 1"#);
        let operation = run(shell(&script, ""), patient(*operation_type)).await;
        assert_eq!(became(&operation), (*expected, *code));
        assert_eq!(operation.report.fault.expect("a fault").message, "told so");
        assert_eq!(operation.report.result, None);
    }
}

#[tokio::test]
async fn an_exit_code_says_it_outright() {
    let busy = r#"echo '{"error": {"code": "0x8004A001", "friendlyMessage": "Later."}}'"#;
    let ours = ErrorCode::HANDLER_FAILED;
    for (script, expected) in [
        ("exit 1".to_owned(), (Failed, ours)),
        ("kill -9 $$".to_owned(), (Failed, ours)),
        ("exit 75".to_owned(), (Retried, ours)),
        (
            "exit 77".to_owned(),
            (Suspended, ErrorCode::PRIVILEGE_DENIED),
        ),
        (
            format!("{busy}; exit 77"),
            (Suspended, ErrorCode::SERVER_BUSY),
        ),
        (
            format!("{busy}; exit 3"),
            (Suspended, ErrorCode::SERVER_BUSY),
        ),
        (format!("{busy}; exit 4"), (Retried, ErrorCode::SERVER_BUSY)),
        (format!("{busy}; exit 5"), (Retried, ErrorCode::SERVER_BUSY)),
    ] {
        let more = "suspend_codes = [3]\nretry_codes = [4]";
        let operation = run(shell(&script, more), patient(OTHER)).await;
        assert_eq!(became(&operation), expected, "{script}");
        if script.starts_with("echo") {
            let fault = operation.report.fault.expect("a fault");
            assert_eq!(fault.friendly_message, "Later.");
        }
    }
}

#[tokio::test]
async fn a_web_service_is_classified_by_its_status_or_by_the_code_that_it_gives() {
    let [ours, busy] = [ErrorCode::HANDLER_FAILED, ErrorCode::SERVER_BUSY];
    let [denied, missing] = [ErrorCode::PRIVILEGE_DENIED, ErrorCode::NOT_FOUND];
    let database = r#"{"error": {"code": "0x80040216"}}"#;
    let problem = r#"{"code": "0x80040203", "detail": "no such field"}"#;
    let foreign = r#"{"code": 7, "error": "whatever"}"#;
    for (status, body, operation_type, expected) in [
        (401, "", OTHER, (Suspended, denied)),
        (403, "", OTHER, (Suspended, denied)),
        (404, "", OTHER, (Failed, missing)),
        (404, "", WORKFLOW, (Suspended, missing)),
        (422, "", OTHER, (Failed, ours)),
        (429, "", OTHER, (PutOff, ErrorCode::THROTTLED)),
        (500, "", OTHER, (Retried, busy)),
        (503, foreign, OTHER, (Retried, busy)),
        (422, database, OTHER, (Retried, ErrorCode::DATABASE_ERROR)),
        (500, problem, OTHER, (Failed, ErrorCode::INVALID_ARGUMENT)),
    ] {
        let length = body.len();
        let answer = format!("HTTP/1.1 {status} No\r\ncontent-length: {length}\r\n\r\n{body}");
        let (operation, _request) = called_with(&answer, patient(operation_type)).await;
        assert_eq!(became(&operation), expected, "{answer}");
    }
}

#[tokio::test]
async fn the_last_retry_fails_or_suspends_by_policy() {
    let handler = async |_: (), _: Context| -> Result<(), HandlerError> {
        Err(HandlerError::new(ErrorCode::SERVER_BUSY, "full"))
    };
    for (exhausted, expected) in [(Exhausted::Fail, Failed), (Exhausted::Suspend, Suspended)] {
        let retry = RetryPolicy {
            max_retries: 0,
            exhausted,
            ..RetryPolicy::default()
        };
        let draft = Draft {
            retry,
            ..draft("X")
        };
        let operation = run(Harness::builder().handler("X", handler), draft).await;
        assert_eq!(became(&operation), (expected, ErrorCode::SERVER_BUSY));
        // The text promises no other try.
        let fault = operation.report.fault.expect("a fault");
        assert!(!fault.friendly_message.contains("again"), "{fault:?}");
    }
}

#[tokio::test]
async fn an_at_most_once_operation_is_not_tried_again() {
    let handler =
        async |_: (), _: Context| -> Result<(), HandlerError> { Err(HandlerError::retry("full")) };
    let draft = Draft {
        at_most_once: true,
        ..patient(OTHER)
    };
    let operation = run(Harness::builder().handler("X", handler), draft).await;
    assert_eq!(became(&operation).0, Failed);
}
