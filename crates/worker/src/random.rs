//! The one source of the worker's random numbers, so that a test can fix them.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use drumline_backend::Ids;

/// A source of random numbers. Cheap to clone; clones draw from one sequence.
#[derive(Clone)]
pub struct Random(Option<Arc<Mutex<fastrand::Rng>>>);

impl Random {
    /// Random, from the operating system.
    #[must_use]
    pub const fn from_entropy() -> Self {
        Self(None)
    }

    /// The same numbers in every run: for tests and simulations.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self(Some(Arc::new(Mutex::new(fastrand::Rng::with_seed(seed)))))
    }

    /// A number from 0 up to, and without, 1.
    pub(crate) fn f64(&self) -> f64 {
        match &self.0 {
            None => fastrand::f64(),
            Some(rng) => rng.lock().unwrap_or_else(PoisonError::into_inner).f64(),
        }
    }

    /// A source of ids that is as random as this one.
    pub(crate) fn ids(&self) -> Ids {
        match &self.0 {
            None => Ids::random(),
            Some(rng) => {
                let mut rng = rng.lock().unwrap_or_else(PoisonError::into_inner);
                Ids::seeded(rng.u64(..))
            }
        }
    }
}

impl fmt::Debug for Random {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.0.is_some() {
            "seeded"
        } else {
            "from entropy"
        };
        f.debug_tuple("Random").field(&kind).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_fixes_numbers_and_ids() {
        let draw = |random: &Random| (random.ids().uuid(), random.f64().to_bits());
        let (first, again, other) = (Random::seeded(7), Random::seeded(7), Random::seeded(8));
        let drawn = draw(&first);
        assert_eq!(draw(&again), drawn);
        assert_ne!(draw(&other), drawn);
    }

    #[test]
    fn clones_draw_from_one_sequence() {
        let random = Random::seeded(7);
        let drawn = [random.f64(), random.clone().f64()];
        assert_ne!(drawn[0].to_bits(), drawn[1].to_bits());
    }
}
