//! Keeps one connection to the broker up.
//!
//! ```text
//!            ┌────────── connect ───────────┐
//!            ▼                              │ pause: backoff, jitter
//! Down ──► Up ────────► lost or doubted ──► Down
//!            ▲  │ connection.blocked
//!  unblocked │  ▼
//!           Blocked
//! ```
//!
//! One task per connection. It is the only listener of the connection's events
//! (two would share them between themselves). Users look at the state, use the
//! [`Connection`] in it, and report their doubts: a doubted connection is thrown
//! away, because lapin's channels do not tell a slow broker from a dead one.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use drumline_backend::broker::{Error, Result};
use drumline_protocol::Backoff;
use futures_util::{Stream, StreamExt as _};
use lapin::Event;
use tokio::sync::watch;
use tokio::time::{Instant, interval, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::connect::connect;
use crate::connection::Connection;
use crate::error::{describe, stopped};
use crate::options::Options;

/// The interval at which the connection is checked, besides its events: some ends
/// of a connection have no event.
const LOOK: Duration = Duration::from_secs(1);

/// The time in which the queues come together that have one decoy. They need it soon.
const DECOY_AFTER: Duration = Duration::from_millis(250);

/// The time that closing with a goodbye may take. The goodbye only saves the
/// broker a line in its log.
const FAREWELL: Duration = Duration::from_secs(2);

/// The state of the connection.
#[derive(Clone, Debug)]
pub(crate) enum State {
    /// No connection, and the reason.
    Down(String),
    /// Connected.
    Up(Arc<Connection>),
    /// Connected, but the broker takes no messages: a memory or disk alarm.
    Blocked(Arc<Connection>, String),
}

/// A handle; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionSupervisor {
    state: watch::Receiver<State>,
    connections: Arc<AtomicU64>,
}

impl ConnectionSupervisor {
    /// Starts to connect, and keeps at it until `stop`.
    pub(crate) fn start(
        options: Arc<Options>,
        purpose: &'static str,
        tasks: &TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        let first = State::Down("it was not tried yet".to_owned());
        let (sender, state) = watch::channel(first);
        let connections = Arc::new(AtomicU64::new(0));
        let supervisor_task = Supervisor {
            options,
            purpose,
            state: sender,
            connections: Arc::clone(&connections),
            tasks: tasks.clone(),
            stop,
        };
        let critical = supervisor_task.options.critical.clone();
        let stopping = supervisor_task.stop.clone();
        tasks.spawn(critical.guard("broker connection", &stopping, supervisor_task.run()));
        Self { state, connections }
    }

    /// The number of connections that there have been.
    pub(crate) fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// The state as it changes.
    pub(crate) fn watch(&self) -> watch::Receiver<State> {
        self.state.clone()
    }

    /// The state now.
    pub(crate) fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// Checks that messages can be published now.
    pub(crate) fn check(&self) -> Result<()> {
        match &*self.state.borrow() {
            State::Up(_) => Ok(()),
            State::Down(why) => Err(Error::Unavailable {
                message: why.clone(),
                source: None,
            }),
            State::Blocked(_, reason) => Err(Error::Blocked {
                reason: reason.clone(),
            }),
        }
    }

    /// The connection, as soon as there is one, blocked or not.
    ///
    /// # Errors
    /// When there is none until `deadline`.
    pub(crate) async fn connection(&self, deadline: Instant) -> Result<Arc<Connection>> {
        let mut state = self.state.clone();
        let connected = state.wait_for(|state| !matches!(state, State::Down(_)));
        let connection = match timeout_at(deadline, connected).await {
            Ok(Ok(state)) => match &*state {
                State::Up(connection) | State::Blocked(connection, _) => {
                    Some(Arc::clone(connection))
                }
                State::Down(_) => None,
            },
            Ok(Err(_gone)) => return Err(stopped()),
            Err(_elapsed) => None,
        };
        match connection {
            Some(connection) => Ok(connection),
            None => Err(self.check().err().unwrap_or_else(stopped)),
        }
    }
}

