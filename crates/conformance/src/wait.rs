//! Waiting for what must come, and making sure of what must not.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

/// What must come comes within this. Generous: a loaded machine is no failure.
const DEADLINE: Duration = Duration::from_secs(20);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(10);
/// What must not come is given this long to come all the same. Longer finds
/// no more and costs every run.
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

/// Waits for something that must come.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match timeout(DEADLINE, future).await {
        Ok(value) => value,
        Err(_elapsed) => panic!("{what}: not within {DEADLINE:?}"),
    }
}

/// Gives something that must not come the time to come.
pub(crate) async fn never<T>(what: &str, future: impl Future<Output = T>) {
    assert!(timeout(QUIET, future).await.is_err(), "{what}: it did");
}
