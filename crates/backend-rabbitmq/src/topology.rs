//! The queues that Drumline has in RabbitMQ: names, and how each is declared.
//!
//! ```text
//! {namespace}.work.{queue}               operations without a token
//! {namespace}.lane.{queue}.{partition}   heads of the chains of a partition
//! {namespace}.spare.{queue}              what the work queue does not take
//! {namespace}.quarantine                 messages that cannot be read
//! {namespace}.requests.in                requests of producers
//! {namespace}.requests.quarantine        requests that cannot be done
//! {namespace}.decoy.{0..255}             for a moment, when queues were created
//! {namespace}.repair                     for a moment, when a queue is replaced
//! {namespace}.doctor.{number}            for a moment, when a broker is examined
//! {namespace}.floor                      while a baseline is measured
//! ```
//!
//! Messages are published through the default exchange, whose routing key is the
//! name of a queue: no binding that could be missing. Producers have an exchange,
//! `{namespace}.requests`, so that what is behind it is ours to change.

use std::fmt;

use drumline_protocol::message::{Route, Source};
use lapin::options::{ExchangeDeclareOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};

use crate::options::Namespace;

/// The length of the quarantine, newest first. A producer of garbage
/// must not be able to fill the disk, and a few are enough to see what it is.
const QUARANTINE_LENGTH: i64 = 10_000;

/// Bytes that the quarantine of requests keeps: they have payloads.
const REFUSED_BYTES: i64 = 1 << 30;

/// The deliveries of a request without an acknowledgement before
/// RabbitMQ itself puts it into the quarantine. A request that ends every
/// connection it comes over (its properties are no UTF-8, say), or every process,
/// must not come for ever. A higher limit holds up the requests behind it for
/// longer; a lower limit puts requests aside that only had bad luck. From 4.0 on
/// this is RabbitMQ's own default.
const DELIVERIES: i64 = 20;

/// The time after which RabbitMQ deletes a decoy that was left behind.
const DECOY_EXPIRES_MS: i64 = 60_000;

/// One queue.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Target {
    /// A queue in which operations are offered.
    Route(Route),
    /// The queue in which unreadable messages are kept for a person.
    Quarantine,
    /// The queue in which requests of producers wait.
    Requests,
    /// The queue in which requests that cannot be done are kept for a person.
    RefusedRequests,
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
                Source::Spare => format!("{namespace}.spare.{queue}").into(),
            },
            Self::Quarantine => format!("{namespace}.quarantine").into(),
            Self::Requests => format!("{namespace}.requests.in").into(),
            Self::RefusedRequests => format!("{namespace}.requests.quarantine").into(),
        }
    }

    fn is_spare(&self) -> bool {
        match self {
            Self::Route(route) => route.source == Source::Spare,
            Self::Quarantine | Self::Requests | Self::RefusedRequests => false,
        }
    }

    /// The exchange that it is bound to, where it is bound to one.
    pub(crate) fn exchange(&self, namespace: &Namespace) -> Option<ShortString> {
        match self {
            Self::Requests => Some(format!("{}.requests", namespace.as_str()).into()),
            Self::Route(_) | Self::Quarantine | Self::RefusedRequests => None,
        }
    }

    /// The arguments that it is declared with. They are part of its identity:
    /// RabbitMQ refuses a declaration with different arguments, so that a change
    /// here needs a new name.
    pub(crate) fn arguments(&self, namespace: &Namespace) -> FieldTable {
        let mut arguments = FieldTable::default();
        // Not a quorum queue: it is there for the case that quorum queues fail.
        // A classic queue needs no leader and no majority, and its hints are
        // offered again where it loses them.
        if self.is_spare() {
            set(&mut arguments, "x-queue-type", text("classic"));
            return arguments;
        }
        // Quorum queues confirm when the message is on disk on a majority of
        // nodes (classic ones confirm before fsync), and are the faster kind
        // for us too. No delivery limit is set for hints: releases that have one
        // by default drop what they cannot deliver, and the store offers it again.
        set(&mut arguments, "x-queue-type", text("quorum"));
        match self {
            // Every worker of the pool takes from it.
            Self::Route(Route {
                source: Source::Work | Source::Spare,
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
            Self::Requests => {
                // One process at a time: otherwise the requests of a producer
                // would be done in any order. Another process takes over when
                // the first one has gone.
                set(
                    &mut arguments,
                    "x-single-active-consumer",
                    AMQPValue::Boolean(true),
                );
                set(
                    &mut arguments,
                    "x-delivery-limit",
                    AMQPValue::LongLongInt(DELIVERIES),
                );
                let quarantine = Self::RefusedRequests.name(namespace);
                set(&mut arguments, "x-dead-letter-exchange", text(""));
                set(
                    &mut arguments,
                    "x-dead-letter-routing-key",
                    AMQPValue::LongString(quarantine.as_str().into()),
                );
            }
            Self::RefusedRequests => {
                set(
                    &mut arguments,
                    "x-max-length",
                    AMQPValue::LongLongInt(QUARANTINE_LENGTH),
                );
                set(
                    &mut arguments,
                    "x-max-length-bytes",
                    AMQPValue::LongLongInt(REFUSED_BYTES),
                );
            }
        }
        arguments
    }
}

/// For people and logs.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Route(route) => route.fmt(f),
            Self::Quarantine => f.write_str("quarantine"),
            Self::Requests => f.write_str("queue of requests"),
            Self::RefusedRequests => f.write_str("quarantine of requests"),
        }
    }
}

