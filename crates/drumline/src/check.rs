//! `drumline check`: compares what a store holds, and repairs what does not agree.
//!
//! The command works on the store itself, in small steps, while managers and workers go
//! on; on a folder, while no process uses it. It keeps nothing but what it has found: after
//! an interrupt, another check finds the rest.

use std::collections::{BTreeMap, HashSet};

use drumline_backend::store::{self, CHECK_STEP, CheckPage, CheckStep, Fault, FaultKind, Store};
use drumline_backend_redis::{IndexUse, RedisStore};
use drumline_protocol::Partition;
use drumline_protocol::text::counted;
use serde::Serialize;
use tokio::signal::ctrl_c;

use crate::cli::tools::Check;
use crate::exit::{Exit, Failure, Result};
use crate::index;
use crate::output::progress::Progress;
use crate::output::table::table;
use crate::output::time::Now;
use crate::output::{Output, hint};
use crate::run::backend::at_rest::AtRest;

/// Faults of each kind that are shown one by one to a person.
const SHOWN: u64 = 20;
/// Faults that are remembered, so that none counts twice: the server may name a key twice.
const REMEMBERED: usize = 1_000_000;

/// One fault, for programs.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown<'a> {
    kind: &'static str,
    partition: Option<u16>,
    operation_id: Option<String>,
    detail: &'a str,
    repaired: bool,
}

/// The result, for programs: the last line.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    looked_at: u64,
    kinds: Vec<OfKind>,
    uncounted_partitions: Vec<u16>,
    complete: bool,
}

#[derive(Clone, Debug, Serialize)]
struct OfKind {
    kind: &'static str,
    found: u64,
    repaired: u64,
}

/// The faults so far.
#[derive(Debug, Default)]
struct Findings {
    looked_at: u64,
    by_kind: BTreeMap<FaultKind, (u64, u64)>,
    uncounted: Vec<Partition>,
    seen: HashSet<(FaultKind, Option<drumline_protocol::OperationId>, String)>,
}

/// Checks a store; fails if faults are left.
pub(crate) async fn run(check: &Check, now: Now) -> Result<Exit> {
    let out = Output::new(check.output.output, now);
    let at_rest = AtRest::existing(&check.servers, check.data.as_deref(), "check").await?;
    let checked = check_all(check, &at_rest, out).await;
    at_rest.close().await;
    checked
}

async fn check_all(check: &Check, at_rest: &AtRest, out: Output) -> Result<Exit> {
    let store = at_rest.store();
    let partitions = partitions(check, store)?;
    let life = store.incarnation().await.map_err(failure)?;
    let mut findings = Findings::default();
    let mut progress = Progress::open("entries looked at");
    let checking = examine(
        check,
        at_rest,
        partitions,
        out,
        &mut findings,
        &mut progress,
    );
    let complete = tokio::select! {
        checked = checking => {
            checked?;
            true
        }
        interrupt = ctrl_c() => {
            interrupt?;
            false
        }
    };
    progress.finish();
    findings.tell(out, complete)?;
    if !complete {
        hint("interrupted: what was repaired stays repaired; start it again for the rest");
        return Ok(Exit::Interrupted);
    }
    if store.incarnation().await.map_err(failure)? != life {
        let text = "Redis has restarted, or another server has become the primary, while the store was checked: some keys \
            may not have been looked at\n  what to do: check it again";
        return Err(Failure::new(Exit::Temporary, text));
    }
    Ok(if findings.is_sound() {
        Exit::Ok
    } else {
        if !check.repair {
            hint(
                "--repair repairs what can be repaired; docs/runbooks/check.md explains each kind",
            );
        }
        Exit::Damaged
    })
}

fn partitions(check: &Check, store: &dyn Store) -> Result<Vec<Partition>> {
    let all: Vec<Partition> = store.partitions().all().collect();
    if check.partition.is_empty() {
        return Ok(all);
    }
    let mut wanted = Vec::new();
    for number in &check.partition {
        let partition = Partition::new(*number);
        if !all.contains(&partition) {
            let text = format!(
                "--partition {number}: the store has partitions 0 to {}",
                all.len() - 1
            );
            return Err(Failure::new(Exit::Usage, text));
        }
        if !wanted.contains(&partition) {
            wanted.push(partition);
        }
    }
    Ok(wanted)
}

/// Goes through the store.
async fn examine(
    check: &Check,
    at_rest: &AtRest,
    partitions: Vec<Partition>,
    out: Output,
    findings: &mut Findings,
    progress: &mut Progress,
) -> Result<()> {
    if let AtRest::Namespace(store) = at_rest {
        examine_indexes(check, store, out, findings).await?;
    }
    let store = at_rest.store();
    if check.repair {
        // Operations of a build from before the offered set.
        for partition in &partitions {
            while store
                .enter_offered(*partition, CHECK_STEP)
                .await
                .map_err(failure)?
            {}
        }
    }
    let mut step = CheckStep {
        partitions,
        place: None,
        limit: CHECK_STEP,
        repair: check.repair,
    };
    loop {
        let page = store.check_step(&step).await.map_err(failure)?;
        progress.advance(page.looked_at);
        step.place.clone_from(&page.next);
        findings.note(out, page)?;
        if step.place.is_none() {
            return Ok(());
        }
    }
}

