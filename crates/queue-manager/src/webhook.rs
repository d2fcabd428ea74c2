//! Webhooks: the receivers of an operation's end, and the proof that a notice
//! came from this service.
//!
//! ```text
//! create with webhookUrl ─ checked ─ … the operation ends ─ notice in the store
//!                                                              │
//!              maintenance (notices) ── signed POST ── 2xx: done, else later
//! ```
//!
//! The notice is written by the same commit that ends the operation, so no
//! notice is forgotten. It is removed after a 2xx, so it may come twice:
//! receivers recognise a repetition by its `webhook-id`, which is the
//! operation's id.
//!
//! Signatures, headers and the schedule are those of the Standard Webhooks
//! specification, for which receivers find libraries in every language.

mod secret;
mod sender;

use std::time::Duration;

use drumline_egress::{Reach, check};

pub use secret::{BadSecret, Secret};

pub(crate) use sender::{Delivery, Sender};

/// The options of webhooks.
#[derive(Clone, Debug)]
pub struct Webhooks {
    /// The secrets that each notice is signed with: with the new secret and the
    /// old one here, receivers can change over one by one. Empty, the default:
    /// operations with a `webhookUrl` are refused.
    pub secrets: Vec<Secret>,
    /// True if notices may go to loopback and private addresses. Default no: a caller that may create operations could reach through this
    /// service what only this machine can reach.
    pub allow_private: bool,
    /// The rests between the tries; after the last try the notice is given
    /// up. Default: 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h, 24 h, as
    /// the specification proposes: ten tries over three days.
    pub schedule: Vec<Duration>,
    /// The time that one try may take, from the lookup of the name to the
    /// answer's head. Default 15 s.
    pub timeout: Duration,
    /// Tries at the same time. Default 64; each holds a connection, and a
    /// silent receiver holds it for the timeout.
    pub at_once: usize,
    /// Of these, to one host. Default 16, so that a silent host leaves room.
    pub at_once_per_host: usize,
}

impl Default for Webhooks {
    fn default() -> Self {
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        Self {
            secrets: Vec::new(),
            allow_private: false,
            schedule: vec![
                Duration::from_secs(5),
                minutes(5),
                minutes(30),
                minutes(2 * 60),
                minutes(5 * 60),
                minutes(10 * 60),
                minutes(14 * 60),
                minutes(20 * 60),
                minutes(24 * 60),
            ],
            timeout: Duration::from_secs(15),
            at_once: 64,
            at_once_per_host: 16,
        }
    }
}

impl Webhooks {
    /// Returns true if operations may ask for a webhook.
    #[must_use]
    pub const fn are_on(&self) -> bool {
        !self.secrets.is_empty()
    }

    /// The objection to a notice to this address, as far as its text shows: the
    /// rule that it breaks, as a clause.
    pub(crate) fn objection(&self, url: &str) -> Option<&'static str> {
        let url = match check(url) {
            Ok(url) => url,
            Err(why) => return Some(why),
        };
        if !self.are_on() {
            return Some(
                "is not possible: this deployment has no secret for signatures (webhook-secret)",
            );
        }
        if self.reach().allows_text(&url) {
            return None;
        }
        Some(match self.reach() {
            Reach::Public => {
                "must be an address of the public internet: this deployment allows no other (webhook-allow-private)"
            }
            Reach::Private => {
                "must not be a link-local address, nor that of a cloud's metadata service"
            }
        })
    }

    /// The addresses that notices may go to.
    pub(crate) const fn reach(&self) -> Reach {
        if self.allow_private {
            Reach::Private
        } else {
            Reach::Public
        }
    }

    /// The time after an operation's end for which its notice may still be
    /// tried.
    pub(crate) fn longest(&self) -> Duration {
        let rests: Duration = self.schedule.iter().sum();
        let tries = u32::try_from(self.schedule.len()).unwrap_or(u32::MAX);
        // With the jitter at its worst, and each try as slow as it may be.
        rests.mul_f64(1.1) + self.timeout.saturating_mul(tries.saturating_add(1))
    }

    /// The rest after try number `tried` (1 is the first); `None`: it was the
    /// last. `jitter`, 0 to 1, moves it by up to a tenth either way, so that
    /// tries that failed together do not come back together.
    #[must_use]
    pub fn rest_after(&self, tried: u32, jitter: f64) -> Option<Duration> {
        let place = usize::try_from(tried).ok()?.checked_sub(1)?;
        let rest = self.schedule.get(place)?;
        Some(rest.mul_f64(0.9 + jitter.clamp(0.0, 1.0) / 5.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_tries_within_four_days_and_then_no_more() {
        let webhooks = Webhooks::default();
        let rests: Vec<_> = (1..=9)
            .map(|tried| webhooks.rest_after(tried, 0.5).unwrap())
            .collect();
        assert_eq!(rests[0], Duration::from_secs(5));
        assert!(rests.is_sorted());
        let all: Duration = rests.iter().sum();
        assert!(all < Duration::from_secs(4 * 24 * 3600), "{all:?}");
        assert_eq!(webhooks.rest_after(10, 0.5), None);
        assert_eq!(webhooks.rest_after(0, 0.5), None);
    }

    #[test]
    fn jitter_moves_a_rest_by_a_tenth() {
        let webhooks = Webhooks::default();
        let near = |jitter| webhooks.rest_after(1, jitter).unwrap().as_secs_f64();
        assert!((near(0.0) - 4.5).abs() < 1e-6);
        assert!((near(1.0) - 5.5).abs() < 1e-6);
    }
}
