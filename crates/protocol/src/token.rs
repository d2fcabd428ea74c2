//! Names that users choose: dependency tokens, organizations, queues.
//!
//! A user's string never becomes part of a key or a queue name as it is:
//! tokens are hashed into a [`ChainKey`], queue names are checked.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::id::{Partition, PartitionCount};
use crate::limits;

/// The name does not fit its rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// The text is longer than allowed.
    #[error("{what} has {length} characters; {limit} are allowed")]
    TooLong {
        /// The kind of name.
        what: &'static str,
        /// Its length in characters.
        length: usize,
        /// The allowed length in characters.
        limit: usize,
    },
    /// Not a queue name.
    #[error("a queue name is 1 to 64 of a-z, 0-9 and -")]
    Queue,
}

/// Operations with the same token, in the same organization, run strictly in
/// order of creation. Any string of up to 256 characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DependencyToken(String);

impl DependencyToken {
    /// The text of the token.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for DependencyToken {
    type Error = InvalidName;

    fn try_from(text: String) -> Result<Self, InvalidName> {
        let length = text.chars().count();
        if length > limits::TOKEN_CHARS {
            return Err(InvalidName::TooLong {
                what: "dependencyToken",
                length,
                limit: limits::TOKEN_CHARS,
            });
        }
        Ok(Self(text))
    }
}

impl From<DependencyToken> for String {
    fn from(token: DependencyToken) -> Self {
        token.0
    }
}

/// The tenant of a caller. Tokens of different organizations never meet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Organization(pub String);

impl Default for Organization {
    fn default() -> Self {
        Self("default".to_owned())
    }
}

/// The chain that an operation belongs to: 128 bits of SHA-256 over
/// organization and token. A collision would only put two tokens into one
/// order.
///
/// Besides the tokens' chains there is one per organization for its
/// asynchronous requests, which run one at a time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ChainKey([u8; 16]);

impl ChainKey {
    /// The chain of a token.
    #[must_use]
    pub fn new(organization: &Organization, token: &DependencyToken) -> Self {
        let mut hash = Sha256::new();
        // The length keeps ("ab", "c") and ("a", "bc") apart.
        hash.update((organization.0.len() as u64).to_be_bytes());
        hash.update(organization.0.as_bytes());
        hash.update(token.0.as_bytes());
        Self::of_digest(hash)
    }

    /// The chain of an organization's asynchronous requests: no token's.
    #[must_use]
    pub fn of_requests(organization: &Organization) -> Self {
        let mut hash = Sha256::new();
        // This stands in the place of the length of a token's organization
        // name; no name is that long.
        hash.update(u64::MAX.to_be_bytes());
        hash.update(organization.0.as_bytes());
        Self::of_digest(hash)
    }

    fn of_digest(hash: Sha256) -> Self {
        let mut key = [0; 16];
        for (to, from) in key.iter_mut().zip(hash.finalize()) {
            *to = from;
        }
        Self(key)
    }

    /// The partition of the whole chain.
    #[must_use]
    pub const fn partition(&self, count: PartitionCount) -> Partition {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        count.of_hash(u64::from_be_bytes([a, b, c, d, e, f, g, h]))
    }

    /// The bytes of the key.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// A key from its bytes, as [`Self::as_bytes`] gave them.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for ChainKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0 {
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for ChainKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A named pool of workers: 1 to 64 of `a-z`, `0-9` and `-`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct QueueName(String);

impl QueueName {
    /// The queue of operations that name none.
    pub const DEFAULT: &'static str = "default";

    /// Returns true for the queue of operations that name none.
    #[must_use]
    pub fn is_default(&self) -> bool {
        self.0 == Self::DEFAULT
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for QueueName {
    fn default() -> Self {
        Self(Self::DEFAULT.to_owned())
    }
}

impl TryFrom<String> for QueueName {
    type Error = InvalidName;

    fn try_from(text: String) -> Result<Self, InvalidName> {
        let fits = matches!(text.len(), 1..=64)
            && text
                .bytes()
                .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'));
        if fits {
            Ok(Self(text))
        } else {
            Err(InvalidName::Queue)
        }
    }
}

impl std::str::FromStr for QueueName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        Self::try_from(text.to_owned())
    }
}

impl From<QueueName> for String {
    fn from(name: QueueName) -> Self {
        name.0
    }
}

impl fmt::Display for QueueName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(text: &str) -> DependencyToken {
        text.to_owned().try_into().unwrap()
    }

    #[test]
    fn organizations_do_not_share_chains() {
        let key = |organization: &str, text: &str| {
            ChainKey::new(&Organization(organization.to_owned()), &token(text))
        };
        assert_eq!(key("a", "x"), key("a", "x"));
        assert_ne!(key("a", "x"), key("b", "x"));
        assert_ne!(key("ab", "c"), key("a", "bc"));
    }

    #[test]
    fn the_requests_of_an_organization_are_in_no_tokens_chain() {
        let organization = |name: &str| Organization(name.to_owned());
        let requests = ChainKey::of_requests(&organization("a"));
        assert_eq!(requests, ChainKey::of_requests(&organization("a")));
        assert_ne!(requests, ChainKey::of_requests(&organization("b")));
        for (name, text) in [("a", ""), ("", "a"), ("a", "a"), ("", "")] {
            assert_ne!(requests, ChainKey::new(&organization(name), &token(text)));
        }
    }

    #[test]
    fn tokens_are_counted_in_characters() {
        assert!(DependencyToken::try_from("ü".repeat(256)).is_ok());
        assert!(DependencyToken::try_from("ü".repeat(257)).is_err());
        assert!(DependencyToken::try_from(String::new()).is_ok());
    }

    #[test]
    fn queue_names_are_checked() {
        for good in ["a", "default", "big-imports-2"] {
            assert!(good.parse::<QueueName>().is_ok(), "{good}");
        }
        for bad in ["", "A", "a.b", "a b", "ü", "{1}", &"a".repeat(65)] {
            assert!(bad.parse::<QueueName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_name_is_shown_as_it_was_given() {
        assert_eq!(token("account 7").as_str(), "account 7");
        assert_eq!(String::from(token("account 7")), "account 7");
        let queue: QueueName = "imports".parse().unwrap();
        assert_eq!(queue.as_str(), "imports");
        assert_eq!(queue.to_string(), "imports");
        assert!(!queue.is_default());
        assert_eq!(String::from(queue), "imports");
        assert!(QueueName::default().is_default());
    }

    #[test]
    fn a_chain_stays_where_it_is() {
        // Chains stand in the records of every store, and lie in their partitions.
        let organization = Organization("contoso".to_owned());
        let chain = ChainKey::new(&organization, &token("account 7"));
        assert_eq!(chain.to_string(), "94f3309304ea9fc5b737a681598cfc21");
        assert_eq!(format!("{chain:?}"), chain.to_string());
        assert_eq!(ChainKey::from_bytes(*chain.as_bytes()), chain);
        let chain = ChainKey::from_bytes([0, 0, 0, 0, 0, 0, 1, 3, 9, 9, 9, 9, 9, 9, 9, 9]);
        let partition = chain.partition(PartitionCount::DEFAULT);
        assert_eq!(partition, Partition::new(259 % 64));
    }
}
