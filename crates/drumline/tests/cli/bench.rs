//! `drumline bench`: short runs, for the shape of the report.

use std::process::Command;

use serde_json::json;

use crate::run::{drumline, end, file};
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

#[test]
fn neighbours_of_held_operations_are_measured_if_they_are_named() {
    let mut command = drumline();
    let arguments = "bench --embedded --seconds 1 --rounds 1 --only held --held 300 -o json";
    let ended = end(command.args(arguments.split(' ')));
    assert_eq!(ended.code, 0, "{ended:?}");
    let report = &ended.json()[0];
    let names = [
        ("submit to start, nothing held, p99", false),
        ("submit to start, 300 held, p99", true),
        ("submit to start, 300 go on, p99", true),
        ("300 held that go on", false),
        ("longest time in which none of them started", false),
    ];
    assert_eq!(
        compared(report),
        names.map(|(name, of)| (name.to_owned(), of))
    );
}

#[test]
fn a_figure_that_became_slower_is_named_and_fails_nothing() {
    let embedded = "bench --embedded --seconds 1 --rounds 1 --only create";
    for (rate, word, sentence) in [
        (
            1e12,
            "slower",
            "create, one by one (slower, 0.00 of before)",
        ),
        (1e-3, "faster", "Nothing is worse"),
    ] {
        let earlier = json!({
            "backend": "embedded",
            "setup": "another",
            "figures": [{
                "name": "create, one by one", "value": rate, "unit": "/s",
                "rounds": [rate], "ofFloor": null, "roundsOfFloor": [],
            }],
        });
        let path = file("earlier.json", &earlier.to_string());
        let mut command = drumline();
        command
            .args(embedded.split(' '))
            .arg("--compare")
            .arg(&path);
        let ended = end(&mut command);
        assert_eq!(ended.code, 0, "{ended:?}");
        assert!(ended.out.contains(word), "{ended:?}");
        assert!(ended.out.contains(sentence), "{ended:?}");
        assert!(ended.out.contains("with other settings"), "{ended:?}");
    }
}

#[test]
fn a_report_is_compared_with_itself_as_a_program_reads_it() {
    let embedded = "bench --embedded --seconds 1 --rounds 1 --only create -o json";
    let first = end(drumline().args(embedded.split(' ')));
    let path = file("earlier.json", &first.out);
    let mut command = drumline();
    command
        .args(embedded.split(' '))
        .arg("--compare")
        .arg(&path);
    let ended = end(&mut command);
    assert_eq!(ended.code, 0, "{ended:?}");
    let comparison = &ended.json()[0]["comparison"];
    assert_eq!(comparison["sameSetup"], true, "{ended:?}");
    let compared = &comparison["figures"][0];
    assert_eq!(compared["name"], "create, one by one");
    assert_eq!(
        compared["before"],
        first.json()[0]["figures"][0]["value"],
        "{ended:?}"
    );
}

#[test]
fn a_file_that_is_no_report_is_refused_before_anything_is_measured() {
    let path = file("earlier.json", "{}");
    let mut command = drumline();
    // Nothing listens there, which a measurement would have noticed.
    command.args(["bench", "--redis-url", "redis://127.0.0.1:1", "--compare"]);
    let ended = end(command.arg(&path));
    assert_eq!(ended.code, 65, "{ended:?}");
    assert!(ended.err.contains("is no report"), "{ended:?}");
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
