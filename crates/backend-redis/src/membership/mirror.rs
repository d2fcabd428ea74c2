//! The mirror: the entries of the roster that this process has read, and the
//! profiles that they refer to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use drumline_backend::membership::Group;
use drumline_backend::store::Result;
use drumline_backend::{MemberId, Profile, Role, Roster};
use uuid::Uuid;

use crate::reply::{self, Parts};

/// In a larger fleet than this, only managers look for members that have been
/// silent for too long.
const SMALL: usize = 100;
/// Profiles that no member has any more are kept up to this number.
const SPARE: usize = 64;

/// The digest of a profile's text. It names the profile and protects nothing:
/// members trust each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Digest(pub(super) [u8; 8]);

impl Digest {
    /// FNV-1a, because members of all releases must agree.
    pub(super) fn of(text: &str) -> Self {
        let mix =
            |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        Self(text.bytes().fold(0xcbf2_9ce4_8422_2325, mix).to_be_bytes())
    }
}

/// An answer of `beat.lua`.
#[derive(Debug)]
pub(super) struct Answer {
    /// The version of the roster.
    pub(super) version: u64,
    /// The server's time.
    pub(super) time_us: u64,
    /// True if the member that has beaten was asked to drain.
    pub(super) is_asked_to_drain: bool,
    /// The changes; `None` if the caller's version is the roster's.
    changes: Option<Changes>,
}

#[derive(Debug)]
struct Changes {
    /// True if what was known before is not valid.
    is_reset: bool,
    /// The version up to which these are all entries.
    until: u64,
    entries: Vec<(MemberId, Digest)>,
    /// All members that have left.
    left: Vec<MemberId>,
    /// The number of all entries of the roster.
    total: u64,
}

impl Answer {
    pub(super) fn read(mut parts: Parts) -> Result<Self> {
        let version = number(&reply::text(parts.value()?)?)?;
        let time_us = number(&reply::text(parts.value()?)?)?;
        if parts.len() <= 1 {
            return Ok(Self {
                version,
                time_us,
                is_asked_to_drain: parts.len() == 1,
                changes: None,
            });
        }
        let is_reset = parts.number()? == 1;
        let until = number(&reply::text(parts.value()?)?)?;
        let entries = reply::array(parts.value()?)?.into_iter().map(|entry| {
            let entry = reply::bytes(entry)?;
            let (id, digest) = entry
                .split_first_chunk::<16>()
                .ok_or_else(reply::unexpected)?;
            let digest = digest
                .try_into()
                .map_err(|_error: std::array::TryFromSliceError| reply::unexpected())?;
            Ok((MemberId(Uuid::from_bytes(*id)), Digest(digest)))
        });
        let entries = entries.collect::<Result<_>>()?;
        let left = reply::array(parts.value()?)?.into_iter().map(|id| {
            let id = reply::sixteen(&reply::bytes(id)?)?;
            Ok(MemberId(Uuid::from_bytes(id)))
        });
        let changes = Changes {
            is_reset,
            until,
            entries,
            left: left.collect::<Result<_>>()?,
            total: parts.number()?,
        };
        Ok(Self {
            version,
            time_us,
            is_asked_to_drain: parts.len() > 0,
            changes: Some(changes),
        })
    }
}

/// The entries of the roster that this process has read.
#[derive(Debug, Default)]
pub(super) struct Mirror {
    /// The version up to which all are in the entries.
    version: u64,
    /// The version up to which those that have left are not in the entries.
    left_until: u64,
    entries: BTreeMap<MemberId, Digest>,
    /// By digest; `None` for a profile that cannot be decoded.
    profiles: BTreeMap<Digest, Option<Arc<Profile>>>,
    /// Profiles that are to be read besides those of the entries.
    wanted: BTreeSet<Digest>,
    /// The roster of the entries, unless they have changed since.
    roster: Option<Arc<Roster>>,
}

