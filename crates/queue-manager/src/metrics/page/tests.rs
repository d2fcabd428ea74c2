//! The page agrees with what is registered, what is shown, and which spans the
//! sources open.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use drumline_backend::broker::{Bypassed, Trouble};
use drumline_backend::limiter::Limit;
use drumline_backend::store::{Counts, Rollup};
use drumline_protocol::message::{Route, Source};
use drumline_protocol::{EndClass, QueueName};

use drumline_telemetry::metrics::{Described, shown_name};

use super::*;

const PAGE: &str = include_str!("../../../../../docs/metrics.md");

#[test]
fn the_page_has_the_metrics_of_the_code() {
    assert!(
        PAGE.contains(&part()),
        "docs/metrics.md is not what the code says: run `make docs` and commit it"
    );
}

#[test]
fn what_is_shown_has_the_names_types_units_and_labels_of_the_table() {
    let (metrics, described) = register();
    metrics.acted("pause", true);
    metrics.denied("no_key");
    metrics.handshake_failed("timeout");
    metrics.audit_lost(1);
    metrics.audit_left_out("denials", 1);
    metrics.intake_denied("no_user");
    metrics.answered("GET", "/v1/operations", 200, 0.1);
    metrics.removed(EndClass::Succeeded, 1);
    metrics.webhook_tried("delivered");
    metrics.rate_limited(Limit::Requests);
    metrics.quota_exceeded(crate::quotas::Quota::Open);
    metrics.intake_answered(201);
    metrics.quarantined("0x80040203".to_owned());
    metrics.failed("due");
    metrics.counted(&Counts::default());
    metrics.bypassed(&[Bypassed {
        route: Route {
            queue: QueueName::default(),
            source: Source::Work,
        },
        trouble: Trouble::Silent,
    }]);
    metrics.paused(&[]);
    metrics.oldest(&[(QueueName::default(), Duration::from_secs(1))]);
    metrics.present(1, 1);
    metrics.ended(&Rollup::default());
    metrics.store_seconds.with(["read".into()]).observe(0.001);
    let text = metrics.text();
    for metric in &described {
        let Described { name, help, .. } = metric;
        let kind = metric.kind.as_str();
        let unit = metric
            .unit
            .as_ref()
            .map(|unit| format!("# UNIT {name} {}\n", unit.as_str()));
        let head = format!(
            "# HELP {name} {help}.\n# TYPE {name} {kind}\n{}",
            unit.unwrap_or_default()
        );
        let (_, samples) = text
            .split_once(&head)
            .unwrap_or_else(|| panic!("{head} is not in\n{text}"));
        let sample = samples.lines().next().unwrap();
        let labels: Vec<_> = labels_of(sample)
            .into_iter()
            // The bucket of a histogram.
            .filter(|label| label != "le")
            .collect();
        assert_eq!(labels, metric.labels, "{sample}");
        assert!(sample.starts_with(&shown_name(metric)), "{sample}");
    }
    let heads = text.lines().filter(|line| line.starts_with("# TYPE "));
    assert_eq!(heads.count(), described.len(), "{text}");
}

fn labels_of(sample: &str) -> Vec<String> {
    let Some((_, rest)) = sample.split_once('{') else {
        return Vec::new();
    };
    let (labels, _) = rest.rsplit_once('}').unwrap();
    labels
        .split(',')
        .map(|label| label.split_once('=').unwrap().0.to_owned())
        .collect()
}

/// A span as a source opens it, and as the page has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Opened {
    crate_name: String,
    name: String,
    kind: String,
    attributes: BTreeSet<String>,
}

#[test]
fn the_page_has_the_spans_that_the_sources_open() {
    let opened: BTreeSet<Opened> = sources().iter().flat_map(|path| spans_of(path)).collect();
    let documented: BTreeSet<Opened> = rows_of("| span | kind | crate |")
        .map(|cells| Opened {
            name: unquoted(cells[0]),
            kind: cells[1].to_owned(),
            crate_name: unquoted(cells[2]),
            attributes: cells[4].split(", ").map(unquoted).collect(),
        })
        .collect();
    assert!(opened.len() > 5, "{opened:#?}");
    let missing: Vec<_> = opened.difference(&documented).collect();
    let gone: Vec<_> = documented.difference(&opened).collect();
    assert!(
        missing.is_empty() && gone.is_empty(),
        "the list of spans in docs/metrics.md lacks {missing:#?}\nand has, though no source opens it, {gone:#?}"
    );
}

/// The rows of the table on the page that starts so, split into cells.
fn rows_of(head: &str) -> impl Iterator<Item = Vec<&'static str>> {
    PAGE.lines()
        .skip_while(move |line| !line.starts_with(head))
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(|line| {
            let line = line.trim_matches('|');
            line.split('|').map(str::trim).collect()
        })
}

fn unquoted(text: &str) -> String {
    text.trim().trim_matches('`').to_owned()
}

/// The sources of all crates, without those of their tests.
fn sources() -> Vec<PathBuf> {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut folders: Vec<PathBuf> = entries(crates).map(|path| path.join("src")).collect();
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for path in entries(&folder) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs")
                && path.file_stem().is_some_and(|name| name != "tests")
            {
                sources.push(path);
            }
        }
    }
    sources
}

fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    entries.map(|entry| entry.unwrap().path())
}

/// Every span that one source opens.
fn spans_of(path: &Path) -> Vec<Opened> {
    let text = std::fs::read_to_string(path).unwrap();
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    assert!(
        !code.contains("[instrument") && !code.contains("::instrument]"),
        "{}: open spans with a macro, which this test finds",
        path.display()
    );
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let crate_name = path.strip_prefix(crates).unwrap().iter().next().unwrap();
    let lines: Vec<&str> = code.lines().map(str::trim).collect();
    let opening = |line: &&str| !line.starts_with("//") && line.ends_with("span!(");
    let calls = lines.split(opening).skip(1);
    let whole = lines.iter().filter(|line| !line.starts_with("//"));
    let all = whole.filter(|line| line.contains("span!(")).count();
    assert_eq!(
        calls.clone().count(),
        all,
        "{}: write the arguments of a span on lines of their own",
        path.display()
    );
    calls
        .map(|lines| {
            let arguments = lines.iter().take_while(|line| !line.starts_with(')'));
            let mut span = Opened {
                crate_name: crate_name.to_str().unwrap().to_owned(),
                name: String::new(),
                kind: String::new(),
                attributes: BTreeSet::new(),
            };
            for argument in arguments {
                let Some((field, value)) = argument.split_once(" = ") else {
                    continue;
                };
                match field.replace("r#", "").as_str() {
                    "otel.name" => span.name = pattern(value),
                    "otel.kind" => span.kind = pattern(value),
                    // OpenTelemetry's own fields, as `tracing` carries them.
                    other if other.starts_with("otel.") => {}
                    other => drop(span.attributes.insert(other.to_owned())),
                }
            }
            assert!(!span.name.is_empty(), "{}: {lines:?}", path.display());
            span
        })
        .collect()
}

/// The text of a value, with the name of what is put into it: `process {queue}`
/// for `%format_args!("process {}", body.queue)`.
fn pattern(value: &str) -> String {
    let mut pieces = value.split('"').skip(1);
    let (text, inserted) = (pieces.next().unwrap(), pieces.next().unwrap());
    let inserted = inserted.trim_end_matches([',', ')']);
    let last = inserted.rsplit('.').next().unwrap();
    text.replace("{}", &format!("{{{last}}}"))
}
