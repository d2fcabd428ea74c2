//! The first page: the worst thing in one sentence, or "Normal".

use askama::Template;

use crate::frame::Frame;
use crate::operations::Row;
use crate::text::{Text, address, number};
use crate::time::Moment;

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The fault in a sentence.
    pub sentence: Text,
    /// The remedy, in a sentence.
    pub remedy: Option<Text>,
    /// The address that shows more, and its words.
    pub link: Option<(&'static str, String)>,
}

impl Finding {
    /// The fault in a sentence.
    #[must_use]
    pub fn text(&self) -> &Text {
        &self.sentence
    }
}

/// The numbers of operations in the whole service, by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Ready.
    pub ready: u64,
    /// Suspended.
    pub suspended: u64,
    /// Locked.
    pub running: u64,
    /// Completed and not yet removed.
    pub completed: u64,
    /// Ready, and not known to be with the broker yet.
    pub undispatched: u64,
}

/// One number, and the list that it leads to.
#[derive(Clone, Debug)]
pub struct Tile {
    /// The word.
    pub label: &'static str,
    /// The number.
    pub number: String,
    /// The address of the list.
    pub address: Option<String>,
    /// The class in the style sheet.
    pub class: &'static str,
}

/// A pause in force.
#[derive(Clone, Debug)]
pub struct PauseLine {
    /// The id of the pause.
    pub id: String,
    /// The kind of scope: queue, message name, token, organization.
    pub kind: &'static str,
    /// The value of the scope.
    pub value: Text,
    /// The address of the operations in the scope.
    pub address: Option<String>,
    /// The reason.
    pub reason: Text,
    /// The caller that has set it.
    pub author: Text,
    /// The time since which it is in force.
    pub since: Moment,
    /// The time at which it ends by itself.
    pub until: Option<Moment>,
    /// True for a pause of the whole organization.
    pub is_everything: bool,
    /// True for a freeze, of all organizations.
    pub is_freeze: bool,
}

/// One live process.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its name.
    pub host: Text,
    /// `worker` or `manager`.
    pub role: &'static str,
    /// The operations that it runs, and those that it could run: of a worker.
    pub places: Option<(u32, u32)>,
    /// The queues that it serves.
    pub queues: Text,
    /// The release.
    pub release: Text,
    /// The time at which it started.
    pub started: Moment,
    /// True if it takes nothing new.
    pub is_draining: bool,
}

/// The live processes.
#[derive(Clone, Debug, Default)]
pub struct Members {
    /// The number of workers.
    pub workers: usize,
    /// The number of managers.
    pub managers: usize,
    /// Operations that all workers run.
    pub running: u64,
    /// Operations that all workers could run.
    pub places: u64,
    /// The first of them.
    pub shown: Vec<Member>,
}

impl Members {
    /// The number of members that are not shown.
    #[must_use]
    pub fn others(&self) -> usize {
        (self.workers + self.managers).saturating_sub(self.shown.len())
    }
}

/// The facts that the first sentence is made of.
#[derive(Clone, Debug, Default)]
pub struct Signals {
    /// The fault of the store.
    pub store: Option<String>,
    /// The fault of the broker.
    pub broker: Option<String>,
    /// The fault of the file with the keys.
    pub keys: Option<String>,
    /// The fault of the issuer of tokens.
    pub issuer: Option<String>,
    /// The fault of the files of the TLS certificate.
    pub certificate: Option<String>,
    /// True if this manager ends soon.
    pub draining: bool,
    /// The queues of the broker that do not work, in words.
    pub bypassed: Vec<String>,
    /// The message names that no worker takes at present.
    pub throttled: Vec<String>,
}

/// The page.
#[derive(Debug, Template)]
#[template(path = "now.html")]
pub struct NowPage {
    /// The frame.
    pub frame: Frame,
    /// The faults, the worst first.
    pub findings: Vec<Finding>,
    /// The numbers by state; `None` for callers that may not see them.
    pub counts: Option<Counts>,
    /// The live processes; `None` for callers that may not see them.
    pub members: Option<Members>,
    /// The pauses in force.
    pub pauses: Vec<PauseLine>,
    /// The operations that hold their token.
    pub holding: Vec<Row>,
    /// The latest failures.
    pub failures: Vec<Row>,
}

