//! A fleet of whole processes on private servers.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use drumline_test_servers::{RabbitServer, RedisOptions, RedisServer, TcpProxy, free_port};
use rustix::process::{Pid, Signal};
use tokio::process::{Child, Command};

use crate::api::{Api, Calls};
use crate::secrets;
use drumline_drill::recorder::release_file;
use drumline_drill::sink::Sink;
use drumline_oracle::journal::{History, Journal};

/// The journals: of handlers, of clients, and of the sink.
const RUNS: &str = "journal.jsonl";
const CALLS: &str = "calls.jsonl";
const SINK: &str = "sink.jsonl";

/// The size of a fleet, and its settings.
#[derive(Clone, Debug)]
pub struct Size {
    /// Queue managers.
    pub managers: usize,
    /// Workers.
    pub workers: usize,
    /// Operations that a worker runs at once.
    pub concurrency: usize,
    /// The lease of the workers' locks.
    pub lease: Duration,
    /// The partitions of the store, and so the lanes.
    pub partitions: u16,
    /// The queues that the workers serve, besides `default`.
    pub queues: &'static [&'static str],
    /// The bytes per second between Redis and the processes, each way; `None`: no
    /// limit.
    pub redis_bytes_per_second: Option<u64>,
    /// The handlers of the workers: a file in `examples/`. `None`: the workers
    /// write the journal.
    pub handlers: Option<&'static str>,
}

impl Default for Size {
    fn default() -> Self {
        Self {
            managers: 2,
            workers: 4,
            concurrency: 16,
            lease: Duration::from_secs(3),
            partitions: 64,
            queues: &[],
            redis_bytes_per_second: None,
            handlers: None,
        }
    }
}

/// A process that was started here and ends with its value.
#[derive(Debug)]
pub struct Process {
    child: Child,
    pid: u32,
}

impl Process {
    /// Starts a command that logs into a file (appending).
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(command: &mut Command, log: &Path) -> Result<Self> {
        let log = File::options().create(true).append(true).open(log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("start {command:?} (`cargo build --workspace` makes it)"))?;
        let pid = child.id().context("it has ended already")?;
        Ok(Self { child, pid })
    }

    /// Its process id.
    #[must_use]
    pub const fn pid(&self) -> u32 {
        self.pid
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// When there is no such process.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_raw(i32::try_from(self.pid)?).context("not a process id")?;
        rustix::process::kill_process(pid, signal).context("signal a process")
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    /// When it has not ended after `limit`.
    pub async fn ended(&mut self, limit: Duration) -> Result<std::process::ExitStatus> {
        Ok(tokio::time::timeout(limit, self.child.wait())
            .await
            .context("the process has not ended in time")??)
    }
}

/// Servers, managers and workers.
#[derive(Debug)]
pub struct Fleet {
    /// The private Redis, or one server of a group.
    pub redis: Arc<RedisServer>,
    /// Its address, as the processes have it.
    redis_url: String,
    /// The private RabbitMQ, or one node of it.
    pub rabbit: Arc<RabbitServer>,
    /// The managers.
    pub managers: Vec<Process>,
    /// The workers.
    pub workers: Vec<Process>,
    size: Size,
    /// Further variables of the environment of every process.
    environment: Vec<(String, String)>,
    /// The slow line to Redis, and the address of Redis through it.
    line: Option<(TcpProxy, String)>,
    bases: Vec<String>,
    folder: PathBuf,
    /// The calls of all clients of the fleet.
    calls: Arc<Calls>,
    /// The sink that the handlers write to.
    pub sink: Sink,
}

impl Fleet {
    /// Starts everything and waits until it is ready.
    ///
    /// # Errors
    /// When something does not start in time; the logs are in the folder that
    /// the error names.
    pub async fn start(name: &str, size: Size) -> Result<Self> {
        Self::start_with(name, size, Vec::new()).await
    }