impl Mirror {
    /// The version up to which entries are known, and the version up to which
    /// those that have left are. The next question names both.
    pub(super) const fn known(&self) -> (u64, u64) {
        (self.version, self.left_until)
    }

    /// Returns true if a member with this profile looks for silent members, which
    /// takes the server a third of a beat's time.
    pub(super) fn looks_for_silent(&self, profile: &Profile) -> bool {
        let managers = || {
            self.roster
                .as_ref()
                .map_or(0, |known| known.count(Role::Manager))
        };
        profile.role == Role::Manager || self.entries.len() <= SMALL || managers() == 0
    }

    /// Applies an answer to the question that named [`Self::known`]. Returns true
    /// if all entries are known now.
    pub(super) fn apply(&mut self, answer: Answer) -> bool {
        let Some(changes) = answer.changes else {
            return true;
        };
        if changes.is_reset {
            self.entries.clear();
        }
        for id in changes.left {
            self.entries.remove(&id);
        }
        self.entries.extend(changes.entries);
        self.version = changes.until;
        self.left_until = answer.version;
        self.roster = None;
        let is_complete = self.version == answer.version;
        let count = u64::try_from(self.entries.len()).unwrap_or(u64::MAX);
        if is_complete && count != changes.total {
            // The store has lost its last writes, and does not know that some of
            // these members have ever been there.
            (self.version, self.left_until) = (0, 0);
            self.entries.clear();
            return false;
        }
        is_complete
    }

    /// Notes the text of a profile.
    pub(super) fn learn(&mut self, digest: Digest, text: &[u8]) {
        self.wanted.remove(&digest);
        self.profiles.entry(digest).or_insert_with(|| {
            // The profile may be of a later release.
            serde_json::from_slice(text)
                .inspect_err(|error| tracing::warn!(%error, "a member cannot be decoded"))
                .ok()
                .map(Arc::new)
        });
    }

    /// Notes profiles that are needed besides those of the entries.
    pub(super) fn want(&mut self, digests: impl Iterator<Item = Digest>) {
        let profiles = &self.profiles;
        let unknown = digests.filter(|digest| !profiles.contains_key(digest));
        self.wanted.extend(unknown);
    }

    /// The profiles that are to be read.
    pub(super) fn unknown(&mut self) -> Vec<Digest> {
        let mut unknown = std::mem::take(&mut self.wanted);
        if self.roster.is_none() {
            let used = self.entries.values();
            unknown.extend(used.filter(|digest| !self.profiles.contains_key(digest)));
        }
        unknown.into_iter().collect()
    }

    pub(super) fn profile(&self, digest: Digest) -> Option<Arc<Profile>> {
        self.profiles.get(&digest).cloned().flatten()
    }

    /// The roster, without members whose profiles are not known.
    pub(super) fn roster(&mut self) -> Arc<Roster> {
        if let Some(roster) = &self.roster {
            return Arc::clone(roster);
        }
        let mut by_digest: BTreeMap<Digest, Vec<MemberId>> = BTreeMap::new();
        for (id, digest) in &self.entries {
            by_digest.entry(*digest).or_default().push(*id);
        }
        let is_whole = by_digest
            .keys()
            .all(|digest| self.profiles.contains_key(digest));
        if self.profiles.len() > by_digest.len() + SPARE {
            self.profiles
                .retain(|digest, _| by_digest.contains_key(digest));
        }
        let groups = by_digest.into_iter().filter_map(|(digest, ids)| {
            let profile = self.profile(digest)?;
            Some(Group { profile, ids })
        });
        let roster = Arc::new(Roster::of_groups(groups));
        // The next beat reads the profiles that are missing.
        self.roster = is_whole.then(|| Arc::clone(&roster));
        roster
    }
}

pub(super) fn number(text: &str) -> Result<u64> {
    text.parse()
        .map_err(|_error: std::num::ParseIntError| reply::unexpected())
}
