//! The key under which a store counts what the operations of an organization take.
//!
//! The key is a hash, and it stands in the record: a script finds the count of an
//! operation without its body. 48 bits keep the organizations of a deployment apart:
//! of 10,000, two share a count with a chance of one in five million.

use sha2::{Digest, Sha256};

use crate::token::Organization;

/// The bytes of a key.
pub const USAGE_BYTES: usize = 6;

/// The key of the counts of an organization.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UsageKey([u8; USAGE_BYTES]);

impl UsageKey {
    /// The key of an organization.
    #[must_use]
    pub fn of(organization: &Organization) -> Self {
        let mut digest = Sha256::new();
        digest.update(b"usage\0");
        digest.update(organization.0.as_bytes());
        let mut key = [0; USAGE_BYTES];
        for (to, from) in key.iter_mut().zip(digest.finalize()) {
            *to = from;
        }
        Self(key)
    }

    /// The bytes of the key.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; USAGE_BYTES] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_stay_as_they_are() {
        // They stand in the records of every store.
        let key = UsageKey::of(&Organization("contoso".to_owned()));
        assert_ne!(key, UsageKey::of(&Organization::default()));
        assert_eq!(key.as_bytes(), &[0xfb, 0x98, 0xdd, 0x83, 0xb2, 0xc1]);
    }
}
