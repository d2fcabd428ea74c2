//! `drumline-test-servers`: private servers for a command, or until a signal.
//!
//! ```text
//! drumline-test-servers -- cargo nextest run      # servers for one command
//! drumline-test-servers --write servers.env       # servers until SIGTERM
//! ```
//!
//! A command may have RabbitMQ lose its data: `drumline-test-servers --wipe-rabbitmq`.
//!
//! The command finds the servers' addresses in its environment, under the
//! names that tests read and under those that `drumline` itself reads.

mod control;

use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;
use control::Control;
use drumline_test_servers::{
    AMQP_URL, REDIS_CLUSTER_URL, REDIS_URL, RabbitServer, RedisCluster, RedisServer,
};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;

/// The time that an interrupted command has to end before the servers do.
const LAST: Duration = Duration::from_secs(30);

/// Starts a private Redis and a private RabbitMQ, empty and on free ports,
/// and ends them again.
#[derive(Debug, Parser)]
#[command(name = "drumline-test-servers")]
struct Arguments {
    /// Start only these (default: both).
    #[arg(long, value_enum)]
    only: Vec<Kind>,
    /// Start a Redis Cluster of three nodes as well.
    #[arg(long)]
    redis_cluster: bool,
    /// Write the servers' addresses to this file, as NAME=value lines, when
    /// they are up. It is removed at the end.
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
    /// Have the RabbitMQ of the servers around this command lose all of its data, and wait until
    /// it is up again.
    #[arg(long, conflicts_with_all = ["only", "write", "command"])]
    wipe_rabbitmq: bool,
    /// Run this with the addresses in its environment, and exit as it exits.
    /// Without it, stay up until SIGTERM or SIGINT.
    #[arg(last = true)]
    command: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Kind {
    Redis,
    Rabbitmq,
}

impl Arguments {
    fn wants(&self, kind: Kind) -> bool {
        self.only.is_empty() || self.only.contains(&kind)
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    if arguments.wipe_rabbitmq {
        return control::ask().await.map(|()| ExitCode::SUCCESS);
    }
    // Before anything is started, so that no signal can leave it behind.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut serving = pin!(serve(&arguments));
    tokio::select! {
        code = &mut serving => return code,
        _ = terminate.recv() => return Ok(ExitCode::SUCCESS),
        _ = interrupt.recv() => {}
    }
    // A command in the foreground has got the signal from the terminal, and needs the servers
    // until it has ended.
    if arguments.command.is_empty() {
        return Ok(ExitCode::from(130));
    }
    tokio::select! {
        code = timeout(LAST, serving) => code.unwrap_or_else(|_elapsed| Ok(ExitCode::from(130))),
        _ = interrupt.recv() => Ok(ExitCode::from(130)),
        _ = terminate.recv() => Ok(ExitCode::SUCCESS),
    }
}

/// Starts the servers and runs the command, or nothing for ever. Dropping the
/// future ends all of them.
async fn serve(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let redis = async {
        match arguments.wants(Kind::Redis) {
            true => RedisServer::start().await.map(Some),
            false => Ok(None),
        }
    };
    let rabbit = async {
        match arguments.wants(Kind::Rabbitmq) {
            true => RabbitServer::start().await.map(Some),
            false => Ok(None),
        }
    };
    let cluster = async {
        match arguments.redis_cluster {
            true => RedisCluster::start_primaries().await.map(Some),
            false => Ok(None),
        }
    };
    let (redis, rabbit, cluster) = tokio::try_join!(redis, rabbit, cluster)?;
    let cluster_url = cluster.as_ref().map(RedisCluster::url);
    let redis_url = redis.as_ref().map(RedisServer::url);
    let amqp_url = rabbit.as_ref().map(RabbitServer::url);
    let control = rabbit
        .as_ref()
        .map(|_there| Control::listen())
        .transpose()?;
    let control_path = control.as_ref().map(Control::path);
    let environment: Vec<(&str, &str)> = [
        (REDIS_URL, redis_url.as_deref()),
        ("DRUMLINE_REDIS_URL", redis_url.as_deref()),
        (REDIS_CLUSTER_URL, cluster_url.as_deref()),
        (AMQP_URL, amqp_url.as_deref()),
        ("DRUMLINE_AMQP_URL", amqp_url.as_deref()),
        (control::CONTROL, control_path.as_deref()),
    ]
    .into_iter()
    .filter_map(|(name, url)| Some((name, url?)))
    .collect();

    let _file = arguments
        .write
        .as_ref()
        .map(|path| AddressFile::write(path, &environment))
        .transpose()?;
    let controlled = async {
        if let (Some(control), Some(rabbit)) = (&control, &rabbit) {
            control.serve(rabbit).await;
        }
        std::future::pending().await
    };
    tokio::select! {
        code = execute(arguments, &environment) => code,
        never = controlled => never,
    }
}

/// Runs the command, or nothing for ever.
async fn execute(arguments: &Arguments, environment: &[(&str, &str)]) -> anyhow::Result<ExitCode> {
    match arguments.command.split_first() {
        Some((program, rest)) => run(program, rest, environment).await,
        None => {
            for (name, url) in environment {
                say(&format!("{name}={url}"));
            }
            std::future::pending().await
        }
    }
}

async fn run(
    program: &str,
    arguments: &[String],
    environment: &[(&str, &str)],
) -> anyhow::Result<ExitCode> {
    let mut child = Command::new(program)
        .args(arguments)
        .envs(environment.iter().copied())
        .spawn()
        .with_context(|| format!("cannot start {program}"))?;
    let guard = TerminateOnDrop(child.id());
    let status = child.wait().await?;
    guard.disarm();
    // A command that was killed by a signal counts as failed.
    let code = status.code().unwrap_or(1);
    Ok(u8::try_from(code).map_or(ExitCode::FAILURE, ExitCode::from))
}

/// Passes our own end on to the command.
struct TerminateOnDrop(Option<u32>);

impl TerminateOnDrop {
    fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for TerminateOnDrop {
    fn drop(&mut self) {
        let pid = self.0.and_then(|pid| i32::try_from(pid).ok());
        if let Some(pid) = pid.and_then(Pid::from_raw) {
            // The command may have ended in this moment; then there is nothing
            // to do.
            if let Err(error) = kill_process(pid, Signal::TERM) {
                say(&format!("the command cannot be terminated: {error}"));
            }
        }
    }
}

/// The file of `--write`, removed when the servers end: a file that is there
/// names servers that are up.
struct AddressFile(PathBuf);

impl AddressFile {
    fn write(path: &PathBuf, environment: &[(&str, &str)]) -> anyhow::Result<Self> {
        let mut text = String::new();
        for (name, url) in environment {
            text.push_str(&format!("{name}={url}\n"));
        }
        // Renamed into place, so that a process that waits for the file reads
        // all of it.
        let draft = path.with_extension("draft");
        std::fs::write(&draft, text)?;
        std::fs::rename(&draft, path)
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self(path.clone()))
    }
}

impl Drop for AddressFile {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.0));
    }
}

#[expect(clippy::print_stdout, reason = "the output of a command")]
fn say(line: &str) {
    println!("{line}");
}
