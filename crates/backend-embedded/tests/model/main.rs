//! A model check: every order in which the actors around the store could act,
//! with the real transitions and the real commits.
//!
//! ```text
//! creator ──┐                              ┌── workers (claim, finish, crash,
//! clients ──┼─→ State (the real one) ←─────┤            go on as zombies)
//! due, watcher, relay, reconciliation ──┘  │
//!      └── publications ─→ broker (loses, doubles, reorders) ─→┘
//! ```
//!
//! [`search`] walks breadth first through all worlds that can be reached from
//! an empty one. [`action`] lists the actions that can happen next, and [`step`],
//! [`workers`] and [`managers`] make them happen. The [`invariants`] must hold in
//! every world. [`canonical`] defines the equality of worlds, and [`mutation`]
//! breaks one rule at a time, to show that the check would notice.
//!
//! The model leaves out time: every wait may be over, and a lease ends at the
//! worst moment. A pause is lifted some time. Where operations expire, time passes
//! once, at any moment. It leaves out the contents of operations. It also leaves out
//! what a compare-and-set makes atomic anyway: reading a header and committing
//! on it is one step, except where a claim trusts the header in its message,
//! where a watcher acts on a lock that it saw earlier, and where an answer is
//! lost.

mod action;
mod canonical;
mod fixtures;
mod invariants;
mod managers;
mod mutation;
mod search;
mod step;
mod workers;
mod world;

use crate::mutation::Mutation;
use crate::search::{Found, explore};
use crate::world::{Budget, World};

/// Only the order of events varies.
const CALM: Budget = Budget {
    crashes: 0,
    unclear: 0,
    losses: 0,
    doubles: 0,
    forgeries: 0,
    needless_offers: 0,
    suspicions: 0,
    renewals: 0,
    unsteady: 0,
    clients: 0,
    breaks: 0,
    repairs: 0,
    pauses: 0,
};

/// Three operations of one token and one without.
const LONG: &[bool] = &[true, true, true, false];
/// Two operations of one token and one without.
const SHORT: &[bool] = &[true, true, false];
/// Three operations of one token.
const CHAIN: &[bool] = &[true, true, true];
/// Two operations of one token.
const PAIR: &[bool] = &[true, true];

/// Messages and confirms come late, twice, in any order, or not at all.
#[test]
fn order_holds_whatever_the_broker_does() {
    let budget = Budget {
        crashes: 1,
        losses: 1,
        doubles: 1,
        forgeries: 1,
        needless_offers: 1,
        ..CALM
    };
    println!("broker: {:?}", holds(SHORT, budget));
}

/// Queues stop to work at any moment, for ever or until they are repaired, the
/// lane and one work queue at the same time: offers go round them, and their
/// confirms come late.
#[test]
fn no_single_queue_is_needed() {
    let budget = Budget {
        breaks: 2,
        repairs: 2,
        ..CALM
    };
    println!("queues: {:?}", holds(SHORT, budget));
    let budget = Budget {
        breaks: 2,
        repairs: 1,
        crashes: 1,
        clients: 1,
        ..CALM
    };
    println!("queues, and mishaps: {:?}", holds(PAIR, budget));
}

/// Clients stop, move and end operations at any moment.
#[test]
fn order_holds_whatever_clients_do() {
    let budget = Budget { clients: 3, ..CALM };
    println!("clients: {:?}", holds(LONG, budget));
}

/// A chain may stop at any operation that is cancelled in it.
#[test]
fn order_holds_where_a_cancel_stops_the_chain() {
    let budget = Budget { clients: 3, ..CALM };
    let world = World::new(SHORT, budget).holding();
    println!("chains that stop: {:?}", walks(world));
    let budget = Budget {
        crashes: 1,
        unclear: 1,
        suspicions: 1,
        clients: 2,
        ..CALM
    };
    let world = World::new(PAIR, budget).holding();
    println!("chains that stop, and mishaps: {:?}", walks(world));
}

/// Operations expire before their start, in the middle of a chain, at its head,
/// and beside it, whatever clients do meanwhile.
#[test]
fn order_holds_whatever_expires() {
    let budget = Budget { clients: 2, ..CALM };
    let world = World::new(CHAIN, budget).expiring(&[false, true, false]);
    println!("the middle expires: {:?}", walks(world));
    let world = World::new(SHORT, budget).expiring(&[true, false, true]);
    println!("a head expires: {:?}", walks(world.clone()));
    println!("… where chains stop: {:?}", walks(world.holding()));
}

/// The same while workers die and repeat requests, and messages are lost.
#[test]
fn order_holds_when_what_expires_meets_mishaps() {
    let budget = Budget {
        crashes: 1,
        unclear: 1,
        losses: 1,
        suspicions: 1,
        unsteady: 1,
        ..CALM
    };
    for expiring in [[true, false], [false, true]] {
        let world = World::new(PAIR, budget).expiring(&expiring);
        println!("mishaps, {expiring:?} expires: {:?}", walks(world));
    }
}

