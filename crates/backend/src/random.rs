//! The source of random numbers: the operating system, or a seed, so that a test
//! or a simulation can repeat a run.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use uuid::Uuid;

/// The step between two states of a seeded source (that of `SplitMix64`).
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// A source of random numbers; cheap to clone. Clones of a seeded source draw
/// from one sequence.
#[derive(Clone, Debug, Default)]
pub struct Random(Source);

#[derive(Clone, Debug, Default)]
enum Source {
    #[default]
    System,
    Seeded(Arc<AtomicU64>),
}

impl Random {
    /// A source that draws from the operating system.
    #[must_use]
    pub const fn from_entropy() -> Self {
        Self(Source::System)
    }

    /// A source with the same numbers in every run. Not for ids that several
    /// processes draw.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self(Source::Seeded(Arc::new(AtomicU64::new(seed))))
    }

    /// A number, evenly over `u64`.
    #[must_use]
    pub fn u64(&self) -> u64 {
        match &self.0 {
            Source::System => {
                // Without the bytes in which a UUID has fixed bits.
                let [a, b, c, d, e, f, _, _, _, _, g, h, ..] = self.uuid().into_bytes();
                u64::from_be_bytes([a, b, c, d, e, f, g, h])
            }
            Source::Seeded(state) => {
                mix(state.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP))
            }
        }
    }

    /// A number from 0 up to, and without, 1.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        reason = "53 bits are what an f64 can hold"
    )]
    pub fn f64(&self) -> f64 {
        (self.u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A whole number from 0 up to, and without, `end`; 0 if `end` is 0.
    #[must_use]
    pub fn below(&self, end: u64) -> u64 {
        let scaled = u128::from(self.u64()) * u128::from(end);
        u64::try_from(scaled >> 64).unwrap_or_default()
    }

    /// Sixteen bytes.
    #[must_use]
    pub fn bytes16(&self) -> [u8; 16] {
        let (high, low) = (self.u64(), self.u64());
        (u128::from(high) << 64 | u128::from(low)).to_be_bytes()
    }

    /// A random UUID (version 4).
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the injected generator")]
    pub fn uuid(&self) -> Uuid {
        match &self.0 {
            Source::System => Uuid::new_v4(),
            Source::Seeded(_) => uuid::Builder::from_random_bytes(self.bytes16()).into_uuid(),
        }
    }
}

/// The finaliser of `SplitMix64`: spreads a state evenly over all bits.
const fn mix(state: u64) -> u64 {
    let state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ (state >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(random: &Random) -> (u64, u64, [u8; 16], Uuid) {
        (
            random.u64(),
            random.f64().to_bits(),
            random.bytes16(),
            random.uuid(),
        )
    }

    #[test]
    fn a_seed_fixes_all_that_is_drawn() {
        let first = draw(&Random::seeded(7));
        assert_eq!(draw(&Random::seeded(7)), first);
        assert_ne!(draw(&Random::seeded(8)), first);
        // The published numbers of SplitMix64 for this seed.
        let known = Random::seeded(1_234_567);
        assert_eq!(known.u64(), 6_457_827_717_110_365_317);
        assert_eq!(known.u64(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn clones_draw_from_one_sequence() {
        let (one, other) = (Random::seeded(7), Random::seeded(7));
        let drawn = [one.u64(), one.clone().u64(), one.u64()];
        assert_eq!(drawn, [other.u64(), other.u64(), other.u64()]);
        assert_ne!(drawn[0], drawn[1]);
    }

    #[test]
    fn numbers_are_within_their_bounds_and_use_them() {
        for random in [Random::from_entropy(), Random::seeded(7)] {
            let shares: Vec<f64> = (0..1_000).map(|_| random.f64()).collect();
            assert!(shares.iter().all(|share| (0.0..1.0).contains(share)));
            assert!(shares.iter().any(|share| *share < 0.1));
            assert!(shares.iter().any(|share| *share > 0.9));
            let mut seen = [false; 5];
            for _ in 0..1_000 {
                seen[usize::try_from(random.below(5)).unwrap()] = true;
            }
            assert_eq!(seen, [true; 5]);
            assert_eq!(random.below(0), 0);
        }
    }

    #[test]
    fn sixteen_bytes_are_two_numbers() {
        let (bytes, numbers) = (Random::seeded(7), Random::seeded(7));
        let expected = [numbers.u64().to_be_bytes(), numbers.u64().to_be_bytes()];
        assert_eq!(bytes.bytes16(), *expected.concat());
    }
}
