//! Versions of the formats: a release announces what it reads, and members write
//! what every live member reads.
//!
//! A *minor* version adds fields, as [extensions](crate::extensions). A member of
//! an earlier minor version keeps such fields and does not act on them, so both
//! may work on one store. A *major* version changes what an earlier release would
//! misread, and a release refuses a store of a later major version.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A version of a format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct FormatVersion {
    /// Grows when an earlier release would misread the data.
    pub major: u16,
    /// Grows when a field is added that an earlier release keeps.
    pub minor: u16,
}

impl FormatVersion {
    /// The version with these numbers.
    #[must_use]
    pub const fn new(major: u16, minor: u16) -> Self {
        Self { major, minor }
    }
}

impl fmt::Display for FormatVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// The text is not the version of a format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the version of a format: two numbers with a point between them")]
pub struct NotAVersion;

impl FromStr for FormatVersion {
    type Err = NotAVersion;

    fn from_str(text: &str) -> Result<Self, NotAVersion> {
        let (major, minor) = text.split_once('.').ok_or(NotAVersion)?;
        match (major.parse(), minor.parse()) {
            (Ok(major), Ok(minor)) => Ok(Self { major, minor }),
            _ => Err(NotAVersion),
        }
    }
}

impl From<FormatVersion> for String {
    fn from(version: FormatVersion) -> Self {
        version.to_string()
    }
}

impl TryFrom<String> for FormatVersion {
    type Error = NotAVersion;

    fn try_from(text: String) -> Result<Self, NotAVersion> {
        text.parse()
    }
}

/// The versions that a release reads and writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Formats {
    /// The store: its records, and the keys in which they stand.
    pub store: FormatVersion,
    /// The messages in the broker.
    pub wire: FormatVersion,
}

/// The versions of this release.
pub const CURRENT: Formats = Formats {
    store: FormatVersion::new(4, 0),
    wire: FormatVersion::new(4, 0),
};

/// The newest versions that every live member reads: those that a member of
/// `own` formats writes. `None` is a member that announces no formats.
///
/// The major versions are always those of `own`: a store has one, and its members
/// read it.
#[must_use]
pub fn writes(own: Formats, live: impl IntoIterator<Item = Option<Formats>>) -> Formats {
    live.into_iter().fold(own, |least, other| Formats {
        store: readable(least.store, other.map(|other| other.store)),
        wire: readable(least.wire, other.map(|other| other.wire)),
    })
}

/// The newest version up to `own` that a member which reads `other` reads.
fn readable(own: FormatVersion, other: Option<FormatVersion>) -> FormatVersion {
    let minor = match other {
        // A member of a later major version reads all of the one before.
        Some(other) if other.major > own.major => own.minor,
        Some(other) if other.major == own.major => own.minor.min(other.minor),
        Some(_) | None => 0,
    };
    FormatVersion { minor, ..own }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Format as _;
    use crate::message::Message;

    fn formats(store: (u16, u16), wire: (u16, u16)) -> Formats {
        Formats {
            store: FormatVersion::new(store.0, store.1),
            wire: FormatVersion::new(wire.0, wire.1),
        }
    }

    #[test]
    fn a_member_writes_the_newest_minor_that_every_live_member_reads() {
        let own = formats((4, 3), (4, 2));
        assert_eq!(writes(own, []), own);
        let others = [Some(formats((4, 2), (4, 2))), Some(formats((4, 3), (4, 1)))];
        assert_eq!(writes(own, others), formats((4, 2), (4, 1)));
        let later = Some(formats((4, 9), (4, 9)));
        assert_eq!(writes(own, [later]), own);
    }

    #[test]
    fn a_member_of_another_major_limits_as_far_as_it_reads() {
        let own = formats((4, 3), (4, 3));
        assert_eq!(writes(own, [Some(formats((5, 0), (5, 0)))]), own);
        let least = formats((4, 0), (4, 0));
        assert_eq!(writes(own, [Some(formats((3, 7), (3, 7)))]), least);
        assert_eq!(writes(own, [None]), least);
    }

    #[test]
    fn a_version_is_read_back_as_it_is_written() {
        let version = FormatVersion::new(4, 12);
        assert_eq!(version.to_string().parse(), Ok(version));
        for text in ["", "4", "4.", ".1", "4.1.2", "-4.1", "four.one"] {
            assert_eq!(text.parse::<FormatVersion>(), Err(NotAVersion), "{text}");
        }
    }

    #[test]
    fn the_wire_format_that_is_announced_is_the_one_of_the_messages() {
        assert_eq!(CURRENT.wire.major, u16::from(Message::VERSION & 0x0f));
    }

    #[test]
    fn a_version_stands_in_json_as_its_text() {
        let json = serde_json::to_string(&CURRENT).unwrap();
        assert_eq!(json, r#"{"store":"4.0","wire":"4.0"}"#);
        assert_eq!(serde_json::from_str::<Formats>(&json).unwrap(), CURRENT);
    }
}
