//! Tries unresponsive queues again, each on a connection of its own. Replaces
//! queues that do not work for long, one at a time.
//!
//! ```text
//! queue ─ due? ─ own connection: declare, publish, consume ─ works ─→ cleared
//!                        │ does not
//!                        ├─ younger than `replace_queue_after` ─→ again, later
//!                        └─ older ─ no other repair? ──── delete, declare ─→ again
//! ```
//!
//! A queue without a leader can end the connection that touches it (541), and
//! everything else on that connection. So each try has a connection that
//! nothing else uses, and the result is known before the queue is used again.
//!
//! A queue that is deleted loses hints only, and the store offers them again.
//! Still, one process at a time deletes: an exclusive queue is the lock, which
//! ends with its connection.

use std::num::NonZeroU16;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use drumline_backend::broker::{Error, Result, Trouble};
use drumline_protocol::codec;
use drumline_protocol::message::Message;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use lapin::options::{BasicConsumeOptions, BasicQosOptions, ConfirmSelectOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, Connection};
use tokio::time::{sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::confirm::{Outgoing, Pending, Verdict};
use crate::connect::{Connected, connect};
use crate::connection::declare_on;
use crate::connection_supervisor::ConnectionSupervisor;
use crate::error::{failed, is_hard, is_refusal, reason, silent};
use crate::options::Options;
use crate::topology::{self, Target};
use crate::unresponsive_queues::{Due, UnresponsiveQueues};

/// The time that each step of a try may take: far over what a busy broker needs.
const STEP: Duration = Duration::from_secs(3);

/// The time that deleting may take. RabbitMQ 3.10 waits five seconds for a leader
/// that does not exist before it deletes without one.
const DELETED_WITHIN: Duration = Duration::from_secs(20);

/// The time that closing a connection may take.
const FAREWELL: Duration = Duration::from_secs(1);

/// Queues that are tried at the same time. A queue without a leader takes some
/// seconds, and the next queues may be in order.
const AT_ONCE: usize = 4;

/// The task.
#[derive(Debug)]
pub(crate) struct Repair {
    pub(crate) options: Arc<Options>,
    pub(crate) unresponsive: Arc<UnresponsiveQueues>,
    /// The connection that this process publishes over: an alarm shows there.
    pub(crate) publishing: ConnectionSupervisor,
    /// True if this process consumes queues of offers. Other processes need not
    /// have the right to.
    pub(crate) consumes: Arc<AtomicBool>,
    pub(crate) stop: CancellationToken,
}

impl Repair {
    /// Repairs until it is stopped.
    pub(crate) async fn run(self) {
        let stop = self.stop.clone();
        stop.run_until_cancelled(self.work()).await;
    }

    async fn work(&self) {
        let mut tries = FuturesUnordered::new();
        let mut tried: Vec<Target> = Vec::new();
        loop {
            let has_room = tries.len() < AT_ONCE;
            let next = has_room.then(|| self.unresponsive.next(&tried)).flatten();
            let is_due = async {
                match &next {
                    Some(due) => sleep_until(due.at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = is_due => {
                    if let Some(due) = next {
                        tried.push(due.target.clone());
                        tries.push(self.try_again(due));
                    }
                }
                Some(target) = tries.next() => tried.retain(|one| *one != target),
                // The new queue may be due sooner.
                () = self.unresponsive.added() => {}
            }
        }
    }

    /// Tries a queue once; gives its name back.
    async fn try_again(&self, due: Due) -> Target {
        let Due { target, since, .. } = due;
        let trouble = match self.examine(&target).await {
            Ok(None) => {
                self.unresponsive.clear(&target);
                return target;
            }
            Ok(Some(trouble)) => trouble,
            Err(error) => {
                // The broker is unavailable, which says nothing of its queues.
                tracing::debug!(queue = %target, %error, "a queue could not be tried");
                self.unresponsive.put_off(&target);
                return target;
            }
        };
        let is_old = since.elapsed() >= self.options.replace_queue_after;
        let needs_operator = trouble.needs_operator();
        self.unresponsive.add(&target, trouble);
        if is_old && !needs_operator {
            match self.replace(&target).await {
                Ok(true) => {
                    tracing::warn!(queue = %target, "a queue did not work and was replaced");
                }
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(queue = %target, %error, "a queue could not be replaced");
                }
            }
            if let Ok(None) = self.examine(&target).await {
                self.unresponsive.clear(&target);
                return target;
            }
        }
        self.unresponsive.put_off(&target);
        target
    }

    /// Finds the trouble with a queue, if there is any.
    ///
    /// # Errors
    /// When there is no connection to find out, or an alarm.
    async fn examine(&self, target: &Target) -> Result<Option<Trouble>> {
        self.check_alarm()?;
        let connected = connect(&self.options, "repair").await?;
        let found = self.use_once(&connected.connection, target).await;
        part(connected, matches!(found, Ok(None))).await;
        if matches!(found, Ok(Some(Trouble::Silent))) {
            // During an alarm no queue confirms anything.
            self.check_alarm()?;
        }
        found
    }

    fn check_alarm(&self) -> Result<()> {
        match self.publishing.check() {
            Err(blocked @ Error::Blocked { .. }) => Err(blocked),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Declares, publishes and consumes.
    async fn use_once(&self, connection: &Connection, target: &Target) -> Result<Option<Trouble>> {
        let channel = open(connection).await?;
        match timeout(STEP, declare_on(&channel, target, &self.options)).await {
            Ok(Ok(_is_new)) => {}
            Ok(Err(error)) if is_refusal(&error) => {
                return Ok(Some(Trouble::Refused(reason(&error))));
            }
            // The declaration has ended the connection (541).
            Ok(Err(error)) if is_hard(&error) => return Ok(Some(Trouble::Silent)),
            Ok(Err(error)) => return Err(error),
            Err(_elapsed) => return Ok(Some(Trouble::Silent)),
        }
        if !matches!(target, Target::Route(_)) {
            return Ok(None);
        }
        match timeout(STEP, self.is_confirmed(&channel, target)).await {
            Ok(Ok(true)) => {}
            Ok(Ok(false) | Err(_)) | Err(_) => {
                let is_blocked = connection.status().blocked();
                return if is_blocked {
                    let reason = "it is blocked".to_owned();
                    Err(Error::Blocked { reason })
                } else {
                    Ok(Some(Trouble::Silent))
                };
            }
        }
        if !self.consumes.load(Ordering::Relaxed) {
            return Ok(None);
        }
        match timeout(STEP, self.consume_once(&channel, target)).await {
            Ok(Ok(())) => Ok(None),
            Ok(Err(error)) => {
                let error = failed("consuming an unresponsive queue", error);
                Ok(Some(if is_refusal(&error) {
                    Trouble::ConsumerRefused(reason(&error))
                } else {
                    Trouble::Unconsumable
                }))
            }
            Err(_elapsed) => Ok(Some(Trouble::Unconsumable)),
        }
    }

    async fn is_confirmed(&self, channel: &Channel, target: &Target) -> Result<bool> {
        const DOING: &str = "publishing to an unresponsive queue";
        let failed = |error| failed(DOING, error);
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await
            .map_err(failed)?;
        let batch = [(target.name(&self.options.namespace), &nothing(target)?)];
        let mut pending = Pending::publish(channel, &batch).await.map_err(failed)?;
        pending.settle(STEP).await.map_err(failed)?;
        Ok(pending.verdicts() == [Some(Verdict::Taken)])
    }

    async fn consume_once(&self, channel: &Channel, target: &Target) -> lapin::Result<()> {
        let qos = BasicQosOptions { global: false };
        channel.basic_qos(NonZeroU16::MIN.get(), qos).await?;
        let queue = target.name(&self.options.namespace);
        let options = BasicConsumeOptions::default();
        let tag = ShortString::default();
        let consumer = channel
            .basic_consume(queue, tag, options, FieldTable::default())
            .await?;
        // Deliveries go back with the channel.
        channel.close(200, "OK".into()).await?;
        drop(consumer);
        Ok(())
    }

    /// Deletes a queue and declares it again. Returns `false` where another
    /// process repairs now.
    ///
    /// # Errors
    /// When the broker refuses, or does not answer.
    async fn replace(&self, target: &Target) -> Result<bool> {
        let connected = connect(&self.options, "repair").await?;
        let replaced = self.delete_and_declare(&connected.connection, target).await;
        part(connected, replaced.is_ok()).await;
        replaced
    }

    async fn delete_and_declare(&self, connection: &Connection, target: &Target) -> Result<bool> {
        let lock = open(connection).await?;
        let name = topology::repair_lock(&self.options.namespace);
        let options = topology::exclusive();
        let locked = lock.queue_declare(name, options, FieldTable::default());
        match timeout(STEP, locked).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                let error = failed("locking the repair", error);
                return if is_refusal(&error) {
                    Ok(false)
                } else {
                    Err(error)
                };
            }
            Err(_elapsed) => return Err(silent("locking the repair", STEP)),
        }
        let channel = open(connection).await?;
        let name = target.name(&self.options.namespace);
        let deleted = channel.queue_delete(name, topology::deletion());
        match timeout(DELETED_WITHIN, deleted).await {
            Ok(deleted) => drop(deleted.map_err(|error| failed("deleting a queue", error))?),
            Err(_elapsed) => return Err(silent("deleting a queue", DELETED_WITHIN)),
        }
        match timeout(STEP, declare_on(&channel, target, &self.options)).await {
            Ok(declared) => declared.map(|_is_new| true),
            Err(_elapsed) => Err(silent("declaring a queue", STEP)),
        }
    }
}

/// The time that a message which offers nothing may wait for a consumer. One that never
/// comes must not leave a queue behind that is not empty.
const NOTHING_EXPIRES_AFTER: Duration = Duration::from_secs(5);

/// A message that offers nothing. A queue that confirms it confirms offers too.
pub(crate) fn nothing(target: &Target) -> Result<Outgoing> {
    Ok(Outgoing {
        target: target.clone(),
        payload: codec::encode(&Message::Offers(Vec::new())).map_err(Error::Encode)?,
        headers: None,
        expires_after: Some(NOTHING_EXPIRES_AFTER),
    })
}

pub(crate) async fn open(connection: &Connection) -> Result<Channel> {
    match timeout(STEP, connection.create_channel()).await {
        Ok(channel) => channel.map_err(|error| failed("opening a channel", error)),
        Err(_elapsed) => Err(silent("opening a channel", STEP)),
    }
}

/// Ends a connection; with a goodbye where it is in order.
pub(crate) async fn part(connected: Connected, is_in_order: bool) {
    if is_in_order {
        // The connection ends, whatever the answer is.
        drop(timeout(FAREWELL, connected.connection.close(200, "OK".into())).await);
    }
    connected.socket.abort();
}
