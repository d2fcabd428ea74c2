//! Metrics as a Prometheus has them that scrapes a manager and a worker.

use drumline_test_servers::{Prometheus, free_port};
use serde_json::Value;
use tokio::time::{Duration, interval, timeout};

use crate::run::{Process, end, file};
use crate::servers::Place;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

/// The time that Prometheus has for two scrapes, on a busy machine.
const SCRAPED: Duration = Duration::from_secs(60);

/// The results of a query, asked again until `is_there` accepts them.
async fn query(url: &str, query: &str, is_there: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    drop(rustls::crypto::ring::default_provider().install_default());
    let client = reqwest::Client::new();
    let asked = async {
        let mut ticks = interval(Duration::from_millis(200));
        loop {
            ticks.tick().await;
            let request =
                client
                    .get(url)
                    .query(&[("query", query), ("start", "0"), ("end", "4000000000")]);
            let answer = request.send().await.expect("Prometheus answers");
            let answer: Value = answer.json().await.expect("it answers JSON");
            let data = &answer["data"];
            let results = data["result"].as_array().or_else(|| data.as_array());
            if let Some(results) = results.filter(|results| is_there(results)) {
                return results.clone();
            }
        }
    };
    let found = timeout(SCRAPED, asked).await;
    found.expect(query)
}

/// The value of the only series of a result.
fn value(results: &[Value]) -> Option<f64> {
    match results {
        [one] => one["value"][1].as_str()?.parse().ok(),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prometheus_scrapes_managers_and_workers() {
    let place = Place::new("metrics").await;
    let handlers = file(
        "handlers.toml",
        "[[handler]]\nmessage = \"Works\"\ncommand = [\"sh\", \"-c\", \"cat >/dev/null\"]\n\n[[handler]]\nmessage = \"Fails\"\ncommand = [\"sh\", \"-c\", \"cat >/dev/null; exit 1\"]\n",
    );
    let handlers = handlers.display().to_string();
    let health = format!("127.0.0.1:{}", free_port().expect("a port"));
    let manager = Process::start(&mut place.command(&["queue-manager", "--listen=127.0.0.1:0"]));
    let url = manager.url();
    let worker = Process::start(&mut place.command(&[
        "worker",
        "--handlers",
        &handlers,
        "--health-listen",
        &health,
    ]));
    let target = url.trim_start_matches("http://").to_owned();
    let prometheus = Prometheus::scraping(&[("manager", &target), ("worker", &health)]).await;
    let prometheus = prometheus.expect("a Prometheus");
    let trace = format!("00-{TRACE}-b7ad6b7169203331-01");
    for (message, code) in [("Works", 0), ("Works", 0), ("Fails", 1)] {
        let mut submit = place.command(&["submit", message, "--wait"]);
        submit
            .env("DRUMLINE_SERVER", &url)
            .env("TRACEPARENT", &trace);
        let submitted = end(&mut submit);
        assert_eq!(submitted.code, code, "{submitted:?}");
    }

    let api = format!("{}/api/v1/query", prometheus.url());
    for (asked, expected) in [
        ("sum(up)", 2.0),
        ("sum(drumline_operations_created_total)", 3.0),
        (
            "sum(drumline_operations_ended_total{outcome=\"succeeded\"})",
            2.0,
        ),
        (
            "sum(drumline_operations_ended_total{outcome=\"failed\"})",
            1.0,
        ),
        ("sum(drumline_runs_started_total)", 3.0),
        ("sum(drumline_queue_wait_seconds_count)", 3.0),
        (
            "sum(drumline_run_duration_seconds_count{message=\"Works\"})",
            2.0,
        ),
        ("sum(drumline_writes_refused_total)", 0.0),
        (
            "sum(drumline_store_call_duration_seconds_count{call=\"end\"})",
            3.0,
        ),
        ("sum(drumline_publish_duration_seconds_count)", 3.0),
    ] {
        query(&api, asked, |found| value(found) == Some(expected)).await;
    }
    // The trace of an operation is at the time that it waited and that it ran.
    let exemplars = format!("{}/api/v1/query_exemplars", prometheus.url());
    for asked in [
        "drumline_run_duration_seconds_bucket",
        "drumline_queue_wait_seconds_bucket",
    ] {
        let found = query(&exemplars, asked, |found| !found.is_empty()).await;
        let labels = &found[0]["exemplars"][0]["labels"];
        assert_eq!(labels["trace_id"], TRACE, "{found:?}");
    }
    assert_eq!(worker.terminate(), 0);
    assert_eq!(manager.terminate(), 0);
}