/// The task.
struct Supervisor {
    options: Arc<Options>,
    purpose: &'static str,
    state: watch::Sender<State>,
    connections: Arc<AtomicU64>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Supervisor {
    async fn run(self) {
        let mut backoff = Backoff::new(self.options.reconnect_min, self.options.reconnect_max);
        let stop = self.stop.clone();
        stop.run_until_cancelled(async {
            loop {
                let started = Instant::now();
                self.connect_and_hold().await;
                if started.elapsed() > self.options.reconnect_max {
                    backoff.reset();
                }
                sleep(backoff.jittered(self.options.random.f64())).await;
            }
        })
        .await;
        let connection = match &*self.state.borrow() {
            State::Up(connection) | State::Blocked(connection, _) => Some(Arc::clone(connection)),
            State::Down(_) => None,
        };
        self.down("this process has closed its connections");
        if let Some(connection) = connection {
            farewell(connection).await;
        }
    }

    /// One connection, from its beginning to its end.
    async fn connect_and_hold(&self) {
        let purpose = self.purpose;
        let connected = match connect(&self.options, purpose).await {
            Ok(connected) => connected,
            Err(error) => {
                let why = describe(&error);
                if self.down(&why) {
                    tracing::warn!(purpose, %why, "no connection to RabbitMQ");
                }
                return;
            }
        };
        // Before anything is sent that could have an event as its answer.
        let events = connected.connection.events_listener();
        let node_url = connected.node_url.clone();
        let connection = Arc::new(Connection::new(connected, Arc::clone(&self.options)));
        tracing::info!(purpose, url = %node_url, "connected to RabbitMQ");
        self.connections.fetch_add(1, Ordering::Relaxed);
        self.state.send_replace(State::Up(Arc::clone(&connection)));
        let why = self.hold(&connection, events).await;
        tracing::warn!(purpose, %why, "lost the connection to RabbitMQ");
        self.down(&why);
        self.tasks.spawn(farewell(connection));
    }

    /// Waits until the connection has ended, and returns the reason.
    async fn hold(
        &self,
        connection: &Arc<Connection>,
        events: impl Stream<Item = Event> + Send + 'static,
    ) -> String {
        let mut events = Box::pin(events);
        let mut looks = interval(LOOK);
        let mut decoys = pin!(decoys(connection, self.options.patience));
        loop {
            tokio::select! {
                () = connection.doubted() => return "it does not answer".to_owned(),
                _ = looks.tick() => {
                    if !connection.is_connected() {
                        return "it is closed".to_owned();
                    }
                }
                () = &mut decoys => {}
                event = events.next() => match event {
                    None => return "it has ended".to_owned(),
                    Some(event) => {
                        if let Some(why) = self.on_event(connection, event) {
                            return why;
                        }
                    }
                },
            }
        }
    }

    /// Handles an event; returns the reason if it ends the connection.
    fn on_event(&self, connection: &Arc<Connection>, event: Event) -> Option<String> {
        match event {
            Event::ConnectionBlocked(reason) => {
                tracing::warn!(purpose = self.purpose, %reason, "RabbitMQ takes no messages");
                let blocked = State::Blocked(Arc::clone(connection), reason);
                self.state.send_replace(blocked);
            }
            Event::ConnectionUnblocked => {
                tracing::info!(purpose = self.purpose, "RabbitMQ takes messages again");
                self.state.send_replace(State::Up(Arc::clone(connection)));
            }
            // The end of a channel is an error event, too; its users notice.
            Event::Error(error) if !connection.is_connected() => return Some(error.to_string()),
            // Connected, channel.flow, and what later releases may add.
            _ => {}
        }
        None
    }

    /// Notes that there is no connection; returns true if the reason is a new one.
    fn down(&self, why: &str) -> bool {
        self.state.send_if_modified(|state| {
            let known = matches!(state, State::Down(known) if known == why);
            *state = State::Down(why.to_owned());
            !known
        })
    }
}

/// Makes a [decoy](Connection::decoy) behind new queues, for ever. One without an answer is
/// given up after `patience`: the queues that come later need theirs.
async fn decoys(connection: &Connection, patience: Duration) {
    loop {
        connection.news().await;
        sleep(DECOY_AFTER).await;
        match timeout(patience, connection.decoy()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "the decoy was not made"),
            Err(_elapsed) => tracing::debug!("the decoy was not made in time"),
        }
    }
}

/// Closes with a goodbye, and then for good.
async fn farewell(connection: Arc<Connection>) {
    if !connection.is_doubted() {
        // The connection ends, whatever the answer is.
        drop(timeout(FAREWELL, connection.close()).await);
    }
    connection.end();
}