/// The binding of a queue to its exchange: every routing key. A request of a kind
/// that does not exist is answered then, instead of being lost in the exchange.
pub(crate) const EVERY_KEY: &str = "#";

/// Durable, as its queue is.
pub(crate) fn exchange_declaration() -> ExchangeDeclareOptions {
    ExchangeDeclareOptions {
        passive: false,
        durable: true,
        auto_delete: false,
        internal: false,
        nowait: false,
    }
}

/// Returns true if a queue is one of Drumline's. Producers may name any other
/// queue for their answers.
pub(crate) fn is_ours(queue: &str, namespace: &Namespace) -> bool {
    let rest = queue.strip_prefix(namespace.as_str());
    let rest = rest.and_then(|rest| rest.strip_prefix('.')).unwrap_or("");
    let ours = ["work.", "lane.", "spare.", "decoy.", "requests."];
    rest == "quarantine" || rest == "repair" || ours.iter().any(|ours| rest.starts_with(ours))
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

/// Deletes a queue with its messages, under its consumers.
pub(crate) fn deletion() -> QueueDeleteOptions {
    QueueDeleteOptions {
        if_unused: false,
        if_empty: false,
        nowait: false,
    }
}

/// A queue that is deleted again at once, and its arguments. Should it be left
/// behind, it goes by itself.
pub(crate) fn decoy(namespace: &Namespace, number: u64) -> (ShortString, FieldTable) {
    let mut arguments = quorum();
    set(
        &mut arguments,
        "x-expires",
        AMQPValue::LongLongInt(DECOY_EXPIRES_MS),
    );
    let namespace = namespace.as_str();
    (format!("{namespace}.decoy.{number}").into(), arguments)
}

/// The arguments of a quorum queue without any wish.
pub(crate) fn quorum() -> FieldTable {
    let mut arguments = FieldTable::default();
    set(&mut arguments, "x-queue-type", text("quorum"));
    arguments
}

/// The queue of a baseline.
pub(crate) fn baseline(namespace: &Namespace) -> ShortString {
    format!("{}.floor", namespace.as_str()).into()
}

/// A queue that only shows that queues can be declared.
pub(crate) fn trial(namespace: &Namespace, number: u64) -> ShortString {
    format!("{}.doctor.{number:08x}", namespace.as_str()).into()
}

/// The name of the queue whose owner may replace queues.
pub(crate) fn repair_lock(namespace: &Namespace) -> ShortString {
    format!("{}.repair", namespace.as_str()).into()
}

/// Exclusive to one connection: RabbitMQ refuses it to others, and deletes it with
/// the connection.
pub(crate) fn exclusive() -> QueueDeclareOptions {
    QueueDeclareOptions {
        durable: false,
        passive: false,
        exclusive: true,
        auto_delete: true,
        nowait: false,
    }
}

/// Asks if the queue is there, and changes nothing.
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
    fn answers_go_to_queues_of_others_only() {
        let namespace = Namespace::default();
        for ours in [
            "drumline.work.default",
            "drumline.lane.default.17",
            "drumline.spare.default",
            "drumline.repair",
            "drumline.requests.in",
            "drumline.requests.quarantine",
            "drumline.quarantine",
        ] {
            assert!(is_ours(ours, &namespace), "{ours}");
        }
        for other in ["answers", "drumline.web.answers", "other.work.default", ""] {
            assert!(!is_ours(other, &namespace), "{other}");
        }
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
