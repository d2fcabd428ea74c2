//! `drumline update`: the attributes that may be changed.

use drumline_client::Update;

use super::settle::{Settling, is_stopping};
use super::submit::warn_of_open_parts;
use super::{Session, control};
use crate::cli;
use crate::cli::values::{With as _, timestamp};
use crate::exit::{Exit, Result};

/// Changes every operation, also when some refuse.
pub(crate) async fn run(session: &Session, flags: &cli::control::Update) -> Result<Exit> {
    let cli::control::Update {
        ids,
        state,
        status,
        postpone_until,
        recurrence,
        recurrence_start,
        recurrence_time_zone,
        remote: _,
    } = flags;
    let update = Update::new()
        .with(*state, Update::state)
        .with(*status, Update::status)
        .with(postpone_until.map(timestamp), Update::postpone_until)
        .with(recurrence.as_ref(), Update::recurrence)
        .with(recurrence_start.map(timestamp), Update::recurrence_start)
        .with(recurrence_time_zone.as_ref(), Update::recurrence_time_zone);
    warn_of_open_parts(recurrence.as_deref(), recurrence_start.is_some());
    let mut stopping = Vec::new();
    let told = control::for_each(session, ids, "change", async |id| {
        match session.client.update(id, &update).await {
            Ok(operation) if is_stopping(&operation) => {
                stopping.push(operation);
                Ok(())
            }
            Ok(operation) => Ok(session.out.outcome(&operation)?),
            Err(error) => Err(control::explain(error, "change")),
        }
    })
    .await;
    let settling = Settling::new(session);
    for operation in stopping {
        session.out.outcome(&settling.settle(operation).await)?;
    }
    told
}
