//! API keys: `drl_<id>_<secret>_<checksum>`.
//!
//! | part | characters |
//! |---|---|
//! | id | 8 lower-case letters and digits; names the key in files and logs |
//! | secret | 43 of base64url: 256 random bits |
//! | checksum | 8 hexadecimal digits: the CRC-32 of everything before its `_` |
//!
//! The prefix and the checksum let a scanner recognise a leaked key, and tell it
//! from a text that only looks like one, without asking the service.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::error::Unspecified;
use ring::rand::{SecureRandom as _, SystemRandom};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// The beginning of every key.
const PREFIX: &str = "drl_";
/// The characters of an id.
const ID_CHARS: usize = 8;
/// The characters of an id are drawn from these.
const ID_ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
/// The characters of the secret.
const SECRET_CHARS: usize = 43;
/// The characters of the checksum.
const CHECKSUM_CHARS: usize = 8;
/// The characters of a whole key.
const CHARS: usize = PREFIX.len() + ID_CHARS + 1 + SECRET_CHARS + 1 + CHECKSUM_CHARS;

/// An API key. `Debug` shows its id alone.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey {
    text: String,
}

/// A text is no API key. Does not hold the text, which may be a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    /// It has another form.
    #[error(
        "this is not an API key of Drumline: those begin with drl_ and have {CHARS} characters"
    )]
    Form,
    /// It has the form of a key, and characters that were changed or lost.
    #[error("this API key was not copied whole: its last characters do not fit the rest")]
    Checksum,
}

impl ApiKey {
    /// Makes a new key from the random numbers of the operating system.
    ///
    /// # Errors
    /// When the operating system has no random numbers.
    pub fn generate() -> Result<Self, Unspecified> {
        let random = SystemRandom::new();
        let mut id = [0; ID_CHARS];
        random.fill(&mut id)?;
        let id: String = id.iter().map(|byte| letter(*byte)).collect();
        Self::with_id(&id)
    }

    /// Makes a new key with the id of another one, which it is to replace.
    ///
    /// # Errors
    /// When the operating system has no random numbers.
    pub fn with_id(id: &str) -> Result<Self, Unspecified> {
        let mut secret = [0; 32];
        SystemRandom::new().fill(&mut secret)?;
        let body = format!("{PREFIX}{id}_{}", URL_SAFE_NO_PAD.encode(secret));
        let checksum = checksum(&body);
        Ok(Self {
            text: format!("{body}_{checksum}"),
        })
    }

    /// Reads a key.
    ///
    /// # Errors
    /// When the text is no key.
    pub fn parse(text: &str) -> Result<Self, InvalidKey> {
        let (body, check) = split(text).ok_or(InvalidKey::Form)?;
        if checksum(body) != check {
            return Err(InvalidKey::Checksum);
        }
        Ok(Self {
            text: text.to_owned(),
        })
    }

    /// The id, which is no secret.
    #[must_use]
    pub fn id(&self) -> &str {
        let from = PREFIX.len();
        self.text.get(from..from + ID_CHARS).unwrap_or_default()
    }

    /// The whole key, to be shown once to the person who asked for it, or sent.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.text
    }

    /// The hash by which the file knows the key.
    #[must_use]
    pub fn hash(&self) -> KeyHash {
        KeyHash(Sha256::digest(self.text.as_bytes()).into())
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiKey({})", self.id())
    }
}

/// Returns what the checksum covers, and the checksum; `None` for a text of another
/// form.
fn split(text: &str) -> Option<(&str, &str)> {
    if text.len() != CHARS || !text.is_ascii() {
        return None;
    }
    let (body, check) = text.split_at_checked(CHARS - CHECKSUM_CHARS - 1)?;
    let check = check.strip_prefix('_')?;
    let (id, secret) = body.strip_prefix(PREFIX)?.split_at_checked(ID_CHARS)?;
    let secret = secret.strip_prefix('_')?;
    let is_secret = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (is_id(id) && secret.bytes().all(is_secret)).then_some((body, check))
}

/// Returns true for the id of a key.
pub(crate) fn is_id(text: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    text.len() == ID_CHARS && text.bytes().all(is_letter)
}

fn letter(byte: u8) -> char {
    let at = usize::from(byte) % ID_ALPHABET.len();
    ID_ALPHABET.get(at).map_or('a', |byte| char::from(*byte))
}

fn checksum(body: &str) -> String {
    format!("{:08x}", crc32fast::hash(body.as_bytes()))
}

/// The SHA-256 of a key.
#[derive(Clone, Copy, Debug)]
pub struct KeyHash([u8; 32]);

impl KeyHash {
    /// Reads 64 hexadecimal digits; `None` for anything else.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        if text.len() != 64 || !text.is_ascii() {
            return None;
        }
        let mut hash = [0; 32];
        for (place, at) in hash.iter_mut().zip((0..64).step_by(2)) {
            *place = u8::from_str_radix(text.get(at..at + 2)?, 16).ok()?;
        }
        Some(Self(hash))
    }

    /// 64 hexadecimal digits.
    #[must_use]
    pub fn to_hex(self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The bytes of the hash.
    pub(crate) const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Compares in a time that does not depend on the place of a difference.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_key_is_read_again_and_names_itself() {
        let key = ApiKey::generate().unwrap();
        assert_eq!(ApiKey::parse(key.reveal()).unwrap(), key);
        assert!(is_id(key.id()), "{key:?}");
        assert_eq!(key.reveal().len(), CHARS);
        let next = ApiKey::with_id(key.id()).unwrap();
        assert_eq!(next.id(), key.id());
        assert!(!next.hash().is(&key.hash()));
    }

    #[test]
    fn a_key_that_was_not_copied_whole_is_told_from_other_texts() {
        let key = ApiKey::generate().unwrap();
        let whole = key.reveal();
        for at in [4, 14, 40, CHARS - 1] {
            let mut changed = whole.as_bytes().to_vec();
            let byte = &mut changed[at];
            *byte = if *byte == b'2' { b'3' } else { b'2' };
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(ApiKey::parse(&changed), Err(InvalidKey::Checksum), "{at}");
        }
        let cut = whole.get(..CHARS - 1).unwrap();
        for other in ["", "drl_", cut, "ghp_0123456789", &"ü".repeat(CHARS / 2)] {
            assert_eq!(ApiKey::parse(other), Err(InvalidKey::Form), "{other}");
        }
    }

    #[test]
    fn a_key_is_not_shown_by_accident() {
        let key = ApiKey::generate().unwrap();
        let shown = format!("{key:?}");
        assert_eq!(shown, format!("ApiKey({})", key.id()));
    }

    #[test]
    fn a_hash_is_read_as_it_is_written() {
        let hash = ApiKey::generate().unwrap().hash();
        assert!(KeyHash::from_hex(&hash.to_hex()).unwrap().is(&hash));
        for bad in ["", "00", &"g".repeat(64), &"ü".repeat(32)] {
            assert!(KeyHash::from_hex(bad).is_none(), "{bad}");
        }
    }
}
