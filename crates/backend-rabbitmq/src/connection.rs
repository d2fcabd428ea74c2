//! One connection while it lives: opens channels, declares queues, and remembers
//! which queues it has declared.
//!
//! Declarations are forgotten with the connection: a broker may come back without
//! its data, and then needs them again.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use drumline_backend::broker::{Error, Result, Trouble};
use futures_util::future::{join_all, try_join_all};
use lapin::options::{ConfirmSelectOptions, QueueBindOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, ExchangeKind};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::connect::{Connected, Socket};
use crate::consumer_channels::ConsumerChannels;
use crate::error::{failed, is_refusal, reason, silent};
use crate::options::Options;
use crate::topology::{self, Target};

/// The time that a live broker may take to open a channel, even a busy one.
const PROOF: Duration = Duration::from_secs(2);

/// The time that a declaration may take. A queue that is slower is by-passed for
/// a moment, while its declaration goes on.
const DECLARED_WITHIN: Duration = Duration::from_secs(2);

/// Queues that are declared at the same time, each on a channel of its own.
const AT_ONCE: usize = 16;

/// The names of decoys. RabbitMQ never forgets the name of a queue, so they are
/// few.
const DECOYS: u64 = 256;

/// A connection and what it has found out.
#[derive(Debug)]
pub(crate) struct Connection {
    connection: lapin::Connection,
    socket: Socket,
    options: Arc<Options>,
    consumers: Arc<ConsumerChannels>,
    declared: Mutex<HashSet<Target>>,
    /// Queues that have confirmed a message.
    proven: Mutex<HashSet<Target>>,
    news: Notify,
    doubted: CancellationToken,
    ended: CancellationToken,
}

impl Connection {
    pub(crate) fn new(connected: Connected, options: Arc<Options>) -> Self {
        Self {
            connection: connected.connection,
            socket: connected.socket,
            consumers: Arc::new(ConsumerChannels::new(options.consumer_channels)),
            options,
            declared: Mutex::default(),
            proven: Mutex::default(),
            news: Notify::new(),
            doubted: CancellationToken::new(),
            ended: CancellationToken::new(),
        }
    }

    /// A new channel.
    pub(crate) async fn channel(&self) -> Result<Channel> {
        let channel = self.connection.create_channel().await;
        channel.map_err(|error| failed("opening a channel", error))
    }

    /// The channels that consumers are on.
    pub(crate) const fn consumers(&self) -> &Arc<ConsumerChannels> {
        &self.consumers
    }

    /// A new channel on which every message is confirmed.
    pub(crate) async fn confirm_channel(&self) -> Result<Channel> {
        let channel = self.channel().await?;
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await
            .map_err(|error| failed("asking for confirms", error))?;
        Ok(channel)
    }

