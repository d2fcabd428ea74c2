//! The directory of a private server, its processes, and the reaper that ends all
//! of them with the test.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::Signal;

use crate::process::Process;
use crate::ready::{self, Probe};
use crate::reaper::Reaper;
use crate::shared::named;

/// The file system in memory of Linux.
const MEMORY: &str = "/dev/shm";

/// The room that a file system in memory must have: some servers at once, and
/// RabbitMQ far from its alarm (50 MB).
const ROOM: u64 = 2 << 30;

/// The folder of Debian's libraries, and the library that `make test` installs.
const LIBRARIES: &str = "/usr/lib";
const EATMYDATA: &str = "libeatmydata.so";

/// Tells apart the directories of one process.
static COUNTER: AtomicU32 = AtomicU32::new(0);

/// The directory and the processes of one private server. Dropping it ends the
/// processes and removes the files.
#[derive(Debug)]
pub(crate) struct ServerDir {
    directory: PathBuf,
    /// The library that is loaded before others, if one is.
    preload: Option<PathBuf>,
    processes: Mutex<Processes>,
}

// Dropped in this order: processes first, the reaper then removes the files.
#[derive(Debug)]
struct Processes {
    server: Option<Process>,
    helper: Option<Process>,
    reaper: Reaper,
}

impl Processes {
    fn notify_reaper(&mut self) -> anyhow::Result<()> {
        let groups: Vec<u32> = [&self.server, &self.helper]
            .into_iter()
            .flatten()
            .map(Process::group)
            .collect();
        self.reaper.watch(&groups)
    }
}

impl ServerDir {
    /// A directory with an empty `data` in it, and no process.
    pub(crate) fn create(kind: &str) -> anyhow::Result<Self> {
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let name = format!("drumline-{kind}-{}-{number}", std::process::id());
        let Parent { folder, preload } = parent();
        let directory = folder.join(name);
        if directory.exists() {
            // A process of the same id has left it behind, killed together with its reaper. A
            // server would go on with its data.
            remove(&directory)?;
        }
        std::fs::create_dir_all(directory.join("data"))
            .with_context(|| format!("cannot create {}", directory.display()))?;
        let processes = Processes {
            server: None,
            helper: None,
            reaper: Reaper::start(&directory)?,
        };
        Ok(Self {
            directory,
            preload,
            processes: Mutex::new(processes),
        })
    }

    /// A path in the directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// The path of the server's log.
    pub(crate) fn log(&self) -> PathBuf {
        self.path("log")
    }

    /// Starts a process that lives as long as the directory, over kills and
    /// restarts of the server.
    pub(crate) async fn start_helper(
        &self,
        command: &mut Command,
        port: u16,
        probe: Probe,
        start_timeout: Duration,
    ) -> anyhow::Result<()> {
        let mut process = Process::start(command, &self.path("helper-log"))?;
        ready::wait(&mut process, port, probe, start_timeout).await?;
        let mut processes = self.processes();
        processes.helper = Some(process);
        processes.notify_reaper()
    }

    /// Kills the server if it runs, starts it, and waits until it answers.
    pub(crate) async fn restart(
        &self,
        command: &mut Command,
        port: u16,
        probe: Probe,
        start_timeout: Duration,
    ) -> anyhow::Result<()> {
        self.kill()?;
        if let Some(library) = &self.preload {
            command.env("LD_PRELOAD", library);
        }
        let mut process = Process::start(command, &self.log())?;
        {
            // The reaper is notified first: a test that is killed while the
            // server starts leaves no process behind.
            let mut processes = self.processes();
            let mut groups = vec![process.group()];
            groups.extend(processes.helper.as_ref().map(Process::group));
            processes.reaper.watch(&groups)?;
        }
        ready::wait(&mut process, port, probe, start_timeout).await?;
        self.processes().server = Some(process);
        Ok(())
    }

    /// Kills the server, if it runs, and waits until it is gone.
    pub(crate) fn kill(&self) -> anyhow::Result<()> {
        let mut processes = self.processes();
        if let Some(mut process) = processes.server.take() {
            process.kill()?;
        }
        processes.notify_reaper()
    }

    /// Sends the server a signal.
    pub(crate) fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        self.processes()
            .server
            .as_ref()
            .context("the server is not running")?
            .signal(signal)
    }

    /// Kills the server and deletes its data.
    pub(crate) fn wipe(&self) -> anyhow::Result<()> {
        self.kill()?;
        let data = self.path("data");
        remove(&data)?;
        std::fs::create_dir_all(&data).context("cannot create the data directory")
    }

    /// The content, also after a panic elsewhere: a failing test cleans up too.
    fn processes(&self) -> MutexGuard<'_, Processes> {
        self.processes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// The folder of the directories, and the library that its servers are to load.
struct Parent {
    folder: PathBuf,
    preload: Option<PathBuf>,
}

/// The folder of the directories: `TMPDIR` if it is set, else in memory, else
/// on a disk.
///
/// Both servers wait for `fsync` before they confirm: milliseconds on many a
/// disk, and seconds while others write to it. A server that is killed finds its
/// data again all the same, for the kernel lives on. So the servers of tests do not
/// wait on a disk either, if libeatmydata is there. `TMPDIR` is set by a person who
/// wants to measure the disk.
fn parent() -> Parent {
    if let Some(folder) = named("TMPDIR") {
        return Parent {
            folder: PathBuf::from(folder),
            preload: None,
        };
    }
    let room = rustix::fs::statvfs(MEMORY).map_or(0, |fs| fs.f_bavail.saturating_mul(fs.f_frsize));
    if room >= ROOM {
        return Parent {
            folder: PathBuf::from(MEMORY),
            preload: None,
        };
    }
    Parent {
        folder: std::env::temp_dir(),
        preload: without_fsync(),
    }
}

/// The library in which `fsync` and the like do nothing. Each architecture has a folder
/// of its own.
fn without_fsync() -> Option<PathBuf> {
    let folders = std::fs::read_dir(LIBRARIES).ok()?;
    let paths = folders.flatten().map(|one| one.path().join(EATMYDATA));
    paths.into_iter().find(|path| path.exists())
}

fn remove(directory: &Path) -> anyhow::Result<()> {
    std::fs::remove_dir_all(directory)
        .with_context(|| format!("cannot delete {}", directory.display()))
}
