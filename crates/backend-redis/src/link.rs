//! One connection to Redis that rebuilds itself, and repeats unanswered
//! requests.
//!
//! ```text
//! run() ─┐                  ┌─ a live connection: many requests at a time,
//! run() ─┼─ slot: a shared ─┤  answered in order
//! run() ─┘  future          └─ or the one attempt to connect that all wait for
//! ```
//!
//! A timeout is not a failure: the server may have executed the request. Since
//! every script is harmless to repeat, requests are repeated here until they
//! are answered or the patience is used up; [`error_action()`] chooses the action for
//! each error. A connection on which nothing at all was heard while a request
//! timed out is taken for dead; a connection that is merely slow is kept.

mod bounded;
mod error_action;
mod growth;
mod store_identity;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use drumline_backend::store::{Error, Result};
use drumline_protocol::Backoff;
use futures_util::future::{BoxFuture, FutureExt as _, Shared};
use parking_lot::{Mutex, MutexGuard};
use redis::aio::{MultiplexedConnection, PubSub};
use redis::{AsyncConnectionConfig, Cmd, Pipeline, RedisError, RedisResult, Value};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};

pub(crate) use self::bounded::BoundedLink;
use self::error_action::{ErrorAction, error_action};
pub(crate) use self::growth::Growth;
pub(crate) use self::store_identity::StoreIdentity;
use crate::connect::{Address, Connected, Primary, Sentinels};
use crate::options::Options;
use crate::scripts::SCRIPTS;
use crate::server_info;

/// The most requests that may wait for the connection's task; beyond it,
/// callers wait. Enough that a burst is written to the socket in few pieces.
const WAITING: usize = 512;
/// The pause between two attempts to connect. A server that is starting takes
/// some tens of milliseconds; a server that is gone must not be hammered.
const RECONNECT: Duration = Duration::from_millis(50);
/// The pause before the first repetition; doubled with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
/// The longest pause before any repetition.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// A handle to the connection; cheap to clone.
#[derive(Clone)]
pub(crate) struct Link(Arc<Inner>);

struct Inner {
    settings: Settings,
    /// The moment from which `heard` is counted.
    epoch: Instant,
    // The lock is held for a moment, never across an await.
    slot: Mutex<Slot>,
}

#[derive(Clone)]
struct Settings {
    address: Address,
    config: AsyncConnectionConfig,
    connect_timeout: Duration,
    response_timeout: Duration,
    patience: Duration,
    identity: Arc<OnceLock<StoreIdentity>>,
    growth: Arc<OnceLock<Growth>>,
}

/// The life of a server of the store: another one after each start, and after each
/// promotion.
pub(crate) type Life = Arc<str>;

struct Slot {
    /// Tells a caller with a dead connection if it was replaced already.
    generation: u64,
    connection: Shared<BoxFuture<'static, RedisResult<Live>>>,
}

#[derive(Clone)]
struct Live {
    connected: Connected,
    life: Life,
    /// The time of its last answer, in microseconds since the epoch of the
    /// link.
    heard: Arc<AtomicU64>,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").finish_non_exhaustive()
    }
}

impl Link {
    /// Makes a link that connects when it is first used.
    ///
    /// # Errors
    /// When the URL is invalid.
    pub(crate) fn new(options: &Options) -> Result<Self> {
        let address = Address::of(options)
            .map_err(|error| Error::Unfit(format!("the Redis URL cannot be used: {error}")))?;
        let config = AsyncConnectionConfig::new()
            .set_response_timeout(Some(options.response_timeout))
            .set_pipeline_buffer_size(WAITING);
        Ok(Self::unconnected(Settings {
            address,
            config,
            connect_timeout: options.connect_timeout,
            response_timeout: options.response_timeout,
            patience: options.patience,
            identity: Arc::default(),
            growth: Arc::default(),
        }))
    }

