//! Pauses: an operator stops every operation of a queue, a message name, an
//! organization or a token, for the present ones and for those to come.
//!
//! A pause starts nothing and ends nothing. Operations in its scope keep their
//! state and wait; what runs goes on. The claim looks at the pauses, so a pause
//! binds all workers, whichever way an offer has reached them.
//!
//! A [`ScopeKey`] is a hash over kind, organization and value, so that a store
//! compares scopes without their texts. Setting a pause twice is one pause.

use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::history::Author;
use crate::operation::{Body, Header};
use crate::time::Timestamp;
use crate::token::{ChainKey, DependencyToken, Organization, QueueName};

/// The attribute that a pause is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum PauseKind {
    /// The queue.
    Queue,
    /// The message name.
    MessageName,
    /// The organization, with everything in it.
    Organization,
    /// The dependency token.
    DependencyToken,
}

impl PauseKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [
        Self::Queue,
        Self::MessageName,
        Self::Organization,
        Self::DependencyToken,
    ];

    /// The word in requests and answers.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::MessageName => "messageName",
            Self::Organization => "organization",
            Self::DependencyToken => "dependencyToken",
        }
    }

    /// The words for people: "the pause of …".
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::MessageName => "message name",
            Self::Organization => "organization",
            Self::DependencyToken => "token",
        }
    }

    /// The kind with this word.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    const fn letter(self) -> u8 {
        match self {
            Self::Queue => b'q',
            Self::MessageName => b'm',
            Self::Organization => b'o',
            Self::DependencyToken => b't',
        }
    }
}

/// The name that stands for all organizations. None can be paused under it.
const ALL_ORGANIZATIONS: &str = "*";

/// The key of the scope that every operation is in: claims compare it each time.
static EVERYTHING: LazyLock<ScopeKey> = LazyLock::new(|| PauseScope::everything().key());

/// The operations that a pause is about. Every scope but that of
/// [everything](Self::everything) lies in one organization.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PauseScope {
    /// The attribute.
    pub kind: PauseKind,
    /// The organization of the operations.
    pub organization: Organization,
    /// The value of the attribute; of an organization its name.
    pub value: String,
}

impl PauseScope {
    /// The scope of everything in an organization.
    #[must_use]
    pub fn organization(organization: Organization) -> Self {
        Self {
            kind: PauseKind::Organization,
            value: organization.0.clone(),
            organization,
        }
    }

    /// The scope of everything in all organizations: a freeze.
    ///
    /// It is written as the pause of an organization of a reserved name, which every
    /// release can read.
    #[must_use]
    pub fn everything() -> Self {
        Self::organization(Organization(ALL_ORGANIZATIONS.to_owned()))
    }

    /// Returns true if the scope is in all organizations.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.kind == PauseKind::Organization && self.organization.0 == ALL_ORGANIZATIONS
    }

    /// The word for the scope in requests and answers.
    #[must_use]
    pub fn name(&self) -> &'static str {
        if self.is_everything() {
            "everything"
        } else {
            self.kind.name()
        }
    }

    /// The key of the scope.
    #[must_use]
    pub fn key(&self) -> ScopeKey {
        let Self {
            kind,
            organization,
            value,
        } = self;
        match kind {
            PauseKind::Queue | PauseKind::MessageName => {
                ScopeKey::of(*kind, organization, value.as_bytes())
            }
            PauseKind::Organization => ScopeKey::of(*kind, organization, b""),
            PauseKind::DependencyToken => match DependencyToken::try_from(value.clone()) {
                Ok(token) => ScopeKey::of_chain(ChainKey::new(organization, &token)),
                // No operation has a token that long.
                Err(_too_long) => ScopeKey::of(*kind, organization, value.as_bytes()),
            },
        }
    }
}

/// For people: `message name SendMail`.
impl fmt::Display for PauseScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_everything() {
            return f.write_str("everything");
        }
        write!(f, "{} {}", self.kind.words(), self.value)
    }
}

/// The name of a scope: 63 bits of SHA-256. Two scopes with one key would be
/// paused together, which 63 bits make improbable enough.
///
/// The first bit is always set. A store relies on it to tell a key from a stamp.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ScopeKey([u8; 8]);

