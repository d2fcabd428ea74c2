//! The secrets of a worker, and a command that looks for them.

use std::process::Command;

use serde_json::Value;

use crate::run::{Process, drumline, end, folder};

/// Counts the processes whose environment has the worker's password and is readable,
/// and those that have a PATH.
const SPY: &str = r#"
cat > /dev/null
count() { cat /proc/[0-9]*/environ 2> /dev/null | tr '\0' '\n' | grep -c "^$1="; }
env > environment
echo "{\"result\": {\"passwords\": $(count WORKER_PASSWORD), \"paths\": $(count PATH)}}"
"#;

/// A program without the rights of root to read every process (`CAP_SYS_PTRACE`, and
/// from Linux 6.13 on `CAP_PERFMON`): in a test that root runs, it would see everything.
fn without_ptrace(program: &Command) -> Command {
    let mut command = Command::new("setpriv");
    command
        .args(["--bounding-set", "-all", "--inh-caps", "-all", "--"])
        .arg(program.get_program());
    command.args(program.get_args());
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
}

#[cfg(target_os = "linux")]
#[test]
fn a_command_finds_no_password_of_its_worker() {
    let folder = folder();
    std::fs::write(folder.join("spy.sh"), SPY).unwrap();
    let handlers = folder.join("handlers.toml");
    let text = "[[handler]]\nmessage = \"Spy\"\ncommand = [\"sh\", \"spy.sh\"]\n\
                inherit = [\"APP_*\", \"OTEL_*\"]\nenv = { OWN = \"yes\" }\n";
    std::fs::write(&handlers, text).unwrap();
    let mut dev = drumline();
    dev.args([
        "dev",
        "--listen",
        "127.0.0.1:0",
        "--log",
        "off",
        "--handlers",
    ])
    .arg(&handlers)
    .env("WORKER_PASSWORD", "marker")
    .env("APP_MODE", "test")
    .env("OTEL_SERVICE_NAME", "service")
    .env("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "authorization=marker")
    .env("DRUMLINE_API_KEY", "marker");
    let dev = Process::start(&mut without_ptrace(&dev));
    let mut submit = drumline();
    submit
        .args(["submit", "Spy", "--wait", "-o", "json"])
        .env("DRUMLINE_SERVER", dev.url());
    let done = end(&mut submit);
    assert_eq!(done.code, 0, "{done:?}");
    let result: Value = done.json().remove(0)["result"].clone();
    assert_eq!(result["passwords"], 0, "{result}");
    let readable = result["paths"].as_u64();
    assert!(readable > Some(0), "it looked at something: {result}");

    let environment = std::fs::read_to_string(folder.join("environment")).unwrap();
    assert!(!environment.contains("marker"), "{environment}");
    for there in [
        "PATH=",
        "APP_MODE=test",
        "OWN=yes",
        "OTEL_SERVICE_NAME=service",
    ] {
        assert!(environment.contains(there), "{there}: {environment}");
    }
    assert_eq!(dev.terminate(), 0);
}