    fn unconnected(settings: Settings) -> Self {
        let connection = connect(&settings, Duration::ZERO);
        Self(Arc::new(Inner {
            settings,
            epoch: Instant::now(),
            slot: Mutex::new(Slot {
                generation: 0,
                connection,
            }),
        }))
    }

    /// A link to the same server, with a connection of its own.
    pub(crate) fn another(&self) -> Self {
        Self::unconnected(self.0.settings.clone())
    }

    /// The longest time for a small answer.
    fn response_timeout(&self) -> Duration {
        self.0.settings.response_timeout
    }

    /// The longest time that a request is repeated for.
    fn patience(&self) -> Duration {
        self.0.settings.patience
    }

    /// Sets the identity that every server connected to from now on must have.
    /// The first identity counts.
    pub(crate) fn require_identity(&self, identity: StoreIdentity) {
        self.0.settings.identity.get_or_init(|| identity);
    }

    /// The life of the server that is connected now.
    ///
    /// # Errors
    /// When it is not available at once.
    pub(crate) async fn life(&self) -> Result<Life> {
        let (_, connecting) = self.current();
        let live = connecting.await;
        live.map(|live| live.life)
            .map_err(|error| unavailable("connecting", error))
    }

    /// Keeps the numbers of the store growing on every server that is connected to from
    /// now on. The first ones count.
    pub(crate) fn require_growth(&self, growth: Growth) {
        self.0.settings.growth.get_or_init(|| growth);
    }

    /// Makes a connection to the same server that listens to channels.
    /// Names the primary that it leads to, if sentinels have named it.
    pub(crate) async fn listen(&self) -> RedisResult<(PubSub, Option<Primary>)> {
        self.0.settings.address.listen().await
    }

    /// Waits until the sentinels name another primary than this one. Cancel-safe.
    pub(crate) async fn moved(&self, from: Option<&Primary>) {
        self.0.settings.address.moved(from).await;
    }

    /// The sentinels that know where the primary is, if there are any.
    pub(crate) fn sentinels(&self) -> Option<&Arc<Sentinels>> {
        self.0.settings.address.sentinels()
    }

    /// The longest time for a connection.
    pub(crate) fn connect_timeout(&self) -> Duration {
        self.0.settings.connect_timeout
    }

    /// Runs one command. See [`Self::run`].
    ///
    /// # Errors
    /// As [`Self::run`].
    pub(crate) async fn run_one(&self, what: &'static str, command: Cmd) -> Result<Value> {
        let mut commands = Pipeline::with_capacity(1);
        commands.add_command(command);
        let answers = self.run(what, &commands).await?;
        Ok(answers.into_iter().next().unwrap_or_default())
    }

    /// Runs commands in one round trip, and again until all are answered. They
    /// must be harmless to repeat. `what` is a word for error messages.
    ///
    /// If the future is dropped, the commands may or may not have been
    /// executed.
    ///
    /// # Errors
    /// When the commands are not answered within the patience, or the server
    /// answers with an error that waiting does not change.
    pub(crate) async fn run(&self, what: &'static str, commands: &Pipeline) -> Result<Vec<Value>> {
        if commands.is_empty() {
            return Ok(Vec::new());
        }
        let (answers, _life) = self.run_on(what, commands, Duration::ZERO).await?;
        Ok(answers)
    }

