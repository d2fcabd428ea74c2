//! The processes of a drill. All of them end with the drill, however it ends.
//!
//! They are in one process group. A shell that leads the group reads from a pipe of the drill.
//! When the pipe closes, because the drill has ended or was killed, the shell kills the group.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::plan::Plan;
use crate::recorder;
use crate::target::{Target, WorkerSettings};

/// The time that a process may take to be ready, also while the broker starts again on a busy
/// machine.
const READY: Duration = Duration::from_secs(180);
/// The time that a drained worker may take to end: what its handlers have takes seconds, and the
/// rest is for a busy machine.
const DRAINED: Duration = Duration::from_secs(120);

/// Kills its process group when nothing more comes.
const REAPER: &str = "while read -r _; do :; done; kill -s KILL 0";

/// The shell that kills the group.
#[derive(Debug)]
struct Reaper {
    shell: Child,
    group: i32,
}

impl Reaper {
    fn start() -> Result<Self> {
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", REAPER, "drumline-drill-reaper"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0);
        let shell = command.spawn().context("cannot start /bin/sh")?;
        let group = shell.id().context("the shell has ended at once")?;
        Ok(Self {
            group: i32::try_from(group)?,
            shell,
        })
    }

    /// Kills the group, and waits until the shell is gone.
    async fn end(&mut self) {
        drop(self.shell.stdin.take());
        drop(self.shell.wait().await);
    }
}

/// A process that ends with its value.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    pub(crate) pid: u32,
    /// Its name, for people.
    pub(crate) name: String,
}

impl Process {
    /// Starts a command and waits for its line `ready`; returns what is behind the word.
    async fn start(
        command: std::process::Command,
        name: String,
        folder: &Path,
        group: i32,
    ) -> Result<(Self, String)> {
        let log = folder.join(format!("{}.log", name.replace(' ', "-")));
        let log_file = File::options().create(true).append(true).open(&log)?;
        let mut child = Command::from(command)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log_file)
            .process_group(group)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("start {name}"))?;
        let pid = child.id().context("it has ended at once")?;
        let out = child.stdout.take().context("no standard output")?;
        let mut lines = BufReader::new(out).lines();
        let said = timeout(READY, lines.next_line()).await;
        let said = said.with_context(|| format!("{name} is not ready after {READY:?}"))??;
        let process = Self { child, pid, name };
        match said.as_deref().and_then(|line| line.strip_prefix("ready")) {
            Some(behind) => Ok((process, behind.trim().to_owned())),
            None => bail!("{} has not started: {}", process.name, tail(&log)),
        }
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_raw(i32::try_from(self.pid)?).context("not a process id")?;
        let sent = rustix::process::kill_process(pid, signal);
        sent.with_context(|| format!("signal {}", self.name))
    }

    /// Kills it, and waits until it is gone.
    pub(crate) async fn kill(mut self) -> Result<()> {
        self.child.kill().await?;
        Ok(())
    }

    /// Waits until it has ended by itself.
    pub(crate) async fn ended(mut self) -> Result<()> {
        let ended = timeout(DRAINED, self.child.wait()).await;
        let status = ended.with_context(|| format!("{} is not drained", self.name))??;
        ensure!(status.success(), "{} ended with {status}", self.name);
        Ok(())
    }
}

/// The last line of a log.
fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let last = text.lines().rfind(|line| !line.trim().is_empty());
    last.unwrap_or("it has said nothing").to_owned()
}

/// The addresses of the managers, for clients. One whose process is dead is not among them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bases(Arc<Mutex<Vec<Option<String>>>>);

impl Bases {
    fn lock(&self) -> MutexGuard<'_, Vec<Option<String>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One of them, drawn.
    pub(crate) fn any(&self, random: &mut fastrand::Rng) -> Option<String> {
        let bases = self.all();
        random.choice(&bases).cloned()
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<String> {
        self.lock().iter().flatten().cloned().collect()
    }

    fn set(&self, place: usize, base: Option<String>) {
        let mut bases = self.lock();
        if bases.len() <= place {
            bases.resize(place + 1, None);
        }
        if let Some(at) = bases.get_mut(place) {
            *at = base;
        }
    }
}

/// Managers and workers.
#[derive(Debug)]
pub(crate) struct Fleet {
    pub(crate) managers: Vec<Process>,
    pub(crate) workers: Vec<Process>,
    pub(crate) bases: Bases,
    reaper: Reaper,
    folder: PathBuf,
    auth_file: PathBuf,
    worker: WorkerSettings,
    started: usize,
}

impl Fleet {
    /// A fleet without processes.
    pub(crate) fn new(
        plan: &Plan,
        folder: &Path,
        auth_file: PathBuf,
        recorder: recorder::Options,
    ) -> Result<Self> {
        Ok(Self {
            managers: Vec::new(),
            workers: Vec::new(),
            bases: Bases::default(),
            reaper: Reaper::start()?,
            folder: folder.to_owned(),
            auth_file,
            worker: WorkerSettings {
                recorder,
                concurrency: plan.concurrency,
                lease: plan.lease,
            },
            started: 0,
        })
    }

    /// Starts all processes.
    pub(crate) async fn start(&mut self, target: &dyn Target, plan: &Plan) -> Result<()> {
        for place in 0..plan.managers {
            self.start_manager(target, place).await?;
        }
        for _ in 0..plan.workers {
            self.start_worker(target).await?;
        }
        Ok(())
    }

    /// Starts a manager in a place that has none.
    pub(crate) async fn start_manager(&mut self, target: &dyn Target, place: usize) -> Result<()> {
        let command = target.manager_process(&self.auth_file)?;
        let name = self.name("manager");
        let group = self.reaper.group;
        let (process, base) = Process::start(command, name, &self.folder, group).await?;
        self.managers
            .insert(place.min(self.managers.len()), process);
        self.bases.set(place, Some(base));
        Ok(())
    }

    /// Kills a manager; its place is empty then.
    pub(crate) async fn kill_manager(&mut self, place: usize) -> Result<String> {
        ensure!(place < self.managers.len(), "there is no manager {place}");
        let process = self.managers.remove(place);
        let name = process.name.clone();
        process.kill().await?;
        self.bases.set(place, None);
        Ok(name)
    }

    /// Starts one more worker.
    pub(crate) async fn start_worker(&mut self, target: &dyn Target) -> Result<()> {
        let command = target.worker_process(&self.worker)?;
        let name = self.name("worker");
        let group = self.reaper.group;
        let (process, _nothing) = Process::start(command, name, &self.folder, group).await?;
        self.workers.push(process);
        Ok(())
    }

    fn name(&mut self, kind: &str) -> String {
        self.started += 1;
        format!("{kind} {}", self.started)
    }

    /// Kills all processes, and waits until they are gone.
    pub(crate) async fn end(mut self) {
        // Those of the group that another process has started, too.
        self.reaper.end().await;
        for process in self.managers.drain(..).chain(self.workers.drain(..)) {
            // It was killed with the group.
            drop(process.kill().await);
        }
    }
}

/// A folder that only this user can read.
pub(crate) fn private_folder(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().mode(0o700).create(path)
}
