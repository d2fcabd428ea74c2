//! `drumline submit`: one operation from flags, or many from a file.

mod data;
mod file;
mod lines;

use super::{Session, wait};
use crate::cli::submit::Submit;
use crate::exit::{Exit, Failure, Result};

/// Submits.
pub(crate) async fn run(session: &Session, submit: &Submit) -> Result<Exit> {
    check(submit)?;
    match (&submit.file, &submit.message) {
        (Some(path), _) => file::run(session, submit, path).await,
        (None, Some(message)) => one(session, submit, message).await,
        (None, None) => Err(Failure::new(Exit::Usage, "a MESSAGE or --file is needed")),
    }
}

/// Refuses flags that do not go together, for reasons beyond the grammar.
fn check(submit: &Submit) -> Result<()> {
    let attributes = &submit.attributes;
    for (is_span, flag, instead) in [
        (attributes.in_.is_some(), "--in", "--postpone-until"),
        (attributes.expire_in.is_some(), "--expire-in", "--not-after"),
    ] {
        if is_span && submit.idempotency_key.is_some() {
            let why = format!(
                "{flag} with --idempotency-key could not be repeated: each run would request another time. \
                 Give the time itself, with {instead}"
            );
            return Err(Failure::new(Exit::Usage, why));
        }
    }
    if attributes.recurrence.is_some() && submit.wait {
        return Err(Failure::new(
            Exit::Usage,
            "--wait with --recurrence would wait for the end of the series, not for an occurrence. \
             Submit it without --wait; `drumline events` shows when occurrences end",
        ));
    }
    Ok(())
}

async fn one(session: &Session, submit: &Submit, message: &str) -> Result<Exit> {
    let data = submit
        .attributes
        .data
        .as_deref()
        .map(data::read)
        .transpose()?;
    let now = session.out.now();
    let request = submit
        .attributes
        .request(message, data, session.parent, now);
    let created = match submit.idempotency_key.as_deref() {
        Some(key) => {
            session
                .patient()
                .create(&request.idempotency_key(key))
                .await?
        }
        // Without a key the next run of the command might create it twice: the
        // caller decides.
        None => session.client.create(&request).await?,
    };
    if submit.wait {
        crate::output::hint(&format!("submitted {}", created.operation.id));
        let ids = [created.operation.id];
        return wait::until_completed(session, &ids, submit.timeout).await;
    }
    session.out.outcome(&created.operation)?;
    Ok(Exit::Ok)
}
