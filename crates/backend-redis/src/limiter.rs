//! The limiter on Redis: a sorted set of the visitors inside, and a hash of
//! counts.
//!
//! The server's clock judges, in the scripts. Everything expires: an idle
//! subject is gone a window later.

use std::time::Duration;

use async_trait::async_trait;
use drumline_backend::Limiter;
use drumline_backend::limiter::{Departure, Entered, Limit, Limits, Subject, Visitor};
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

/// The keys of one subject.
struct SubjectKeys {
    inside: String,
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

    fn keys(&self, subject: Subject) -> SubjectKeys {
        let prefix = Keys::limited(&self.namespace, &subject.0);
        SubjectKeys {
            inside: format!("{prefix}:inside"),
            window: format!("{prefix}:window"),
        }
    }
}

#[async_trait]
impl Limiter for RedisLimiter {
    async fn enter(
        &self,
        subject: Subject,
        visitor: Option<Visitor>,
        limits: &Limits,
    ) -> Result<Entered> {
        let SubjectKeys { inside, window } = self.keys(subject);
        let mut command = SCRIPTS.enter.call(&[inside, window]);
        match &visitor {
            Some(visitor) => command.arg(visitor.0.as_bytes()),
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
            0 => return Ok(Entered::Admitted),
            1 => Limit::Requests,
            2 => Limit::Execution,
            3 => Limit::Concurrent,
            _ => return Err(reply::unexpected()),
        };
        let retry_after = Duration::from_millis(parts.number()?);
        Ok(Entered::Refused { limit, retry_after })
    }

    async fn renew(&self, inside: &[(Subject, Visitor)], lease: Duration) -> Result<Vec<bool>> {
        let mut commands = Pipeline::with_capacity(inside.len());
        for (subject, visitor) in inside {
            let mut command = SCRIPTS.stay.call(&[self.keys(*subject).inside]);
            command.arg(visitor.0.as_bytes()).arg(ms(lease));
            commands.add_command(command);
        }
        let answers = self.link.run("renew a place", &commands).await?;
        let is_inside = |answer| Ok(reply::number(answer)? == 1);
        answers.into_iter().map(is_inside).collect()
    }

    async fn leave(&self, departures: &[Departure]) -> Result<()> {
        let mut commands = Pipeline::with_capacity(departures.len());
        for departure in departures {
            let SubjectKeys { inside, window } = self.keys(departure.subject);
            let mut command = SCRIPTS.leave.call(&[inside, window]);
            command
                .arg(departure.visitor.0.as_bytes())
                .arg(micros(departure.busy))
                .arg(width(&departure.limits));
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
