//! The service's last word: every operation, with its history.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
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
/// The time that reading two clocks one after the other may take, if they are compared.
const CLOSE_NS: u64 = 1_000_000;
/// The most times that they are read.
const READS: usize = 100;

/// The clock of the service's times, compared with that of the journal.
#[derive(Clone, Copy, Debug)]
pub struct Clocks {
    /// The time since 1970 at the start of the journal's clock.
    began: Duration,
}

impl Clocks {
    /// Reads both clocks, until they were read at about the same time: a busy machine may let a
    /// process wait between the two.
    ///
    /// # Errors
    /// When the system's clock is set to a time before 1970.
    #[expect(
        clippy::disallowed_methods,
        reason = "compares the service's times with the journal's"
    )]
    pub fn read() -> Result<Self> {
        let mut best: Option<(u64, Duration)> = None;
        for _ in 0..READS {
            let before = now_ns();
            let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH)?;
            let took = now_ns() - before;
            if best.is_none_or(|(least, _)| took < least) {
                best = Some((
                    took,
                    since_1970.saturating_sub(Duration::from_nanos(before)),
                ));
            }
            if took < CLOSE_NS {
                break;
            }
        }
        let (_, began) = best.context("no clock was read")?;
        Ok(Self { began })
    }

    /// A time of the service, on the clock of the journal.
    fn on_journal_clock(self, rfc3339: &str) -> Option<u64> {
        let time = Timestamp::parse_rfc3339(rfc3339).ok()?;
        let at = Duration::from_millis(u64::try_from(time.as_millis()).ok()?);
        u64::try_from(at.checked_sub(self.began)?.as_nanos()).ok()
    }
}

/// The last word about an operation, without its history.
#[must_use]
pub fn last_word(view: &OperationView, clocks: Clocks) -> Final {
    let result = view.result.as_deref();
    let done = result.and_then(|result| serde_json::from_str::<Done>(result.get()).ok());
    let place = view.dependency_token.as_ref();
    Final {
        id: view.id.clone(),
        key: view.name.clone(),
        place: place.and_then(|_token| numbers(&view.name)),
        completed_ns: view
            .completed_on
            .as_deref()
            .and_then(|time| clocks.on_journal_clock(time)),
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
    let clocks = Clocks::read()?;
    let mut finals: Vec<Final> = views.iter().map(|view| last_word(view, clocks)).collect();
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
