//! The comparison of a report with an earlier one: what has become slower.
//!
//! A shared machine is another one a minute later. So the shares of the baseline are
//! compared where both reports have them, and a difference counts only if it is larger
//! than the rounds of each report differ among themselves. Nothing fails: a figure that
//! is worse is a reason to measure again, on a quiet machine.
//!
//! Deliberately absent: statistics. Three to five rounds support no more than this.

use serde::Serialize;

use crate::report::{Figure, PER_SECOND, Report};

/// A difference that is too small to be seen in a few rounds, whatever these say.
const TOLERANCE: f64 = 0.02;
/// The beginning of the names of baselines. They tell about the machine.
const BASELINE: &str = "floor: ";

/// The result for one measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The difference is within the spread of the rounds.
    Same,
    /// More per second, fewer milliseconds, or fewer bytes than before.
    Better,
    /// Less per second, more milliseconds, or more bytes than before.
    Worse,
}

/// A report beside an earlier one.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Comparison {
    /// True if both were measured on the same servers in the same way. Otherwise the
    /// differences may come from that.
    pub same_setup: bool,
    /// The measurements that both reports have, in the order of the new report. Baselines
    /// are left out.
    pub figures: Vec<Compared>,
}

/// A measurement in both reports.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Compared {
    /// The name of the measurement.
    pub name: String,
    /// The unit of the figure, also where shares of the baseline are compared.
    pub unit: String,
    /// True if `before` and `now` are shares of the baseline.
    pub of_floor: bool,
    /// The earlier median.
    pub before: f64,
    /// The new median.
    pub now: f64,
    /// The new median as a multiple of the earlier one.
    pub ratio: f64,
    /// The result.
    pub verdict: Verdict,
}

impl Comparison {
    /// Compares a report with an earlier one.
    #[must_use]
    pub fn new(report: &Report, earlier: &Report) -> Self {
        let figures = report.figures.iter().filter_map(|figure| {
            let before = earlier.figures.iter().find(|it| it.name == figure.name)?;
            compare(figure, before)
        });
        Self {
            same_setup: (&report.backend, &report.setup) == (&earlier.backend, &earlier.setup),
            figures: figures.collect(),
        }
    }

    /// The result for a measurement of this name.
    #[must_use]
    pub fn of(&self, name: &str) -> Option<&Compared> {
        self.figures.iter().find(|compared| compared.name == name)
    }

    /// The measurements that are worse than before.
    pub fn worse(&self) -> impl Iterator<Item = &Compared> {
        self.figures
            .iter()
            .filter(|compared| compared.verdict == Verdict::Worse)
    }
}

/// Compares a figure. Returns `None` for a baseline, and where nothing can be divided.
fn compare(now: &Figure, before: &Figure) -> Option<Compared> {
    if now.name.starts_with(BASELINE) || now.unit != before.unit {
        return None;
    }
    let shares = now.of_baseline.zip(before.of_baseline);
    let (new, old) = match shares {
        Some((new, old)) => (
            Spread::of(new, &now.rounds_of_baseline),
            Spread::of(old, &before.rounds_of_baseline),
        ),
        None => (
            Spread::of(now.value, &now.rounds),
            Spread::of(before.value, &before.rounds),
        ),
    };
    let ratio = (old.median > 0.0).then(|| new.median / old.median)?;
    let same =
        (ratio - 1.0).abs() <= TOLERANCE || old.contains(new.median) || new.contains(old.median);
    let more_is_better = now.unit == PER_SECOND;
    let verdict = match (same, (ratio > 1.0) == more_is_better) {
        (true, _) => Verdict::Same,
        (false, true) => Verdict::Better,
        (false, false) => Verdict::Worse,
    };
    Some(Compared {
        name: now.name.clone(),
        unit: now.unit.clone(),
        of_floor: shares.is_some(),
        before: old.median,
        now: new.median,
        ratio,
        verdict,
    })
}

