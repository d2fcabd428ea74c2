//! The counts of what organizations take: counted again, partition by partition.
//!
//! With a repair, the counts are kept beside the usage, and every script that changes the
//! one changes the other: so operations may come, change and go meanwhile. Without one,
//! nothing may be written. Then the counts are compared if nothing has changed between
//! the first and the last step in the partition.

use std::collections::{BTreeMap, BTreeSet};

use drumline_backend::store::{CheckPage, CheckStep, Fault, FaultKind, Result};
use drumline_protocol::Partition;

use super::stage::{Count, Stage};
use super::{RedisStore, repair_flag};
use crate::reply::{self, Parts};
use crate::scripts::SCRIPTS;

/// Another recount has begun meanwhile.
const OVERTAKEN: u64 = 2;

impl RedisStore {
    /// Counts some operations of a partition; compares the counts at its end.
    pub(super) async fn check_usage(
        &self,
        step: &CheckStep,
        mut count: Count,
        doubtful: &BTreeSet<u16>,
        page: &mut CheckPage,
    ) -> Result<Option<Stage>> {
        let Some(partition) = step.partitions.get(count.at).copied() else {
            return Ok(None);
        };
        let next = Count {
            at: count.at + 1,
            ..Count::default()
        };
        let Some(keys) = self.keys.partition(partition) else {
            return Ok(Some(Stage::Usage(next)));
        };
        if doubtful.contains(&partition.get()) {
            page.uncounted.push(partition);
            return Ok(Some(Stage::Usage(next)));
        }
        let mut command = SCRIPTS.recount.call(&[keys.prefix()]);
        command
            .arg(repair_flag(step))
            .arg(&count.from)
            .arg(step.limit.max(1));
        let mut answer = Parts::of(self.link.run_one("recount", command).await?)?;
        let is_first = count.from.is_empty();
        count.from = answer.bytes()?;
        let more = answer.number()?;
        page.looked_at += answer.number()?;
        if more == OVERTAKEN {
            page.uncounted.push(partition);
            return Ok(Some(Stage::Usage(next)));
        }
        if !step.repair {
            let digest = answer.bytes()?;
            if is_first {
                count.digest.clone_from(&digest);
            }
            let counted = numbers(answer.parts()?)?;
            let usage = numbers(answer.parts()?)?;
            if digest != count.digest {
                page.uncounted.push(partition);
                return Ok(Some(Stage::Usage(next)));
            }
            let mut sums: BTreeMap<Vec<u8>, i64> =
                std::mem::take(&mut count.sums).into_iter().collect();
            for (field, number) in counted {
                *sums.entry(field).or_default() += number;
            }
            if more == 0 {
                compare(partition, &usage, &sums, page);
                return Ok(Some(Stage::Usage(next)));
            }
            count.sums = sums.into_iter().collect();
        } else if more == 0 {
            while answer.len() > 0 {
                let (field, was, is) = (answer.bytes()?, answer.value()?, answer.value()?);
                page.faults
                    .push(fault(partition, &field, number(was)?, number(is)?, true));
            }
            return Ok(Some(Stage::Usage(next)));
        }
        Ok(Some(Stage::Usage(count)))
    }
}

fn compare(
    partition: Partition,
    usage: &BTreeMap<Vec<u8>, i64>,
    counted: &BTreeMap<Vec<u8>, i64>,
    page: &mut CheckPage,
) {
    let fields: BTreeSet<&Vec<u8>> = usage.keys().chain(counted.keys()).collect();
    for field in fields {
        let of = |numbers: &BTreeMap<Vec<u8>, i64>| numbers.get(field).copied().unwrap_or(0);
        let (was, is) = (of(usage), of(counted));
        if was != is {
            page.faults.push(fault(partition, field, was, is, false));
        }
    }
}

fn fault(partition: Partition, field: &[u8], was: i64, is: i64, is_repaired: bool) -> Fault {
    let subject = match field.split_last() {
        Some((b'c', [])) => "bytes of Completed operations".to_owned(),
        Some((letter, organization)) => {
            let what = match letter {
                b'o' => "open operations",
                b's' => "series",
                b't' => "tokens",
                b'b' => "bytes",
                _ => "an unknown count",
            };
            let hash: String = organization
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            format!("{what} of the organization {hash}")
        }
        None => "an unknown count".to_owned(),
    };
    Fault {
        kind: FaultKind::Usage,
        partition,
        id: None,
        detail: format!("{subject}: counted as {was}, and there are {is}"),
        is_repaired,
    }
}

/// The fields of a flat list, and their numbers.
fn numbers(mut parts: Parts) -> Result<BTreeMap<Vec<u8>, i64>> {
    let mut numbers = BTreeMap::new();
    while parts.len() > 0 {
        numbers.insert(parts.bytes()?, number(parts.value()?)?);
    }
    Ok(numbers)
}

fn number(value: redis::Value) -> Result<i64> {
    let text = reply::text(value)?;
    text.parse()
        .map_err(|_error: std::num::ParseIntError| reply::unexpected())
}
