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
//! an empty one. [`action`] says what can happen next, [`step`] makes it
//! happen, [`invariants`] is what must hold in every world, and [`canonical`]
//! says when two worlds are the same. [`mutation`] breaks one rule at a time,
//! to show that the check would notice.
//!
//! What it leaves out: time (whatever may be due is, lease ends whenever it
//! hurts), the contents of operations, and everything that is atomic by a
//! compare-and-set that is simply tried again: reading a header and committing
//! on it is one step, except where a claim trusts the header in its message,
//! and where an answer is lost.

mod action;
mod canonical;
mod invariants;
mod mutation;
mod props;
mod search;
mod step;
mod world;

use crate::mutation::Mutation;
use crate::search::explore;
use crate::world::{Budget, World};

/// Nothing goes wrong but the order of things.
const CALM: Budget = Budget {
    crashes: 0,
    unclear: 0,
    losses: 0,
    doubles: 0,
    needless_offers: 0,
    suspicions: 0,
    renewals: 0,
    unsteady: 0,
    clients: 0,
};

/// Three operations of one token and one without, in whatever order messages
/// and confirms arrive.
#[test]
fn order_holds_whatever_the_broker_does() {
    let budget = Budget {
        losses: 1,
        doubles: 1,
        crashes: 1,
        needless_offers: 1,
        ..CALM
    };
    holds("broker", World::new(&[true, true, false], budget));
}

/// Clients stop, move and end operations at any moment.
#[test]
fn order_holds_whatever_clients_do() {
    let budget = Budget { clients: 3, ..CALM };
    holds("clients", World::new(&[true, true, false], budget));
}

/// Workers die, stall, come back, give back and put off; answers get lost.
#[test]
fn order_holds_whatever_workers_do() {
    let budget = Budget {
        crashes: 1,
        suspicions: 1,
        renewals: 1,
        unclear: 1,
        unsteady: 1,
        ..CALM
    };
    holds("workers", World::new(&[true, true, false], budget));
}

/// A little of everything at once, on one chain.
#[test]
fn order_holds_when_everything_goes_wrong_at_once() {
    let budget = Budget {
        crashes: 1,
        unclear: 1,
        losses: 1,
        doubles: 1,
        needless_offers: 0,
        suspicions: 1,
        renewals: 0,
        unsteady: 1,
        clients: 1,
    };
    holds("everything", World::new(&[true, true], budget));
}

/// The check can fail: with one rule broken at a time, it does.
#[test]
fn a_broken_rule_is_noticed() {
    let everything = Budget {
        crashes: 1,
        unclear: 0,
        losses: 0,
        doubles: 1,
        needless_offers: 0,
        suspicions: 1,
        renewals: 1,
        unsteady: 1,
        clients: 2,
    };
    for (mutation, complaint) in [
        (Mutation::ConfirmIgnoresStamp, "nothing will offer"),
        (Mutation::NobodyIsPromoted, "nothing will offer"),
        (Mutation::ClaimIgnoresOrder, "before"),
        (Mutation::WriteIgnoresFence, "stale"),
        (Mutation::TakeOverIgnoresBeat, "moved"),
        (Mutation::RelaySleeps, "at rest"),
        (Mutation::NobodyWatches, "at rest"),
    ] {
        let world = World::new(&[true, true], everything).broken_by(mutation);
        let violation = explore(world).expect_err("a broken rule must be noticed");
        println!("{mutation:?}: {violation}");
        assert!(
            violation.what.contains(complaint),
            "{mutation:?}: {violation}"
        );
    }
}

fn holds(name: &str, world: World) {
    match explore(world) {
        Ok(found) => println!("{name}: {found:?}"),
        Err(violation) => panic!("{name}: {violation}"),
    }
}
