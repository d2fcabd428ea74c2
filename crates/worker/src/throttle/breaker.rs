//! The state of one message name: a circuit breaker, without a clock.
//!
//! ```text
//!            more than N failures within M
//!   closed ────────────────────────────────> open ── pause is over ──> probing
//!     ^                                       ^                          │ │
//!     │                                       └───── the probe fails ────┘ │
//!     └───────────────────────── the probe succeeds ───────────────────────┘
//! ```
//!
//! While the breaker is open, it ignores the ends of runs that were started before
//! it opened. A failure is no news then, and a success may be as old as its start.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::Throttle;
use crate::later::later;

/// The circuit breaker of one message name.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    state: State,
}

#[derive(Debug)]
enum State {
    /// The latest failures, oldest first. At most one more than are tolerated.
    Closed(VecDeque<Instant>),
    Open {
        until: Instant,
    },
    /// One operation is under way as the probe.
    Probing,
}

impl Default for State {
    fn default() -> Self {
        Self::Closed(VecDeque::new())
    }
}

/// The answer to an operation that wants to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// The operation may run.
    Pass,
    /// The operation may run, and its end will decide about the next ones.
    Probe,
    /// The operation may not run before so much time has passed.
    Wait(Duration),
}

/// A change that is worth a line in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Operations are postponed from now on.
    Opened,
    /// Operations are let through again.
    Closed,
}

impl Breaker {
    /// Admits an operation, or not.
    pub(super) fn admit(&mut self, throttle: Throttle, now: Instant) -> Admission {
        match self.state {
            State::Closed(_) => Admission::Pass,
            State::Open { until } if now < until => Admission::Wait(until - now),
            State::Open { .. } => {
                self.state = State::Probing;
                Admission::Probe
            }
            // The probe may take any time, and a pause follows its failure.
            State::Probing => Admission::Wait(throttle.pause),
        }
    }

    /// Counts a run that has failed.
    pub(super) fn failed(
        &mut self,
        throttle: Throttle,
        is_probe: bool,
        now: Instant,
    ) -> Option<Change> {
        let open = State::Open {
            until: later(now, throttle.pause),
        };
        match &mut self.state {
            State::Closed(failures) => {
                failures.push_back(now);
                while let Some(oldest) = failures.front()
                    && now.duration_since(*oldest) > throttle.within
                {
                    failures.pop_front();
                }
                if failures.len() <= usize::try_from(throttle.failures).unwrap_or(usize::MAX) {
                    return None;
                }
                self.state = open;
                Some(Change::Opened)
            }
            State::Probing if is_probe => {
                self.state = open;
                None
            }
            State::Probing | State::Open { .. } => None,
        }
    }

    /// Counts a run that has succeeded.
    pub(super) fn succeeded(&mut self, is_probe: bool) -> Option<Change> {
        match self.state {
            State::Probing if is_probe => {
                self.state = State::default();
                Some(Change::Closed)
            }
            State::Closed(_) | State::Probing | State::Open { .. } => None,
        }
    }

    /// Lets the next operation be the probe: the probe has ended without a result.
    pub(super) fn probe_was_lost(&mut self, now: Instant) {
        match self.state {
            State::Probing => self.state = State::Open { until: now },
            State::Closed(_) | State::Open { .. } => {}
        }
    }

    /// Returns true if no operation would be let through now.
    pub(super) fn lets_none_through(&self, now: Instant) -> bool {
        match self.state {
            State::Closed(_) => false,
            State::Open { until } => now < until,
            State::Probing => true,
        }
    }

