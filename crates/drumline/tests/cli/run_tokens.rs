//! Tokens of runs: what a command may do with its own, and for how long.

use std::fs;

use crate::dev::{Dev, UNKNOWN};
use crate::run::{drumline, end, folder};

/// A handler that asks the service for what it may, and for what it may not.
const PARENT: &str = r#"
cat > /dev/null
printf %s "$DRUMLINE_TOKEN" > token
"$BIN" submit Echo -o json > child || exit 1
"$BIN" list -o json > listed || exit 1
"$BIN" whoami -o json > whoami || exit 1
DRUMLINE_OPERATION_ID=UNKNOWN "$BIN" submit Echo 2> foreign_parent && exit 2
"$BIN" cancel "$DRUMLINE_OPERATION_ID" 2> cancel && exit 2
"$BIN" pause --all --reason x 2> pause && exit 2
"$BIN" list --organization fabrikam 2> organization && exit 2
"$BIN" list --caller root 2> caller && exit 2
echo '{"result": "done"}'
"#;

#[test]
fn a_run_creates_children_reads_its_organization_and_does_nothing_else() {
    let folder = folder();
    let path = |name: &str| folder.join(name);
    let auth = path("auth.toml").display().to_string();
    let made = end(drumline()
        .args(["key", "--auth-file", &auth, "create"])
        .args(["--org", "contoso", "--role", "producer", "--caller", "jo"]));
    assert_eq!(made.code, 0, "{made:?}");
    let key = made.out.trim();
    fs::write(path("parent.sh"), PARENT.replace("UNKNOWN", UNKNOWN)).unwrap();
    let handlers = format!(
        "[[handler]]\nmessage = \"Parent\"\ncommand = [\"sh\", \"parent.sh\"]\nenv = {{ BIN = {:?} }}\n",
        env!("CARGO_BIN_EXE_drumline")
    );
    fs::write(path("handlers.toml"), handlers).unwrap();
    let handlers = path("handlers.toml").display().to_string();
    let dev = Dev::start_with(&["--auth-file", &auth, "--handlers", &handlers]);
    let as_key =
        |key: &str, arguments: &[&str]| end(dev.command(arguments).env("DRUMLINE_API_KEY", key));
    let parent = as_key(key, &["submit", "Parent", "--wait", "-o", "json"]);
    assert_eq!(parent.code, 0, "{parent:?}");
    let parent = parent.json().remove(0);
    assert_eq!(parent["result"], "done", "{parent}");

    let read = |name: &str| fs::read_to_string(path(name)).unwrap();
    let child: serde_json::Value = serde_json::from_str(&read("child")).unwrap();
    assert_eq!(child["parentId"], parent["id"], "{child}");
    assert_eq!(child["organization"], "contoso", "{child}");
    assert_eq!(child["ownerId"], "jo", "{child}");
    assert_eq!(read("listed").lines().count(), 2);
    let whoami = read("whoami");
    assert!(
        !whoami.contains("keyId") && whoami.contains("jo"),
        "{whoami}"
    );
    for refused in [
        "foreign_parent",
        "cancel",
        "pause",
        "organization",
        "caller",
    ] {
        let text = read(refused);
        assert!(text.contains("PrivilegeDenied"), "{refused}: {text}");
    }

    let token = read("token");
    assert!(token.starts_with("drt_"), "{token}");
    let late = as_key(&token, &["list"]);
    assert_eq!(late.code, 64, "{late:?}");
    assert!(late.err.contains("Unauthenticated"), "{late:?}");
    assert!(late.err.contains("has ended"), "{late:?}");
    let mut forged = token;
    forged.truncate(forged.len() - 2);
    let forged = as_key(&forged, &["list"]);
    assert!(forged.err.contains("Unauthenticated"), "{forged:?}");
    assert!(forged.err.contains("not known here"), "{forged:?}");
}

#[test]
fn a_file_without_secrets_is_refused_at_the_start() {
    let file = crate::run::file("run.key", "too short\n");
    let path = file.display().to_string();
    for command in [
        &["queue-manager", "--listen=127.0.0.1:0"][..],
        &["worker", "--handlers", "handlers.toml"],
    ] {
        let ended = end(drumline().args(command).args(["--run-key-file", &path]));
        assert_eq!(ended.code, 64, "{ended:?}");
        assert!(ended.err.contains("openssl rand"), "{ended:?}");
        assert!(!ended.err.contains("too short"), "{ended:?}");
    }
}
