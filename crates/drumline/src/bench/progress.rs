//! Rounds, one after the other, with a line that says where we are.

use super::site::Site;
use crate::output::progress::Activity;

/// The rounds of one measurement.
pub(super) struct Rounds {
    title: &'static str,
    count: usize,
    activity: Activity,
}

impl Rounds {
    pub(super) fn new(title: &'static str, count: usize) -> Self {
        Self {
            title,
            count,
            activity: Activity::new(),
        }
    }

    /// Runs each round on a clean site.
    pub(super) async fn run<T>(
        &self,
        site: &Site,
        mut round: impl AsyncFnMut() -> anyhow::Result<T>,
    ) -> anyhow::Result<Vec<T>> {
        let mut results = Vec::with_capacity(self.count);
        for number in 1..=self.count {
            self.activity
                .tell(&format!("{}: round {number} of {}", self.title, self.count));
            results.push(round().await?);
            site.clean().await?;
        }
        Ok(results)
    }
}
