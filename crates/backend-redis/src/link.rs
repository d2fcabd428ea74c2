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
mod cluster;
mod connection;
mod error_action;
mod growth;
mod server;
mod store_identity;
mod topology;

use std::fmt;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use drumline_backend::Random;
use drumline_backend::store::{Error, Result};
use drumline_protocol::Backoff;
use futures_util::future::OptionFuture;
use redis::aio::PubSub;
use redis::{AsyncConnectionConfig, Cmd, Pipeline, RedisError, RedisResult, Value};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout_at};

pub(crate) use self::bounded::BoundedLink;
use self::cluster::{Answered, Cluster};
pub(crate) use self::connection::Life;
use self::error_action::{ErrorAction, error_action};
pub(crate) use self::growth::Growth;
use self::server::{Failed, Server, Settings};
pub(crate) use self::store_identity::StoreIdentity;
pub(crate) use self::topology::Place;
use self::topology::Topology;
use crate::clock::Clock;
use crate::connect::{Address, Primary, Sentinels};
use crate::keys::Keys;
use crate::options::Options;
use crate::scripts::SCRIPTS;

/// The most requests that may wait for the connection's task; beyond it,
/// callers wait. Enough that a burst is written to the socket in few pieces.
const WAITING: usize = 512;
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
    servers: Servers,
}