impl NowPage {
    /// Finds what is not as it should be.
    pub fn judge(&mut self, signals: &Signals) {
        let mut findings = Vec::new();
        if let Some(freeze) = self.pauses.iter().find(|pause| pause.is_freeze) {
            let words = format!(
                "the service is frozen by {}, so nothing starts in any organization: {}",
                freeze.author, freeze.reason
            );
            findings.push(Finding::new(&words, "`drumline thaw` lets it go on"));
        }
        if let Some(fault) = &signals.store {
            let fault = format!("the store is unavailable: {fault}");
            findings.push(Finding::new(
                &fault,
                "nothing runs until it answers again; `drumline doctor` says more",
            ));
        }
        if let Some(fault) = &signals.broker {
            let fault = format!("the broker takes no messages: {fault}");
            findings.push(Finding::new(&fault, "what is accepted waits in the store, and goes on by itself; `drumline doctor` says more"));
        }
        if let Some(members) = &self.members
            && members.workers == 0
        {
            let ready = self.counts.map_or(0, |counts| counts.ready);
            let words = match ready {
                0 => "no worker is alive, so nothing can start".to_owned(),
                some => format!("no worker is alive, and {} operations wait", number(some)),
            };
            let ready = address("/operations", [("state", "Ready")]);
            findings.push(
                Finding::new(&words, "start one: `drumline worker`").with("what waits", ready),
            );
        }
        if let Some(all) = self.pauses.iter().find(|pause| pause.is_everything) {
            let words = format!(
                "the whole organization is paused by {}: {}",
                all.author, all.reason
            );
            findings.push(Finding::new(
                &words,
                "`drumline resume --all --pause` lifts it",
            ));
        }
        for fault in signals.bypassed.iter().take(3) {
            findings.push(Finding::new(fault, "offers go another way meanwhile"));
        }
        for name in signals.throttled.iter().take(3) {
            let words =
                format!("operations of {name} fail so often that no worker takes them for a while");
            let failed = address(
                "/operations",
                [("messageName", name.as_str()), ("status", "Failed")],
            );
            findings
                .push(Finding::new(&words, "look at the latest failures").with("failures", failed));
        }
        if !self.holding.is_empty() {
            let some = if self.holding_is_partial {
                "at least "
            } else {
                ""
            };
            let words = match self.holding.as_slice() {
                [only] if !self.holding_is_partial => held_by(only),
                [_] => {
                    format!("{some}one token is held by an operation that failed or was cancelled")
                }
                several => format!(
                    "{some}{} tokens are held by operations that failed or were cancelled",
                    several.len()
                ),
            };
            let (remedy, label, to) = match self.holding.as_slice() {
                [only] if !self.holding_is_partial => (
                    "resume that operation to skip it, and its token goes on",
                    "that operation",
                    format!("/operations/{}", only.id),
                ),
                _ => (
                    "resume such an operation to skip it, and its token goes on",
                    "all of them",
                    address("/operations", [("holdsToken", "true")]),
                ),
            };
            findings.push(Finding::new(&words, remedy).with(label, to));
        }
        let others = self
            .pauses
            .iter()
            .filter(|pause| !pause.is_everything && !pause.is_freeze)
            .count();
        if others > 0 {
            let words = match others {
                1 => "one pause is in force".to_owned(),
                count => format!("{count} pauses are in force"),
            };
            findings.push(Finding::new(&words, "").with("pauses", "/pauses".to_owned()));
        }
        if let Some(fault) = &signals.keys {
            let fault = format!("the file with the keys cannot be used: {fault}");
            findings.push(Finding::new(&fault, "the keys of before stay in force"));
        }
        if let Some(fault) = &signals.issuer {
            let fault = format!("the issuer of tokens cannot be asked: {fault}");
            findings.push(Finding::new(
                &fault,
                "the keys that it published before stay in force",
            ));
        }
        if let Some(fault) = &signals.certificate {
            let fault = format!("the files of the certificate cannot be used: {fault}");
            findings.push(Finding::new(
                &fault,
                "the certificate of before stays in force",
            ));
        }
        if signals.draining {
            findings.push(Finding::new(
                "this queue manager ends soon",
                "another one answers then",
            ));
        }
        let now = self.frame.now.as_millis();
        let news = self.failed_on.iter().flatten();
        let news = news
            .filter(|at| now.saturating_sub(at.as_millis()) < NEWS_MS)
            .count();
        if news > 0 {
            let is_all_news = news == self.failed_on.len();
            let more = if is_all_news && self.failures_are_partial {
                "at least "
            } else {
                ""
            };
            let words = match news {
                1 => format!("{more}one operation failed within the last hour"),
                count => format!("{more}{count} operations failed within the last hour"),
            };
            let all = address("/operations", [("status", "Failed")]);
            findings.push(Finding::new(&words, "").with("failures", all));
        }
        self.findings = findings;
    }

    /// The numbers.
    #[must_use]
    pub fn tiles(&self) -> Vec<Tile> {
        let Some(counts) = self.counts else {
            return Vec::new();
        };
        let list = |state: &str| Some(address("/operations", [("state", state)]));
        let tile = |label, count, address, class| Tile {
            label,
            number: number(count),
            address,
            class,
        };
        vec![
            tile("Ready", counts.ready, list("Ready"), "ready"),
            tile(
                "Suspended",
                counts.suspended,
                list("Suspended"),
                "suspended",
            ),
            tile("Running", counts.running, list("Locked"), "running"),
            tile(
                "Completed",
                counts.completed,
                list("Completed"),
                "succeeded",
            ),
            tile(
                "Not with the broker yet",
                counts.undispatched,
                None,
                "ready",
            ),
        ]
    }
}
