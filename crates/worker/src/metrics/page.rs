//! The table of a worker's metrics in docs/metrics.md, written from the registration.

use drumline_protocol::page;
use drumline_telemetry::metrics::table;

use super::register;

/// Returns the table of every metric that `/metrics` of a worker can show.
#[must_use]
pub fn part() -> String {
    let (_metrics, described) = register();
    page::part("worker metrics", &table(&described))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use drumline_backend::store::Rollup;
    use drumline_protocol::operation::TraceContext;
    use drumline_telemetry::metrics::shown_name;

    use super::*;
    use crate::metrics::{Metrics, RunLabels};

    #[test]
    fn the_page_has_the_metrics_of_the_code() {
        assert!(
            include_str!("../../../../docs/metrics.md").contains(&part()),
            "docs/metrics.md is not what the code says: run `make docs` and commit it"
        );
    }

    #[test]
    fn every_metric_of_the_table_is_shown() {
        let metrics = Metrics::default();
        let labels = RunLabels {
            queue: "default".to_owned(),
            message: "*".to_owned(),
        };
        let trace = |flags: &str| TraceContext {
            traceparent: format!("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-{flags}"),
            tracestate: String::new(),
        };
        let runs = metrics.of_runs(labels);
        runs.started(Duration::from_millis(20), &trace("00"));
        runs.ran(Duration::from_secs(90), &trace("01"));
        metrics.ended(runs.labels(), "succeeded");
        metrics.end_refused();
        metrics.store_seconds.with(["claim".into()]).observe(0.001);
        let text = metrics.text(1, 4, &Rollup::default(), 0);
        let (_, described) = register();
        for metric in &described {
            let name = shown_name(metric);
            assert!(text.contains(&format!("\n{name}")), "{name}: {text}");
        }
        let line =
            r#"drumline_runs_ended_total{queue="default",message="*",outcome="succeeded"} 1"#;
        assert!(text.contains(line), "{text}");
        // With the trace of the operation, which was recorded; that of the wait was not.
        let line = r#"drumline_run_duration_seconds_bucket{le="600.0",queue="default",message="*"} 1 # {trace_id="0af7651916cd43dd8448eb211c80319c"} 90.0"#;
        assert!(text.contains(line), "{text}");
        let lines = text.lines();
        let traced = lines.filter(|line| line.contains("trace_id")).count();
        assert_eq!(traced, 1, "{text}");
    }
}
