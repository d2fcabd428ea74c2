//! The verdict: what is not as it should be, the worst first, in sentences.

use drumline_backend::store::Summary;
use drumline_protocol::text::grouped;
use drumline_protocol::{OperationId, Pause, PauseKind, Status, Timestamp};

use super::{OwnState, news};
use crate::service::Health;

/// Faults of a kind that are named.
const NAMED: usize = 3;

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// The fault in a sentence.
    pub(crate) sentence: String,
    /// The remedy in a sentence.
    pub(crate) remedy: Option<String>,
    /// The place that shows more, and its words.
    pub(crate) place: Option<(&'static str, Place)>,
}

/// A place that shows more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The operations with these conditions.
    Operations(Vec<(&'static str, String)>),
    /// One operation.
    Operation(OperationId),
    /// The pauses in force.
    Pauses,
    /// The failure groups.
    Failures,
}

/// The facts that a verdict is made of.
#[derive(Debug)]
pub(super) struct Facts<'a> {
    /// The health of this manager.
    pub(super) health: &'a Health,
    /// The queues of the broker that do not work, in words.
    pub(super) bypassed: &'a [String],
    /// The message names that some worker does not take at present.
    pub(super) throttled: &'a [String],
    /// The number of workers; `None` for callers that may not see it.
    pub(super) workers: Option<usize>,
    /// The number of Ready operations.
    pub(super) ready: u64,
    /// The state of the organization; `None` for callers that may not see it.
    pub(super) own: Option<&'a OwnState>,
    /// The time of the verdict.
    pub(super) now: Timestamp,
}

/// Finds what is not as it should be.
pub(super) fn judge(facts: &Facts<'_>) -> Vec<Finding> {
    let health = facts.health;
    let mut findings = Vec::new();
    findings.extend(facts.own.and_then(freeze));
    if let Some(fault) = &health.store {
        findings.push(Finding::new(
            &format!("the store is unavailable: {fault}"),
            "nothing runs until it answers again; `drumline doctor` says more",
        ));
    }
    if let Some(fault) = &health.broker {
        findings.push(Finding::new(
            &format!("the broker takes no messages: {fault}"),
            "what is accepted waits in the store, and goes on by itself; `drumline doctor` says more",
        ));
    }
    if facts.workers == Some(0) {
        let words = match facts.ready {
            0 => "no worker is alive, so nothing can start".to_owned(),
            1 => "no worker is alive, and one operation waits".to_owned(),
            some => format!("no worker is alive, and {} operations wait", grouped(some)),
        };
        let ready = Place::Operations(vec![("state", "Ready".to_owned())]);
        findings.push(Finding::new(&words, "start one: `drumline worker`").at("what waits", ready));
    }
    findings.extend(facts.own.and_then(paused_organization));
    for fault in facts.bypassed.iter().take(NAMED) {
        findings.push(Finding::new(fault, "offers go another way meanwhile"));
    }
    for name in facts.throttled.iter().take(NAMED) {
        let words =
            format!("operations of {name} fail so often that no worker takes them for a while");
        let failed = Place::Operations(vec![
            ("messageName", name.clone()),
            ("status", "Failed".to_owned()),
        ]);
        findings.push(Finding::new(&words, "look at the latest failures").at("failures", failed));
    }
    findings.extend(facts.own.and_then(held_tokens));
    findings.extend(facts.own.and_then(other_pauses));
    if let Some(fault) = &health.keys {
        findings.push(Finding::new(
            &format!("the file with the keys cannot be used: {fault}"),
            "the keys of before stay in force",
        ));
    }
    if let Some(fault) = &health.issuer {
        findings.push(Finding::new(
            &format!("the issuer of tokens cannot be asked: {fault}"),
            "the keys that it published before stay in force",
        ));
    }
    if let Some(fault) = &health.certificate {
        findings.push(Finding::new(
            &format!("the files of the certificate cannot be used: {fault}"),
            "the certificate of before stays in force",
        ));
    }
    if health.draining {
        findings.push(Finding::new(
            "this queue manager ends soon",
            "another one answers then",
        ));
    }
    findings.extend(facts.own.and_then(|own| news::of_failures(own, facts.now)));
    findings
}

fn freeze(own: &OwnState) -> Option<Finding> {
    let mut pauses = own.pauses.iter();
    let freeze = pauses.find(|pause| pause.scope.is_everything())?;
    let (by, reason) = (freeze.author.name(), &freeze.reason);
    let words =
        format!("the service is frozen by {by}, so nothing starts in any organization: {reason}");
    Some(Finding::new(&words, "`drumline thaw` lets it go on"))
}

/// True for a pause of one organization, with everything in it.
fn is_of_organization(pause: &Pause) -> bool {
    pause.scope.kind == PauseKind::Organization && !pause.scope.is_everything()
}

fn paused_organization(own: &OwnState) -> Option<Finding> {
    let mut pauses = own.pauses.iter();
    let all = pauses.find(|pause| is_of_organization(pause))?;
    let (by, reason) = (all.author.name(), &all.reason);
    let words = format!("the whole organization is paused by {by}: {reason}");
    Some(Finding::new(
        &words,
        "`drumline resume --all --pause` lifts it",
    ))
}

