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
//! each error.
//!
//! A server that is overloaded must get less work from us, not more. So a request
//! that was not answered is repeated when a `PING` behind it is answered, which
//! says that it is over; a connection whose `PING` is not answered is dead. A
//! request is repeated a few times only, with a longer timeout each time, and few
//! are repeated at the same time. Attempts to connect have growing pauses, which
//! differ among processes.

mod bounded;
mod connection;
mod error_action;
mod growth;
mod store_identity;

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use drumline_backend::Random;
use drumline_backend::store::{Error, Result};
use drumline_protocol::Backoff;
use futures_util::future::OptionFuture;
use parking_lot::{Mutex, MutexGuard};
use redis::aio::PubSub;
use redis::{AsyncConnectionConfig, Cmd, Pipeline, RedisError, RedisResult, Value};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout_at};

pub(crate) use self::bounded::BoundedLink;
pub(crate) use self::connection::Life;
use self::connection::{Connecting, Live, connect};
use self::error_action::{ErrorAction, error_action};
pub(crate) use self::growth::Growth;
pub(crate) use self::store_identity::StoreIdentity;
use crate::connect::{Address, Primary, Sentinels};
use crate::options::Options;
use crate::scripts::SCRIPTS;

/// The most requests that may wait for the connection's task; beyond it,
/// callers wait. Enough that a burst is written to the socket in few pieces.
const WAITING: usize = 512;
/// The pause before the first attempt to connect again; doubled with each further
/// one. A server that is starting takes some tens of milliseconds.
const FIRST_RECONNECT: Duration = Duration::from_millis(50);
/// The longest pause between two attempts to connect. A server that is gone, or
/// that thousands of processes come back to, must not be hammered.
const LONGEST_RECONNECT: Duration = Duration::from_secs(2);
/// The most repetitions of a request that the server may have executed.
const REPEATS: u32 = 5;
/// The most requests of a link that are repeated at the same time.
const REPEATED_AT_ONCE: usize = 32;
/// The pause before the first repetition; doubled with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
/// The longest pause before any repetition.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// A handle to the connection; cheap to clone.
#[derive(Clone)]
pub(crate) struct Link(Arc<Inner>);

