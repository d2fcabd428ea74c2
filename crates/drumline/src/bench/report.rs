//! What was measured: rounds, medians, and how they are shown.

use comfy_table::CellAlignment;
use serde::Serialize;

use crate::cli::tools::Measurement;
use crate::output::Output;
use crate::output::table::{self, table};

/// The result of one measurement.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Figure {
    /// What was measured.
    pub(super) name: String,
    /// The median of the rounds.
    pub(super) value: f64,
    /// Its unit.
    pub(super) unit: &'static str,
    /// Every round, in the order they were run.
    pub(super) rounds: Vec<f64>,
    /// The median as a share of the floor's, where both are rates.
    pub(super) of_floor: Option<f64>,
}

impl Figure {
    /// The median of some rounds.
    pub(super) fn new(name: impl Into<String>, unit: &'static str, rounds: Vec<f64>) -> Self {
        Self {
            name: name.into(),
            value: median(&rounds),
            unit,
            rounds,
            of_floor: None,
        }
    }
}

/// Everything that was measured, and with what.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    /// `embedded`, or what the servers say of themselves.
    pub(super) backend: String,
    /// Callers, concurrency and the like.
    pub(super) setup: String,
    /// The results.
    pub(super) figures: Vec<Figure>,
}

/// The unit of rates.
pub(super) const PER_SECOND: &str = "/s";

impl Report {
    /// Compares every end-to-end rate with the floor.
    pub(super) fn compare(&mut self) {
        let name = title(Measurement::Floor);
        let Some(floor) = self.figures.iter().find(|figure| figure.name == name) else {
            return;
        };
        let floor = floor.value;
        for figure in &mut self.figures {
            if figure.unit == PER_SECOND && figure.name != name && floor > 0.0 {
                figure.of_floor = Some((figure.value / floor * 1000.0).round() / 1000.0);
            }
        }
    }

    /// Prints it.
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

/// What people call a measurement.
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

/// The middle one; of an even number, the mean of the two in the middle.
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
    fn rates_are_compared_with_the_floor_and_spans_are_not() {
        let figure = |measurement, unit, value| Figure::new(title(measurement), unit, vec![value]);
        let mut report = Report {
            backend: String::new(),
            setup: String::new(),
            figures: vec![
                figure(Measurement::Floor, PER_SECOND, 10_000.0),
                figure(Measurement::Single, PER_SECOND, 6_500.0),
                figure(Measurement::Latency, "ms", 2.0),
            ],
        };
        report.compare();
        let shares: Vec<_> = report
            .figures
            .iter()
            .map(|figure| figure.of_floor)
            .collect();
        assert_eq!(shares, [None, Some(0.65), None]);
    }
}
