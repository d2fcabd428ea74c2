//! `drumline completions`: what a shell offers after it has read the script.

use std::process::Command;

use crate::run::{drumline, end, file};

/// The words that bash offers for the last one of a command line.
fn offered(script: &str, line: &[&str]) -> String {
    let words: Vec<_> = line.iter().map(|word| format!("'{word}'")).collect();
    let text = format!(
        "source {script}\nCOMP_WORDS=({})\nCOMP_CWORD={}\n_drumline drumline \"${{COMP_WORDS[-1]}}\" \"${{COMP_WORDS[-2]}}\"\n\
         printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        words.join(" "),
        line.len() - 1,
    );
    let shown = end(Command::new("bash").args(["--norc", "-c", &text]));
    assert_eq!(shown.code, 0, "{shown:?}");
    shown.out
}

#[test]
fn a_shell_completes_commands_flags_and_values() {
    let script = end(drumline().args(["completions", "bash"]));
    assert_eq!(script.code, 0, "{script:?}");
    let path = file("drumline.bash", &script.out);
    let path = path.display().to_string();
    assert_eq!(offered(&path, &["drumline", "run-a"]).trim(), "run-again");
    let flags = offered(&path, &["drumline", "list", "--fail"]);
    assert_eq!(flags.trim(), "--failure");
    let shells = offered(&path, &["drumline", "completions", ""]);
    for shell in ["bash", "zsh", "fish"] {
        assert!(shells.contains(shell), "{shells}");
    }
    // The commands of its own processes are left out.
    let all = offered(&path, &["drumline", ""]);
    assert!(all.contains("submit") && !all.contains("__"), "{all}");
}

#[test]
fn every_shell_has_a_script_and_no_other_word_is_one() {
    for (shell, words) in [
        ("zsh", "#compdef drumline"),
        ("fish", "complete -c drumline"),
    ] {
        let script = end(drumline().args(["completions", shell]));
        assert_eq!(script.code, 0, "{script:?}");
        assert!(script.out.contains(words), "{shell}: {}", script.out);
        assert!(!script.out.contains("__bench-worker"), "{shell}");
    }
    let unknown = end(drumline().args(["completions", "cmd"]));
    assert_eq!(unknown.code, 64, "{unknown:?}");
}
