//! The program as a worker runs it: a process per commit, on real
//! repositories, killed between any two steps.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

const PROGRAM: &str = env!("CARGO_BIN_EXE_drumline-example-git-replay");
/// Every step after which the program can be told to die.
const STEPS: [&str; 7] = [
    "announced",
    "entered",
    "loaded",
    "applied",
    "written",
    "committed",
    "advanced",
];

/// A folder with repositories and replicas, removed at the end of the test.
struct World {
    root: PathBuf,
    fence: u64,
}

impl World {
    fn new(name: &str) -> Result<Self> {
        let unique = format!("drumline-git-replay-{name}-{}", std::process::id());
        let root = std::env::temp_dir().join(unique);
        fs::create_dir_all(&root)?;
        Ok(Self { root, fence: 100 })
    }

    fn repository(&self, name: &str) -> Result<Repository> {
        let path = self.root.join(name);
        fs::create_dir_all(&path)?;
        let repository = Repository(path);
        repository.git(&["init", "--quiet", "--initial-branch=main"])?;
        Ok(repository)
    }

    fn operations(&self, repositories: &[&Repository]) -> Result<Vec<Value>> {
        let output = Command::new(PROGRAM)
            .arg("operations")
            .arg("--to")
            .arg(self.replicas())
            .args(repositories.iter().map(|repository| &repository.0))
            .output()?;
        ensure!(output.status.success(), "{}", stderr(&output));
        String::from_utf8(output.stdout)?
            .lines()
            .map(|line| Ok(serde_json::from_str(line)?))
            .collect()
    }

    /// Runs the handler as a worker would, with a fresh fence.
    fn apply(&mut self, operation: &Value, more: &[&str]) -> Result<Output> {
        self.fence += 1;
        let fence = self.fence;
        self.apply_with_fence(operation, fence, more)
    }

    fn apply_with_fence(&self, operation: &Value, fence: u64, more: &[&str]) -> Result<Output> {
        let mut operation = operation.clone();
        operation["id"] = json!("00000000-0000-7000-8000-000000000000");
        let mut child = Command::new(PROGRAM)
            .arg("apply")
            .args(more)
            .env("DRUMLINE_FENCE", fence.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut stdin = child.stdin.take().context("stdin is piped")?;
        stdin.write_all(operation.to_string().as_bytes())?;
        drop(stdin);
        Ok(child.wait_with_output()?)
    }

    fn verify(&self, repositories: &[&Repository]) -> Result<String> {
        let output = Command::new(PROGRAM)
            .arg("verify")
            .arg("--to")
            .arg(self.replicas())
            .args(repositories.iter().map(|repository| &repository.0))
            .output()?;
        let report = String::from_utf8(output.stdout.clone())?;
        ensure!(output.status.success(), "{report}{}", stderr(&output));
        Ok(report)
    }

    fn replicas(&self) -> PathBuf {
        self.root.join("replicas")
    }
}

impl Drop for World {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.root));
    }
}

/// A repository made for a test.
struct Repository(PathBuf);

impl Repository {
    fn git(&self, args: &[&str]) -> Result<()> {
        let output = Command::new("git")
            .args(["-c", "user.name=a", "-c", "user.email=a@b"])
            .args(["-c", "commit.gpgsign=false"])
            .args(args)
            .current_dir(&self.0)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .output()?;
        ensure!(output.status.success(), "git {args:?}: {}", stderr(&output));
        Ok(())
    }