    /// The targets that this connection has not declared yet.
    pub(crate) fn undeclared<'a>(
        &self,
        targets: impl Iterator<Item = &'a Target>,
    ) -> HashSet<Target> {
        let declared = self.declared();
        targets
            .filter(|target| !declared.contains(target))
            .cloned()
            .collect()
    }

    pub(crate) fn is_declared(&self, target: &Target) -> bool {
        self.declared().contains(target)
    }

    /// Declares queues, each for itself, and returns the queues that cannot be
    /// declared, with the reason. Takes [`DECLARED_WITHIN`] for all of them and
    /// as much again for each [`AT_ONCE`] that are left, and no step longer than
    /// `patience`.
    ///
    /// # Errors
    /// When the connection has broken.
    pub(crate) async fn declare_each(
        &self,
        targets: &HashSet<Target>,
        patience: Duration,
    ) -> Result<HashMap<Target, Trouble>> {
        let patience = DECLARED_WITHIN.min(patience);
        match timeout(patience, self.declare(targets)).await {
            Ok(Ok(())) => return Ok(HashMap::new()),
            Ok(Err(error)) if !is_refusal(&error) => return Err(error),
            Ok(Err(_refusal)) => {}
            Err(_elapsed) if self.is_responsive().await => {}
            Err(_elapsed) => return Err(silent("declaring queues", patience)),
        }
        // One queue is at fault, and holds up the rest on its channel.
        let rest: Vec<Target> = self.undeclared(targets.iter()).into_iter().collect();
        let mut undeclarable = HashMap::new();
        for some in rest.chunks(AT_ONCE) {
            let alone = some
                .iter()
                .map(|target| self.declare_alone(target, patience));
            for (target, declared) in some.iter().zip(join_all(alone).await) {
                if let Some(trouble) = declared? {
                    undeclarable.insert(target.clone(), trouble);
                }
            }
        }
        Ok(undeclarable)
    }

    async fn declare_alone(&self, target: &Target, patience: Duration) -> Result<Option<Trouble>> {
        let one = HashSet::from([target.clone()]);
        match timeout(patience, self.declare(&one)).await {
            Ok(Ok(())) => Ok(None),
            Ok(Err(error)) if is_refusal(&error) => Ok(Some(Trouble::Refused(reason(&error)))),
            Ok(Err(error)) => Err(error),
            Err(_elapsed) => Ok(Some(Trouble::Silent)),
        }
    }

    /// Declares queues.
    ///
    /// # Errors
    /// When the broker refuses a queue: it exists with other arguments, or the
    /// user lacks the right. The rest may be declared.
    pub(crate) async fn declare(&self, targets: &HashSet<Target>) -> Result<()> {
        if targets.is_empty() {
            return Ok(());
        }
        // A refusal closes the channel, so nothing else may be on it.
        let channel = self.channel().await?;
        let declaring = targets
            .iter()
            .map(|target| self.declare_one(&channel, target));
        try_join_all(declaring).await?;
        close(&channel).await;
        Ok(())
    }

    async fn declare_one(&self, channel: &Channel, target: &Target) -> Result<()> {
        if declare_on(channel, target, &self.options).await? {
            self.news.notify_one();
        }
        self.declared().insert(target.clone());
        Ok(())
    }

    /// Notes that queues have confirmed a message.
    pub(crate) fn prove<'a>(&self, targets: impl Iterator<Item = &'a Target>) {
        let mut proven = self.proven.lock();
        for target in targets {
            if !proven.contains(target) {
                proven.insert(target.clone());
            }
        }
    }

    /// Asks a queue to prove again that it works.
    pub(crate) fn forget_proof(&self, target: &Target) {
        let mut proven = self.proven.lock();
        proven.remove(target);
    }

    /// Returns true if a queue has confirmed a message on this connection.
    pub(crate) fn is_proven(&self, target: &Target) -> bool {
        let proven = self.proven.lock();
        proven.contains(target)
    }

    /// Waits until queues were declared that may be new, since it was last called.
    /// Cancel-safe.
    pub(crate) async fn news(&self) {
        self.news.notified().await;
    }

    /// Creates a queue and deletes it.
    ///
    /// RabbitMQ keeps the name under which it files the log of the quorum queue
    /// that was created last in memory for three seconds, or until the next is
    /// created. If it is killed before, that queue is lost, for good and with
    /// all that it has confirmed. The decoy takes that place.
    ///
    /// # Errors
    /// When the broker refuses; nothing is worse than before then.
    pub(crate) async fn decoy(&self) -> Result<()> {
        let channel = self.channel().await?;
        let number = self.options.random.below(DECOYS);
        let (name, arguments) = topology::decoy(&self.options.namespace, number);
        let made = async {
            let options = topology::declaration();
            channel
                .queue_declare(name.clone(), options, arguments)
                .await?;
            channel.queue_delete(name, topology::deletion()).await
        };
        made.await
            .map_err(|error| failed("creating a decoy", error))?;
        close(&channel).await;
        Ok(())
    }

    /// Notes that the broker has no such queue: it was deleted.
    pub(crate) fn forget(&self, target: &Target) {
        self.declared().remove(target);
    }

    /// Doubts the connection: it took too long, and is to be closed.
    pub(crate) fn doubt(&self) {
        self.doubted.cancel();
    }

    /// Doubts the connection after an error: it is to be closed, unless the error
    /// is a refusal of the broker.
    pub(crate) fn doubt_after(&self, error: &Error) {
        if !is_refusal(error) {
            self.doubt();
        }
    }

    /// Probes, after a request without an answer, whether the connection is dead or
    /// only one queue is unresponsive. A dead connection is doubted.
    pub(crate) async fn is_responsive(&self) -> bool {
        match timeout(PROOF, self.channel()).await {
            Ok(Ok(channel)) => {
                close(&channel).await;
                true
            }
            Ok(Err(_)) | Err(_) => {
                self.doubt();
                false
            }
        }
    }

    /// Waits until the connection is doubted.
    pub(crate) async fn doubted(&self) {
        self.doubted.cancelled().await;
    }

    pub(crate) fn is_doubted(&self) -> bool {
        self.doubted.is_cancelled()
    }

    /// Waits until the connection has ended.
    pub(crate) async fn ended(&self) {
        self.ended.cancelled().await;
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.connection.status().connected()
    }

    /// Closes the connection with a goodbye to the broker.
    pub(crate) async fn close(&self) -> lapin::Result<()> {
        self.connection.close(200, "OK".into()).await
    }

    /// Cuts the connection, also when the broker does not answer.
    pub(crate) fn end(&self) {
        self.ended.cancel();
        self.socket.abort();
    }

    fn declared(&self) -> MutexGuard<'_, HashSet<Target>> {
        self.declared.lock()
    }
}

/// Declares a queue on a channel. Returns true if it may be new.
///
/// # Errors
/// When the broker refuses it; the channel is closed then.
pub(crate) async fn declare_on(
    channel: &Channel,
    target: &Target,
    options: &Options,
) -> Result<bool> {
    let name = target.name(&options.namespace);
    let arguments = target.arguments(&options.namespace);
    let queue = channel
        .queue_declare(name.clone(), topology::declaration(), arguments)
        .await
        .map_err(|error| failed(&format!("declaring the queue {name}"), error))?;
    if let Some(exchange) = target.exchange(&options.namespace) {
        bind(channel, exchange, name).await?;
    }
    Ok(queue.message_count() == 0 && queue.consumer_count() == 0)
}

/// Declares an exchange and binds a queue to it.
async fn bind(channel: &Channel, exchange: ShortString, queue: ShortString) -> Result<()> {
    let bound = async {
        let kind = ExchangeKind::Topic;
        let options = topology::exchange_declaration();
        let none = FieldTable::default;
        channel
            .exchange_declare(exchange.clone(), kind, options, none())
            .await?;
        let key = topology::EVERY_KEY.into();
        let options = QueueBindOptions { nowait: false };
        channel
            .queue_bind(queue, exchange.clone(), key, options, none())
            .await
    };
    bound
        .await
        .map_err(|error| failed(&format!("declaring the exchange {exchange}"), error))
}

/// Closes a channel, which may be closed already.
pub(crate) async fn close(channel: &Channel) {
    if let Err(error) = channel.close(200, "OK".into()).await {
        tracing::debug!(%error, "a channel was closed already");
    }
}
