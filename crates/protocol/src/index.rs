//! The further indexes: the sets that the listing of a value is read from, one
//! kind per attribute.
//!
//! An index key is a hash over kind, organization and value. It stands in the
//! record, so that a store finds the indexes of an operation without its body.
//! Two values with one hash share their entries, and a listing compares the
//! records themselves.
//!
//! | kind | value | an operation is in it |
//! |---|---|---|
//! | `MessageName` | the message name | by status, except while it is Locked |
//! | `Outcome` | the organization | by status, once it has Failed or was Canceled |
//! | `Correlation` | the correlation id | if that is not the operation's own id |
//! | `Name` | the name | if it has one |
//! | `Parent` | the parent's id | if it has one |
//! | `Record` | the id of the record that it is about | if it has one |
//! | `Owner` | the owner | always |
//! | `Token` | the chain | if it is in one |
//!
//! Locked operations are left out of the index by message name because every
//! run would enter and leave it. They are few, and a store finds them among the
//! locks.

use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::id::OperationId;
use crate::operation::{Body, Header};
use crate::status::Status;
use crate::token::{ChainKey, Organization};

/// The attribute that an index is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IndexKind {
    /// [`Body::message_name`], by status.
    MessageName,
    /// Failed and Canceled operations of an organization, by status.
    Outcome,
    /// [`Body::correlation_id`].
    Correlation,
    /// [`Body::name`].
    Name,
    /// [`Body::parent_id`].
    Parent,
    /// [`Body::regarding_object_id`].
    Record,
    /// [`Body::owner`].
    Owner,
    /// [`Rules::chain`](crate::operation::Rules::chain).
    Token,
}

impl IndexKind {
    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::MessageName,
        Self::Outcome,
        Self::Correlation,
        Self::Name,
        Self::Parent,
        Self::Record,
        Self::Owner,
        Self::Token,
    ];

    /// The word for people, and in settings.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::MessageName => "message-name",
            Self::Outcome => "outcome",
            Self::Correlation => "correlation",
            Self::Name => "name",
            Self::Parent => "parent",
            Self::Record => "record",
            Self::Owner => "owner",
            Self::Token => "token",
        }
    }

    /// The kind with this word.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The letter in keys and records.
    #[must_use]
    pub const fn letter(self) -> u8 {
        match self {
            Self::MessageName => b'm',
            Self::Outcome => b'u',
            Self::Correlation => b'c',
            Self::Name => b'n',
            Self::Parent => b'p',
            Self::Record => b'r',
            Self::Owner => b'o',
            Self::Token => b't',
        }
    }

    /// The kind with this letter.
    #[must_use]
    pub fn from_letter(letter: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.letter() == letter)
    }

    /// The shelf of the index that an operation with this status stands on;
    /// `None` if it is on none.
    #[must_use]
    pub const fn shelf(self, status: Status) -> Option<Shelf> {
        match (self, status) {
            (Self::MessageName, Status::WaitingForResources) => Some(Shelf::Ready),
            (Self::MessageName, Status::Waiting) => Some(Shelf::Suspended),
            (Self::MessageName, Status::Succeeded) => Some(Shelf::Succeeded),
            (Self::MessageName | Self::Outcome, Status::Failed) => Some(Shelf::Failed),
            (Self::MessageName | Self::Outcome, Status::Canceled) => Some(Shelf::Canceled),
            (Self::MessageName, Status::InProgress | Status::Pausing | Status::Canceling)
            | (
                Self::Outcome,
                Status::WaitingForResources
                | Status::Waiting
                | Status::InProgress
                | Status::Pausing
                | Status::Canceling
                | Status::Succeeded,
            ) => None,
            (
                Self::Correlation
                | Self::Name
                | Self::Parent
                | Self::Record
                | Self::Owner
                | Self::Token,
                _,
            ) => Some(Shelf::All),
        }
    }
}

/// A part of an index: one for all operations, or one per status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Shelf {
    /// Operations of any status.
    All,
    /// Ready ones.
    Ready,
    /// Suspended ones.
    Suspended,
    /// Succeeded ones.
    Succeeded,
    /// Failed ones.
    Failed,
    /// Canceled ones.
    Canceled,
}

