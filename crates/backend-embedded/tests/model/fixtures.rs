//! The operations of a world, and its time.

use std::time::Duration;

use std::sync::LazyLock;

use drumline_backend::MemberId;
use drumline_backend::store::{Guard, Holding, NewOperation};
use drumline_protocol::operation::first_header;
use drumline_protocol::{
    Author, Body, ChainKey, CommitId, Fence, OperationId, OperationType, Partition, Pause,
    PauseKind, PauseScope, RetryPolicy, Rules, ScopeKey, Timestamp, TokenPolicy,
};
use uuid::Uuid;

/// The time of creation. Time stands still: every waiting operation is due
/// whenever due acts.
pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_795_000_000_000);

/// The time at which operations expire. Where there are such, time passes once,
/// from [`NOW`] to here.
pub(crate) const LATER: Timestamp = Timestamp::from_millis(1_795_000_001_000);
/// The host id of every worker.
pub(crate) const HOST: &str = "worker";

/// The one chain.
pub(crate) const CHAIN: ChainKey = ChainKey::from_bytes([7; 16]);

/// The partition of all operations.
pub(crate) fn partition() -> Partition {
    Partition::new(0)
}

/// The operation with this number.
pub(crate) fn operation(
    number: u8,
    in_chain: bool,
    not_after: Option<Timestamp>,
    token_policy: TokenPolicy,
    commit: CommitId,
) -> NewOperation {
    let rules = Rules {
        operation_type: OperationType::DEFAULT,
        chain: in_chain.then_some(CHAIN),
        token_policy,
        transient: false,
        webhook: false,
        at_most_once: false,
        // Never used up: the budget of a world ends things sooner.
        retry: RetryPolicy {
            max_retries: u32::MAX,
            max_lost: u32::MAX,
            ..RetryPolicy::default()
        },
        not_after,
    };
    NewOperation {
        id: OperationId::new(NOW, partition(), [number; 16]),
        header: first_header(rules, None, commit, NOW),
        body: body(),
        key: None,
    }
}

/// The scopes that are paused at times: every operation is in both.
pub(crate) fn scopes() -> [PauseScope; 2] {
    [
        (PauseKind::MessageName, "DoIt"),
        (PauseKind::Queue, "default"),
    ]
    .map(|(kind, value)| PauseScope {
        kind,
        organization: body().organization,
        value: value.to_owned(),
    })
}

/// Their keys, computed once: each world asks for them.
pub(crate) fn scope_keys() -> [ScopeKey; 2] {
    static KEYS: LazyLock<[ScopeKey; 2]> = LazyLock::new(|| scopes().map(|scope| scope.key()));
    *KEYS
}

/// The scopes that a claim names. No pause of the model is of a token.
pub(crate) fn claimed_scopes() -> Vec<ScopeKey> {
    scope_keys().to_vec()
}

/// The pause of a scope.
pub(crate) fn pause(scope: PauseScope) -> Pause {
    Pause {
        scope,
        reason: String::new(),
        until: None,
        author: Author::Caller("an operator".to_owned()),
        since: NOW,
    }
}

/// The body of every operation.
pub(crate) fn body() -> Body {
    Body::new("DoIt", NOW)
}

/// The owner of every lock. Fences are given out once here, so that they alone tell
/// holdings apart.
const OWNER: MemberId = MemberId(Uuid::nil());

/// The holding with this fence.
pub(crate) const fn holding(fence: Fence) -> Holding {
    Holding {
        owner: OWNER,
        fence,
    }
}

/// The guard of a claim.
pub(crate) fn taking() -> Guard {
    Guard::Acquire {
        owner: OWNER,
        lease: Duration::from_secs(10),
    }
}