struct Inner {
    settings: Settings,
    random: Random,
    /// A permit for each request that is repeated.
    repeats: Semaphore,
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

struct Slot {
    /// Tells a caller with a dead connection if it was replaced already.
    generation: u64,
    connection: Connecting,
    pauses: Backoff,
}

/// The failure of one attempt.
struct Failed {
    error: RedisError,
    /// True if the server may have executed the request.
    is_uncertain: bool,
}

impl Failed {
    /// The failure of a request that was not made.
    const fn before(error: RedisError) -> Self {
        Self {
            error,
            is_uncertain: false,
        }
    }
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
        // So that a request meets some attempts within its patience.
        let longest = LONGEST_RECONNECT.min(settings.patience / 4);
        Self(Arc::new(Inner {
            settings,
            random: Random::from_entropy(),
            repeats: Semaphore::new(REPEATED_AT_ONCE),
            slot: Mutex::new(Slot {
                generation: 0,
                connection,
                pauses: Backoff::new(FIRST_RECONNECT, longest),
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

    /// The life of the server that is connected now, and the moment of its last answer.
    ///
    /// # Errors
    /// When it is not available at once.
    pub(crate) async fn life(&self) -> Result<(Life, Instant)> {
        let (_, connecting) = self.current();
        let live = connecting.await;
        live.map(|live| (Arc::clone(live.life()), live.heard()))
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
        let (mut repeats, mut has_loaded) = (0, false);
        let mut last = None;
        loop {
            let attempt = async {
                let turn = (repeats > 0).then(|| self.0.repeats.acquire());
                // The semaphore is never closed.
                let _turn = OptionFuture::from(turn).await;
                // A server that is slow is given the time that it needs.
                let small = self.response_timeout().saturating_mul(1 << repeats);
                self.attempt(commands, small + longer).await
            };
            let Failed {
                error,
                is_uncertain,
            } = match timeout_at(deadline, attempt).await {
                Ok(Ok(answers)) => return Ok(answers),
                Ok(Err(failed)) => failed,
                Err(_elapsed) => return Err(self.out_of_patience(what, last)),
            };
            match error_action(&error) {
                ErrorAction::Repeat => {}
                ErrorAction::LoadScripts => {
                    // At once, but once: a server may lose them as fast as it gets them.
                    if !std::mem::replace(&mut has_loaded, true) {
                        continue;
                    }
                }
                ErrorAction::GiveUp => return Err(unavailable(what, error)),
                ErrorAction::Refuse => return Err(Error::Unfit(format!("{what}: {error}"))),
            }
            repeats += u32::from(is_uncertain);
            tracing::debug!(what, %error, repeats, "a call failed and is repeated");
            let pause = backoff.jittered(self.0.random.f64());
            if repeats > REPEATS || Instant::now() + pause >= deadline {
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
        let attempt = self.attempt(&commands, self.response_timeout());
        let attempt = attempt.await;
        let (answers, _life) = attempt.map_err(|failed| unavailable(what, failed.error))?;
        Ok(answers.into_iter().next().unwrap_or_default())
    }

    /// Tries once, and prepares better conditions for the next try.
    async fn attempt(
        &self,
        commands: &Pipeline,
        timeout: Duration,
    ) -> Result<(Vec<Value>, Life), Failed> {
        let (generation, connecting) = self.current();
        let live = match connecting.await {
            Ok(live) => live,
            Err(error) => {
                self.replace(generation);
                return Err(Failed::before(error));
            }
        };
        // A connection in doubt is given no further work.
        if !live.is_alive().await {
            self.replace(generation);
            return Err(Failed::before(error_action::silent()));
        }
        let error = match self.ask(&live, commands, timeout).await {
            Ok(answers) => {
                if live.was_new() {
                    self.slot().pauses.reset();
                }
                return Ok((answers, Arc::clone(live.life())));
            }
            Err(error) => error,
        };
        if matches!(error_action(&error), ErrorAction::LoadScripts) {
            live.load_scripts().await.map_err(Failed::before)?;
        } else if error.is_timeout() {
            if !live.probe(timeout).await {
                self.replace(generation);
                return Err(Failed {
                    error: error_action::silent(),
                    is_uncertain: true,
                });
            }
        } else if error_action::wants_another_connection(&error) {
            self.replace(generation);
        } else if error_action::is_deserted(&error)
            && let Some(sentinels) = self.sentinels()
        {
            sentinels.doubt().await;
        }
        Err(Failed {
            is_uncertain: !error_action::is_an_answer(&error),
            error,
        })
    }

    async fn ask(
        &self,
        live: &Live,
        commands: &Pipeline,
        timeout: Duration,
    ) -> RedisResult<Vec<Value>> {
        if let Err(error) = live.keep_growing(self.0.settings.growth.get()).await {
            // A server that writes nothing now may write in the next moment, with numbers
            // that were issued before.
            let is_harmless = error_action::writes_nothing(&error) && SCRIPTS.only_read(commands);
            if !is_harmless {
                return Err(error);
            }
        }
        live.ask(commands, timeout).await
    }

    /// The connection, or the attempt to make one. A connection to a server that is
    /// not the primary any more is replaced, although it may go on answering.
    fn current(&self) -> (u64, Connecting) {
        let Settings { address, .. } = &self.0.settings;
        let mut slot = self.slot();
        let has_moved = match slot.connection.peek() {
            Some(Ok(live)) => address.has_moved(live.primary()),
            Some(Err(_)) | None => false,
        };
        if has_moved {
            slot.generation = slot.generation.wrapping_add(1);
            slot.connection = connect(&self.0.settings, Duration::ZERO);
        }
        (slot.generation, slot.connection.clone())
    }

    /// Puts a new attempt into the slot, unless another caller has done so.
    fn replace(&self, generation: u64) {
        let mut slot = self.slot();
        if slot.generation == generation {
            slot.generation = generation.wrapping_add(1);
            let pause = slot.pauses.jittered(self.0.random.f64());
            slot.connection = connect(&self.0.settings, pause);
        }
    }

    /// Replaces the connection to a server in this life, because another connection has
    /// found the server in another one.
    pub(crate) fn leave(&self, life: &Life) {
        let mut slot = self.slot();
        let is_there = matches!(slot.connection.peek(), Some(Ok(live)) if live.life() == life);
        if is_there {
            slot.generation = slot.generation.wrapping_add(1);
            slot.connection = connect(&self.0.settings, Duration::ZERO);
        }
    }

    fn slot(&self) -> MutexGuard<'_, Slot> {
        self.0.slot.lock()
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

fn unavailable(what: &str, error: RedisError) -> Error {
    Error::Unavailable {
        message: format!("{what}: {error}"),
        source: Some(Arc::new(error)),
    }
}