    /// Does the same as [`Self::run`] for one command at least, and for requests or answers
    /// that take `longer` than small ones. Names the life of the server that has answered.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub(crate) async fn run_on(
        &self,
        what: &'static str,
        commands: &Pipeline,
        longer: Duration,
    ) -> Result<(Vec<Value>, Life)> {
        let deadline = Instant::now() + self.patience() + longer;
        let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        let mut last = None;
        loop {
            let error = match timeout_at(deadline, self.attempt(commands, longer)).await {
                Ok(Ok(answers)) => return Ok(answers),
                Ok(Err(error)) => error,
                Err(_elapsed) => return Err(self.out_of_patience(what, last)),
            };
            match error_action(&error) {
                ErrorAction::Repeat => {}
                ErrorAction::LoadScripts => continue,
                ErrorAction::GiveUp => return Err(unavailable(what, error)),
                ErrorAction::Refuse => return Err(Error::Unfit(format!("{what}: {error}"))),
            }
            tracing::debug!(what, %error, "a call failed and is repeated");
            let pause = backoff.full();
            if Instant::now() + pause >= deadline {
                return Err(self.out_of_patience(what, Some(error)));
            }
            last = Some(error);
            sleep(pause).await;
        }
    }

    /// Runs one command once, for a caller that wants to know the state of the
    /// server now.
    ///
    /// # Errors
    /// When the server does not answer, or answers with an error.
    pub(crate) async fn run_once(&self, what: &'static str, command: Cmd) -> Result<Value> {
        let mut commands = Pipeline::with_capacity(1);
        commands.add_command(command);
        let attempt = self.attempt(&commands, Duration::ZERO);
        let (answers, _life) = attempt.await.map_err(|error| unavailable(what, error))?;
        Ok(answers.into_iter().next().unwrap_or_default())
    }

    /// Tries once, and prepares better conditions for the next try.
    async fn attempt(
        &self,
        commands: &Pipeline,
        longer: Duration,
    ) -> RedisResult<(Vec<Value>, Life)> {
        let (generation, connecting) = self.current();
        let live = match connecting.await {
            Ok(live) => live,
            Err(error) => {
                self.replace(generation, RECONNECT);
                return Err(error);
            }
        };
        let error = match self.ask(&live, commands, longer).await {
            Ok(answers) => return Ok((answers, live.life)),
            Err(error) => error,
        };
        if matches!(error_action(&error), ErrorAction::LoadScripts) {
            self.ask(&live, &SCRIPTS.load(), longer).await?;
        } else if error_action::wants_another_connection(&error) {
            self.replace(generation, Duration::ZERO);
        } else if error_action::is_deserted(&error)
            && let Some(sentinels) = self.sentinels()
        {
            sentinels.doubt().await;
        }
        Err(error)
    }

    async fn ask(
        &self,
        live: &Live,
        commands: &Pipeline,
        longer: Duration,
    ) -> RedisResult<Vec<Value>> {
        let asked = self.micros();
        let mut connection = live.connected.connection.clone();
        keep_growing(&self.0.settings.growth, &mut connection, &live.life).await?;
        connection.set_response_timeout(self.response_timeout() + longer);
        let answered = connection
            .send_packed_commands(commands, 0, commands.len())
            .await;
        match &answered {
            Ok(_) => live.heard.store(self.micros(), Ordering::Relaxed),
            Err(error) if error.is_timeout() && live.heard.load(Ordering::Relaxed) <= asked => {
                return Err(error_action::silent());
            }
            Err(_) => {}
        }
        first_error(answered?)
    }

    /// The connection, or the attempt to make one. A connection to a server that is
    /// not the primary any more is replaced, although it may go on answering.
    fn current(&self) -> (u64, Shared<BoxFuture<'static, RedisResult<Live>>>) {
        let Settings { address, .. } = &self.0.settings;
        let mut slot = self.slot();
        let has_moved = match slot.connection.peek() {
            Some(Ok(live)) => address.has_moved(live.connected.primary.as_ref()),
            Some(Err(_)) | None => false,
        };
        if has_moved {
            slot.generation = slot.generation.wrapping_add(1);
            slot.connection = connect(&self.0.settings, Duration::ZERO);
        }
        (slot.generation, slot.connection.clone())
    }

    /// Puts a new attempt into the slot, unless another caller has done so.
    fn replace(&self, generation: u64, pause: Duration) {
        let mut slot = self.slot();
        if slot.generation == generation {
            slot.generation = generation.wrapping_add(1);
            slot.connection = connect(&self.0.settings, pause);
        }
    }

    /// Replaces the connection to a server in this life, because another connection has
    /// found the server in another one.
    pub(crate) fn leave(&self, life: &Life) {
        let mut slot = self.slot();
        let is_there = matches!(slot.connection.peek(), Some(Ok(live)) if live.life == *life);
        if is_there {
            slot.generation = slot.generation.wrapping_add(1);
            slot.connection = connect(&self.0.settings, Duration::ZERO);
        }
    }

    fn slot(&self) -> MutexGuard<'_, Slot> {
        self.0.slot.lock()
    }

    fn micros(&self) -> u64 {
        u64::try_from(self.0.epoch.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn out_of_patience(&self, what: &str, last: Option<RedisError>) -> Error {
        let patience = self.patience();
        match last {
            Some(error) => unavailable(&format!("{what}: no answer within {patience:?}"), error),
            None => Error::Unavailable {
                message: format!("{what}: no answer within {patience:?}"),
                source: None,
            },
        }
    }
}

/// The answers, or the first error among them: requests are repeated together.
fn first_error(answers: Vec<Value>) -> RedisResult<Vec<Value>> {
    for answer in &answers {
        if let Value::ServerError(error) = answer {
            return Err(error.clone().into());
        }
    }
    Ok(answers)
}

fn unavailable(what: &str, error: RedisError) -> Error {
    Error::Unavailable {
        message: format!("{what}: {error}"),
        source: Some(Arc::new(error)),
    }
}

/// Makes one attempt to connect, for all waiting callers. The role, the scripts and the
/// identity are verified before any caller uses the connection: the server may be
/// another one.
fn connect(settings: &Settings, pause: Duration) -> Shared<BoxFuture<'static, RedisResult<Live>>> {
    let Settings {
        address,
        config,
        identity,
        growth,
        ..
    } = settings.clone();
    let attempt = async move {
        sleep(pause).await;
        let connected = address.connect(&config).await?;
        let mut connection = connected.connection.clone();
        // A server that wants a password closes the connection before it has
        // one on any command as long as a script, and then the reason is lost.
        let mut info = redis::pipe();
        info.cmd("INFO")
            .arg("server")
            .cmd("INFO")
            .arg("replication");
        let (server, replication): (String, String) = info.query_async(&mut connection).await?;
        // A caller that only looks at a server may look at a replica.
        let wants_primary = identity.get().is_some() || address.sentinels().is_some();
        if wants_primary && server_info::field(&replication, "role") != "master" {
            return Err(error_action::replica());
        }
        let load = SCRIPTS.load();
        first_error(
            connection
                .send_packed_commands(&load, 0, load.len())
                .await?,
        )?;
        if let Some(identity) = identity.get() {
            identity.verify_or_init(&mut connection).await?;
        }
        let run_id = server_info::field(&server, "run_id");
        let history = server_info::field(&replication, "master_replid");
        let life = Life::from(format!("{run_id} {history}"));
        keep_growing(&growth, &mut connection, &life).await?;
        tracing::debug!("connected to Redis");
        Ok(Live {
            connected,
            life,
            heard: Arc::default(),
        })
    };
    // In a task: a caller that gives up leaves the attempt in the slot, and one that
    // no caller polls would hold up others for ever, at the sentinels for example.
    let attempt = async move {
        let mut task = JoinSet::new();
        task.spawn(attempt);
        match task.join_next().await {
            Some(Ok(connected)) => connected,
            Some(Err(_)) | None => Err(error_action::silent()),
        }
    };
    attempt.boxed().shared()
}

/// Moves the numbers of the store past those of the server before, if this is another
/// one. A server that writes nothing now issues no numbers either, and is asked again
/// with the next request.
async fn keep_growing(
    growth: &OnceLock<Growth>,
    connection: &mut MultiplexedConnection,
    life: &Life,
) -> RedisResult<()> {
    let Some(growth) = growth.get().filter(|growth| growth.is_due(life)) else {
        return Ok(());
    };
    match growth.ensure(connection, life).await {
        Err(error) if error_action::writes_nothing(&error) => {
            tracing::debug!(%error, "the numbers of the store are not moved yet");
            Ok(())
        }
        ensured => ensured,
    }
}
