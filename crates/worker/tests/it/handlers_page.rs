//! The handler in docs/handlers.md, as it stands there: a reader copies it.

use std::path::Path;
use std::time::Duration;

use drumline_protocol::{Event, Status};
use drumline_worker::handlers_file::HandlersFile;
use drumline_worker::supervise::Supervisor;
use serde_json::{Value, json};

use crate::command::SUPERVISOR;
use crate::harness::{Harness, draft, in_time};

const PAGE: &str = include_str!("../../../../docs/handlers.md");
/// The page of the import at which the operation is paused.
const PAUSED_AT: usize = 40;

/// The example in bash, between its fences.
fn example() -> &'static str {
    let (_, behind) = PAGE.split_once("```bash\n").expect("an example in bash");
    let (script, _) = behind.split_once("```").expect("the end of the example");
    assert!(script.contains("import-page"), "{script}");
    script
}

/// The pages that were imported so far.
fn imported(log: &Path) -> Vec<usize> {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let pages = text.lines().map(|line| line.parse().expect("a number"));
    pages.collect()
}

fn json_of(text: Option<&str>) -> Value {
    serde_json::from_str(text.unwrap_or("null")).expect("JSON")
}

/// Needs `bash` and `jq`, as the example does.
#[tokio::test]
async fn the_example_in_bash_goes_on_from_its_checkpoint_after_a_pause() {
    let folder = std::env::temp_dir().join(format!("drumline-page-{}", std::process::id()));
    // A test of the same process id may have left it behind.
    drop(std::fs::remove_dir_all(&folder));
    std::fs::create_dir_all(&folder).expect("a folder");
    let log = folder.join("imported");
    // Stands for the program that imports a page. At one page it waits for the signal,
    // which goes to all that the command has started.
    let import_page = format!(
        "import-page() {{\n  if [ \"$1\" = {PAUSED_AT} ]; then sleep 1000 & fi\n  \
         echo \"$1\" >>{log:?}\n  wait || true\n}}\n"
    );
    let script = folder.join("import.sh");
    std::fs::write(&script, import_page + example()).expect("written");
    let script = serde_json::to_string(&script).expect("JSON strings are TOML strings");
    let text = format!("[[handler]]\nmessage = '*'\ncommand = ['bash', {script}]\n");
    let builder = HandlersFile::parse(&text, Path::new("/"))
        .expect("a good file")
        .register(Harness::builder(), &Supervisor::at(SUPERVISOR))
        .expect("registered");

    let harness = Harness::new();
    let worker = harness.start(builder).await;
    let id = harness.submit(draft("Import")).await;
    in_time("the page at which it stops", async {
        while imported(&log).last() != Some(&PAUSED_AT) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    harness.ask(id, Event::Pause).await;
    let paused = harness.reaches(id, Status::Waiting).await;
    let checkpoint = json_of(paused.report.checkpoint.as_deref());
    assert_eq!(checkpoint, json!({"page": PAUSED_AT + 1}), "{paused:?}");
    harness.ask(id, Event::Resume).await;
    let operation = harness.completed(id).await;
    assert_eq!(operation.header.status, Status::Succeeded, "{operation:?}");
    let result = json_of(operation.report.result.as_deref());
    assert_eq!(result, json!({"pages": 100}));
    assert_eq!(imported(&log), (1..=100).collect::<Vec<_>>());
    worker.drain().await;
    std::fs::remove_dir_all(&folder).expect("removed");
}
