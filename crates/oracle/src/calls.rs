//! P1: every answered id is Completed and listed, once.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::evidence::{Evidence, Final};
use crate::journal::Phase;
use crate::runs::Runs;
use crate::verdict::{Promise, Tested};

/// The ends of the calls that were to create one operation.
#[derive(Debug, Default)]
struct Create<'a> {
    ids: BTreeSet<&'a str>,
    /// True if a call was not answered, or has no end.
    may_exist: bool,
}

/// Judges P1.
pub(crate) fn judge(evidence: &Evidence, runs: &Runs<'_>) -> Tested {
    let mut result = Tested::new(Promise::P1);
    let mut listed: HashMap<&str, u32> = HashMap::new();
    let mut by_key: HashMap<&str, Vec<&Final>> = HashMap::new();
    for one in &evidence.finals {
        *listed.entry(one.id.as_str()).or_default() += 1;
        by_key.entry(one.key.as_str()).or_default().push(one);
        if !one.is_completed() {
            let status = one.status;
            result.violated(format!("{} stays with status {status}", one.id));
        }
    }
    let twice = listed.iter().filter(|(_, times)| **times > 1);
    let mut twice: Vec<&str> = twice.map(|(id, _)| *id).collect();
    twice.sort_unstable();
    for id in twice {
        result.violated(format!("{id} is listed twice"));
    }
    let creates = creates(evidence);
    for (key, create) in &creates {
        let made = by_key.get(key).map_or(&[][..], Vec::as_slice);
        if create.ids.len() > 1 {
            let ids = &create.ids;
            result.violated(format!("{key:?} was answered with several ids: {ids:?}"));
        }
        for id in &create.ids {
            result.tested += 1;
            if !listed.contains_key(id) {
                result.violated(format!("{id} ({key:?}) was answered and is in no list"));
            }
        }
        let others = made
            .iter()
            .filter(|one| !create.ids.contains(one.id.as_str()));
        let others = others.count();
        let allowed = usize::from(create.ids.is_empty() && create.may_exist);
        if others > allowed {
            result.violated(if create.ids.is_empty() {
                format!("{key:?} was refused, and is there {others} times")
            } else {
                format!("{key:?} is there {others} times too often")
            });
        }
    }
    if creates.is_empty() {
        // Without calls, the list is all that there is.
        result.tested = u64::try_from(listed.len()).unwrap_or(u64::MAX);
    } else {
        let uncalled = evidence
            .finals
            .iter()
            .filter(|one| !creates.contains_key(one.key.as_str()));
        for one in uncalled {
            result.violated(format!("{} ({:?}) was created by no call", one.id, one.key));
        }
    }
    let unknown: HashSet<&str> = runs.all().map(|run| run.start.id.as_str()).collect();
    let mut unknown: Vec<&str> = unknown
        .into_iter()
        .filter(|id| !listed.contains_key(id))
        .collect();
    unknown.sort_unstable();
    for id in unknown {
        result.violated(format!("{id} ran, and the service does not know it"));
    }
    result.unless_tested("nothing was created")
}

/// The creates by the name of what they were to create.
fn creates(evidence: &Evidence) -> BTreeMap<&str, Create<'_>> {
    let mut creates: BTreeMap<&str, Create<'_>> = BTreeMap::new();
    let mut under_way: HashMap<u64, &str> = HashMap::new();
    let calls = &evidence.history.calls;
    for call in calls.iter().filter(|call| call.action == "create") {
        let create = creates.entry(&call.key).or_default();
        match &call.phase {
            Phase::Invoke => {
                under_way.insert(call.call, &call.key);
            }
            Phase::Ok { id } => {
                create.ids.insert(id);
                under_way.remove(&call.call);
            }
            Phase::Fail { .. } => {
                under_way.remove(&call.call);
            }
            Phase::Unknown { .. } => {
                create.may_exist = true;
                under_way.remove(&call.call);
            }
        }
    }
    for key in under_way.into_values() {
        creates.entry(key).or_default().may_exist = true;
    }
    creates
}
