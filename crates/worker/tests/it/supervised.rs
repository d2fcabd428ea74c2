//! The supervisor by itself, with the test in the role of the worker.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::command::{SUPERVISOR, is_alive, is_gone};
use crate::harness::in_time;

struct Supervised {
    child: Child,
    pipe: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Supervised {
    async fn start(script: &str, lease: Duration) -> Self {
        let mut child = Command::new(SUPERVISOR)
            .args(["__supervise", "sh", "-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("started");
        let mut pipe = child.stdin.take().expect("piped");
        let start = format!("start 5 {}\ninput", lease.as_millis());
        pipe.write_all(start.as_bytes()).await.expect("written");
        let stdout = child.stdout.take().expect("piped");
        Self {
            child,
            pipe,
            lines: BufReader::new(stdout).lines(),
        }
    }

    async fn line(&mut self) -> String {
        let line = in_time("a line", self.lines.next_line()).await;
        line.expect("read").expect("a line")
    }

    async fn pid(&mut self) -> u32 {
        self.line().await.parse().expect("a process id")
    }

    async fn say(&mut self, word: &str) {
        let line = format!("{word}\n");
        self.pipe.write_all(line.as_bytes()).await.expect("heard");
    }

    async fn code(mut self) -> Option<i32> {
        let status = in_time("the end", self.child.wait()).await;
        status.expect("waited").code()
    }
}

/// Prints its process id, and the id of a child which ignores SIGTERM as it
/// does.
const STUBBORN: &str = r#"
    trap '' TERM
    sh -c 'trap "" TERM; while true; do sleep 1; done' &
    echo $$
    echo $!
    wait
"#;

const LONG: Duration = Duration::from_secs(60);

#[tokio::test]
async fn the_whole_group_dies_when_the_worker_is_killed() {
    let mut supervised = Supervised::start(STUBBORN, LONG).await;
    let (command, child) = (supervised.pid().await, supervised.pid().await);
    // A killed worker is a pipe that closes.
    drop(supervised.pipe);
    is_gone(command).await;
    is_gone(child).await;
}

#[tokio::test]
async fn the_whole_group_dies_when_the_worker_stands_still() {
    let mut supervised = Supervised::start(STUBBORN, Duration::from_millis(300)).await;
    let (command, child) = (supervised.pid().await, supervised.pid().await);
    // A worker that is stopped keeps the pipe, and sends nothing.
    is_gone(command).await;
    is_gone(child).await;
    assert_eq!(supervised.code().await, Some(75));
}

/// Prints the process id of a child that has left the session, and then that of a
/// child of this child.
const ESCAPED: &str = r#"
    setsid sh -c 'sleep 1000 & echo $$; echo $!; wait' &
"#;

#[tokio::test]
async fn what_has_left_the_session_dies_with_the_worker_too() {
    let script = format!("{ESCAPED} wait");
    let mut supervised = Supervised::start(&script, LONG).await;
    let (escaped, child) = (supervised.pid().await, supervised.pid().await);
    drop(supervised.pipe);
    is_gone(escaped).await;
    is_gone(child).await;
}

#[tokio::test]
async fn the_supervisor_ends_after_all_that_the_command_has_left() {
    let script = format!("{ESCAPED} wait");
    let mut supervised = Supervised::start(&script, LONG).await;
    let (escaped, child) = (supervised.pid().await, supervised.pid().await);
    supervised.say("term").await;
    assert_eq!(supervised.code().await, Some(143));
    assert!(!is_alive(escaped) && !is_alive(child));
}

#[tokio::test]
async fn an_orphan_that_ends_first_is_not_taken_for_the_command() {
    let script = "sh -c 'setsid true & exit 0'; sleep 0.05; exit 3";
    let supervised = Supervised::start(script, LONG).await;
    assert_eq!(supervised.code().await, Some(3));
}

#[tokio::test]
async fn a_command_dies_with_its_supervisor() {
    let mut supervised = Supervised::start("echo $$; exec sleep 1000", LONG).await;
    let command = supervised.pid().await;
    supervised.child.start_kill().expect("it runs");
    is_gone(command).await;
}

#[tokio::test]
async fn a_beat_lets_the_command_live_on() {
    let mut supervised = Supervised::start(STUBBORN, Duration::from_millis(500)).await;
    supervised.say("beat 60000").await;
    let command = supervised.pid().await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert!(is_alive(command));
    supervised.say("kill").await;
    assert_eq!(supervised.code().await, Some(137));
}

#[tokio::test]
async fn a_signal_for_all_processes_of_a_service_leaves_the_supervisor() {
    let script = "trap 'echo told; exit 3' TERM; echo $$; while true; do sleep 0.01; done";
    let mut supervised = Supervised::start(script, LONG).await;
    let command = supervised.pid().await;
    let supervisor = supervised.child.id().expect("it runs").to_string();
    let signalled = Command::new("kill").args(["-TERM", &supervisor]).status();
    assert!(signalled.await.expect("signalled").success());
    supervised.say("beat 60000").await;
    assert!(is_alive(command));
    supervised.say("term").await;
    assert_eq!(supervised.line().await, "told");
    assert_eq!(supervised.code().await, Some(3));
}

#[tokio::test]
async fn the_command_reads_its_input_and_need_not_read_it() {
    let mut supervised = Supervised::start("cat; echo", LONG).await;
    assert_eq!(supervised.line().await, "input");
    assert_eq!(supervised.code().await, Some(0));
    let supervised = Supervised::start("exit 9", LONG).await;
    assert_eq!(supervised.code().await, Some(9));
}
