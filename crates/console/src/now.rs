//! The first page: the worst thing in one sentence, or "Normal".

use askama::Template;

use crate::failures::FailureLine;
use crate::frame::Frame;
use crate::last_hour::LastHour;
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
    /// The last hour; `None` for callers that may not see it.
    pub hour: Option<LastHour>,
    /// The live processes; `None` for callers that may not see them.
    pub members: Option<Members>,
    /// The pauses in force.
    pub pauses: Vec<PauseLine>,
    /// The operations that hold their token.
    pub holding: Vec<Row>,
    /// The latest failures.
    pub failures: Vec<Row>,
    /// The failure groups that failed last and are not muted.
    pub failing: Vec<FailureLine>,
}

impl NowPage {
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