    /// Starts everything, with these variables in the environment of every process.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn start_with(
        name: &str,
        size: Size,
        environment: Vec<(String, String)>,
    ) -> Result<Self> {
        let options = RedisOptions {
            arguments: secrets::redis_arguments(),
            ..RedisOptions::default()
        };
        let redis = RedisServer::start_with(options);
        let (redis, rabbit) = tokio::try_join!(redis, RabbitServer::start())?;
        let redis_url = secrets::with_user(&redis.url());
        let redis = (redis.into(), redis_url);
        Self::start_at(name, size, redis, rabbit.into(), environment).await
    }

    /// Starts managers and workers on servers that have data already, with these
    /// variables in their environment.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn start_on(
        name: &str,
        size: Size,
        redis: impl Into<Arc<RedisServer>>,
        rabbit: impl Into<Arc<RabbitServer>>,
        environment: Vec<(String, String)>,
    ) -> Result<Self> {
        let redis: Arc<RedisServer> = redis.into();
        let redis_url = redis.url();
        Self::start_at(name, size, (redis, redis_url), rabbit.into(), environment).await
    }

    async fn start_at(
        name: &str,
        size: Size,
        (redis, redis_url): (Arc<RedisServer>, String),
        rabbit: Arc<RabbitServer>,
        environment: Vec<(String, String)>,
    ) -> Result<Self> {
        let folder = build_folder()
            .join("fleets")
            .join(format!("{name}-{}", std::process::id()));
        if folder.exists() {
            std::fs::remove_dir_all(&folder)?;
        }
        std::fs::create_dir_all(&folder)?;
        let mut line = None;
        if let Some(bytes_per_second) = size.redis_bytes_per_second {
            let address = redis.address();
            let proxy = TcpProxy::start(&address).await?;
            proxy.throttle(bytes_per_second);
            let through = proxy.url(&redis_url, &address);
            line = Some((proxy, through));
        }
        let calls = Arc::new(Calls::new(Journal::open(&folder.join(CALLS))?));
        let sink = Sink::start(Journal::open(&folder.join(SINK))?).await?;
        let mut fleet = Self {
            calls,
            sink,
            line,
            redis,
            redis_url,
            rabbit,
            managers: Vec::new(),
            workers: Vec::new(),
            size: size.clone(),
            environment,
            bases: Vec::new(),
            folder,
        };
        for _ in 0..size.managers {
            fleet.add_manager()?;
        }
        for base in fleet.bases.clone() {
            fleet.ready(&base).await?;
        }
        for _ in 0..size.workers {
            fleet.add_worker()?;
        }
        fleet.workers_alive(size.workers).await?;
        Ok(fleet)
    }

    /// The operations that the workers of its size run at once.
    #[must_use]
    pub const fn places(&self) -> usize {
        self.size.workers * self.size.concurrency
    }

    /// Has held steps go on until [`Fleet::release`], also after an earlier one.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn hold(&self) -> Result<()> {
        let released = release_file(&self.journal());
        if released.exists() {
            std::fs::remove_file(&released)?;
        }
        Ok(())
    }

    /// Lets held steps come to their end.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn release(&self) -> Result<()> {
        std::fs::write(release_file(&self.journal()), "").context("let held steps go")
    }

    /// The journal that the handlers of the workers write.
    fn journal(&self) -> PathBuf {
        self.folder.join(RUNS)
    }

    /// The journals of handlers, clients and sink.
    ///
    /// # Errors
    /// When a line cannot be read.
    pub fn history(&self) -> Result<History> {
        let journals = [RUNS, CALLS, SINK].map(|name| self.folder.join(name));
        let there: Vec<_> = journals.iter().filter(|path| path.exists()).collect();
        History::read(&there)
    }

    /// The lease of the workers' locks.
    #[must_use]
    pub const fn lease(&self) -> Duration {
        self.size.lease
    }

    /// The folder of the logs and the journal.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The address of one of the managers: `http://127.0.0.1:1234`.
    #[must_use]
    pub fn base(&self, number: usize) -> &str {
        let base = self.bases.get(number % self.bases.len().max(1));
        base.map_or("", String::as_str)
    }

    /// A client of one of the managers.
    #[must_use]
    pub fn api(&self, number: usize) -> Api {
        Api::recorded(self.base(number), &self.calls)
    }

    /// A client of each manager.
    #[must_use]
    pub fn apis(&self) -> Vec<Api> {
        let bases = self.bases.iter();
        bases.map(|base| Api::recorded(base, &self.calls)).collect()
    }

    /// The sum of a metric over the managers.
    ///
    /// # Errors
    /// When a manager does not answer, or has no such metric.
    pub async fn metric(&self, name: &str) -> Result<f64> {
        let mut sum = 0.0;
        for base in &self.bases {
            sum += Api::new(base).metric(name).await?;
        }
        Ok(sum)
    }

    /// Starts one more manager.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn add_manager(&mut self) -> Result<()> {
        self.add_manager_with(&[])
    }

    /// Starts one more manager, with these variables in its environment.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn add_manager_with(&mut self, environment: &[(&str, String)]) -> Result<()> {
        let base = format!("http://127.0.0.1:{}", free_port()?);
        self.managers.push(self.manager_at(&base, environment)?);
        self.bases.push(base);
        Ok(())
    }

    /// Kills a manager and starts another one at its address.
    ///
    /// # Errors
    /// When there is no such manager, or the new one cannot be started.
    pub async fn replace_manager(&mut self, number: usize) -> Result<()> {
        let base = self.bases.get(number).context("a manager")?.clone();
        let mut killed = self.managers.remove(number);
        killed.signal(Signal::KILL)?;
        // Its port is free then.
        killed.ended(Duration::from_secs(60)).await?;
        self.managers.insert(number, self.manager_at(&base, &[])?);
        self.ready(&base).await
    }

    fn manager_at(&self, base: &str, environment: &[(&str, String)]) -> Result<Process> {
        let address = base.trim_start_matches("http://");
        let port = address.rsplit(':').next().unwrap_or_default();
        let mut command = self.command("drumline");
        command.args(["queue-manager", "--listen", address]);
        command.envs(environment.iter().cloned());
        let log = self.folder.join(format!("manager-{port}.log"));
        Process::start(&mut command, &log)
    }

    /// Replaces a manager as a rolling restart does: starts another one, and then asks the
    /// old one to end. Returns the old one, which still serves for a while, and its
    /// address, which is not among those of the managers any more.
    ///
    /// # Errors
    /// When there is no such manager, or the new one does not start.
    pub async fn roll_manager(&mut self, number: usize) -> Result<(Process, String)> {
        self.add_manager()?;
        let newest = self.bases.last().context("a manager")?.clone();
        self.ready(&newest).await?;
        if number + 1 >= self.managers.len() {
            bail!("there is no manager {number}");
        }
        let (old, base) = (self.managers.remove(number), self.bases.remove(number));
        old.signal(Signal::TERM)?;
        Ok((old, base))
    }

    /// Kills a manager, as a crash does; it is not among the managers then.
    ///
    /// # Errors
    /// When there is no such manager.
    pub fn kill_manager(&mut self, number: usize) -> Result<()> {
        let Self {
            managers, bases, ..
        } = self;
        if number >= managers.len().min(bases.len()) {
            bail!("there is no manager {number}");
        }
        bases.remove(number);
        managers.remove(number).signal(Signal::KILL)
    }

    /// Starts one more worker.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn add_worker(&mut self) -> Result<()> {
        self.add_worker_with(&[])
    }

    /// Starts one more worker, with these variables in its environment.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn add_worker_with(&mut self, environment: &[(&str, String)]) -> Result<()> {
        let mut command = match self.size.handlers {
            None => self.command("chaos-worker"),
            Some(file) => {
                let mut command = self.command("drumline");
                command
                    .arg("worker")
                    .arg("--handlers")
                    .arg(examples().join(file));
                command
            }
        };
        let lease_ms = self.size.lease.as_millis();
        command
            .env("CHAOS_JOURNAL", self.journal())
            .env("CHAOS_SINK", self.sink.address().to_string())
            .env("CHAOS_CONCURRENCY", self.size.concurrency.to_string())
            .env("CHAOS_LEASE_MS", lease_ms.to_string())
            .env("DRUMLINE_CONCURRENCY", self.size.concurrency.to_string())
            .env("DRUMLINE_LEASE", format!("{lease_ms}ms"))
            .env("CHAOS_QUEUES", self.size.queues.join(","))
            .envs(environment.iter().cloned());
        let log = self
            .folder
            .join(format!("worker-{}.log", self.workers.len()));
        self.workers.push(Process::start(&mut command, &log)?);
        Ok(())
    }

    /// Waits until so many workers say that they are alive.
    ///
    /// # Errors
    /// When too few are alive in time.
    pub async fn workers_alive(&self, count: usize) -> Result<()> {
        let api = self.api(0);
        self.eventually("workers alive", async || {
            let workers = api.read("/v1/workers").await?;
            let alive = workers["workers"].as_array().map_or(0, Vec::len);
            if alive < count {
                bail!("{alive} of {count} workers are alive");
            }
            Ok(())
        })
        .await
    }

    async fn ready(&self, base: &str) -> Result<()> {
        let api = Api::new(base);
        self.eventually("manager ready", async || {
            api.read("/readyz").await.map(drop)
        })
        .await
    }

    /// Tries until it works, for a time that is long enough for a dozen processes to start on
    /// a busy machine.
    async fn eventually(
        &self,
        what: &str,
        mut attempt: impl AsyncFnMut() -> Result<()>,
    ) -> Result<()> {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(180);
        loop {
            match attempt().await {
                Ok(()) => return Ok(()),
                Err(error) if tokio::time::Instant::now() > deadline => {
                    return Err(
                        error.context(format!("{what}; logs are in {}", self.folder.display()))
                    );
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    /// A program of this build, set up for this fleet's servers.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env(
                "DRUMLINE_REDIS_URL",
                self.line
                    .as_ref()
                    .map_or_else(|| self.redis_url.clone(), |(_, through)| through.clone()),
            )
            .env("DRUMLINE_AMQP_URL", self.rabbit.url())
            .env("DRUMLINE_DRAIN_DELAY", "0s")
            .env("DRUMLINE_WEBHOOK_SECRET", secrets::WEBHOOK_SECRET)
            .env("DRUMLINE_PARTITIONS", self.size.partitions.to_string())
            .env(
                "DRUMLINE_SERVER",
                self.bases.first().map_or("", String::as_str),
            )
            .env("PATH", search_path())
            .env_remove("DRUMLINE_CONFIG")
            .envs(self.environment.iter().cloned())
            .current_dir(&self.folder);
        command
    }
}

/// A file for the measurements of a test, beside the folders of the fleets.
#[must_use]
pub fn summary(name: &str) -> PathBuf {
    build_folder().join("fleets").join(name)
}

/// The folder in which cargo puts the programs: beside the folder of this very
/// test.
fn build_folder() -> PathBuf {
    let mut folder = std::env::current_exe().expect("a test has a path");
    folder.pop();
    if folder.ends_with("deps") {
        folder.pop();
    }
    folder
}

/// The programs of this build first, then the machine's.
#[expect(
    clippy::disallowed_methods,
    reason = "extends the path of a child process"
)]
fn search_path() -> OsString {
    let mut path = build_folder().into_os_string();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    path
}

/// The folder of the examples.
#[must_use]
pub fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples")
}
