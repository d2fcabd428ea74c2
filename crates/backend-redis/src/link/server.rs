//! One server: a connection to it that rebuilds itself.
//!
//! ```text
//! attempt() ─┐                  ┌─ a live connection: many requests at a time,
//! attempt() ─┼─ slot: a shared ─┤  answered in order
//! attempt() ─┘  future          └─ or the one attempt to connect that all wait for
//! ```
//!
//! A server that is gone, or that thousands of processes come back to, must not be
//! hammered: attempts to connect have growing pauses, which differ among processes.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use drumline_backend::Random;
use drumline_protocol::Backoff;
use parking_lot::{Mutex, MutexGuard};
use redis::{AsyncConnectionConfig, Pipeline, RedisError, RedisResult, Value};
use tokio::time::Instant;

use super::connection::{Connecting, Life, Live, connect};
use super::error_action::{self, ErrorAction, error_action};
use super::topology::Raising;
use super::{Growth, StoreIdentity};
use crate::connect::Address;
use crate::scripts::SCRIPTS;

/// The pause before the first attempt to connect again; doubled with each further
/// one. A server that is starting takes some tens of milliseconds.
const FIRST_RECONNECT: Duration = Duration::from_millis(50);
/// The longest pause between two attempts to connect.
const LONGEST_RECONNECT: Duration = Duration::from_secs(2);

/// The settings that all connections to the servers of a store have in common.
#[derive(Clone)]
pub(super) struct Settings {
    pub(super) address: Address,
    pub(super) config: AsyncConnectionConfig,
    pub(super) connect_timeout: Duration,
    pub(super) response_timeout: Duration,
    pub(super) patience: Duration,
    pub(super) identity: Arc<OnceLock<StoreIdentity>>,
    /// The numbers that go on growing, of a store on one server.
    pub(super) growth: Arc<OnceLock<Growth>>,
}

/// A server, at one address.
pub(super) struct Server {
    settings: Settings,
    random: Random,
    // The lock is held for a moment, never across an await.
    slot: Mutex<Slot>,
}

struct Slot {
    /// Tells a caller with a dead connection if it was replaced already.
    generation: u64,
    connection: Connecting,
    pauses: Backoff,
}

/// The failure of one attempt.
pub(super) struct Failed {
    pub(super) error: RedisError,
    /// True if the server may have executed the request.
    pub(super) is_uncertain: bool,
}

impl Failed {
    /// The failure of a request that was not made.
    pub(super) const fn before(error: RedisError) -> Self {
        Self {
            error,
            is_uncertain: false,
        }
    }
}

impl Server {
    /// Makes a server that is connected to when it is first used.
    pub(super) fn new(settings: Settings) -> Self {
        let connection = connect(&settings, Duration::ZERO);
        // So that a request meets some attempts within its patience.
        let longest = LONGEST_RECONNECT.min(settings.patience / 4);
        Self {
            settings,
            random: Random::from_entropy(),
            slot: Mutex::new(Slot {
                generation: 0,
                connection,
                pauses: Backoff::new(FIRST_RECONNECT, longest),
            }),
        }
    }

    /// The life of the server that is connected now, and the moment of its last answer.
    pub(super) async fn life(&self) -> RedisResult<(Life, Instant)> {
        let (_, connecting) = self.current();
        let live = connecting.await;
        live.map(|live| (Arc::clone(live.life()), live.heard()))
    }

    /// Tries once, and prepares better conditions for the next try.
    pub(super) async fn attempt(
        &self,
        commands: &Pipeline,
        timeout: Duration,
        raising: Option<Raising<'_>>,
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
        let error = match self.ask(&live, commands, timeout, raising).await {
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
            && let Some(sentinels) = self.settings.address.sentinels()
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
        raising: Option<Raising<'_>>,
    ) -> RedisResult<Vec<Value>> {
        if let Some(raising) = raising {
            return ask_node(live, commands, timeout, raising).await;
        }
        if let Err(error) = live.keep_growing(self.settings.growth.get()).await {
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
        let Settings { address, .. } = &self.settings;
        let mut slot = self.slot();
        let has_moved = match slot.connection.peek() {
            Some(Ok(live)) => address.has_moved(live.primary()),
            Some(Err(_)) | None => false,
        };
        if has_moved {
            slot.generation = slot.generation.wrapping_add(1);
            slot.connection = connect(&self.settings, Duration::ZERO);
        }
        (slot.generation, slot.connection.clone())
    }

    /// Puts a new attempt into the slot, unless another caller has done so.
    fn replace(&self, generation: u64) {
        let mut slot = self.slot();
        if slot.generation == generation {
            slot.generation = generation.wrapping_add(1);
            let pause = slot.pauses.jittered(self.random.f64());
            slot.connection = connect(&self.settings, pause);
        }
    }

    /// Replaces the connection to a server in this life, because another connection has
    /// found the server in another one.
    pub(super) fn leave(&self, life: &Life) {
        let mut slot = self.slot();
        let is_there = matches!(slot.connection.peek(), Some(Ok(live)) if live.life() == life);
        if is_there {
            slot.generation = slot.generation.wrapping_add(1);
            slot.connection = connect(&self.settings, Duration::ZERO);
        }
    }

    fn slot(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock()
    }
}

/// Asks a node of a cluster. The numbers of the partitions are moved in front of the first
/// commands that may take some of them, in one round trip.
async fn ask_node(
    live: &Live,
    commands: &Pipeline,
    timeout: Duration,
    raising: Raising<'_>,
) -> RedisResult<Vec<Value>> {
    let mut all = raising.due(live.life());
    let raises = all.len();
    if raises == 0 || SCRIPTS.only_read(commands) {
        return live.ask(commands, timeout).await;
    }
    for command in commands.cmd_iter() {
        all.add_command(command.clone());
    }
    let mut answers = live.ask(&all, timeout).await?;
    raising.note(live.life());
    answers.drain(..raises);
    Ok(answers)
}
