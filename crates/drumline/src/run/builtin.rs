//! Handlers for trying things out: `Echo`, `Sleep`, `Fail`. Only `dev` has them.

use std::time::Duration;

use drumline_worker::{Builder, Context, HandlerError};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::time::Instant;

/// The interval of progress reports.
const STEP: Duration = Duration::from_millis(200);

/// Adds the three to a worker, except names that are `taken` by the handlers
/// file.
pub(crate) fn add(mut builder: Builder, taken: impl Fn(&str) -> bool) -> Builder {
    if !taken("Echo") {
        builder = builder.handler("Echo", echo);
    }
    if !taken("Sleep") {
        builder = builder.handler("Sleep", sleep);
    }
    if !taken("Fail") {
        builder = builder.handler("Fail", fail);
    }
    builder
}

/// Answers with its data, exactly as it came.
async fn echo(data: Box<RawValue>, _context: Context) -> Result<Box<RawValue>, HandlerError> {
    Ok(data)
}

/// The data of `Sleep`.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Nap {
    /// The duration, in seconds.
    seconds: f64,
}

impl Default for Nap {
    fn default() -> Self {
        Self { seconds: 1.0 }
    }
}

/// The part of a nap that is over; the checkpoint.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Slept {
    ms: u64,
}

/// Takes time, with progress; after a pause it sleeps the rest.
async fn sleep(nap: Option<Nap>, context: Context) -> Result<Slept, HandlerError> {
    let nap = nap.unwrap_or_default();
    let whole = Duration::try_from_secs_f64(nap.seconds)?;
    let before: Slept = context.saved_checkpoint()?.unwrap_or_default();
    let before = Duration::from_millis(before.ms);
    let start = Instant::now();
    loop {
        let slept = before + start.elapsed();
        let ms = u64::try_from(slept.as_millis()).unwrap_or(u64::MAX);
        if slept >= whole {
            return Ok(Slept { ms });
        }
        context.progress(percent(slept, whole), "sleeping");
        tokio::select! {
            () = tokio::time::sleep(STEP.min(whole - slept)) => {}
            _why = context.stop_requested() => {
                context.checkpoint(&Slept { ms })?;
                return Err(HandlerError::stopped());
            }
        }
    }
}

fn percent(part: Duration, whole: Duration) -> u8 {
    let percent = part.as_millis() * 100 / whole.as_millis().max(1);
    u8::try_from(percent).unwrap_or(100)
}

/// The data of `Fail`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Wish {
    /// In a way that may pass.
    retry: bool,
    /// In a way that needs a person.
    suspend: bool,
    /// The message.
    message: Option<String>,
}

/// Fails.
async fn fail(wish: Option<Wish>, _context: Context) -> Result<(), HandlerError> {
    let wish = wish.unwrap_or_default();
    let message = wish
        .message
        .unwrap_or_else(|| "failed, as requested".to_owned());
    Err(match (wish.suspend, wish.retry) {
        (true, _) => HandlerError::suspend(message),
        (false, true) => HandlerError::retry(message),
        (false, false) => HandlerError::fail(message),
    })
}
