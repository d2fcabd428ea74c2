//! Operations that wait for a question to their queue, which is being asked about
//! others already. Without them a sweep would pass them, and come back after all
//! others of its partition.
//!
//! A queue that has too many of them for too long is given up: what waits for it, and
//! what comes, is left to the sweep.

use std::collections::{HashMap, HashSet};

use drumline_protocol::OperationId;
use drumline_protocol::message::Route;

use super::probe::Candidates;

/// Operations of one route from which on no more are added: some megabyte. A later
/// sweep finds the others again.
const MOST_OF_ROUTE: usize = 20_000;
/// Operations of all routes from which on no more are added.
const MOST: usize = 100_000;

/// The operations that wait, by route.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    by_route: HashMap<Route, Asking>,
    given_up: HashSet<Route>,
}

/// The next question to a route.
#[derive(Debug)]
pub(super) struct Asking {
    pub(super) candidates: Candidates,
    /// True if the broker was lost since all of them were offered.
    pub(super) after_loss: bool,
}

impl Waiting {
    /// Adds operations, unless too many wait, or their queue was given up.
    pub(super) fn add(&mut self, route: Route, new: Asking) {
        if self.given_up.contains(&route) {
            return;
        }
        let count: usize = self.by_route.values().map(|one| one.candidates.len()).sum();
        let of_route = self.by_route.entry(route).or_insert(Asking {
            candidates: Vec::new(),
            after_loss: true,
        });
        if count < MOST && of_route.candidates.len() < MOST_OF_ROUTE {
            of_route.candidates.extend(new.candidates);
            of_route.after_loss &= new.after_loss;
        }
    }

    /// Returns true if no more of some route are added.
    pub(super) fn is_full(&self) -> bool {
        let counts = || self.by_route.values().map(|one| one.candidates.len());
        counts().any(|count| count >= MOST_OF_ROUTE) || counts().sum::<usize>() >= MOST
    }

    /// Gives up the queues that have too many, or, where all together have, the one that
    /// has most.
    pub(super) fn give_up_full(&mut self) {
        let count = |asking: &Asking| asking.candidates.len();
        let most = self.by_route.values().map(count).max().unwrap_or(0);
        let least = most.min(MOST_OF_ROUTE);
        let full = self
            .by_route
            .extract_if(|_, asking| count(asking) >= least.max(1));
        self.given_up.extend(full.map(|(route, _)| route));
    }

    /// Ends that queues are given up.
    pub(super) fn give_up_none(&mut self) {
        self.given_up.clear();
    }

    /// Takes the next questions to routes that are not being asked.
    pub(super) fn take_free(&mut self, is_asked: impl Fn(&Route) -> bool) -> Vec<(Route, Asking)> {
        let free = self.by_route.extract_if(|route, _| !is_asked(route));
        free.collect()
    }

    /// The operations.
    pub(super) fn ids(&self) -> impl Iterator<Item = OperationId> {
        let candidates = self.by_route.values().flat_map(|one| &one.candidates);
        candidates.map(|(id, _)| *id)
    }

    /// Forgets all of them.
    pub(super) fn clear(&mut self) {
        self.by_route.clear();
        self.given_up.clear();
    }
}

#[cfg(test)]
mod tests {
    use drumline_backend::store::Stamp;
    use drumline_protocol::message::Source;
    use drumline_protocol::{Partition, QueueName, Timestamp};

    use super::*;

    fn asking(count: usize, after_loss: bool) -> Asking {
        let id = OperationId::new(Timestamp::from_millis(1), Partition::new(0), [0; 16]);
        Asking {
            candidates: vec![(id, Stamp(1)); count],
            after_loss,
        }
    }

    fn route(source: Source) -> Route {
        Route {
            queue: QueueName::default(),
            source,
        }
    }

    #[test]
    fn a_full_route_takes_no_more_and_keeps_no_other_out() {
        let mut waiting = Waiting::default();
        waiting.add(route(Source::Work), asking(MOST_OF_ROUTE, false));
        assert!(waiting.is_full());
        waiting.add(route(Source::Work), asking(1, false));
        waiting.add(route(Source::Spare), asking(1, true));
        let mut free = waiting.take_free(|route| route.source == Source::Spare);
        let (free, asking) = free.pop().expect("one");
        assert_eq!(free, route(Source::Work));
        assert_eq!(asking.candidates.len(), MOST_OF_ROUTE);
        assert!(!waiting.is_full());
        assert_eq!(waiting.ids().count(), 1);
    }

    #[test]
    fn a_full_route_is_given_up_and_the_others_go_on() {
        let mut waiting = Waiting::default();
        waiting.add(route(Source::Work), asking(MOST_OF_ROUTE, true));
        waiting.add(route(Source::Spare), asking(1, true));
        waiting.give_up_full();
        assert!(!waiting.is_full());
        assert_eq!(waiting.ids().count(), 1);
        waiting.add(route(Source::Work), asking(1, true));
        waiting.add(route(Source::Spare), asking(1, true));
        assert_eq!(waiting.ids().count(), 2);
        waiting.give_up_none();
        waiting.add(route(Source::Work), asking(1, true));
        assert_eq!(waiting.ids().count(), 3);
    }

    #[test]
    fn a_question_is_quick_if_all_of_it_is_from_before_a_loss() {
        let mut waiting = Waiting::default();
        waiting.add(route(Source::Work), asking(1, true));
        waiting.add(route(Source::Work), asking(1, true));
        waiting.add(route(Source::Spare), asking(1, true));
        waiting.add(route(Source::Spare), asking(1, false));
        for (route, asking) in waiting.take_free(|_| false) {
            assert_eq!(asking.after_loss, route.source == Source::Work);
        }
        assert_eq!(waiting.ids().count(), 0);
    }
}
