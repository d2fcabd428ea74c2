//! Secrets with a mark, and the search for the mark in what the processes of a fleet
//! have printed.
//!
//! Every fleet has the mark in the password of its Redis, in the secret of its webhooks
//! and in its payloads. [`Fleet`] looks into its logs at its end, so
//! every test that starts one holds what its faults make the processes print.

use std::fs;
use std::path::Path;

use crate::fleet::Fleet;

/// The mark. No program prints it by chance.
pub const MARK: &str = "m4rk3r";

/// The user of Redis that the processes of a fleet are, and its password.
pub const REDIS_USER: &str = "drumline";
/// Every character of it that means something in an address.
pub const REDIS_PASSWORD: &str = "m4rk3r/@:%#?m4rk3r";
/// The same as an address has it.
const ESCAPED: &str = "m4rk3r%2F%40%3A%25%23%3Fm4rk3r";

/// A secret of webhooks, which has the mark in its base64.
pub const WEBHOOK_SECRET: &str = "whsec_m4rk3rm4rk3rm4rk3rm4rk3rm4rk3rm4";

/// The arguments of a Redis that has the user.
#[must_use]
pub fn redis_arguments() -> Vec<String> {
    let password = format!(">{REDIS_PASSWORD}");
    ["--user", REDIS_USER, "on", &password, "~*", "&*", "+@all"]
        .map(str::to_owned)
        .to_vec()
}

/// The address of a Redis, with the user in it.
#[must_use]
pub fn with_user(redis_url: &str) -> String {
    redis_url.replacen("://", &format!("://{REDIS_USER}:{ESCAPED}@"), 1)
}

/// The lines with the mark in the logs of a folder, each with its file.
#[must_use]
pub fn marked_lines(folder: &Path) -> Vec<String> {
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    let logs = files
        .map(|file| file.path())
        .filter(|path| path.extension().is_some_and(|kind| kind == "log"));
    let mut found = Vec::new();
    for log in logs {
        let text = fs::read(&log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines = text.lines().filter(|line| line.contains(MARK));
        found.extend(lines.map(|line| format!("{}: {line}", log.display())));
    }
    found
}

/// The end of every test: nothing secret is in what its processes have printed.
impl Drop for Fleet {
    fn drop(&mut self) {
        // A test that has failed shows its own reason.
        if !std::thread::panicking() {
            let marked = marked_lines(self.folder());
            assert!(marked.is_empty(), "secrets are in the logs: {marked:#?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_is_found_in_logs_and_nowhere_else() {
        let folder = std::env::temp_dir().join(format!("drumline-marks-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("journal.jsonl"), "m4rk3r").unwrap();
        fs::write(folder.join("a.log"), "fine\n").unwrap();
        assert_eq!(marked_lines(&folder), Vec::<String>::new());
        fs::write(folder.join("b.log"), b"fine\n\xff at m4rk3r\nfine").unwrap();
        let found = marked_lines(&folder);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains("b.log: "), "{found:?}");
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn an_address_has_the_user() {
        let url = with_user("redis://127.0.0.1:6379");
        assert_eq!(url, format!("redis://drumline:{ESCAPED}@127.0.0.1:6379"));
    }
}
