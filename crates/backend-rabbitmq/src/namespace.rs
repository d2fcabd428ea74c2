//! A broker and a namespace on it as a whole, for `drumline doctor` and `drumline
//! bench`: the broker is examined, and queues are emptied and deleted. No port
//! does that.
//!
//! Each call has a connection of its own and no patience beyond connecting.

use drumline_backend::broker::Result;
use drumline_protocol::message::{Route, Source};
use drumline_protocol::{PartitionCount, QueueName};
use lapin::options::QueuePurgeOptions;
use lapin::types::ShortString;
use lapin::{Channel, Connection};

use crate::connect::connect;
use crate::error::failed;
use crate::options::Options;
use crate::server_info::{self, ServerInfo};
use crate::topology::{self, Target};

/// Asks a broker for its product and release. Does not log in.
///
/// # Errors
/// When the broker does not answer in time.
pub async fn inspect(options: &Options) -> Result<ServerInfo> {
    server_info::fetch(options).await
}

/// Declares a quorum queue of its own and deletes it again. Bounded only by the
/// caller: a cluster without a majority does not answer.
///
/// # Errors
/// When the broker is unavailable, or refuses; the source of the error is the
/// broker's reason.
pub async fn try_quorum_queue(options: &Options) -> Result<()> {
    let queue = topology::trial(&options.namespace, options.random.below(1 << 32));
    on_a_channel(options, async |channel| {
        channel
            .queue_declare(queue.clone(), topology::declaration(), topology::quorum())
            .await?;
        channel
            .queue_delete(queue, topology::deletion())
            .await
            .map(drop)
    })
    .await
}

/// Empties the queue of operations without a token.
///
/// # Errors
/// When the broker is unavailable, or has no such queue.
pub async fn purge_work_queue(options: &Options, queue: &QueueName) -> Result<()> {
    let name = name(options, queue, Source::Work);
    on_a_channel(options, async |channel| {
        channel
            .queue_purge(name, QueuePurgeOptions::default())
            .await
            .map(drop)
    })
    .await
}

/// Deletes every queue that managers, workers and a baseline have made for one
/// pool. No process may use them any more.
///
/// # Errors
/// When the broker is unavailable, or refuses.
pub async fn delete_queues(
    options: &Options,
    queue: &QueueName,
    partitions: PartitionCount,
) -> Result<()> {
    let lanes = partitions.all().map(Source::Lane);
    let sources = [Source::Work, Source::Spare].into_iter().chain(lanes);
    let mut names: Vec<ShortString> = sources.map(|source| name(options, queue, source)).collect();
    names.push(Target::Quarantine.name(&options.namespace));
    names.push(topology::baseline(&options.namespace));
    on_a_channel(options, async |channel| {
        for name in names {
            channel.queue_delete(name, topology::deletion()).await?;
        }
        Ok(())
    })
    .await
}

fn name(options: &Options, queue: &QueueName, source: Source) -> ShortString {
    let route = Route {
        queue: queue.clone(),
        source,
    };
    Target::Route(route).name(&options.namespace)
}

/// Runs `work` on a channel of a connection of its own.
async fn on_a_channel(
    options: &Options,
    work: impl AsyncFnOnce(&Channel) -> lapin::Result<()>,
) -> Result<()> {
    let connection: Connection = connect(options, "tools").await?.connection;
    let done = async {
        // lapin complains where a channel is dropped, and so being closed, when
        // its connection is closed.
        let channel = connection.create_channel().await?;
        work(&channel).await?;
        connection.close(200, "done".into()).await
    };
    done.await.map_err(|error| failed("changing queues", error))
}