impl Shelf {
    /// The letter in keys and records; `None` for the only shelf of an index.
    #[must_use]
    pub const fn letter(self) -> Option<u8> {
        match self {
            Self::All => None,
            Self::Ready => Some(b'0'),
            Self::Suspended => Some(b'1'),
            Self::Succeeded => Some(b's'),
            Self::Failed => Some(b'f'),
            Self::Canceled => Some(b'c'),
        }
    }
}

/// The bytes of a hash. Fewer would save little: 48 bits keep the values of a
/// partition apart, and a value with another's hash costs a listing some looks.
pub const HASH_BYTES: usize = 6;

/// One value in one index: kind and hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IndexKey {
    /// The index.
    pub kind: IndexKind,
    /// The hash over kind, organization and value.
    pub hash: [u8; HASH_BYTES],
}

impl IndexKey {
    /// The key of a message name.
    #[must_use]
    pub fn message_name(organization: &Organization, name: &str) -> Self {
        Self::of(IndexKind::MessageName, organization, name.as_bytes())
    }

    /// The key of an organization's Failed and Canceled operations.
    #[must_use]
    pub fn outcome(organization: &Organization) -> Self {
        Self::of(IndexKind::Outcome, organization, b"")
    }

    /// The key of a correlation id.
    #[must_use]
    pub fn correlation(organization: &Organization, id: Uuid) -> Self {
        Self::of(IndexKind::Correlation, organization, id.as_bytes())
    }

    /// The key of a name.
    #[must_use]
    pub fn name(organization: &Organization, name: &str) -> Self {
        Self::of(IndexKind::Name, organization, name.as_bytes())
    }

    /// The key of a parent's id.
    #[must_use]
    pub fn parent(organization: &Organization, id: Uuid) -> Self {
        Self::of(IndexKind::Parent, organization, id.as_bytes())
    }

    /// The key of the record that operations are about.
    #[must_use]
    pub fn record(organization: &Organization, id: Uuid) -> Self {
        Self::of(IndexKind::Record, organization, id.as_bytes())
    }

    /// The key of an owner.
    #[must_use]
    pub fn owner(organization: &Organization, owner: &str) -> Self {
        Self::of(IndexKind::Owner, organization, owner.as_bytes())
    }

    /// The key of a chain: a part of the chain's own hash.
    #[must_use]
    pub fn token(chain: ChainKey) -> Self {
        let [a, b, c, d, e, f, ..] = *chain.as_bytes();
        Self {
            kind: IndexKind::Token,
            hash: [a, b, c, d, e, f],
        }
    }

    fn of(kind: IndexKind, organization: &Organization, value: &[u8]) -> Self {
        let mut digest = Sha256::new();
        digest.update([kind.letter()]);
        // The length keeps ("ab", "c") and ("a", "bc") apart.
        digest.update((organization.0.len() as u64).to_be_bytes());
        digest.update(organization.0.as_bytes());
        digest.update(value);
        let mut hash = [0; HASH_BYTES];
        for (to, from) in hash.iter_mut().zip(digest.finalize()) {
            *to = from;
        }
        Self { kind, hash }
    }
}