    /// Returns true if forgetting the breaker changes nothing that matters.
    pub(super) fn is_idle(&self, throttle: Throttle, now: Instant) -> bool {
        match &self.state {
            State::Closed(failures) => failures
                .back()
                .is_none_or(|latest| now.duration_since(*latest) > throttle.within),
            // No operation has come to be the probe, so the name may never be seen
            // again.
            State::Open { until } => now.saturating_duration_since(*until) > throttle.within,
            State::Probing => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THROTTLE: Throttle = Throttle {
        failures: 2,
        within: Duration::from_secs(60),
        pause: Duration::from_secs(30),
    };

    /// A breaker and a clock of its own.
    struct Fixture {
        breaker: Breaker,
        start: Instant,
    }

    impl Fixture {
        fn new() -> Self {
            Self {
                breaker: Breaker::default(),
                start: Instant::now(),
            }
        }

        /// A fixture whose breaker was opened at 0.
        fn open() -> Self {
            let mut fixture = Self::new();
            assert_eq!([fixture.fail(0), fixture.fail(0)], [None; 2]);
            assert_eq!(fixture.fail(0), Some(Change::Opened));
            fixture
        }

        fn at(&self, seconds: u64) -> Instant {
            self.start + Duration::from_secs(seconds)
        }

        fn admit(&mut self, seconds: u64) -> Admission {
            let now = self.at(seconds);
            self.breaker.admit(THROTTLE, now)
        }

        fn fail(&mut self, seconds: u64) -> Option<Change> {
            let now = self.at(seconds);
            self.breaker.failed(THROTTLE, false, now)
        }

        fn fail_probe(&mut self, seconds: u64) -> Option<Change> {
            let now = self.at(seconds);
            self.breaker.failed(THROTTLE, true, now)
        }
    }

    const fn wait(seconds: u64) -> Admission {
        Admission::Wait(Duration::from_secs(seconds))
    }

    #[test]
    fn it_opens_with_one_failure_more_than_is_borne() {
        let mut fixture = Fixture::new();
        assert_eq!(fixture.fail(0), None);
        assert_eq!(fixture.fail(30), None);
        assert_eq!(fixture.admit(30), Admission::Pass);
        assert_eq!(fixture.fail(60), Some(Change::Opened));
        assert_eq!(fixture.admit(60), wait(30));
        assert_eq!(fixture.admit(85), wait(5));
    }

    #[test]
    fn old_failures_do_not_count() {
        let mut fixture = Fixture::new();
        for seconds in [0, 31, 62, 93, 124] {
            assert_eq!(fixture.fail(seconds), None, "{seconds}");
        }
    }

    #[test]
    fn successes_do_not_hide_failures() {
        let mut fixture = Fixture::new();
        assert_eq!([fixture.fail(0), fixture.fail(1)], [None; 2]);
        assert_eq!(fixture.breaker.succeeded(false), None);
        assert_eq!(fixture.fail(2), Some(Change::Opened));
    }

    #[test]
    fn after_the_pause_a_single_one_is_let_through() {
        let mut fixture = Fixture::open();
        assert_eq!(fixture.admit(30), Admission::Probe);
        assert_eq!(fixture.admit(30), wait(30));
        assert_eq!(fixture.breaker.succeeded(true), Some(Change::Closed));
        assert_eq!(fixture.admit(31), Admission::Pass);
        // The count starts again.
        assert_eq!([fixture.fail(32), fixture.fail(32)], [None; 2]);
    }

    #[test]
    fn a_probe_that_fails_begins_another_pause_and_says_nothing_new() {
        let mut fixture = Fixture::open();
        assert_eq!(fixture.admit(40), Admission::Probe);
        assert_eq!(fixture.fail_probe(45), None);
        assert_eq!(fixture.admit(45), wait(30));
        assert_eq!(fixture.admit(75), Admission::Probe);
    }

    #[test]
    fn runs_that_were_started_before_decide_nothing() {
        let mut fixture = Fixture::open();
        assert_eq!(fixture.breaker.succeeded(false), None);
        assert_eq!(fixture.fail(20), None);
        assert_eq!(fixture.admit(20), wait(10));
        assert_eq!(fixture.admit(30), Admission::Probe);
        assert_eq!(fixture.breaker.succeeded(false), None);
        assert_eq!(fixture.fail(31), None);
        assert_eq!(fixture.admit(31), wait(30));
    }

    #[test]
    fn a_probe_without_a_verdict_leaves_its_place_to_the_next() {
        let mut fixture = Fixture::open();
        assert_eq!(fixture.admit(30), Admission::Probe);
        let now = fixture.at(31);
        fixture.breaker.probe_was_lost(now);
        assert_eq!(fixture.admit(31), Admission::Probe);
    }

    #[test]
    fn no_failure_is_borne_where_none_is_to_be() {
        let strict = Throttle {
            failures: 0,
            ..THROTTLE
        };
        let fixture = Fixture::new();
        let mut breaker = Breaker::default();
        let opened = breaker.failed(strict, false, fixture.at(0));
        assert_eq!(opened, Some(Change::Opened));
    }

    #[test]
    fn only_what_has_not_failed_lately_may_be_forgotten() {
        let mut fixture = Fixture::new();
        fixture.fail(0);
        assert!(!fixture.breaker.is_idle(THROTTLE, fixture.at(60)));
        assert!(fixture.breaker.is_idle(THROTTLE, fixture.at(61)));
        let open = Fixture::open();
        assert!(!open.breaker.is_idle(THROTTLE, open.at(60)));
        assert!(open.breaker.is_idle(THROTTLE, open.at(1000)));
    }
}
