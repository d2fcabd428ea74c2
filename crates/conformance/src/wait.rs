//! Waiting for events that must come, and checking that others do not come.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

/// The deadline for an event that must come. Generous: a loaded machine is no
/// failure.
const DEADLINE: Duration = Duration::from_secs(60);
/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(10);
/// The time in which an event that must not come could come all the same.
/// Longer finds no more and costs every run.
const QUIET: Duration = Duration::from_millis(250);

/// Looks until there is something to see.
pub(crate) async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < end, "{what}: not within {DEADLINE:?}");
        sleep(PAUSE).await;
    }
}

/// Waits for an event that must come.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match timeout(DEADLINE, future).await {
        Ok(value) => value,
        Err(_elapsed) => panic!("{what}: not within {DEADLINE:?}"),
    }
}

/// Gives an event that must not come the time to come.
pub(crate) async fn never<T>(what: &str, future: impl Future<Output = T>) {
    assert!(timeout(QUIET, future).await.is_err(), "{what}: it did");
}
