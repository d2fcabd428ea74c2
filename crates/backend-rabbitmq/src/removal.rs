//! Deletes the queues of a pool of workers, unless one of them is in use.
//!
//! RabbitMQ does not keep `if-unused` and `if-empty` for quorum queues in all releases, so
//! each queue is asked first. What comes in between is a hint, and is offered again.
//!
//! A queue without a leader can end the connection that touches it. So the questions go
//! over a connection that nothing else uses.

use std::time::Duration;

use drumline_backend::broker::Result;
use drumline_protocol::message::{Route, Source};
use drumline_protocol::{PartitionCount, QueueName};
use lapin::types::FieldTable;
use lapin::{Channel, Connection};
use tokio::time::timeout;

use crate::connect::connect;
use crate::error::{failed, is_not_found, silent};
use crate::options::Options;
use crate::repair::{open, part};
use crate::topology::{self, Target};

/// The time that a question may take.
const STEP: Duration = Duration::from_secs(3);
/// The time that deleting a queue may take: RabbitMQ 3.10 waits five seconds for a leader
/// that does not exist.
const DELETED_WITHIN: Duration = Duration::from_secs(20);

/// Deletes the queues of `queue`. Returns false, and deletes none, if one has consumers or
/// messages.
///
/// # Errors
/// When the broker is unavailable: some may have been deleted.
pub(crate) async fn remove(
    options: &Options,
    queue: &QueueName,
    partitions: PartitionCount,
) -> Result<bool> {
    let connected = connect(options, "removal").await?;
    let removed = remove_over(&connected.connection, options, queue, partitions).await;
    part(connected, removed.is_ok()).await;
    removed
}

async fn remove_over(
    connection: &Connection,
    options: &Options,
    queue: &QueueName,
    partitions: PartitionCount,
) -> Result<bool> {
    let lanes = partitions.all().map(Source::Lane);
    let sources = [Source::Work, Source::Spare].into_iter().chain(lanes);
    let mut there = Vec::new();
    let mut channel = open(connection).await?;
    for source in sources {
        let target = Target::Route(Route {
            queue: queue.clone(),
            source,
        });
        let name = target.name(&options.namespace);
        match is_in_use(&channel, &target, options).await? {
            Some(true) => return Ok(false),
            Some(false) => there.push(name),
            // "No such queue" has closed the channel.
            None => channel = open(connection).await?,
        }
    }
    for name in there {
        let deleted = channel.queue_delete(name, topology::deletion());
        match timeout(DELETED_WITHIN, deleted).await {
            Ok(deleted) => drop(deleted.map_err(|error| failed("deleting a queue", error))?),
            Err(_elapsed) => return Err(silent("deleting a queue", DELETED_WITHIN)),
        }
    }
    Ok(true)
}

/// Returns true if a queue has consumers or messages; `None` if it does not exist.
async fn is_in_use(channel: &Channel, target: &Target, options: &Options) -> Result<Option<bool>> {
    const DOING: &str = "asking for a queue's length";
    let name = target.name(&options.namespace);
    let asked = channel.queue_declare(name, topology::question(), FieldTable::default());
    match timeout(STEP, asked).await {
        Ok(Ok(found)) => Ok(Some(
            found.consumer_count() > 0 || found.message_count() > 0,
        )),
        Ok(Err(error)) => match failed(DOING, error) {
            error if is_not_found(&error) => Ok(None),
            error => Err(error),
        },
        Err(_elapsed) => Err(silent(DOING, STEP)),
    }
}
