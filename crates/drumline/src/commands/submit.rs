//! `drumline submit`: one operation from flags, or many from a file.

pub(super) mod data;
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
    warn_of_open_parts(
        submit.attributes.recurrence.as_deref(),
        submit.attributes.recurrence_start.is_some(),
    );
    if submit.wait {
        crate::output::hint(&format!("submitted {}", created.operation.id));
        let ids = [created.operation.id];
        return wait::until_completed(session, &ids, submit.timeout).await;
    }
    session.out.outcome(&created.operation)?;
    Ok(Exit::Ok)
}

/// Warns of a rule that names an hour and leaves the minute open: without a start,
/// the rest of the time of day is that of the creation.
pub(super) fn warn_of_open_parts(rule: Option<&str>, has_start: bool) {
    let rule = rule.filter(|_| !has_start);
    if let Some((open, remedy)) = rule.and_then(open_parts) {
        crate::output::hint(&format!(
            "the rule leaves {open} open, so they are those of this moment: add {remedy} for a round time"
        ));
    }
}

/// The parts of the time of day that a rule leaves open although it names another
/// part, and the remedy.
fn open_parts(rule: &str) -> Option<(&'static str, &'static str)> {
    let rule = rule.to_ascii_uppercase();
    let has = |part: &str| {
        let mut parts = rule.split([';', ':']);
        parts.any(|given| given.trim_start().starts_with(part))
    };
    match (has("BYHOUR="), has("BYMINUTE="), has("BYSECOND=")) {
        (true, false, false) => Some(("minute and second", "BYMINUTE=0;BYSECOND=0")),
        (true, false, true) => Some(("the minutes", "BYMINUTE=0")),
        (_, true, false) => Some(("the seconds", "BYSECOND=0")),
        (_, true, true) | (false, false, _) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::open_parts;

    #[test]
    fn a_rule_that_names_an_hour_alone_leaves_minute_and_second_open() {
        for (rule, open) in [
            ("FREQ=WEEKLY;BYDAY=MO;BYHOUR=6", Some("minute and second")),
            ("RRULE:FREQ=DAILY;byhour=6;BYMINUTE=30", Some("the seconds")),
            ("FREQ=DAILY;BYHOUR=6;BYSECOND=0", Some("the minutes")),
            ("FREQ=HOURLY;BYMINUTE=0,30", Some("the seconds")),
            ("FREQ=DAILY;BYHOUR=6;BYMINUTE=0;BYSECOND=0", None),
            // The rhythm begins now, which is what such a rule asks for.
            ("FREQ=DAILY;INTERVAL=3", None),
        ] {
            assert_eq!(open_parts(rule).map(|(open, _)| open), open, "{rule}");
        }
    }
}