/// Every index key of an operation. None of them changes in its life.
#[must_use]
pub fn index_keys(id: OperationId, header: &Header, body: &Body) -> Vec<IndexKey> {
    let organization = &body.organization;
    let given = |text: &str| (!text.is_empty()).then_some(());
    // An operation that is found by its id needs no entry.
    let is_own = body.correlation_id.as_bytes() == id.as_bytes();
    let keys = [
        Some(IndexKey::message_name(organization, &body.message_name)),
        Some(IndexKey::outcome(organization)),
        (!is_own).then(|| IndexKey::correlation(organization, body.correlation_id)),
        given(&body.name).map(|()| IndexKey::name(organization, &body.name)),
        body.parent_id
            .map(|parent| IndexKey::parent(organization, parent)),
        body.regarding_object_id
            .map(|record| IndexKey::record(organization, record)),
        Some(IndexKey::owner(organization, &body.owner)),
        header.rules.chain.map(IndexKey::token),
    ];
    keys.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{CommitId, Partition};
    use crate::operation::{Rules, first_header};
    use crate::time::Timestamp;

    #[test]
    fn letters_and_names_are_read_again() {
        for kind in IndexKind::ALL {
            assert_eq!(IndexKind::from_letter(kind.letter()), Some(kind));
            assert_eq!(IndexKind::from_name(kind.name()), Some(kind));
        }
        assert_eq!(IndexKind::from_letter(b'?'), None);
    }

    #[test]
    fn equal_values_of_two_kinds_or_organizations_have_two_keys() {
        let (a, b) = (Organization("a".to_owned()), Organization("ab".to_owned()));
        let keys = [
            IndexKey::name(&a, "bc"),
            IndexKey::name(&b, "c"),
            IndexKey::message_name(&a, "bc"),
            IndexKey::owner(&a, "bc"),
            IndexKey::outcome(&a),
        ];
        for (at, key) in keys.iter().enumerate() {
            for other in keys.iter().skip(at + 1) {
                assert_ne!(key.hash, other.hash, "{key:?} {other:?}");
            }
        }
        assert_eq!(IndexKey::name(&a, "bc"), IndexKey::name(&a, "bc"));
    }

    #[test]
    fn a_status_has_one_shelf_of_each_index_or_none() {
        let letters = |kind: IndexKind| {
            Status::ALL.map(|status| kind.shelf(status).map(|shelf| shelf.letter()))
        };
        let of_status = |status: Status| match status {
            Status::WaitingForResources => Some(b'0'),
            Status::Waiting => Some(b'1'),
            Status::Succeeded => Some(b's'),
            Status::Failed => Some(b'f'),
            Status::Canceled => Some(b'c'),
            Status::InProgress | Status::Pausing | Status::Canceling => None,
        };
        for kind in IndexKind::ALL {
            let expected = Status::ALL.map(|status| match kind {
                IndexKind::MessageName => of_status(status).map(Some),
                IndexKind::Outcome => of_status(status)
                    .filter(|_| matches!(status, Status::Failed | Status::Canceled))
                    .map(Some),
                IndexKind::Correlation
                | IndexKind::Name
                | IndexKind::Parent
                | IndexKind::Record
                | IndexKind::Owner
                | IndexKind::Token => Some(None),
            });
            assert_eq!(letters(kind), expected, "{kind:?}");
        }
    }

    #[test]
    fn an_operation_is_in_the_indexes_of_the_values_that_it_has() {
        let now = Timestamp::from_millis(1_795_000_000_000);
        let id = OperationId::new(now, Partition::new(1), [2; 16]);
        let own = Uuid::from_bytes(*id.as_bytes());
        let [parent, record] = [3, 4].map(Uuid::from_u128);
        let header = first_header(Rules::default(), None, CommitId(1), now);
        let body = Body {
            owner: "ann".to_owned(),
            correlation_id: own,
            ..Body::new("DoIt", now)
        };
        let organization = body.organization.clone();
        let always = [
            IndexKey::message_name(&organization, "DoIt"),
            IndexKey::outcome(&organization),
            IndexKey::owner(&organization, "ann"),
        ];
        assert_eq!(index_keys(id, &header, &body), always);

        let chain = ChainKey::of_requests(&organization);
        let mut header = header;
        header.rules.chain = Some(chain);
        let body = Body {
            correlation_id: parent,
            name: "report".to_owned(),
            parent_id: Some(parent),
            regarding_object_id: Some(record),
            ..body
        };
        let [message_name, outcome, owner] = always;
        let all = [
            message_name,
            outcome,
            IndexKey::correlation(&organization, parent),
            IndexKey::name(&organization, "report"),
            IndexKey::parent(&organization, parent),
            IndexKey::record(&organization, record),
            owner,
            IndexKey::token(chain),
        ];
        assert_eq!(index_keys(id, &header, &body), all);
    }
}
