//! Operations that hold their chain, and operations that hold nothing.

use super::*;

#[test]
fn a_failed_or_cancelled_operation_holds_its_chain_until_it_is_resumed() {
    let held = |status, event| {
        let mut header = header(status);
        header.rules.token_policy = TokenPolicy::Hold;
        let ended = apply(&header, event, at()).unwrap();
        assert_eq!(ended.effects.chain, ChainEffect::Hold);
        assert!(ended.header.holding);
        ended.header
    };
    held(Status::InProgress, Event::Fail(fault()));
    held(Status::Canceling, Event::Stopped);
    held(Status::Waiting, Event::Cancel);
    let mut header = held(Status::WaitingForResources, Event::Cancel);
    // Not even a type that is closed to clients stops its chain for ever.
    header.rules.operation_type = OperationType(9);
    let refused = apply(&header, Event::Delete, at()).unwrap_err();
    assert_eq!(refused.legal, [Action::Resume]);
    assert_eq!(refused.code, ErrorCode::CANNOT_DELETE);
    assert!(refused.to_string().ends_with("resume it first"));
    let resumed = apply(&header, Event::Resume, at()).unwrap();
    assert_eq!(resumed.effects.chain, ChainEffect::Leave);
    assert_eq!(resumed.header.status, Status::Canceled);
    assert_eq!(resumed.header.completed_on, header.completed_on);
    assert!(apply(&resumed.header, Event::Delete, at()).is_ok());
}

#[test]
fn what_succeeds_or_has_no_token_or_is_discarded_holds_nothing() {
    let mut running = header(Status::InProgress);
    running.rules.token_policy = TokenPolicy::Hold;
    let succeeded = apply(&running, Event::Succeed, at()).unwrap();
    assert_eq!(succeeded.effects.chain, ChainEffect::Leave);
    let mut waiting = header(Status::Waiting);
    waiting.rules.token_policy = TokenPolicy::Hold;
    let discarded = apply(&waiting, Event::Discard, at()).unwrap();
    assert_eq!(discarded.effects.chain, ChainEffect::Leave);
    running.rules.chain = None;
    let failed = apply(&running, Event::Fail(fault()), at()).unwrap();
    assert_eq!(failed.effects.chain, ChainEffect::Keep);
    for header in [succeeded.header, discarded.header, failed.header] {
        assert!(!header.holding);
    }
}
