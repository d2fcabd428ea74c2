//! The search: breadth first, so that the first violation found has one of the
//! shortest stories.

use std::collections::{HashMap, VecDeque};
use std::fmt;

use crate::action::Action;
use crate::canonical::Fingerprint;
use crate::world::World;

/// The result of a search without a violation.
#[derive(Clone, Copy, Debug, Default)]
#[expect(dead_code, reason = "it is printed, for people")]
pub(crate) struct Found {
    /// Different worlds.
    worlds: usize,
    /// The number of steps between worlds.
    steps: usize,
    /// Worlds at rest. Every world can come to one without a further mishap.
    at_rest: usize,
    /// Steps to the farthest world.
    depth: usize,
}

/// A rule was broken.
#[derive(Clone, Debug)]
pub(crate) struct Violation {
    /// The broken rule, and the operation that broke it.
    pub(crate) what: String,
    /// The actions that led to it.
    trace: Vec<Action>,
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

/// Walks through all worlds that can be reached.
pub(crate) fn explore(start: World) -> Result<Found, Violation> {
    let mut atlas = Atlas::default();
    let mut ahead = VecDeque::new();
    let mut resting = Vec::new();
    let mut steps = 0;
    ahead.extend(atlas.enter(start.fingerprint(), None).map(|at| (at, start)));
    while let Some((here, world)) = ahead.pop_front() {
        let progress = world.progress();
        if progress.is_empty() {
            resting.push(here);
            let settled = world.check_at_rest();
            settled.map_err(|what| atlas.story(here, None, what))?;
        }
        let mishaps = world.mishaps();
        let going_on = progress.into_iter().map(|action| (action, true));
        for (action, goes_on) in going_on.chain(mishaps.into_iter().map(|one| (one, false))) {
            steps += 1;
            let next = world.after(action);
            let next = next.map_err(|what| atlas.story(here, Some(action), what))?;
            let print = next.fingerprint();
            if goes_on {
                atlas.note_progress(here, print);
            }
            if let Some(there) = atlas.enter(print, Some((here, action))) {
                let right = next.check();
                right.map_err(|what| atlas.story(here, Some(action), what))?;
                ahead.push_back((there, next));
            }
        }
    }
    atlas.check_all_can_rest(&resting)?;
    Ok(Found {
        worlds: atlas.places.len(),
        steps,
        at_rest: resting.len(),
        depth: atlas.depth(),
    })
}

/// All known worlds, by number, and the ways between them.
#[derive(Default)]
struct Atlas {
    numbers: HashMap<Fingerprint, usize>,
    /// The first way to each world.
    places: Vec<Option<(usize, Action)>>,
    /// The worlds that each is reached from when nothing goes wrong.
    before: HashMap<Fingerprint, Vec<usize>>,
}

impl Atlas {
    /// The number of a world that is new.
    fn enter(&mut self, print: Fingerprint, from: Option<(usize, Action)>) -> Option<usize> {
        if self.numbers.contains_key(&print) {
            return None;
        }
        let number = self.places.len();
        self.numbers.insert(print, number);
        self.places.push(from);
        Some(number)
    }

    fn note_progress(&mut self, from: usize, to: Fingerprint) {
        self.before.entry(to).or_default().push(from);
    }

    /// Checks that every world can reach one at rest without mishaps: otherwise
    /// some actions go round in circles for ever.
    fn check_all_can_rest(&self, resting: &[usize]) -> Result<(), Violation> {
        let mut prints = vec![None; self.places.len()];
        for (print, number) in &self.numbers {
            prints[*number] = Some(*print);
        }
        let mut can = vec![false; self.places.len()];
        let mut ahead = resting.to_vec();
        while let Some(number) = ahead.pop() {
            if !std::mem::replace(&mut can[number], true) {
                let before = prints[number].and_then(|print| self.before.get(&print));
                ahead.extend(before.into_iter().flatten());
            }
        }
        match can.iter().position(|can| !can) {
            None => Ok(()),
            Some(stuck) => Err(self.story(stuck, None, "it never comes to rest".to_owned())),
        }
    }

    /// The actions from the start to a world, and one more.
    fn story(&self, to: usize, last: Option<Action>, what: String) -> Violation {
        let mut trace: Vec<Action> = last.into_iter().collect();
        trace.extend(self.back_from(to));
        trace.reverse();
        Violation { what, trace }
    }

    fn depth(&self) -> usize {
        // Numbers are given breadth first: the last is among the farthest.
        self.back_from(self.places.len().saturating_sub(1)).count()
    }

    /// The actions from a world back to the start.
    fn back_from(&self, to: usize) -> impl Iterator<Item = Action> {
        let mut at = to;
        std::iter::from_fn(move || {
            let (from, action) = self.places[at]?;
            at = from;
            Some(action)
        })
    }
}