impl ScopeKey {
    fn of(kind: PauseKind, organization: &Organization, value: &[u8]) -> Self {
        let mut digest = Sha256::new();
        digest.update([kind.letter()]);
        // The length keeps ("ab", "c") and ("a", "bc") apart.
        digest.update((organization.0.len() as u64).to_be_bytes());
        digest.update(organization.0.as_bytes());
        digest.update(value);
        Self::of_digest(digest)
    }

    fn of_chain(chain: ChainKey) -> Self {
        let mut digest = Sha256::new();
        digest.update([PauseKind::DependencyToken.letter()]);
        digest.update(chain.as_bytes());
        Self::of_digest(digest)
    }

    fn of_digest(digest: Sha256) -> Self {
        let mut key = [0; 8];
        for (to, from) in key.iter_mut().zip(digest.finalize()) {
            *to = from;
        }
        let [first, ..] = &mut key;
        *first |= 0x80;
        Self(key)
    }

    /// The bytes of the key.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 8] {
        &self.0
    }

    /// A key from its bytes, as [`Self::as_bytes`] gave them.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(bytes)
    }
}

/// The id of a pause: 16 hexadecimal digits.
impl fmt::Display for ScopeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}

impl fmt::Debug for ScopeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not the id of a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the id of a pause is 16 hexadecimal digits")]
pub struct InvalidScopeKey;

impl FromStr for ScopeKey {
    type Err = InvalidScopeKey;

    fn from_str(text: &str) -> Result<Self, InvalidScopeKey> {
        let is_hex = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = u64::from_str_radix(text, 16).ok().filter(|_| is_hex);
        number
            .map(|number| Self(number.to_be_bytes()))
            .ok_or(InvalidScopeKey)
    }
}

/// One pause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// The operations that it stops.
    pub scope: PauseScope,
    /// The reason, for people: at most
    /// [`limits::PAUSE_REASON_CHARS`](crate::limits::PAUSE_REASON_CHARS).
    pub reason: String,
    /// The time at which it ends by itself.
    pub until: Option<Timestamp>,
    /// The caller that has set it.
    pub author: Author,
    /// The time since which it is in force.
    pub since: Timestamp,
}

impl Pause {
    /// Returns true if it has not ended by itself.
    #[must_use]
    pub fn is_in_force(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| until > now)
    }
}

/// The keys of all scopes that an operation is in.
#[must_use]
pub fn scope_keys(
    organization: &Organization,
    queue: &QueueName,
    message_name: &str,
    chain: Option<ChainKey>,
) -> Vec<ScopeKey> {
    let mut keys = vec![
        *EVERYTHING,
        ScopeKey::of(PauseKind::Organization, organization, b""),
        ScopeKey::of(PauseKind::Queue, organization, queue.as_str().as_bytes()),
        ScopeKey::of(
            PauseKind::MessageName,
            organization,
            message_name.as_bytes(),
        ),
    ];
    keys.extend(chain.map(ScopeKey::of_chain));
    keys
}