    fn write(&self, path: &str, content: impl AsRef<[u8]>) -> Result<()> {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().context("it is inside the repository")?)?;
        Ok(fs::write(path, content)?)
    }

    fn commit(&self, message: &str) -> Result<()> {
        self.git(&["add", "--all"])?;
        self.git(&["commit", "--quiet", "--allow-empty", "-m", message])
    }

    /// Three commits that change one file in turn.
    fn with_three_commits(self) -> Result<Self> {
        for content in ["one\n", "one\ntwo\n", "two\nthree\n"] {
            self.write("file", content)?;
            self.commit(content)?;
        }
        Ok(self)
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_history_with_everything_in_it_is_replayed() -> Result<()> {
    let mut world = World::new("everything")?;
    let repository = world.repository("everything")?;
    repository.write("text", "a\nb\nc\n")?;
    repository.write("with space/and \"quotes\"\tand tab", "x")?;
    repository.commit("files")?;
    repository.write("binary", (0..=255_u8).collect::<Vec<_>>())?;
    repository.write("crlf", "a\r\nb\r\n")?;
    repository.write(".gitattributes", "* text=auto eol=crlf\n*.c -diff ident\n")?;
    repository.write("ident.c", "$Id$\n")?;
    repository.commit("bytes")?;
    repository.write("binary", (0..=255_u8).rev().collect::<Vec<_>>())?;
    fs::set_permissions(repository.0.join("text"), fs::Permissions::from_mode(0o755))?;
    symlink("text", repository.0.join("link"))?;
    repository.commit("binary changed, mode changed, a link")?;
    repository.commit("nothing at all")?;
    repository.git(&["mv", "text", "renamed"])?;
    fs::remove_file(repository.0.join("link"))?;
    repository.write("link/now a folder", "no line end")?;
    repository.commit("renamed, and a link became a folder")?;
    let submodule = "160000,1234567890123456789012345678901234567890,module";
    repository.git(&["update-index", "--add", "--cacheinfo", submodule])?;
    repository.git(&["commit", "--quiet", "-m", "a submodule"])?;
    repository.git(&["checkout", "--quiet", "-b", "side", "HEAD~1"])?;
    repository.write("side", "from the side\n")?;
    repository.git(&["add", "side"])?;
    repository.git(&["commit", "--quiet", "-m", "on the side"])?;
    repository.git(&["checkout", "--quiet", "main"])?;
    repository.git(&["merge", "--quiet", "--no-ff", "-m", "merged", "side"])?;

    let operations = world.operations(&[&repository])?;
    assert_eq!(operations.len(), 7, "the main line, without the side");
    for operation in &operations {
        let output = world.apply(operation, &[])?;
        ensure!(output.status.success(), "{operation}: {}", stderr(&output));
    }
    let report = world.verify(&[&repository])?;
    assert!(
        report.contains("7 commits in 7 executions, 0 of them killed"),
        "{report}"
    );
    Ok(())
}

#[test]
fn a_start_after_a_kill_between_any_two_steps_mends_it() -> Result<()> {
    let mut world = World::new("killed")?;
    let repository = world.repository("killed")?.with_three_commits()?;
    for operation in &world.operations(&[&repository])? {
        for step in STEPS {
            let output = world.apply(operation, &["--die-after", step])?;
            // Once the branch has moved, later starts have less to do than die.
            assert!(!output.status.success(), "{step} of {operation}");
            if step == "advanced" {
                break;
            }
        }
        let output = world.apply(operation, &[])?;
        ensure!(output.status.success(), "{operation}: {}", stderr(&output));
        let outcome = String::from_utf8(output.stdout)?;
        assert!(outcome.contains("alreadyApplied"), "{outcome}");
    }
    let report = world.verify(&[&repository])?;
    assert!(
        report.contains("3 commits in 24 executions, 21 of them killed"),
        "{report}"
    );
    Ok(())
}

#[test]
fn what_git_left_locked_when_it_was_killed_is_no_obstacle() -> Result<()> {
    let mut world = World::new("locked")?;
    let repository = world.repository("locked")?.with_three_commits()?;
    let operations = world.operations(&[&repository])?;
    let replica = world.replicas().join("locked");
    fs::create_dir_all(replica.join("git.new/refs"))?;
    for operation in &operations {
        let output = world.apply(operation, &[])?;
        ensure!(output.status.success(), "{operation}: {}", stderr(&output));
        for leftover in ["index", "index.lock", "refs/heads/main.lock"] {
            fs::write(replica.join("git").join(leftover), "half")?;
        }
    }
    world.verify(&[&repository])?;
    Ok(())
}

#[test]
fn a_commit_out_of_order_fails_loudly() -> Result<()> {
    let mut world = World::new("order")?;
    let repository = world.repository("order")?.with_three_commits()?;
    let operations = world.operations(&[&repository])?;

    let too_early = world.apply(&operations[1], &[])?;
    assert_eq!(too_early.status.code(), Some(1));
    let complaint = stderr(&too_early);
    assert!(
        complaint.contains("but the replica is at nothing"),
        "{complaint}"
    );

    for operation in &operations {
        world.apply(operation, &[])?;
    }
    let too_late = world.apply(&operations[0], &[])?;
    assert_eq!(too_late.status.code(), Some(1));
    assert!(stderr(&too_late).contains("out of order"));
    assert!(
        world.verify(&[&repository]).is_err(),
        "the journal shows both"
    );
    Ok(())
}

#[test]
fn a_stale_fence_is_refused_and_changes_nothing() -> Result<()> {
    let mut world = World::new("stale")?;
    let repository = world.repository("stale")?.with_three_commits()?;
    let operations = world.operations(&[&repository])?;
    world.apply(&operations[0], &[])?;
    let ghost = world.apply_with_fence(&operations[1], 7, &[])?;
    assert_eq!(ghost.status.code(), Some(1));
    let complaint = stderr(&ghost);
    assert!(
        complaint.contains("stale: this start has the fence 7"),
        "{complaint}"
    );
    // A second start with the same fence is the same holder's.
    let again = world.apply_with_fence(&operations[1], world.fence, &[])?;
    ensure!(again.status.success(), "{}", stderr(&again));
    Ok(())
}

#[test]
fn a_replica_that_somebody_changed_is_not_built_upon() -> Result<()> {
    let mut world = World::new("changed")?;
    let repository = world.repository("changed")?.with_three_commits()?;
    let mut operations = world.operations(&[&repository])?;
    world.apply(&operations[0], &[])?;
    operations[1]["data"]["previousTree"] = operations[2]["data"]["tree"].clone();
    let output = world.apply(&operations[1], &[])?;
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("instead of"),
        "{}",
        stderr(&output)
    );
    Ok(())
}

