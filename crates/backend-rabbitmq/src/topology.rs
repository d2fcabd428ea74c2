//! The queues that Drumline has in RabbitMQ: names, and how each is declared.
//!
//! ```text
//! {namespace}.work.{queue}               operations without a token
//! {namespace}.lane.{queue}.{partition}   heads of the chains of a partition
//! {namespace}.quarantine                 messages that nobody can read
//! {namespace}.decoy.{0..255}             for a moment, when queues were created
//! ```
//!
//! Everything goes through the default exchange, whose routing key is the name
//! of a queue: no exchange of ours, and no binding that could be missing.

use drumline_protocol::message::{Route, Source};
use lapin::options::{QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};

use crate::options::Namespace;

/// What the quarantine keeps, newest first. Somebody who publishes garbage
/// must not be able to fill the disk, and a few are enough to see what it is.
const QUARANTINE_LENGTH: i64 = 10_000;

/// When a decoy that was left behind is deleted.
const DECOY_EXPIRES_MS: i64 = 60_000;

/// One queue.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Target {
    /// Where operations are offered.
    Route(Route),
    /// Where unreadable messages are kept for a person.
    Quarantine,
}

impl Target {
    /// Its name; well under AMQP's 255 bytes, for namespace and queue name
    /// have 64 at most.
    pub(crate) fn name(&self, namespace: &Namespace) -> ShortString {
        let namespace = namespace.as_str();
        match self {
            Self::Route(Route { queue, source }) => match source {
                Source::Work => format!("{namespace}.work.{queue}").into(),
                Source::Lane(partition) => format!("{namespace}.lane.{queue}.{partition}").into(),
            },
            Self::Quarantine => format!("{namespace}.quarantine").into(),
        }
    }

    /// The arguments that it is declared with. They are part of its identity:
    /// RabbitMQ refuses a declaration with others, so that a change here needs
    /// a new name.
    pub(crate) fn arguments(&self) -> FieldTable {
        let mut arguments = FieldTable::default();
        // Quorum queues confirm when the message is on disk on a majority of
        // nodes (classic ones confirm before fsync), and are the faster kind
        // for us too. No delivery limit is set: releases that have one by
        // default drop what they cannot deliver, and the store offers it again.
        set(&mut arguments, "x-queue-type", text("quorum"));
        match self {
            // Every worker of the pool takes from it.
            Self::Route(Route {
                source: Source::Work,
                ..
            }) => {}
            // One worker at a time: order and locality on the good path. It is
            // fail-over, not mutual exclusion; the claim is.
            Self::Route(Route {
                source: Source::Lane(_),
                ..
            }) => set(
                &mut arguments,
                "x-single-active-consumer",
                AMQPValue::Boolean(true),
            ),
            // Beyond its length the oldest are dropped.
            Self::Quarantine => set(
                &mut arguments,
                "x-max-length",
                AMQPValue::LongLongInt(QUARANTINE_LENGTH),
            ),
        }
        arguments
    }
}

/// Durable: a restart of the broker keeps the queue. Not exclusive, not
/// auto-delete: it outlives every connection, as its messages must.
pub(crate) fn declaration() -> QueueDeclareOptions {
    QueueDeclareOptions {
        durable: true,
        passive: false,
        exclusive: false,
        auto_delete: false,
        nowait: false,
    }
}

/// Whatever is in it, and whoever consumes it.
pub(crate) fn deletion() -> QueueDeleteOptions {
    QueueDeleteOptions {
        if_unused: false,
        if_empty: false,
        nowait: false,
    }
}

/// A queue that is deleted again at once, and its arguments. Should it be left
/// behind, it goes by itself. The names are few: RabbitMQ never forgets one.
pub(crate) fn decoy(namespace: &Namespace, number: u8) -> (ShortString, FieldTable) {
    let mut arguments = FieldTable::default();
    set(&mut arguments, "x-queue-type", text("quorum"));
    set(
        &mut arguments,
        "x-expires",
        AMQPValue::LongLongInt(DECOY_EXPIRES_MS),
    );
    let namespace = namespace.as_str();
    (format!("{namespace}.decoy.{number}").into(), arguments)
}

/// Only asks whether the queue is there.
pub(crate) fn question() -> QueueDeclareOptions {
    QueueDeclareOptions {
        passive: true,
        ..declaration()
    }
}

fn set(arguments: &mut FieldTable, key: &'static str, value: AMQPValue) {
    arguments.insert(key.into(), value);
}

fn text(value: &'static str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

#[cfg(test)]
mod tests {
    use drumline_protocol::{Partition, QueueName};

    use super::*;

    fn name(target: &Target) -> String {
        target.name(&Namespace::default()).to_string()
    }

    #[test]
    fn names_are_made_of_namespace_kind_queue_and_partition() {
        let lane = Route {
            queue: QueueName::default(),
            source: Source::Lane(Partition::new(17)),
        };
        let work = Route {
            source: Source::Work,
            ..lane.clone()
        };
        assert_eq!(name(&Target::Route(work)), "drumline.work.default");
        assert_eq!(name(&Target::Route(lane)), "drumline.lane.default.17");
        assert_eq!(name(&Target::Quarantine), "drumline.quarantine");
    }

    #[test]
    fn the_longest_name_fits_amqp() {
        let route = Route {
            queue: "q".repeat(64).parse().unwrap(),
            source: Source::Lane(Partition::new(4095)),
        };
        let namespace: Namespace = "n".repeat(64).parse().unwrap();
        assert!(Target::Route(route).name(&namespace).as_str().len() <= 255);
    }
}
