//! Requests that may be repeated are repeated, for a while.

use std::time::Duration;

use drumline_protocol::Backoff;
use reqwest::RequestBuilder;
use tokio::time::{Instant, sleep};

use crate::client::Client;
use crate::error::{Error, Result};
use crate::http::{self, Answer};

/// The first pause. Short, because most errors that pass do so at once.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause: long enough to let a service recover, short enough to
/// notice that it has.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// The longest pause that a service can ask for. No patience is as long, and a number from
/// outside must not come near the end of the clock.
const MOST_ASKED: Duration = Duration::from_secs(24 * 3_600);

/// The permission to send a request twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// Twice does no more than once.
    Safe,
    /// Twice may do more than once: repeated only if certainly nothing was
    /// done.
    Undone,
}

impl Repeat {
    fn after(self, error: &Error) -> bool {
        match self {
            Self::Safe => error.is_transient(),
            Self::Undone => error.is_transient() && error.nothing_was_done(),
        }
    }
}

/// The growing pauses between attempts.
#[derive(Debug)]
pub(crate) struct Pauses {
    backoff: Backoff,
}

impl Pauses {
    pub(crate) const fn new() -> Self {
        Self {
            backoff: Backoff::new(FIRST_PAUSE, LONGEST_PAUSE),
        }
    }

    /// The pause after this error: no shorter than the service asks, and a
    /// random share longer, so that callers that were turned away together do
    /// not come back together.
    pub(crate) fn after(&mut self, error: &Error) -> Duration {
        self.at_least(error.retry_after())
    }

    /// The same, if the service asks for a pause of this length.
    pub(crate) fn at_least(&mut self, asked: Option<Duration>) -> Duration {
        let asked = asked.unwrap_or_default().min(MOST_ASKED);
        let wanted = asked.max(self.backoff.full());
        wanted.mul_f64(1.0 + 0.5 * fastrand::f64())
    }
}

/// The attempts of one request.
#[derive(Debug)]
pub(crate) struct Attempts {
    repeat: Repeat,
    /// The end of patience. No end: longer than the clock can tell.
    end: Option<Instant>,
    pauses: Pauses,
}

impl Attempts {
    /// Pauses before the next attempt.
    ///
    /// # Errors
    /// The same error, if it will not pass, or patience is over.
    pub(crate) async fn next_after(&mut self, error: Error) -> Result<()> {
        let pause = self.pauses.after(&error);
        let too_late = self.end.is_some_and(|end| Instant::now() + pause > end);
        if too_late || !self.repeat.after(&error) {
            return Err(error);
        }
        sleep(pause).await;
        Ok(())
    }
}

impl Client {
    /// Begins the attempts of a request.
    pub(crate) fn patient(&self, repeat: Repeat) -> Attempts {
        Attempts {
            repeat,
            end: Instant::now().checked_add(self.patience()),
            pauses: Pauses::new(),
        }
    }

    /// Sends a request until the answer will not pass, or patience is over.
    pub(crate) async fn exchange(&self, repeat: Repeat, request: RequestBuilder) -> Result<Answer> {
        let mut attempts = self.patient(repeat);
        loop {
            // Only streams cannot be cloned, and we send none.
            let Some(attempt) = request.try_clone() else {
                return http::exchange(request).await;
            };
            match http::exchange(attempt).await {
                Ok(answer) => return Ok(answer),
                Err(error) => attempts.next_after(error).await?,
            }
        }
    }
}