/// An operator pauses scopes and lifts the pauses at any moment, two at a time,
/// while clients act.
#[test]
fn order_holds_whatever_is_paused() {
    let budget = Budget { pauses: 1, ..CALM };
    println!("a pause: {:?}", holds(SHORT, budget));
    let budget = Budget {
        pauses: 2,
        clients: 1,
        ..CALM
    };
    println!("pauses: {:?}", holds(PAIR, budget));
    let world = World::new(PAIR, budget).holding();
    println!("pauses, and chains that stop: {:?}", walks(world));
    let world = World::new(PAIR, budget).expiring(&[true, false]);
    println!("pauses, and a head expires: {:?}", walks(world));
}

/// The same while workers die and repeat requests, and messages are lost,
/// doubled and offered again.
#[test]
fn order_holds_when_pauses_meet_mishaps() {
    let budget = Budget {
        crashes: 1,
        unclear: 1,
        pauses: 1,
        ..CALM
    };
    println!("a pause, and workers die: {:?}", holds(PAIR, budget));
    let budget = Budget {
        losses: 1,
        doubles: 1,
        needless_offers: 1,
        pauses: 1,
        ..CALM
    };
    println!("a pause, and messages are lost: {:?}", holds(PAIR, budget));
}

/// Workers die, stall, come back, and repeat requests without an answer.
#[test]
fn order_holds_whatever_workers_do() {
    let budget = Budget {
        crashes: 1,
        unclear: 1,
        suspicions: 1,
        renewals: 1,
        ..CALM
    };
    println!("workers: {:?}", holds(SHORT, budget));
}

/// A small budget of every mishap at once.
#[test]
fn order_holds_when_everything_goes_wrong_at_once() {
    let budget = Budget {
        crashes: 1,
        unclear: 1,
        losses: 1,
        suspicions: 1,
        unsteady: 1,
        clients: 1,
        ..CALM
    };
    println!("everything: {:?}", holds(PAIR, budget));
}

/// The check can fail: with one rule broken at a time, it does.
#[test]
fn a_broken_rule_is_noticed() {
    for (mutation, budget, complaint) in [
        (
            Mutation::ConfirmIgnoresStamp,
            Budget {
                crashes: 1,
                clients: 2,
                ..CALM
            },
            "nothing will offer",
        ),
        (Mutation::NobodyIsPromoted, CALM, "nothing will offer"),
        (
            Mutation::ClaimIgnoresOrder,
            Budget {
                forgeries: 1,
                ..CALM
            },
            "before",
        ),
        (
            Mutation::WriteIgnoresFence,
            Budget {
                suspicions: 1,
                ..CALM
            },
            "stale",
        ),
        (
            Mutation::TakeOverIgnoresBeat,
            Budget {
                suspicions: 1,
                renewals: 1,
                ..CALM
            },
            "moved",
        ),
        (
            Mutation::HoldLetsGo,
            Budget { clients: 1, ..CALM },
            "the chain is not",
        ),
        (
            Mutation::RelaySleeps,
            Budget { crashes: 1, ..CALM },
            "at rest",
        ),
        (
            Mutation::NobodyWatches,
            Budget { crashes: 1, ..CALM },
            "at rest",
        ),
        (
            Mutation::NobodyBypasses,
            Budget { breaks: 1, ..CALM },
            "at rest",
        ),
        (
            Mutation::NobodyRedirects,
            Budget { breaks: 1, ..CALM },
            "at rest",
        ),
        (
            Mutation::NobodyExpires,
            Budget { clients: 1, ..CALM },
            "at rest",
        ),
        (Mutation::ClaimIgnoresExpiry, CALM, "started late"),
        (
            Mutation::ClaimIgnoresPauses,
            Budget { pauses: 1, ..CALM },
            "under a pause",
        ),
        (
            Mutation::NobodyReleases,
            Budget { pauses: 1, ..CALM },
            "at rest",
        ),
        (
            Mutation::HeldIsForgotten,
            Budget { pauses: 1, ..CALM },
            "nothing will offer",
        ),
        (
            Mutation::NothingIsOnRecord,
            Budget { clients: 1, ..CALM },
            "the history does not fit",
        ),
    ] {
        let world = World::new(PAIR, budget);
        let world = match mutation {
            Mutation::HoldLetsGo => world.holding(),
            Mutation::NobodyExpires | Mutation::ClaimIgnoresExpiry => {
                world.expiring(&[true, false])
            }
            Mutation::None
            | Mutation::ConfirmIgnoresStamp
            | Mutation::NobodyIsPromoted
            | Mutation::ClaimIgnoresOrder
            | Mutation::WriteIgnoresFence
            | Mutation::TakeOverIgnoresBeat
            | Mutation::RelaySleeps
            | Mutation::NobodyWatches
            | Mutation::NobodyBypasses
            | Mutation::NobodyRedirects
            | Mutation::ClaimIgnoresPauses
            | Mutation::NobodyReleases
            | Mutation::HeldIsForgotten
            | Mutation::NothingIsOnRecord => world,
        };
        let world = world.broken_by(mutation);
        let violation = explore(world).expect_err("a broken rule must be noticed");
        println!("{mutation:?}: {violation}");
        let what = &violation.what;
        assert!(what.contains(complaint), "{mutation:?}: {violation}");
    }
}

fn holds(script: &[bool], budget: Budget) -> Found {
    walks(World::new(script, budget))
}

fn walks(world: World) -> Found {
    let found = explore(world);
    found.unwrap_or_else(|violation| unreachable!("{violation}"))
}