#[test]
fn several_repositories_are_replayed_side_by_side() -> Result<()> {
    let mut world = World::new("several")?;
    fs::create_dir_all(world.root.join("other"))?;
    let one = world.repository("twin")?.with_three_commits()?;
    let two = world.repository("other/twin")?.with_three_commits()?;
    two.write("more", "more")?;
    two.commit("more")?;
    let operations = world.operations(&[&one, &two])?;
    let tokens: Vec<_> = operations.iter().map(|o| &o["dependencyToken"]).collect();
    assert_eq!(tokens[..2], ["repository:twin", "repository:twin-2"]);
    for operation in &operations {
        let output = world.apply(operation, &[])?;
        ensure!(output.status.success(), "{operation}: {}", stderr(&output));
    }
    let report = world.verify(&[&one, &two])?;
    assert!(report.contains("twin-2: tree"), "{report}");
    Ok(())
}

#[test]
fn sample_repositories_are_replayed() -> Result<()> {
    let mut world = World::new("samples")?;
    let output = Command::new(PROGRAM)
        .args(["make-repositories", "--count", "2", "--commits", "60"])
        .arg(world.root.join("samples"))
        .output()?;
    ensure!(output.status.success(), "{}", stderr(&output));
    let samples: Vec<_> = String::from_utf8(output.stdout)?
        .lines()
        .map(|line| Repository(line.into()))
        .collect();
    let samples: Vec<_> = samples.iter().collect();
    for operation in &world.operations(&samples)? {
        let output = world.apply(operation, &[])?;
        ensure!(output.status.success(), "{operation}: {}", stderr(&output));
    }
    let report = world.verify(&samples)?;
    assert!(report.contains("60 commits in 60 executions"), "{report}");
    Ok(())
}

#[test]
fn only_the_last_commits_can_be_replayed_too() -> Result<()> {
    let mut world = World::new("last")?;
    let repository = world.repository("last")?.with_three_commits()?;
    let output = Command::new(PROGRAM)
        .args(["operations", "--last", "2", "--to"])
        .arg(world.replicas())
        .arg(&repository.0)
        .output()?;
    for line in String::from_utf8(output.stdout)?.lines() {
        let output = world.apply(&serde_json::from_str(line)?, &[])?;
        ensure!(output.status.success(), "{line}: {}", stderr(&output));
    }
    let report = world.verify(&[&repository])?;
    assert!(report.contains("2 commits in 2 executions"), "{report}");
    Ok(())
}

#[test]
fn what_cannot_be_replayed_is_named() {
    let output = Command::new(PROGRAM)
        .args(["operations", "/nowhere/at/all"])
        .output()
        .expect("the program is built");
    assert!(!output.status.success());
    assert!(stderr(&output).contains("/nowhere/at/all"));
    assert!(!Path::new("replicas").exists());
}