fn held_tokens(own: &OwnState) -> Option<Finding> {
    let is_partial = own.holding.next.is_some();
    let some = if is_partial { "at least " } else { "" };
    let all = || Place::Operations(vec![("holdsToken", "true".to_owned())]);
    let remedy = "resume such an operation to skip it, and its token goes on";
    match own.holding.operations.as_slice() {
        [] => None,
        [only] if !is_partial => {
            let remedy = "resume that operation to skip it, and its token goes on";
            let only_one = Place::Operation(only.id);
            Some(Finding::new(&held_by(only), remedy).at("that operation", only_one))
        }
        [_] => {
            let words =
                format!("{some}one token is held by an operation that failed or was cancelled");
            Some(Finding::new(&words, remedy).at("all of them", all()))
        }
        several => {
            let words = format!(
                "{some}{} tokens are held by operations that failed or were cancelled",
                several.len()
            );
            Some(Finding::new(&words, remedy).at("all of them", all()))
        }
    }
}

/// The one operation that holds a token, in a clause.
fn held_by(holder: &Summary) -> String {
    let body = &holder.body;
    let token = body.dependency_token.as_ref().map(|token| token.as_str());
    let token = token.unwrap_or_default();
    let name = if body.name.trim().is_empty() {
        &body.message_name
    } else {
        &body.name
    };
    let end = match holder.header.status {
        Status::Canceled => "was cancelled",
        Status::WaitingForResources
        | Status::Waiting
        | Status::InProgress
        | Status::Pausing
        | Status::Canceling
        | Status::Succeeded
        | Status::Failed => "failed",
    };
    format!("the token {token} is held by {name}, which {end}")
}

fn other_pauses(own: &OwnState) -> Option<Finding> {
    let pauses = own.pauses.iter();
    let others = pauses.filter(|pause| !is_of_organization(pause) && !pause.scope.is_everything());
    let words = match others.count() {
        0 => return None,
        1 => "one pause is in force".to_owned(),
        count => format!("{count} pauses are in force"),
    };
    Some(Finding::new(&words, "").at("pauses", Place::Pauses))
}

impl Finding {
    pub(super) fn new(fault: &str, remedy: &str) -> Self {
        Self {
            sentence: sentence(fault),
            remedy: (!remedy.is_empty()).then(|| sentence(remedy)),
            place: None,
        }
    }

    pub(super) fn at(self, words: &'static str, place: Place) -> Self {
        Self {
            place: Some((words, place)),
            ..self
        }
    }
}

/// A clause with a capital letter, and a full stop at its end.
fn sentence(clause: &str) -> String {
    let mut letters = clause.trim().chars();
    let first = letters.next();
    let mut sentence: String = first.into_iter().flat_map(char::to_uppercase).collect();
    sentence.push_str(letters.as_str());
    if !sentence.ends_with(['.', '!', '?']) {
        sentence.push('.');
    }
    sentence
}

#[cfg(test)]
mod tests {
    use drumline_backend::store::Page;
    use drumline_protocol::operation::first_header;
    use drumline_protocol::{Body, CommitId, Partition, Rules};

    use super::*;
    use crate::service::failures::Heard;

    const NOW: Timestamp = Timestamp::from_millis(1_795_000_000_000);

    fn failure(completed_on: Timestamp) -> Summary {
        let mut header = first_header(Rules::default(), None, CommitId(1), NOW);
        header.status = Status::Failed;
        header.completed_on = Some(completed_on);
        Summary {
            id: OperationId::new(NOW, Partition::new(0), [1; 16]),
            header,
            body: Body::new("SendMail", NOW),
            sequence: 1,
        }
    }

    fn own(failed_on: Timestamp, has_more: bool) -> OwnState {
        let failure = failure(failed_on);
        OwnState {
            pauses: Vec::new(),
            holding: Page::default(),
            failures: Page {
                next: has_more.then_some(failure.id),
                operations: vec![failure],
            },
            heard: Heard::default(),
        }
    }

    const fn healthy() -> Health {
        Health {
            store: None,
            broker: None,
            keys: None,
            issuer: None,
            certificate: None,
            draining: false,
        }
    }

    fn said(health: &Health, workers: Option<usize>, ready: u64, own: &OwnState) -> Vec<String> {
        let findings = judge(&Facts {
            health,
            bypassed: &[],
            throttled: &[],
            workers,
            ready,
            own: Some(own),
            now: NOW,
        });
        findings.into_iter().map(|one| one.sentence).collect()
    }

    #[test]
    fn an_old_failure_is_no_news() {
        let old = own(Timestamp::from_millis(0), true);
        let said = said(&healthy(), None, 0, &old);
        assert!(said.is_empty(), "{said:?}");
    }

    #[test]
    fn the_worst_comes_first() {
        let blocked = Health {
            broker: Some("it is blocked".to_owned()),
            ..healthy()
        };
        assert_eq!(
            said(&blocked, Some(0), 1234, &own(NOW, true)),
            [
                "The broker takes no messages: it is blocked.",
                "No worker is alive, and 1\u{a0}234 operations wait.",
                "At least one operation failed within the last hour.",
            ]
        );
    }

    #[test]
    fn one_holder_is_named() {
        let mut state = own(Timestamp::from_millis(0), false);
        let mut holder = failure(Timestamp::from_millis(0));
        holder.body.dependency_token = Some("crm".to_owned().try_into().unwrap());
        state.holding.operations.push(holder);
        assert_eq!(
            said(&healthy(), Some(1), 0, &state),
            ["The token crm is held by SendMail, which failed."]
        );
    }
}
