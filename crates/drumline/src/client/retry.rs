//! Requests that may be repeated are repeated, for a while.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Result;

/// How long a command tries before it gives up. A restart of a queue manager,
/// or a fail-over behind it, takes less.
const PATIENCE: Duration = Duration::from_secs(30);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Makes a request until it is answered with something that will not pass, or
/// patience is over. Only for requests that may be repeated. Cancel-safe.
pub(crate) async fn patiently<T>(mut request: impl AsyncFnMut() -> Result<T>) -> Result<T> {
    let end = Instant::now() + PATIENCE;
    let mut pause = FIRST_PAUSE;
    loop {
        let error = match request().await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        let wanted = error.retry_after().unwrap_or_default().max(pause);
        if !error.is_transient() || Instant::now() + wanted > end {
            return Err(error);
        }
        sleep(wanted.mul_f64(0.75 + 0.5 * fastrand::f64())).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