enum Servers {
    One(Arc<Server>),
    Cluster(Box<Cluster>),
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
        // Read before a connection asks for them, which has little time.
        LazyLock::force(&SCRIPTS);
        let address = Address::of(options)
            .map_err(|error| Error::Unfit(format!("the Redis URL cannot be used: {error}")))?;
        let config = AsyncConnectionConfig::new()
            .set_response_timeout(Some(options.response_timeout))
            .set_pipeline_buffer_size(WAITING);
        let settings = Settings {
            address,
            config,
            connect_timeout: options.connect_timeout,
            response_timeout: options.response_timeout,
            patience: options.patience,
            identity: Arc::default(),
            growth: Arc::default(),
        };
        let servers = match settings.address.seeds() {
            None => Servers::One(Arc::new(Server::new(settings.clone()))),
            Some(seeds) => {
                let topology = Topology::new(settings.clone(), seeds.to_vec());
                let cluster = Cluster::new(Arc::new(topology), settings.clone());
                Servers::Cluster(Box::new(cluster))
            }
        };
        Ok(Self::to(settings, servers))
    }

    fn to(settings: Settings, servers: Servers) -> Self {
        Self(Arc::new(Inner {
            settings,
            random: Random::from_entropy(),
            repeats: Semaphore::new(REPEATED_AT_ONCE),
            servers,
        }))
    }

    /// A link to the same servers, with connections of its own.
    pub(crate) fn another(&self) -> Self {
        let settings = self.0.settings.clone();
        let servers = match &self.0.servers {
            Servers::One(_) => Servers::One(Arc::new(Server::new(settings.clone()))),
            Servers::Cluster(cluster) => {
                let topology = Arc::clone(cluster.topology());
                Servers::Cluster(Box::new(Cluster::new(topology, settings.clone())))
            }
        };
        Self::to(settings, servers)
    }

    /// Returns true if the servers are the nodes of a cluster.
    pub(crate) fn is_cluster(&self) -> bool {
        matches!(self.0.servers, Servers::Cluster(_))
    }

    /// The epoch of a cluster, as far as it is known.
    pub(crate) fn epoch(&self) -> Option<u64> {
        match &self.0.servers {
            Servers::One(_) => None,
            Servers::Cluster(cluster) => Some(cluster.topology().epoch()),
        }
    }

    /// A link to each server that has keys, with its place in a cluster, over the
    /// connections of this one.
    ///
    /// # Errors
    /// When no node of the cluster answers.
    pub(crate) async fn each(&self) -> Result<Vec<(Option<Place>, Self)>> {
        let Servers::Cluster(cluster) = &self.0.servers else {
            return Ok(vec![(None, self.clone())]);
        };
        let servers = cluster.servers().await;
        let servers = servers.map_err(|error| unavailable("cluster", error))?;
        Ok(servers
            .into_iter()
            .map(|(place, server)| {
                let link = Self::to(self.0.settings.clone(), Servers::One(server));
                (Some(place), link)
            })
            .collect())
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

    /// The life of the servers that are connected now, and the moment of their last answer.
    ///
    /// # Errors
    /// When one is not available at once.
    pub(crate) async fn life(&self) -> Result<(Life, Instant)> {
        let life = match &self.0.servers {
            Servers::One(server) => server.life().await,
            Servers::Cluster(cluster) => cluster.life().await,
        };
        life.map_err(|error| unavailable("connecting", error))
    }

    /// Keeps the numbers of the store growing on every server that is connected to from
    /// now on. The first ones count.
    ///
    /// # Errors
    /// As [`Self::life`].
    pub(crate) async fn require_growth(&self, clock: Arc<Clock>, keys: &Keys) -> Result<()> {
        match &self.0.servers {
            Servers::One(_) => {
                let (life, _heard) = self.life().await?;
                let growth = || Growth::new(clock, keys.probe(), keys.ticks(), life);
                self.0.settings.growth.get_or_init(growth);
            }
            Servers::Cluster(cluster) => {
                let topology = cluster.topology();
                topology.require_growth(clock, keys.ticks_with_probes());
            }
        }
        Ok(())
    }

    /// Makes a connection to the same servers that listens to channels: a node of a cluster
    /// tells what was published on any. Names the primary that it leads to, if sentinels have
    /// named it, or the node.
    pub(crate) async fn listen(&self) -> RedisResult<(PubSub, Option<Primary>)> {
        match &self.0.servers {
            Servers::One(_) => self.0.settings.address.listen().await,
            Servers::Cluster(cluster) => cluster.listen(&self.0.random).await,
        }
    }

    /// Waits until the sentinels name another primary than this one, or the node of a
    /// cluster has no slots any more. Cancel-safe.
    pub(crate) async fn moved(&self, from: Option<&Primary>) {
        match &self.0.servers {
            Servers::One(_) => self.0.settings.address.moved(from).await,
            Servers::Cluster(cluster) => cluster.topology().without(from).await,
        }
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
        let mut answered = Answered::default();
        let mut last = None;
        loop {
            let attempt = async {
                let turn = (repeats > 0).then(|| self.0.repeats.acquire());
                // The semaphore is never closed.
                let _turn = OptionFuture::from(turn).await;
                // A server that is slow is given the time that it needs.
                let small = self.response_timeout().saturating_mul(1 << repeats);
                self.attempt(commands, &mut answered, small + longer).await
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

    /// Runs a command on each server that has keys.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub(crate) async fn run_on_each(&self, what: &'static str, command: &Cmd) -> Result<()> {
        for (_place, server) in self.each().await? {
            server.run_one(what, command.clone()).await?;
        }
        Ok(())
    }

    /// Follows promotions and moves in a cluster, and the clocks of its nodes; for as long
    /// as it is polled.
    pub(crate) async fn follow(&self, clock: &Clock) {
        match &self.0.servers {
            Servers::One(_) => std::future::pending().await,
            Servers::Cluster(cluster) => cluster.follow(clock, &self.0.random).await,
        }
    }

    /// Runs commands as [`Self::run`] does. Where some servers of a cluster answer and others do
    /// not, it repeats nothing, and returns `None` for each command without an answer.
    ///
    /// # Errors
    /// As [`Self::run`], when none is answered.
    pub(crate) async fn run_some(
        &self,
        what: &'static str,
        commands: &Pipeline,
    ) -> Result<Vec<Option<Value>>> {
        if let Servers::Cluster(cluster) = &self.0.servers
            && !commands.is_empty()
        {
            let mut answered = Answered::default();
            let attempt = cluster.attempt(commands, &mut answered, self.response_timeout());
            match attempt.await {
                Ok((answers, _lives)) => return Ok(answers.into_iter().map(Some).collect()),
                Err(Failed { error, .. }) => {
                    if let Some(some) = answered.some() {
                        tracing::debug!(what, %error, "some servers have not answered");
                        return Ok(some);
                    }
                }
            }
        }
        let answers = self.run(what, commands).await?;
        Ok(answers.into_iter().map(Some).collect())
    }

    /// Runs one command once, for a caller that wants to know the state of the
    /// server now.
    ///
    /// # Errors
    /// When the server does not answer, or answers with an error.
    pub(crate) async fn run_once(&self, what: &'static str, command: Cmd) -> Result<Value> {
        let mut commands = Pipeline::with_capacity(1);
        commands.add_command(command);
        let mut answered = Answered::default();
        let attempt = self.attempt(&commands, &mut answered, self.response_timeout());
        let attempt = attempt.await;
        let (answers, _life) = attempt.map_err(|failed| unavailable(what, failed.error))?;
        Ok(answers.into_iter().next().unwrap_or_default())
    }

    /// Tries once what was not answered yet.
    async fn attempt(
        &self,
        commands: &Pipeline,
        answered: &mut Answered,
        timeout: Duration,
    ) -> Result<(Vec<Value>, Life), Failed> {
        match &self.0.servers {
            Servers::One(server) => server.attempt(commands, timeout, None).await,
            Servers::Cluster(cluster) => cluster.attempt(commands, answered, timeout).await,
        }
    }

    /// Replaces the connection to a server in this life, because another connection has
    /// found the server in another one.
    pub(crate) fn leave(&self, life: &Life) {
        if let Servers::One(server) = &self.0.servers {
            server.leave(life);
        }
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
