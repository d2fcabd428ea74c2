//! `/v1/stats`: what happened in the last hours.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use drumline_api::{FieldError, Invalid};
use drumline_backend::store::{Histogram, Rollup, RollupKey};
use drumline_protocol::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::extractors::Parameters;
use super::openapi;
use super::problem::Answer;
use crate::service::{QueueManager, StatsQuery};

/// The counts of the last hours.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StatsView {
    /// The time at which the first slot begins. Later than asked for, if the slots of
    /// that time are not kept any more, or would be too many for one answer.
    #[schema(format = "date-time")]
    since: String,
    /// The length of a slot in seconds: 60, or 600 if more than three hours are asked
    /// for.
    slot_seconds: u64,
    /// All slots together.
    total: CountsOfSlot,
    /// The slots, oldest first. The last one is not over yet.
    slots: Vec<SlotView>,
    /// The time from which on the operations of each queue and message name are
    /// compared: three hours ago at most.
    #[schema(format = "date-time")]
    compared_since: String,
    /// The counts of each queue and message name in that time.
    breakdown: Vec<BreakdownView>,
}

/// The counts of a slot.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SlotView {
    /// The time at which the slot begins.
    #[schema(format = "date-time")]
    start: String,
    #[serde(flatten)]
    counts: CountsOfSlot,
}

/// The counts of a queue and a message name.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BreakdownView {
    /// The queue; absent for the operations that are counted without their names,
    /// because there are too many.
    #[serde(skip_serializing_if = "Option::is_none")]
    queue: Option<String>,
    /// The message name; absent likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    message_name: Option<String>,
    #[serde(flatten)]
    counts: CountsOfSlot,
}

/// Counts, and times.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CountsOfSlot {
    /// Operations that were created.
    created: u64,
    /// Runs that were started.
    started: u64,
    /// Operations that Succeeded.
    succeeded: u64,
    /// Operations that Failed.
    failed: u64,
    /// Operations that were Canceled.
    canceled: u64,
    /// Operations that no worker had started by their `notAfter`.
    expired: u64,
    /// The time in milliseconds that half of the started operations had waited at
    /// most, since they became Ready. All times may be off by a factor of two. Absent
    /// if nothing was started.
    #[serde(skip_serializing_if = "Option::is_none")]
    wait_p50_ms: Option<u64>,
    /// The time that 99 of 100 had waited at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    wait_p99_ms: Option<u64>,
    /// The time in milliseconds that half of the runs took at most. Absent if none
    /// ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    run_p50_ms: Option<u64>,
    /// The time that 99 of 100 runs took at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    run_p99_ms: Option<u64>,
}

impl From<&Rollup> for CountsOfSlot {
    fn from(rollup: &Rollup) -> Self {
        let ms = |times: &Histogram, per_mille| times.quantile(per_mille).map(milliseconds);
        let Rollup {
            created,
            started,
            succeeded,
            failed,
            canceled,
            expired,
            wait,
            run,
        } = rollup;
        Self {
            created: *created,
            started: *started,
            succeeded: *succeeded,
            failed: *failed,
            canceled: *canceled,
            expired: *expired,
            wait_p50_ms: ms(wait, 500),
            wait_p99_ms: ms(wait, 990),
            run_p50_ms: ms(run, 500),
            run_p99_ms: ms(run, 990),
        }
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl From<&(RollupKey, Rollup)> for BreakdownView {
    fn from((key, rollup): &(RollupKey, Rollup)) -> Self {
        let (queue, message_name) = match key {
            RollupKey::Of {
                queue,
                message_name,
            } => (Some(queue.to_string()), Some(message_name.clone())),
            RollupKey::Total | RollupKey::Others => (None, None),
        };
        Self {
            queue,
            message_name,
            counts: rollup.into(),
        }
    }
}

/// Show what happened in the last hours
///
/// The numbers are of all organizations. Processes write them once a minute, so the
/// last minute may lack some.
#[utoipa::path(
    get, path = "/v1/stats", tag = "fleet",
    params(
        ("since" = Option<String>, Query, description = "The time to begin at, RFC 3339, or a time span before now: `3h`. At most 72 hours are kept. Default: `1h`"),
        ("queue" = Option<String>, Query, description = "The queue"),
        ("messageName" = Option<String>, Query, description = "The message name"),
    ),
    responses(
        (status = 200, description = "What happened", body = StatsView),
        openapi::Invalid,
        openapi::Busy,
    )
)]
pub(crate) async fn stats(
    State(manager): State<QueueManager>,
    Parameters(pairs): Parameters,
) -> Answer<Json<StatsView>> {
    let query = stats_query(pairs, manager.store().now())?;
    let stats = manager.stats(&query).await?;
    let slots = stats.timed().map(|(start, rollup)| SlotView {
        start: start.to_string(),
        counts: rollup.into(),
    });
    Ok(Json(StatsView {
        since: stats.resolution.start(stats.first).to_string(),
        slot_seconds: stats.resolution.minutes() * 60,
        total: (&stats.total()).into(),
        slots: slots.collect(),
        compared_since: stats.compared_since.to_string(),
        breakdown: stats.breakdown.iter().map(BreakdownView::from).collect(),
    }))
}

fn stats_query(pairs: Vec<(String, String)>, now: Timestamp) -> Result<StatsQuery, Invalid> {
    let mut query = StatsQuery::default();
    let mut errors = Vec::new();
    for (name, value) in pairs {
        let wrong = match name.as_str() {
            _ if value.is_empty() => None,
            "since" => {
                query.since = time(&value, now);
                let is_wrong = query.since.is_none();
                is_wrong.then(|| {
                    "must be a time, as 2026-11-28T10:00:00Z, or a time span before now, as 3h"
                        .to_owned()
                })
            }
            "queue" => match value.parse() {
                Ok(queue) => {
                    query.queue = Some(queue);
                    None
                }
                Err(error) => Some(format!("{error}")),
            },
            "messageName" => {
                query.message_name = Some(value);
                None
            }
            _ => Some("is an unknown parameter".to_owned()),
        };
        errors.extend(wrong.map(|why| FieldError::new(name, why)));
    }
    if errors.is_empty() {
        Ok(query)
    } else {
        Err(Invalid::arguments(errors))
    }
}

/// A time, given by itself or by its distance from now.
fn time(text: &str, now: Timestamp) -> Option<Timestamp> {
    if let Ok(time) = Timestamp::parse_rfc3339(text) {
        return Some(time);
    }
    let span = humantime::parse_duration(text).ok()?;
    let span = i64::try_from(span.as_millis()).ok()?;
    Some(Timestamp::from_millis(now.as_millis().saturating_sub(span)))
}
