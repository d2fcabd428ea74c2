//! What publishers are told.

use drumline_backend::broker::{Error, Result};

use crate::confirm::{Outgoing, Verdict};
use crate::flight::Request;
use crate::live::Live;
use crate::topology::Target;

/// Each request with the verdicts of its own messages.
pub(crate) fn with_verdicts(
    requests: Vec<Request>,
    verdicts: Vec<Option<Verdict>>,
) -> Vec<(Request, Vec<Option<Verdict>>)> {
    let mut verdicts = verdicts.into_iter();
    let requests = requests.into_iter();
    requests
        .map(|request| {
            let own = verdicts.by_ref().take(request.messages.len()).collect();
            (request, own)
        })
        .collect()
}

/// Tells a publisher what became of each of his messages.
pub(crate) fn answer_each(live: &Live, request: Request, verdicts: Vec<Option<Verdict>>) {
    let messages = request.messages.iter().zip(verdicts);
    let answers = messages.map(|(message, verdict)| result(live, message, verdict));
    let answers = answers.collect();
    answer(request, answers);
}

/// What a verdict means to whoever published.
fn result(live: &Live, message: &Outgoing, verdict: Option<Verdict>) -> Result<()> {
    match (verdict, &message.target) {
        (Some(Verdict::Taken), _) => Ok(()),
        (Some(Verdict::Unroutable), target) => {
            // The next publish declares it.
            live.forget(target);
            match target {
                Target::Route(route) => Err(Error::Unroutable {
                    route: route.clone(),
                }),
                Target::Quarantine | Target::Requests | Target::RefusedRequests => {
                    Err(Error::Refused)
                }
            }
        }
        (Some(Verdict::Refused), _) => Err(Error::Refused),
        (None, target) => Err(no_answer(target)),
    }
}

/// The queue is silent: whether it has the message is open.
pub(crate) fn no_answer(target: &Target) -> Error {
    Error::Unavailable {
        message: format!("the queue of {target:?} does not answer"),
        source: None,
    }
}

/// Whoever asked may have gone away; that is their right.
pub(crate) fn answer(request: Request, answers: Vec<Result<()>>) {
    drop(request.answer.send(answers));
}

/// One error for each of so many messages.
pub(crate) fn for_each(count: usize, error: Error) -> Vec<Result<()>> {
    // The cause can be had once; the others get what it says.
    let again = |error: &Error| match error {
        Error::Blocked { reason } => Error::Blocked {
            reason: reason.clone(),
        },
        Error::Unavailable { message, .. } => Error::Unavailable {
            message: message.clone(),
            source: None,
        },
        other @ (Error::Unroutable { .. } | Error::Refused | Error::Encode(_)) => {
            Error::Unavailable {
                message: other.to_string(),
                source: None,
            }
        }
    };
    let mut answers: Vec<Result<()>> = (1..count).map(|_| Err(again(&error))).collect();
    answers.push(Err(error));
    answers
}
