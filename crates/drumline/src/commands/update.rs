//! `drumline update`: the attributes that may be changed.

use drumline_client::Update;

use super::filter::timestamp;
use super::settle::{Settling, is_stopping};
use super::{Session, control};
use crate::cli;
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
        remote: _,
    } = flags;
    let mut update = Update::new();
    if let Some(state) = state {
        update = update.state(*state);
    }
    if let Some(status) = status {
        update = update.status(*status);
    }
    if let Some(until) = postpone_until {
        update = update.postpone_until(timestamp(*until));
    }
    if let Some(pattern) = recurrence {
        update = update.recurrence(pattern);
    }
    if let Some(start) = recurrence_start {
        update = update.recurrence_start(timestamp(*start));
    }
    let mut stopping = Vec::new();
    let told = control::for_each(ids, "change", async |id| {
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
