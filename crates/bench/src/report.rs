//! The report of a run: rounds and medians.

use serde::{Deserialize, Serialize};

use crate::plan::Measurement;

/// The result of one round of a measurement.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Reading {
    pub(crate) name: String,
    pub(crate) unit: &'static str,
    pub(crate) value: f64,
    /// As a share of the baseline in the same round.
    pub(crate) of_baseline: Option<f64>,
}

impl Reading {
    /// A rate.
    pub(crate) fn rate(measurement: Measurement, value: f64) -> Self {
        Self::alone(measurement.title(), PER_SECOND, value)
    }

    /// A value that is compared with nothing.
    pub(crate) fn alone(name: impl Into<String>, unit: &'static str, value: f64) -> Self {
        Self {
            name: name.into(),
            unit,
            value,
            of_baseline: None,
        }
    }

    /// Compares a rate with the baseline of the same round.
    pub(crate) fn beside(mut self, baseline: Option<f64>) -> Self {
        let is_baseline = self.name == Measurement::Floor.title();
        if self.unit == PER_SECOND && !is_baseline {
            self.of_baseline = baseline.and_then(|baseline| share(self.value, baseline));
        }
        self
    }
}

/// `value` as a share of `baseline`.
pub(crate) fn share(value: f64, baseline: f64) -> Option<f64> {
    (baseline > 0.0).then(|| value / baseline)
}

/// One measurement, over all rounds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Figure {
    /// The name of the measurement.
    pub name: String,
    /// The median of the rounds.
    pub value: f64,
    /// Its unit.
    pub unit: String,
    /// Every round, in the order they were run.
    pub rounds: Vec<f64>,
    /// The median of the shares of the baseline, if it is compared with the baseline.
    #[serde(rename = "ofFloor")]
    pub of_baseline: Option<f64>,
    /// The share in every round.
    #[serde(rename = "roundsOfFloor")]
    pub rounds_of_baseline: Vec<f64>,
}

/// All measurements of a run, and its setup.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// `embedded`, or the servers' own description.
    pub backend: String,
    /// Callers, concurrency and the like.
    pub setup: String,
    /// The results.
    pub figures: Vec<Figure>,
}

/// The unit of rates.
pub(crate) const PER_SECOND: &str = "/s";

impl Report {
    /// Adds the reading of a round.
    pub(crate) fn note(&mut self, reading: Reading) {
        let known = self
            .figures
            .iter()
            .position(|figure| figure.name == reading.name);
        let at = known.unwrap_or(self.figures.len());
        if known.is_none() {
            self.figures.push(Figure {
                name: reading.name,
                value: 0.0,
                unit: reading.unit.to_owned(),
                rounds: Vec::new(),
                of_baseline: None,
                rounds_of_baseline: Vec::new(),
            });
        }
        let Some(figure) = self.figures.get_mut(at) else {
            return;
        };
        figure.rounds.push(reading.value);
        figure.value = median(&figure.rounds);
        if let Some(share) = reading.of_baseline {
            figure
                .rounds_of_baseline
                .push((share * 1000.0).round() / 1000.0);
            figure.of_baseline = Some(median(&figure.rounds_of_baseline));
        }
    }
}

/// The median; of an even number, the mean of the two in the middle.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match (sorted.get(middle), sorted.get(middle.wrapping_sub(1))) {
        (Some(upper), Some(lower)) if sorted.len().is_multiple_of(2) => {
            f64::midpoint(*lower, *upper)
        }
        (Some(middle), _) => *middle,
        (None, _) => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0]), 2.5);
        assert_eq!(median(&[7.0]), 7.0);
        assert_eq!(median(&[]), 0.0);
    }

    #[test]
    fn each_round_is_compared_with_its_own_baseline() {
        let mut report = Report {
            backend: String::new(),
            setup: String::new(),
            figures: Vec::new(),
        };
        // The machine is half as fast in the second round.
        for (baseline, single) in [(10_000.0, 6_000.0), (5_000.0, 3_500.0), (8_000.0, 4_000.0)] {
            let reading = |measurement, value| Reading::rate(measurement, value);
            report.note(reading(Measurement::Floor, baseline).beside(Some(baseline)));
            report.note(reading(Measurement::Single, single).beside(Some(baseline)));
            report.note(Reading::alone("memory", "bytes", 700.0).beside(Some(baseline)));
        }
        let seen: Vec<_> = report
            .figures
            .iter()
            .map(|figure| (figure.value, figure.of_baseline))
            .collect();
        assert_eq!(seen, [(8_000.0, None), (4_000.0, Some(0.6)), (700.0, None)]);
    }
}
