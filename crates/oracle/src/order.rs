//! P3: a successor starts only after each predecessor is Completed, whatever its end. P4: a
//! token that stands still holds up itself alone.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use drumline_protocol::{OperationId, Partition};

use crate::evidence::{Evidence, Final};
use crate::runs::Runs;
use crate::verdict::{Promise, Tested};

/// The most that the clocks of the service and of the journal may differ.
const CLOCKS_NS: u64 = 100_000_000;

/// Judges P3.
pub(crate) fn judge(evidence: &Evidence, runs: &Runs<'_>) -> Tested {
    let mut result = Tested::new(Promise::P3);
    for (token, runs) in &runs.by_token {
        for pair in runs.windows(2) {
            let [first, second] = pair else { continue };
            if first.start.id != second.start.id {
                result.tested += 1;
            }
            if second.start.index < first.start.index {
                let (first, second) = (first.words(), second.words());
                result.violated(format!(
                    "token {token}: {second} after its successor {first}"
                ));
            }
        }
    }
    overtakers(&mut result, evidence, runs);
    result
}

/// Finds operations that started before one was Completed that was created before, also
/// if that one never ran.
fn overtakers(result: &mut Tested, evidence: &Evidence, runs: &Runs<'_>) {
    let mut first_starts: HashMap<&str, u64> = HashMap::new();
    for run in runs.all() {
        let at = run.start.at_ns;
        let start = first_starts.entry(&run.start.id).or_insert(at);
        *start = at.min(*start);
    }
    let mut chains: BTreeMap<usize, Vec<(usize, &Final)>> = BTreeMap::new();
    for operation in &evidence.finals {
        if let Some((token, index)) = operation.place {
            chains.entry(token).or_default().push((index, operation));
        }
    }
    for (token, mut chain) in chains {
        chain.sort_by_key(|(index, _)| *index);
        let mut before: Option<(&Final, u64)> = None;
        for (_, operation) in chain {
            if let (Some((earlier, completed)), Some(start)) =
                (before, first_starts.get(operation.id.as_str()))
                && start.saturating_add(CLOCKS_NS) < completed
            {
                result.violated(format!(
                    "token {token}: {} started, and {} was not Completed",
                    operation.id, earlier.id
                ));
            }
            let completed = operation.completed_ns.unwrap_or(u64::MAX);
            if before.is_none_or(|(_, latest)| completed > latest) {
                before = Some((operation, completed));
            }
        }
    }
}

/// Judges P4: while tokens stood still on purpose, everything else was Completed. Those in the
/// partition of such a token count: they share its lane.
pub(crate) fn blocking(evidence: &Evidence) -> Tested {
    let mut result = Tested::new(Promise::P4);
    let Some(until) = evidence.blocked.iter().map(|one| one.until_ns).min() else {
        return result.unless_tested("no token stood still on purpose");
    };
    let from = evidence.blocked.iter().map(|one| one.from_ns).max();
    let from = from.unwrap_or(u64::MAX);
    let tokens: BTreeSet<usize> = evidence.blocked.iter().map(|one| one.token).collect();
    let partition =
        |id: &str| -> Option<Partition> { Some(id.parse::<OperationId>().ok()?.partition()) };
    let partitions: BTreeSet<Option<Partition>> = evidence
        .blocked
        .iter()
        .map(|one| partition(&one.id))
        .collect();
    for one in &evidence.finals {
        if one.place.is_some_and(|(token, _)| tokens.contains(&token)) {
            continue;
        }
        match one.completed_ns {
            Some(at) if at <= until.saturating_add(CLOCKS_NS) => {
                if at >= from && partitions.contains(&partition(&one.id)) {
                    result.tested += 1;
                }
            }
            _ => result.violated(format!(
                "{} was not Completed while {} tokens stood still",
                one.id,
                tokens.len()
            )),
        }
    }
    result.unless_tested("nothing shared a partition with a token that stood still")
}
