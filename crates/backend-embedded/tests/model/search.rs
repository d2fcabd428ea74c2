//! The search: breadth first, so that the first violation found has one of the
//! shortest stories.

use std::collections::{HashMap, VecDeque};
use std::fmt;

use crate::action::Action;
use crate::canonical::Fingerprint;
use crate::world::World;

/// What was found where nothing was wrong.
#[derive(Clone, Copy, Debug, Default)]
pub struct Found {
    /// Different worlds.
    pub worlds: usize,
    /// Ways from one to another.
    pub steps: usize,
    /// Worlds at rest.
    pub at_rest: usize,
    /// Steps to the farthest world.
    pub depth: usize,
}

/// A rule was broken.
#[derive(Clone, Debug)]
pub struct Violation {
    /// Which, and by which operation.
    pub what: String,
    /// How it came to that.
    pub trace: Vec<Action>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, after:", self.what)?;
        for action in &self.trace {
            write!(f, "\n    {action:?}")?;
        }
        Ok(())
    }
}

/// Where each known world was reached from.
type Origins = HashMap<Fingerprint, Option<(Fingerprint, Action)>>;

/// Walks through all worlds that can be reached.
pub fn explore(start: World) -> Result<Found, Violation> {
    let mut found = Found::default();
    let mut origins = Origins::new();
    let mut ahead = VecDeque::new();
    origins.insert(start.fingerprint(), None);
    ahead.push_back((start, 0));
    while let Some((world, depth)) = ahead.pop_front() {
        let here = world.fingerprint();
        let story = |what, last: Option<Action>| Violation {
            what,
            trace: trace(&origins, here, last),
        };
        found.worlds += 1;
        found.depth = depth;
        let mut actions = world.progress();
        if actions.is_empty() {
            found.at_rest += 1;
            world.check_at_rest().map_err(|what| story(what, None))?;
        }
        actions.extend(world.mishaps());
        let mut new = Vec::new();
        for action in actions {
            found.steps += 1;
            let next = world.after(action);
            let next = next.map_err(|what| story(what, Some(action)))?;
            next.check().map_err(|what| story(what, Some(action)))?;
            new.push((action, next));
        }
        for (action, next) in new {
            let there = next.fingerprint();
            if !origins.contains_key(&there) {
                origins.insert(there, Some((here, action)));
                ahead.push_back((next, depth + 1));
            }
        }
    }
    Ok(found)
}

/// The actions from the start to a world, and one more.
fn trace(origins: &Origins, to: Fingerprint, last: Option<Action>) -> Vec<Action> {
    let mut trace: Vec<Action> = last.into_iter().collect();
    let mut at = to;
    while let Some(Some((from, action))) = origins.get(&at) {
        trace.push(*action);
        at = *from;
    }
    trace.reverse();
    trace
}