/// Finds indexes whose rebuild has not come to its end. In a folder an index follows from
/// the operations at each start.
async fn examine_indexes(
    check: &Check,
    store: &RedisStore,
    out: Output,
    findings: &mut Findings,
) -> Result<()> {
    for (kind, used) in store.indexes().await.map_err(failure)? {
        if used == IndexUse::Building {
            if check.repair {
                index::reach(store, kind, IndexUse::On)
                    .await
                    .map_err(failure)?;
            }
            let detail = format!("index {}: its rebuild has not come to its end", kind.name());
            findings.note_one(out, FaultKind::IndexUnbuilt, &detail, check.repair)?;
        }
    }
    Ok(())
}

impl Findings {
    fn note(&mut self, out: Output, page: CheckPage) -> Result<()> {
        self.looked_at += page.looked_at;
        self.uncounted.extend(page.uncounted);
        for fault in page.faults {
            self.note_fault(out, &fault)?;
        }
        Ok(())
    }

    fn note_fault(&mut self, out: Output, fault: &Fault) -> Result<()> {
        if self.seen.len() < REMEMBERED {
            let name = (fault.kind, fault.id, fault.detail.clone());
            if !self.seen.insert(name) {
                return Ok(());
            }
        }
        let shown = Shown {
            kind: fault.kind.name(),
            partition: Some(fault.partition.get()),
            operation_id: fault.id.map(|id| id.to_string()),
            detail: &fault.detail,
            repaired: fault.is_repaired,
        };
        self.count(out, fault.kind, &shown)
    }

    /// Notes a fault of the store as a whole.
    fn note_one(
        &mut self,
        out: Output,
        kind: FaultKind,
        detail: &str,
        repaired: bool,
    ) -> Result<()> {
        let shown = Shown {
            kind: kind.name(),
            partition: None,
            operation_id: None,
            detail,
            repaired,
        };
        self.count(out, kind, &shown)
    }

    fn count(&mut self, out: Output, kind: FaultKind, shown: &Shown<'_>) -> Result<()> {
        let (found, repaired) = self.by_kind.entry(kind).or_default();
        *found += 1;
        *repaired += u64::from(shown.repaired);
        if out.is_json() {
            out.json(shown)?;
        } else if *found <= SHOWN {
            let id = shown.operation_id.as_deref().unwrap_or("-");
            let mark = if shown.repaired { "repaired" } else { "found" };
            out.line(&format!(
                "{mark:<8}  {:<14}  {id}  {}",
                shown.kind, shown.detail
            ))?;
        }
        Ok(())
    }

    fn is_sound(&self) -> bool {
        self.by_kind
            .values()
            .all(|(found, repaired)| found == repaired)
    }

    /// Prints the numbers by kind.
    fn tell(&self, out: Output, complete: bool) -> Result<()> {
        let kinds: Vec<OfKind> = self
            .by_kind
            .iter()
            .map(|(kind, (found, repaired))| OfKind {
                kind: kind.name(),
                found: *found,
                repaired: *repaired,
            })
            .collect();
        if out.is_json() {
            out.json(&Summary {
                looked_at: self.looked_at,
                kinds,
                uncounted_partitions: self.uncounted.iter().map(|it| it.get()).collect(),
                complete,
            })?;
            return Ok(());
        }
        if !kinds.is_empty() {
            let mut rows = table(&["KIND", "FOUND", "REPAIRED"]);
            rows.align_right(1);
            rows.align_right(2);
            for row in &kinds {
                rows.add_row([
                    row.kind.to_owned(),
                    row.found.to_string(),
                    row.repaired.to_string(),
                ]);
            }
            out.line(&rows.text())?;
        }
        if !self.uncounted.is_empty() {
            hint(&format!(
                "{} not compared with their counts of usage, because operations changed meanwhile or other faults are in \
                 the way; --repair compares them while operations change",
                counted(
                    u64::try_from(self.uncounted.len()).unwrap_or(u64::MAX),
                    "partition was",
                    "partitions were"
                )
            ));
        }
        if complete && kinds.is_empty() {
            let looked_at = counted(self.looked_at, "entry", "entries");
            out.line(&format!("no faults: {looked_at} looked at"))?;
        }
        Ok(())
    }
}

fn failure(error: store::Error) -> Failure {
    Failure::caused(Exit::Unavailable, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_section_in_the_runbook() {
        let page = include_str!("../../../docs/runbooks/check.md");
        for kind in FaultKind::ALL {
            let heading = format!("\n### {}\n", kind.name());
            assert!(
                page.contains(&heading),
                "docs/runbooks/check.md has no {kind}"
            );
        }
    }

    #[test]
    fn a_fault_that_is_named_twice_counts_once() {
        let out = Output::new(
            crate::cli::values::Format::Json,
            Now(std::time::SystemTime::UNIX_EPOCH.into()),
        );
        let fault = Fault {
            kind: FaultKind::Leftover,
            partition: Partition::new(0),
            id: None,
            detail: "a part".to_owned(),
            is_repaired: false,
        };
        let mut findings = Findings::default();
        for _ in 0..2 {
            findings.note_fault(out, &fault).unwrap();
        }
        assert_eq!(findings.by_kind[&FaultKind::Leftover], (1, 0));
        assert!(!findings.is_sound());
    }
}
