//! The home of a private server: its directory, its process, its helpers, and
//! the sweeper that ends all of them with the test.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::Signal;

use crate::process::Process;
use crate::ready::{self, Greeting};
use crate::sweeper::Sweeper;

/// Tells apart the directories of one process.
static COUNTER: AtomicU32 = AtomicU32::new(0);

/// The life of one private server. Dropping it ends everything in it.
#[derive(Debug)]
pub(crate) struct Home {
    directory: PathBuf,
    residents: Mutex<Residents>,
}

// Dropped in this order: processes first, the sweeper then removes the files.
#[derive(Debug)]
struct Residents {
    server: Option<Process>,
    helper: Option<Process>,
    sweeper: Sweeper,
}

impl Residents {
    fn tell_sweeper(&mut self) -> anyhow::Result<()> {
        let groups: Vec<u32> = [&self.server, &self.helper]
            .into_iter()
            .flatten()
            .map(Process::group)
            .collect();
        self.sweeper.watch(&groups)
    }
}

impl Home {
    /// An empty home with a `data` directory and no process in it.
    pub(crate) fn create(kind: &str) -> anyhow::Result<Self> {
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let name = format!("drumline-{kind}-{}-{number}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir_all(directory.join("data"))
            .with_context(|| format!("cannot create {}", directory.display()))?;
        let residents = Residents {
            server: None,
            helper: None,
            sweeper: Sweeper::start(&directory)?,
        };
        Ok(Self {
            directory,
            residents: Mutex::new(residents),
        })
    }

    /// A path in the home.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// The path of the server's log.
    pub(crate) fn log(&self) -> PathBuf {
        self.path("log")
    }

    /// Starts a process that stays until the home ends, over kills and
    /// restarts of the server.
    pub(crate) async fn start_helper(
        &self,
        command: &mut Command,
        port: u16,
        greeting: Greeting,
        patience: Duration,
    ) -> anyhow::Result<()> {
        let mut process = Process::start(command, &self.path("helper-log"))?;
        ready::wait(&mut process, port, greeting, patience).await?;
        let mut residents = self.residents();
        residents.helper = Some(process);
        residents.tell_sweeper()
    }

    /// Kills the server if it runs, starts it, and waits until it answers.
    pub(crate) async fn restart(
        &self,
        command: &mut Command,
        port: u16,
        greeting: Greeting,
        patience: Duration,
    ) -> anyhow::Result<()> {
        self.kill()?;
        let mut process = Process::start(command, &self.log())?;
        {
            // The sweeper is notified first: a test that is killed while the
            // server starts leaves no process behind.
            let mut residents = self.residents();
            let mut groups = vec![process.group()];
            groups.extend(residents.helper.as_ref().map(Process::group));
            residents.sweeper.watch(&groups)?;
        }
        ready::wait(&mut process, port, greeting, patience).await?;
        self.residents().server = Some(process);
        Ok(())
    }

    /// Kills the server, if it runs, and waits until it is gone.
    pub(crate) fn kill(&self) -> anyhow::Result<()> {
        let mut residents = self.residents();
        if let Some(mut process) = residents.server.take() {
            process.kill()?;
        }
        residents.tell_sweeper()
    }

    /// Sends the server a signal.
    pub(crate) fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        self.residents()
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
    fn residents(&self) -> MutexGuard<'_, Residents> {
        self.residents
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn remove(directory: &Path) -> anyhow::Result<()> {
    std::fs::remove_dir_all(directory)
        .with_context(|| format!("cannot delete {}", directory.display()))
}
