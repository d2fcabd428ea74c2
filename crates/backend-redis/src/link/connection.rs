//! One live connection: how it is made, and whether it is alive.
//!
//! A connection answers in order. So the answer to a `PING` says two things: the
//! connection is alive, and nothing that was asked before is still to be executed.
//! Whatever is repeated waits for that answer: a server that is overloaded is not
//! given the same work twice while it still has it to do.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt as _, Shared};
use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::{Pipeline, RedisResult, Value};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::server::Settings;
use super::{Growth, error_action};
use crate::connect::{Connected, Primary};
use crate::scripts::SCRIPTS;
use crate::server_info;

/// The life of a server of the store: another one after each start, and after each
/// promotion.
pub(crate) type Life = Arc<str>;

/// A connection, or the one attempt to connect that all callers wait for.
pub(super) type Connecting = Shared<BoxFuture<'static, RedisResult<Live>>>;
type Probe = Shared<BoxFuture<'static, bool>>;

/// A live connection; cheap to clone.
#[derive(Clone)]
pub(super) struct Live {
    connected: Connected,
    life: Life,
    state: Arc<State>,
}

struct State {
    /// The moment from which `heard` is counted.
    epoch: Instant,
    /// The time of the last answer, in microseconds since the epoch.
    heard: AtomicU64,
    is_new: AtomicBool,
    /// The probe that is under way, or that has failed.
    // The lock is held for a moment, never across an await.
    probe: Mutex<Option<Probe>>,
}

impl State {
    fn new() -> Self {
        Self {
            epoch: Instant::now(),
            heard: AtomicU64::new(0),
            is_new: AtomicBool::new(true),
            probe: Mutex::default(),
        }
    }

    fn micros(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn hear(&self) {
        self.heard.store(self.micros(), Ordering::Relaxed);
    }
}

impl Live {
    /// The life of its server.
    pub(super) fn life(&self) -> &Life {
        &self.life
    }

    /// The primary that it leads to, if sentinels have named it.
    pub(super) const fn primary(&self) -> Option<&Primary> {
        self.connected.primary.as_ref()
    }

    /// The moment of the last answer.
    pub(super) fn heard(&self) -> Instant {
        let heard = self.state.heard.load(Ordering::Relaxed);
        self.state.epoch + Duration::from_micros(heard)
    }

    /// Sends commands, and waits for their answers.
    pub(super) async fn ask(
        &self,
        commands: &Pipeline,
        timeout: Duration,
    ) -> RedisResult<Vec<Value>> {
        let mut connection = self.connected.connection.clone();
        connection.set_response_timeout(timeout);
        let answers = connection
            .send_packed_commands(commands, 0, commands.len())
            .await?;
        self.state.hear();
        first_error(answers)
    }

    /// Moves the numbers of the store past those of the server before, if this server is
    /// another one.
    pub(super) async fn keep_growing(&self, growth: Option<&Growth>) -> RedisResult<()> {
        match growth.filter(|growth| growth.is_due(&self.life)) {
            Some(growth) => {
                let mut connection = self.connected.connection.clone();
                growth.ensure(&mut connection, &self.life).await
            }
            None => Ok(()),
        }
    }

    /// Returns true after the first answer.
    pub(super) fn was_new(&self) -> bool {
        self.state.is_new.load(Ordering::Relaxed)
            && self.state.is_new.swap(false, Ordering::Relaxed)
    }

    /// Waits for the probe that is under way, if there is one. Returns false if the
    /// connection is dead.
    pub(super) async fn is_alive(&self) -> bool {
        let probe = self.state.probe.lock().clone();
        match probe {
            Some(probe) => probe.await,
            None => true,
        }
    }

    /// Asks whether the connection is alive, unless another caller does. Returns
    /// true when the server has answered, and so has executed what was asked
    /// before; false if it is silent for this long.
    pub(super) async fn probe(&self, silence: Duration) -> bool {
        let probe = {
            let mut slot = self.state.probe.lock();
            let start = || {
                let connection = self.connected.connection.clone();
                ping(connection, Arc::downgrade(&self.state), silence)
            };
            slot.get_or_insert_with(start).clone()
        };
        probe.await
    }

    /// Loads the scripts that the server does not have.
    pub(super) async fn load_scripts(&self) -> RedisResult<()> {
        load_scripts(&mut self.connected.connection.clone()).await
    }
}

// It holds the state that holds it only while it is polled.
fn ping(mut connection: MultiplexedConnection, state: Weak<State>, silence: Duration) -> Probe {
    connection.set_response_timeout(silence);
    let probe = async move {
        loop {
            let begun = state.upgrade().map_or(u64::MAX, |state| state.micros());
            let answer = redis::cmd("PING").exec_async(&mut connection).await;
            let Some(state) = state.upgrade() else {
                return false;
            };
            match answer {
                // A server that is loading its data, for example, has answered, too.
                Err(error) if !error_action::is_an_answer(&error) => {
                    // Other answers have come: the server is busy, not dead.
                    let is_busy = state.heard.load(Ordering::Relaxed) > begun;
                    if !(error.is_timeout() && is_busy) {
                        return false;
                    }
                }
                Ok(()) | Err(_) => {
                    state.hear();
                    *state.probe.lock() = None;
                    return true;
                }
            }
        }
    };
    probe.boxed().shared()
}

/// Makes one attempt to connect, for all waiting callers. The role, the scripts and the
/// identity are verified before any caller uses the connection: the server may be
/// another one.
pub(super) fn connect(settings: &Settings, pause: Duration) -> Connecting {
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
        let is_chosen = address.sentinels().is_some() || address.is_node();
        let wants_primary = identity.get().is_some() || is_chosen;
        if wants_primary && server_info::field(&replication, "role") != "master" {
            return Err(error_action::replica());
        }
        load_scripts(&mut connection).await?;
        if let Some(identity) = identity.get() {
            identity.verify_or_init(&mut connection).await?;
        }
        let run_id = server_info::field(&server, "run_id");
        let history = server_info::field(&replication, "master_replid");
        let live = Live {
            connected,
            life: Life::from(format!("{run_id} {history}")),
            state: Arc::new(State::new()),
        };
        match live.keep_growing(growth.get()).await {
            // Tried again with each request.
            Err(error) if error_action::writes_nothing(&error) => {
                tracing::debug!(%error, "the numbers of the store are not moved yet");
            }
            ensured => ensured?,
        }
        tracing::debug!("connected to Redis");
        Ok(live)
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

/// Loads the scripts that the server does not have, which are all or none as a rule.
async fn load_scripts(connection: &mut MultiplexedConnection) -> RedisResult<()> {
    let known: Vec<bool> = SCRIPTS.exist().query_async(connection).await?;
    let load = SCRIPTS.load(&known);
    if load.is_empty() {
        return Ok(());
    }
    let loaded = connection.send_packed_commands(&load, 0, load.len());
    first_error(loaded.await?).map(drop)
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
