//! Charts: bars in inline SVG, which need no script and no style of their own. The
//! numbers of a chart are in a table beside it.

use std::fmt::Write as _;

use askama::filters::HtmlSafe;

use crate::text::Text;

/// The height of the highest bar.
const HEIGHT: u64 = 36;
/// The width of a bar, and of the gap behind it.
const WIDTH: usize = 14;
const GAP: usize = 4;

/// Bars, one for each span of time.
#[derive(Clone, Debug)]
pub struct Chart {
    /// The heading.
    pub title: &'static str,
    /// The numbers in short: what the chart says to people who do not see it.
    pub summary: Text,
    /// The class in the style sheet.
    pub class: &'static str,
    /// The heights, in any unit, oldest first.
    pub values: Vec<u64>,
}

impl Chart {
    /// The bars.
    #[must_use]
    pub fn bars(&self) -> Bars {
        let highest = self.values.iter().copied().max().unwrap_or(0).max(1);
        let mut path = String::new();
        for (place, value) in self.values.iter().enumerate() {
            // A number that is not 0 is seen.
            let least = u64::from(*value > 0);
            let height = u128::from(*value) * u128::from(HEIGHT) / u128::from(highest);
            let height = u64::try_from(height).unwrap_or(HEIGHT).max(least);
            if height > 0 {
                let x = place * (WIDTH + GAP);
                // Up from the ground, and around. Writing to a string cannot fail.
                let _infallible = write!(path, "M{x} {HEIGHT}v-{height}h{WIDTH}v{height}z");
            }
        }
        // One element: a page of many charts is laid out and painted sooner.
        Bars(format!("<path d=\"{path}\"/>"))
    }

    /// The heights one by one, for people who do not see the bars.
    #[must_use]
    pub fn numbers(&self) -> String {
        let values: Vec<String> = self.values.iter().map(ToString::to_string).collect();
        values.join(", ")
    }

    /// The width of all bars.
    #[must_use]
    pub fn width(&self) -> usize {
        self.values.len() * (WIDTH + GAP)
    }

    /// The height of the chart.
    #[must_use]
    pub const fn height(&self) -> u64 {
        HEIGHT
    }
}

/// Elements of SVG.
#[derive(Clone, Debug)]
pub struct Bars(String);

// They are made of names and numbers that stand above.
impl HtmlSafe for Bars {}

impl std::fmt::Display for Bars {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(values: &[u64]) -> Chart {
        Chart {
            title: "Ended",
            summary: Text::line("none"),
            class: "good",
            values: values.to_vec(),
        }
    }

    #[test]
    fn the_highest_bar_fills_the_height() {
        let bars = chart(&[0, 50, 100]).bars().to_string();
        assert_eq!(
            bars, "<path d=\"M18 36v-18h14v18zM36 36v-36h14v36z\"/>",
            "a bar of no height is none"
        );
    }

    #[test]
    fn a_small_number_is_seen_and_a_large_one_fits() {
        let bars = chart(&[1, u64::MAX]).bars().to_string();
        assert_eq!(bars, "<path d=\"M0 36v-1h14v1zM18 36v-36h14v36z\"/>");
        assert_eq!(chart(&[]).bars().to_string(), "<path d=\"\"/>");
        assert_eq!(chart(&[0]).width(), 18);
    }
}
