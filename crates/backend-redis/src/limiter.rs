//! The limiter on Redis: a sorted set of the permits held, and a hash of
//! counts.
//!
//! The server's clock judges, in the scripts. Everything expires: an idle
//! party is gone a window later.

use std::time::Duration;

use async_trait::async_trait;
use drumline_backend::Limiter;
use drumline_backend::limiter::{Acquired, Limit, LimitKey, Limits, PermitId, Release};
use drumline_backend::store::Result;
use redis::Pipeline;

use crate::keys::Keys;
use crate::link::Link;
use crate::reply::{self, Parts};
use crate::scripts::SCRIPTS;
use crate::store::RedisStore;

/// The largest number of milliseconds or microseconds that is written: the
/// scripts count with doubles, which hold whole numbers up to here. 285 years
/// of microseconds.
const MOST: u64 = (1 << 53) - 1;
/// The longest lease or window, in milliseconds: ten years, far from the end of
/// Redis's time.
const LONGEST_MS: u64 = 10 * 365 * 24 * 3_600 * 1_000;

/// The limiter on the connection of a store.
#[derive(Debug)]
pub struct RedisLimiter {
    link: Link,
    namespace: String,
}

/// The names of the structures of one key.
struct LimitKeys {
    held: String,
    window: String,
}

impl RedisLimiter {
    /// Makes the limiter of a store's namespace.
    #[must_use]
    pub fn new(store: &RedisStore) -> Self {
        Self {
            link: store.link().clone(),
            namespace: store.keys().namespace().to_owned(),
        }
    }

    fn keys(&self, key: LimitKey) -> LimitKeys {
        let prefix = Keys::limited(&self.namespace, &key.0);
        LimitKeys {
            held: format!("{prefix}:inside"),
            window: format!("{prefix}:window"),
        }
    }
}

#[async_trait]
impl Limiter for RedisLimiter {
    async fn acquire(
        &self,
        key: LimitKey,
        permit: Option<PermitId>,
        limits: &Limits,
    ) -> Result<Acquired> {
        let LimitKeys { held, window } = self.keys(key);
        let mut command = SCRIPTS.acquire_permit.call(&[held, window]);
        match &permit {
            Some(permit) => command.arg(permit.0.as_bytes()),
            None => command.arg(""),
        };
        command
            .arg(ms(limits.lease))
            .arg(limits.concurrent)
            .arg(limits.requests.min(MOST))
            .arg(micros(limits.execution))
            .arg(width(limits));
        let mut parts = Parts::of(self.link.run_one("enter", command).await?)?;
        let limit = match parts.number()? {
            0 => return Ok(Acquired::Granted),
            1 => Limit::Requests,
            2 => Limit::Execution,
            3 => Limit::Concurrent,
            _ => return Err(reply::unexpected()),
        };
        let retry_after = Duration::from_millis(parts.number()?);
        Ok(Acquired::Refused { limit, retry_after })
    }

    async fn renew(&self, held: &[(LimitKey, PermitId)], lease: Duration) -> Result<Vec<bool>> {
        let mut commands = Pipeline::with_capacity(held.len());
        for (key, permit) in held {
            let mut command = SCRIPTS.renew_permit.call(&[self.keys(*key).held]);
            command.arg(permit.0.as_bytes()).arg(ms(lease));
            commands.add_command(command);
        }
        let answers = self.link.run("renew a permit", &commands).await?;
        let is_held = |answer| Ok(reply::number(answer)? == 1);
        answers.into_iter().map(is_held).collect()
    }

    async fn release(&self, releases: &[Release]) -> Result<()> {
        let mut commands = Pipeline::with_capacity(releases.len());
        for release in releases {
            let LimitKeys { held, window } = self.keys(release.key);
            let mut command = SCRIPTS.release_permit.call(&[held, window]);
            command
                .arg(release.permit.0.as_bytes())
                .arg(micros(release.busy))
                .arg(width(&release.limits));
            commands.add_command(command);
        }
        self.link.run("leave", &commands).await?;
        Ok(())
    }
}

fn ms(span: Duration) -> u64 {
    u64::try_from(span.as_millis())
        .unwrap_or(LONGEST_MS)
        .clamp(1, LONGEST_MS)
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).map_or(MOST, |us| us.min(MOST))
}

/// The length of a bucket, or 0 without a window.
fn width(limits: &Limits) -> u64 {
    if limits.has_window() {
        limits.bucket_ms().min(LONGEST_MS / 64)
    } else {
        0
    }
}