/// The range of the rounds around their median.
#[derive(Clone, Copy, Debug)]
struct Spread {
    median: f64,
    lowest: f64,
    highest: f64,
}

impl Spread {
    fn of(median: f64, rounds: &[f64]) -> Self {
        Self {
            median,
            lowest: rounds.iter().copied().fold(median, f64::min),
            highest: rounds.iter().copied().fold(median, f64::max),
        }
    }

    fn contains(&self, value: f64) -> bool {
        (self.lowest..=self.highest).contains(&value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A report of one figure, with its rounds and their shares of the baseline.
    fn report(name: &str, unit: &str, rounds: &[f64], shares: &[f64]) -> Report {
        let middle = |values: &[f64]| values.get(values.len() / 2).copied();
        Report {
            backend: "Redis".to_owned(),
            setup: "as always".to_owned(),
            figures: vec![Figure {
                name: name.to_owned(),
                value: middle(rounds).unwrap(),
                unit: unit.to_owned(),
                rounds: rounds.to_vec(),
                of_baseline: middle(shares),
                rounds_of_baseline: shares.to_vec(),
            }],
        }
    }

    fn verdict(now: &Report, before: &Report) -> Verdict {
        Comparison::new(now, before).figures[0].verdict
    }

    #[test]
    fn a_difference_within_the_rounds_is_none() {
        let before = report("single", "/s", &[4_000.0, 5_000.0, 6_000.0], &[]);
        for (median, expected) in [
            (5_900.0, Verdict::Same),
            (4_100.0, Verdict::Same),
            (6_500.0, Verdict::Better),
            (3_500.0, Verdict::Worse),
        ] {
            let now = report("single", "/s", &[median], &[]);
            assert_eq!(verdict(&now, &before), expected, "{median}");
        }
        // The new rounds differ, too.
        let now = report("single", "/s", &[3_000.0, 3_500.0, 5_500.0], &[]);
        assert_eq!(verdict(&now, &before), Verdict::Same);
    }

    #[test]
    fn milliseconds_and_bytes_are_better_when_they_are_fewer() {
        for unit in ["ms", "bytes"] {
            let before = report("it", unit, &[2.0], &[]);
            let (less, more) = (
                report("it", unit, &[1.0], &[]),
                report("it", unit, &[3.0], &[]),
            );
            assert_eq!(verdict(&less, &before), Verdict::Better, "{unit}");
            assert_eq!(verdict(&more, &before), Verdict::Worse, "{unit}");
        }
    }

    #[test]
    fn on_a_slower_machine_the_share_of_the_baseline_counts() {
        let before = report("single", "/s", &[8_000.0], &[0.9, 1.0, 1.1]);
        let now = report("single", "/s", &[4_000.0], &[1.2, 1.3, 1.4]);
        let compared = Comparison::new(&now, &before).figures.remove(0);
        assert_eq!(compared.verdict, Verdict::Better);
        assert!(compared.of_floor);
        assert_eq!((compared.before, compared.now), (1.0, 1.3));
        // A report without a baseline leaves the rates.
        let now = report("single", "/s", &[4_000.0], &[]);
        assert_eq!(verdict(&now, &before), Verdict::Worse);
    }

    #[test]
    fn a_percent_or_two_are_no_difference() {
        let before = report("memory", "bytes", &[700.0], &[]);
        assert_eq!(
            verdict(&report("memory", "bytes", &[713.0], &[]), &before),
            Verdict::Same
        );
    }

    #[test]
    fn baselines_and_what_one_report_lacks_are_not_compared() {
        let before = report("floor: the bare libraries", "/s", &[8_000.0], &[]);
        let now = report("floor: the bare libraries", "/s", &[4_000.0], &[]);
        assert_eq!(Comparison::new(&now, &before).figures, []);
        let other = report("create", "/s", &[1.0], &[]);
        assert_eq!(Comparison::new(&other, &before).figures, []);
        assert!(Comparison::new(&other, &before).same_setup);
    }
}
