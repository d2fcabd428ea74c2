//! `drumline bench`: short runs, for the shape of the report.

use std::process::Command;

use crate::run::{drumline, end};
use crate::servers::Place;

/// The fields of a figure that say what was compared.
fn compared(report: &serde_json::Value) -> Vec<(String, bool)> {
    let figures = report["figures"].as_array().expect("figures");
    figures
        .iter()
        .map(|figure| {
            assert!(figure["value"].as_f64().is_some_and(|value| value > 0.0));
            let name = figure["name"].as_str().expect("a name");
            (name.to_owned(), !figure["ofFloor"].is_null())
        })
        .collect()
}

#[test]
fn without_servers_there_is_no_floor() {
    let mut command = drumline();
    let arguments = "bench --embedded --seconds 1 --rounds 1 --only floor,create,memory -o json";
    let ended = end(command.args(arguments.split(' ')));
    assert_eq!(ended.code, 0, "{ended:?}");
    let report = &ended.json()[0];
    assert_eq!(compared(report), [("create, one by one".to_owned(), false)]);
}

#[tokio::test]
async fn bench_measures_and_leaves_nothing_behind() {
    let place = Place::new("bench").await;
    let bench = end(&mut place.command(&[
        "bench",
        "--rounds=1",
        "--seconds=1",
        "--only=floor,single,ordered",
        "-o",
        "json",
    ]));
    assert_eq!(bench.code, 0, "{bench:?}");
    let report = &bench.json()[0];
    let figures = report["figures"].as_array().unwrap();
    assert_eq!(figures.len(), 3, "{report}");
    for figure in figures {
        assert!(figure["value"].as_f64().unwrap() > 0.0, "{report}");
    }
    assert!(figures[1]["ofFloor"].as_f64().unwrap() > 0.0, "{report}");
    let left = Command::new("redis-cli")
        .args(["-u", &place.redis, "--scan", "--pattern"])
        .arg(format!("{}-bench-*", place.namespace))
        .output()
        .expect("redis-cli comes with Redis");
    assert_eq!(String::from_utf8(left.stdout).unwrap(), "");
}

#[tokio::test]
async fn worker_processes_and_the_latency_are_beside_their_floors() {
    let place = Place::new("bench-processes").await;
    let arguments =
        "bench --seconds 1 --rounds 1 --only floor,single,latency --processes 1 -o json";
    let arguments: Vec<&str> = arguments.split(' ').collect();
    let ended = end(&mut place.command(&arguments));
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(!ended.err.contains("could not be removed"), "{ended:?}");
    let expected = [
        ("floor: the bare libraries", false),
        ("end to end, created one by one", true),
        ("floor: submit to start at 200/s, p50", false),
        ("submit to start at 200/s, p50", true),
        ("floor: submit to start at 200/s, p99", false),
        ("submit to start at 200/s, p99", true),
    ];
    let expected = expected.map(|(name, compared)| (name.to_owned(), compared));
    assert_eq!(compared(&ended.json()[0]), expected);
}
