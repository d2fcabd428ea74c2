//! The service's last word: every operation, with its history.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use drumline_client::{Client, Filter, OperationView, Timestamp};
use drumline_oracle::Final;
use drumline_oracle::journal::now_ns;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use crate::clients::{Caller, trace};
use crate::load::{list, numbers};
use crate::plan::Plan;
use crate::recorder::Done;

/// Histories that are asked for at the same time.
const AT_ONCE: usize = 16;

/// A time of the service, on the clock of the journal.
#[expect(
    clippy::disallowed_methods,
    reason = "compares the service's times with the journal's"
)]
#[must_use]
pub fn on_journal_clock(rfc3339: &str) -> Option<u64> {
    let time = Timestamp::parse_rfc3339(rfc3339).ok()?;
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    let at = Duration::from_millis(u64::try_from(time.as_millis()).ok()?);
    let ago = since_1970.checked_sub(at)?;
    now_ns().checked_sub(u64::try_from(ago.as_nanos()).ok()?)
}

/// The last word about an operation, without its history.
#[must_use]
pub fn last_word(view: &OperationView) -> Final {
    let result = view.result.as_deref();
    let done = result.and_then(|result| serde_json::from_str::<Done>(result.get()).ok());
    let place = view.dependency_token.as_ref();
    Final {
        id: view.id.clone(),
        key: view.name.clone(),
        place: place.and_then(|_token| numbers(&view.name)),
        completed_ns: view.completed_on.as_deref().and_then(on_journal_clock),
        status: view.status_code,
        starts: u64::from(view.start_count),
        lost: u64::from(view.lost_count),
        reasons: None,
        at_most_once: view.at_most_once,
        accepted: done.map(|done| done.fence),
        trace: None,
        version: view.version,
        changes: None,
    }
}

/// All operations of the drill.
pub(crate) async fn finals(caller: &mut Caller, plan: &Plan) -> Result<Vec<Final>> {
    let views = list(caller, &Filter::new()).await?;
    let mut finals: Vec<Final> = views.iter().map(last_word).collect();
    for one in &mut finals {
        // Each token has a client of its own, but for those that stand still, which share one.
        let client = one.place.map(|(token, _)| token.min(plan.tokens));
        one.trace = client.map(|client| trace(plan.seed, client));
    }
    let client = caller
        .client()
        .await?
        .with_patience(Duration::from_secs(30));
    stream::iter(finals)
        .map(|one| with_history(&client, one))
        .buffered(AT_ONCE)
        .try_collect()
        .await
}

/// An operation with its history.
async fn with_history(client: &Client, one: Final) -> Result<Final> {
    let changes = Some(client.history(&one.id).await?);
    Ok(Final { changes, ..one })
}
