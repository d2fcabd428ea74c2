//! The verdict: each promise, how often it was put to the test, and each violation.

use serde::Serialize;

/// A promise of docs/architecture.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Promise {
    /// Nothing accepted is lost.
    P1,
    /// One holder.
    P2,
    /// Order.
    P3,
    /// No blocking across tokens.
    P4,
    /// Only legal transitions.
    P5,
    /// One trace.
    P6,
    /// Access.
    P7,
    /// Record: all that happened is in the histories.
    P8,
}

impl Promise {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::P1,
        Self::P2,
        Self::P3,
        Self::P4,
        Self::P5,
        Self::P6,
        Self::P7,
        Self::P8,
    ];

    /// The number, for people.
    #[must_use]
    pub const fn number(self) -> &'static str {
        match self {
            Self::P1 => "P1",
            Self::P2 => "P2",
            Self::P3 => "P3",
            Self::P4 => "P4",
            Self::P5 => "P5",
            Self::P6 => "P6",
            Self::P7 => "P7",
            Self::P8 => "P8",
        }
    }

    /// The promise in a few words.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::P1 => "Nothing accepted is lost",
            Self::P2 => "One holder",
            Self::P3 => "Order within a token",
            Self::P4 => "No token waits for another one",
            Self::P5 => "Only legal transitions",
            Self::P6 => "One trace per operation",
            Self::P7 => "Nobody does or sees what they may not",
            Self::P8 => "What happened is on record",
        }
    }

    /// The unit of [`Tested::tested`].
    #[must_use]
    pub const fn unit(self) -> &'static str {
        match self {
            Self::P1 => "accepted operations",
            Self::P2 => "starts of handlers",
            Self::P3 => "starts behind another operation",
            Self::P4 => "operations beside a token that stood still",
            Self::P5 => "changes of status",
            Self::P6 => "starts with a trace",
            Self::P7 => "requests",
            Self::P8 => "entries of histories",
        }
    }
}

/// A promise, and what has become of it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Tested {
    /// The promise.
    pub promise: Promise,
    /// The number of times that it was put to the test, in [`Promise::unit`].
    pub tested: u64,
    /// The violations, in words.
    pub violations: Vec<String>,
    /// The reason why it was not tested at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_tested: Option<&'static str>,
}

impl Tested {
    pub(crate) const fn new(promise: Promise) -> Self {
        Self {
            promise,
            tested: 0,
            violations: Vec::new(),
            not_tested: None,
        }
    }

    /// Notes a violation.
    pub(crate) fn violated(&mut self, text: impl Into<String>) {
        self.violations.push(text.into());
    }

    /// Notes `why` if there was nothing to judge.
    pub(crate) fn unless_tested(mut self, why: &'static str) -> Self {
        if self.tested == 0 && self.violations.is_empty() {
            self.not_tested = Some(why);
        }
        self
    }
}

/// The numbers of a run, for its reader: a run in which nothing went wrong proves nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Tally {
    /// Operations that the service lists.
    pub operations: u64,
    /// Those that Succeeded.
    pub succeeded: u64,
    /// Those that Failed.
    pub failed: u64,
    /// Those that were Canceled.
    pub canceled: u64,
    /// Starts of handlers.
    pub runs: u64,
    /// Runs that another worker has taken over.
    pub take_overs: u64,
    /// Runs that went on after another worker had taken over, because their process had
    /// stood still.
    pub stale_runs: u64,
    /// Calls of clients.
    pub calls: u64,
    /// Calls that were not answered, and may or may not have been done.
    pub unknown_calls: u64,
    /// Writes that the sink has accepted.
    pub accepted_writes: u64,
    /// Writes that the sink has refused.
    pub refused_writes: u64,
    /// Runs about whose lock the kept history says nothing any more.
    pub unjudged_runs: u64,
}

/// The result of a run in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// No promise was broken.
    Kept,
    /// A promise was broken.
    Broken,
    /// No promise was broken, and a fault that was to happen has not: nothing is proved.
    Void,
}

/// The verdict.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// Every promise.
    pub promises: Vec<Tested>,
    /// The faults that have not happened, in words. Empty is good.
    pub void: Vec<String>,
    /// The numbers.
    pub tally: Tally,
}

impl Verdict {
    /// The result in a word.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        if self.violations().next().is_some() {
            Outcome::Broken
        } else if self.void.is_empty() {
            Outcome::Kept
        } else {
            Outcome::Void
        }
    }

    /// Every violation, with its promise.
    pub fn violations(&self) -> impl Iterator<Item = (Promise, &str)> {
        self.promises.iter().flat_map(|tested| {
            let texts = tested.violations.iter();
            texts.map(|text| (tested.promise, text.as_str()))
        })
    }

    /// Every fault that makes the run worthless, a line each: violations, and faults that have
    /// not happened.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        let broken = self.violations();
        let broken = broken.map(|(promise, text)| format!("{}: {text}", promise.number()));
        let void = self.void.iter().map(|text| format!("void: {text}"));
        broken.chain(void).collect()
    }

    /// One promise.
    #[must_use]
    pub fn of(&self, promise: Promise) -> Option<&Tested> {
        self.promises.iter().find(|one| one.promise == promise)
    }
}
