//! The handler: applies one commit to its replica.
//!
//! It may be killed between any two steps and started again. Until the branch
//! moves nothing has happened; after it moved, the next start sees that the
//! commit is there and succeeds. From any other state it fails, loudly: that
//! would be a broken promise of the service.

use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use serde::Deserialize;
use serde_json::json;

use crate::error::{Error, Result};
use crate::journal::{Event, Journal, Line, Outcome, now_ns};
use crate::replica::{Replica, State};

/// The parts of an operation that the handler needs.
#[derive(Debug, Deserialize)]
pub(crate) struct Order {
    id: String,
    data: Data,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    repository: PathBuf,
    replica: PathBuf,
    number: u64,
    commit: String,
    tree: String,
    seconds: i64,
    previous: Option<String>,
    previous_tree: Option<String>,
}

impl Order {
    /// Reads the operation that the worker writes to stdin.
    pub(crate) fn read(input: impl Read) -> Result<Self> {
        serde_json::from_reader(input).map_err(Error::Operation)
    }
}

/// One start of the handler.
#[derive(Debug)]
pub(crate) struct Execution {
    /// The fencing token.
    pub(crate) fence: u64,
    /// The time to wait between two steps.
    pub(crate) pace: Duration,
    /// After which step to die.
    pub(crate) die_after: Option<Step>,
}

/// The steps, as far as a kill between two of them can matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Step {
    /// The start is in the journal.
    Announced,
    /// The replica is ours, and has seen our fence.
    Entered,
    /// The predecessor's tree is in the index.
    Loaded,
    /// The difference is applied to the index.
    Applied,
    /// The tree is written, and is the right one.
    Written,
    /// The commit is made.
    Committed,
    /// The branch has moved.
    Advanced,
}

impl Execution {
    fn after(&self, step: Step) {
        if self.die_after == Some(step) {
            std::process::abort();
        }
        if !self.pace.is_zero() {
            rest(self.pace);
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a process of its own, without a runtime that it could block"
)]
fn rest(pace: Duration) {
    std::thread::sleep(pace);
}

/// Applies a commit.
pub(crate) fn apply(order: &Order, execution: &Execution) -> Result<Outcome> {
    let data = &order.data;
    std::fs::create_dir_all(&data.replica).map_err(Error::io("cannot create", &data.replica))?;
    let journal = Journal::new(&data.replica);
    let line = |event| Line {
        event,
        at_ns: now_ns(),
        number: data.number,
        commit: data.commit.clone(),
        operation: order.id.clone(),
        fence: execution.fence,
        pid: std::process::id(),
    };
    journal.append(&line(Event::Start))?;
    execution.after(Step::Announced);
    let applied = inside(data, execution);
    let outcome = match &applied {
        Ok(outcome) => outcome.clone(),
        Err(error) => Outcome::Refused(error.to_string()),
    };
    journal.append(&line(Event::End { outcome }))?;
    applied
}

/// The part of the work during which no other handler may be in the replica.
fn inside(data: &Data, execution: &Execution) -> Result<Outcome> {
    let replica = Replica::enter(&data.replica)?;
    replica.admit(execution.fence)?;
    replica.tidy()?;
    execution.after(Step::Entered);
    let state = replica.state()?;
    if already_there(data, state.as_ref())? {
        return Ok(Outcome::AlreadyApplied);
    }
    replica.load(data.previous_tree.as_deref())?;
    execution.after(Step::Loaded);
    replica.apply(&data.repository, data.previous_tree.as_deref(), &data.tree)?;
    execution.after(Step::Applied);
    let tree = replica.write_tree()?;
    must_be(&data.commit, &data.tree, &tree)?;
    execution.after(Step::Written);
    let commit = replica.commit(&tree, &data.commit, data.seconds, state.as_ref())?;
    execution.after(Step::Committed);
    replica.advance(state.as_ref(), &commit)?;
    execution.after(Step::Advanced);
    Ok(Outcome::Applied)
}

/// Returns true if an earlier start has applied the commit. Otherwise the
/// replica must be at its predecessor.
fn already_there(data: &Data, state: Option<&State>) -> Result<bool> {
    let commit = state.map(|state| &state.commit);
    if let Some(state) = state.filter(|state| state.commit == data.commit) {
        must_be(&state.commit, &data.tree, &state.tree)?;
        return Ok(true);
    }
    if commit != data.previous.as_ref() {
        return Err(Error::OutOfOrder {
            commit: data.commit.clone(),
            previous: data.previous.clone(),
            found: commit.cloned(),
        });
    }
    if let (Some(state), Some(expected)) = (state, &data.previous_tree) {
        must_be(&state.commit, expected, &state.tree)?;
    }
    Ok(false)
}

fn must_be(commit: &str, expected: &str, found: &str) -> Result<()> {
    if expected == found {
        return Ok(());
    }
    Err(Error::WrongTree {
        commit: commit.to_owned(),
        expected: expected.to_owned(),
        found: found.to_owned(),
    })
}

impl Outcome {
    /// The result that the operation gets.
    pub(crate) fn to_json(&self, order: &Order) -> String {
        json!({
            "outcome": self,
            "commit": order.data.commit,
            "tree": order.data.tree,
        })
        .to_string()
    }
}
