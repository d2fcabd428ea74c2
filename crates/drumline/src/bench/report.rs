//! The report of a run: rounds, medians, and their presentation.

use comfy_table::CellAlignment;
use serde::Serialize;

use crate::cli::tools::Measurement;
use crate::output::Output;
use crate::output::table::{self, table};

/// The result of one round of a measurement.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Reading {
    pub(super) name: String,
    pub(super) unit: &'static str,
    pub(super) value: f64,
    /// As a share of the floor in the same round.
    pub(super) of_floor: Option<f64>,
}

impl Reading {
    /// A rate.
    pub(super) fn rate(measurement: Measurement, value: f64) -> Self {
        Self::alone(title(measurement), PER_SECOND, value)
    }

    /// A value that is compared with nothing.
    pub(super) fn alone(name: impl Into<String>, unit: &'static str, value: f64) -> Self {
        Self {
            name: name.into(),
            unit,
            value,
            of_floor: None,
        }
    }

    /// Compares a rate with the floor of the same round.
    pub(super) fn beside(mut self, floor: Option<f64>) -> Self {
        let is_floor = self.name == title(Measurement::Floor);
        if self.unit == PER_SECOND && !is_floor {
            self.of_floor = floor.and_then(|floor| share(self.value, floor));
        }
        self
    }
}

/// `value` as a share of `floor`.
pub(super) fn share(value: f64, floor: f64) -> Option<f64> {
    (floor > 0.0).then(|| value / floor)
}

/// One measurement, over all rounds.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Figure {
    /// The name of the measurement.
    pub(super) name: String,
    /// The median of the rounds.
    pub(super) value: f64,
    /// Its unit.
    pub(super) unit: &'static str,
    /// Every round, in the order they were run.
    pub(super) rounds: Vec<f64>,
    /// The median of the shares of the floor, if it is compared with the floor.
    pub(super) of_floor: Option<f64>,
    /// The share in every round.
    pub(super) rounds_of_floor: Vec<f64>,
}

/// All measurements of a run, and its setup.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    /// `embedded`, or the servers' own description.
    pub(super) backend: String,
    /// Callers, concurrency and the like.
    pub(super) setup: String,
    /// The results.
    pub(super) figures: Vec<Figure>,
}

/// The unit of rates.
const PER_SECOND: &str = "/s";

impl Report {
    /// Adds the reading of a round.
    pub(super) fn note(&mut self, reading: Reading) {
        let known = self
            .figures
            .iter()
            .position(|figure| figure.name == reading.name);
        let at = known.unwrap_or(self.figures.len());
        if known.is_none() {
            self.figures.push(Figure {
                name: reading.name,
                value: 0.0,
                unit: reading.unit,
                rounds: Vec::new(),
                of_floor: None,
                rounds_of_floor: Vec::new(),
            });
        }
        let Some(figure) = self.figures.get_mut(at) else {
            return;
        };
        figure.rounds.push(reading.value);
        figure.value = median(&figure.rounds);
        if let Some(share) = reading.of_floor {
            figure
                .rounds_of_floor
                .push((share * 1000.0).round() / 1000.0);
            figure.of_floor = Some(median(&figure.rounds_of_floor));
        }
    }

    /// Prints the report.
    pub(super) fn print(&self, out: Output) -> std::io::Result<()> {
        if out.is_json() {
            return out.json(self);
        }
        let mut rows = table(&["MEASURED", "MEDIAN", "UNIT", "OF FLOOR", "ROUNDS"]);
        for figure in &self.figures {
            rows.add_row([
                figure.name.clone(),
                number(figure.value),
                figure.unit.to_owned(),
                figure
                    .of_floor
                    .map(|share| format!("{share:.2}"))
                    .unwrap_or_default(),
                figure
                    .rounds
                    .iter()
                    .map(|round| number(*round))
                    .collect::<Vec<_>>()
                    .join(" "),
            ]);
        }
        for column in [1, 3] {
            if let Some(column) = rows.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        out.line(&format!("{}\n{}\n", self.backend, self.setup))?;
        out.line(&table::text(rows))
    }
}

/// The name of a measurement, for people.
pub(super) const fn title(measurement: Measurement) -> &'static str {
    match measurement {
        Measurement::Floor => "floor: the bare libraries",
        Measurement::Create => "create, one by one",
        Measurement::CreateBatch => "create, in batches",
        Measurement::Single => "end to end, created one by one",
        Measurement::Batch => "end to end, created in batches",
        Measurement::Ordered => "end to end, in order per token",
        Measurement::Latency => "submit to start",
        Measurement::Memory => "Redis per waiting operation",
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

fn number(value: f64) -> String {
    if value.abs() >= 100.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.2}")
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
    fn each_round_is_compared_with_its_own_floor() {
        let mut report = Report {
            backend: String::new(),
            setup: String::new(),
            figures: Vec::new(),
        };
        // The machine is half as fast in the second round.
        for (floor, single) in [(10_000.0, 6_000.0), (5_000.0, 3_500.0), (8_000.0, 4_000.0)] {
            let reading = |measurement, value| Reading::rate(measurement, value);
            report.note(reading(Measurement::Floor, floor).beside(Some(floor)));
            report.note(reading(Measurement::Single, single).beside(Some(floor)));
            report.note(Reading::alone("memory", "bytes", 700.0).beside(Some(floor)));
        }
        let seen: Vec<_> = report
            .figures
            .iter()
            .map(|figure| (figure.value, figure.of_floor))
            .collect();
        assert_eq!(seen, [(8_000.0, None), (4_000.0, Some(0.6)), (700.0, None)]);
    }
}