/// The keys of all scopes that an operation with these parts is in.
#[must_use]
pub fn scope_keys_of(header: &Header, body: &Body) -> Vec<ScopeKey> {
    scope_keys(
        &body.organization,
        &body.queue,
        &body.message_name,
        header.rules.chain,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{CommitId, OperationId, Partition};
    use crate::message::Offer;
    use crate::operation::{Rules, first_header};

    fn scope(kind: PauseKind, organization: &str, value: &str) -> PauseScope {
        PauseScope {
            kind,
            organization: Organization(organization.to_owned()),
            value: value.to_owned(),
        }
    }

    #[test]
    fn an_operation_is_in_the_scopes_of_its_values_and_in_no_others() {
        let organization = Organization("contoso".to_owned());
        let queue: QueueName = "imports".parse().unwrap();
        let token = DependencyToken::try_from("account 7".to_owned()).unwrap();
        let chain = ChainKey::new(&organization, &token);
        let keys = scope_keys(&organization, &queue, "SendMail", Some(chain));
        let within = [
            scope(PauseKind::Queue, "contoso", "imports"),
            scope(PauseKind::MessageName, "contoso", "SendMail"),
            scope(PauseKind::Organization, "contoso", "contoso"),
            scope(PauseKind::DependencyToken, "contoso", "account 7"),
            PauseScope::everything(),
        ];
        for scope in &within {
            assert!(keys.contains(&scope.key()), "{scope}");
        }
        assert_eq!(keys.len(), within.len());
        let beside = [
            scope(PauseKind::Queue, "contoso", "SendMail"),
            scope(PauseKind::MessageName, "fabrikam", "SendMail"),
            scope(PauseKind::Organization, "fabrikam", "fabrikam"),
            scope(PauseKind::DependencyToken, "contoso", "account 8"),
        ];
        for scope in &beside {
            assert!(!keys.contains(&scope.key()), "{scope}");
        }
        let free = scope_keys(&organization, &queue, "SendMail", None);
        assert_eq!(free.len(), 4);
        assert_eq!(PauseScope::everything().to_string(), "everything");
        assert!(within.iter().filter(|scope| scope.is_everything()).count() == 1);
    }

    #[test]
    fn a_key_is_written_and_read_again_and_no_stamp() {
        for kind in PauseKind::ALL {
            let key = scope(kind, "contoso", "value").key();
            assert_eq!(key.to_string().parse(), Ok(key));
            assert_eq!(format!("{key:?}"), key.to_string(), "in a log, too");
            assert!(key.as_bytes()[0] >= 0x80, "{key}");
            assert_eq!(PauseKind::from_name(kind.name()), Some(kind));
        }
        for text in ["", "80", "+000000000000001", "800000000000000g"] {
            assert_eq!(text.parse::<ScopeKey>(), Err(InvalidScopeKey), "{text}");
        }
    }

    #[test]
    fn a_pause_ends_at_its_time() {
        let pause = Pause {
            scope: scope(PauseKind::Queue, "contoso", "imports"),
            reason: "the disk is full".to_owned(),
            until: Some(Timestamp::from_millis(7)),
            author: Author::Caller("ann".to_owned()),
            since: Timestamp::from_millis(1),
        };
        assert!(pause.is_in_force(Timestamp::from_millis(6)));
        assert!(!pause.is_in_force(Timestamp::from_millis(7)));
        let endless = Pause {
            until: None,
            ..pause
        };
        assert!(endless.is_in_force(Timestamp::from_millis(i64::MAX)));
    }

    #[test]
    fn a_scope_is_named_for_programs_and_for_people() {
        for (kind, name, words) in [
            (PauseKind::Queue, "queue", "queue x"),
            (PauseKind::MessageName, "messageName", "message name x"),
            (PauseKind::Organization, "organization", "organization x"),
            (PauseKind::DependencyToken, "dependencyToken", "token x"),
        ] {
            let scope = scope(kind, "contoso", "x");
            assert_eq!(scope.name(), name);
            assert_eq!(scope.to_string(), words);
        }
        assert_eq!(PauseScope::everything().name(), "everything");
        // A name that stands for all organizations elsewhere is a name like any other.
        assert_eq!(scope(PauseKind::Queue, "*", "x").name(), "queue");
    }

    #[test]
    fn an_operation_is_in_the_scopes_of_its_parts() {
        let organization = Organization("contoso".to_owned());
        let chain = Some(ChainKey::of_requests(&organization));
        let queue: QueueName = "imports".parse().unwrap();
        let now = Timestamp::from_millis(1);
        let mut header = first_header(Rules::default(), None, CommitId(1), now);
        header.rules.chain = chain;
        let body = Body {
            organization: organization.clone(),
            queue: queue.clone(),
            ..Body::new("SendMail", now)
        };
        let expected = scope_keys(&organization, &queue, "SendMail", chain);
        assert_eq!(scope_keys_of(&header, &body), expected);
        let id = OperationId::new(now, Partition::new(1), [2; 16]);
        assert_eq!(Offer::new(id, &header, &body).scope_keys(), expected);
    }
}
