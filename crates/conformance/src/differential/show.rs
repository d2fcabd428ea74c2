//! Answers as text, without the numbers of a store.

use drumline_backend::store::{Committed, Created};

/// The answers to commits.
pub(super) fn show(answers: &[Committed]) -> String {
    let shown: Vec<String> = answers.iter().map(show_one).collect();
    shown.join(", ")
}

fn show_one(answer: &Committed) -> String {
    match answer {
        Committed::Done(done) => format!(
            "done (fence {}, offer {}, record {:?}, promoted {:?})",
            done.fence.is_some(),
            done.offer.is_some(),
            done.record.as_ref().map(|it| (&it.body, &it.report)),
            done.promoted.as_ref().map(|head| head.operation.id),
        ),
        Committed::NotHead => "not the head".to_owned(),
        Committed::Held(scope) => format!("held by {scope}"),
        Committed::Conflict(header) => format!("conflict with {header:?}"),
        Committed::Fenced => "fenced".to_owned(),
        Committed::Missing => "missing".to_owned(),
    }
}

/// The answers to creates.
pub(super) fn show_created(created: &[Created]) -> String {
    let shown: Vec<String> = created
        .iter()
        .map(|created| match created {
            Created::New { id, offer, .. } => format!("new {id} (offer {})", offer.is_some()),
            Created::Exists(found) => {
                format!("exists {} {:?} {:?}", found.id, found.header, found.body)
            }
            Created::KeyReused => "key reused".to_owned(),
            Created::KeySpent(id) => format!("key spent for {id}"),
            Created::Unreadable(id) => format!("unreadable {id}"),
        })
        .collect();
    shown.join(", ")
}
