//! Run tokens: `drt_` and base64url; the right of one run of one operation.
//!
//! | bytes | content |
//! |---|---|
//! | 1 | the version of this form |
//! | 16, 8 | the operation, and the fence of the run |
//! | 2, then as many | the organization, with its length in front |
//! | the rest | the owner of the operation |
//! | the last 32 | HMAC-SHA256 of all before it |
//!
//! A worker makes the token of each run, and every manager can check it, because
//! they read the same secrets from a file. That the run still holds its operation,
//! the store knows; this module does not ask.

use std::fmt;
use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use drumline_protocol::{Fence, OperationId, Organization};
use ring::error::Unspecified;
use ring::hmac;
use ring::rand::SystemRandom;

use crate::file::FileError;
use crate::principal::Denied;

/// The beginning of every run token.
const PREFIX: &str = "drt_";
/// The version of the form.
const VERSION: u8 = 1;
/// The bytes of the signature.
const TAG: usize = 32;
/// The least characters of a secret: `openssl rand -hex 32` writes 64.
const SECRET_CHARS: usize = 32;
/// The secrets that are valid at the same time, while one is replaced.
const SECRETS: usize = 4;

/// One run of one operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// The organization of the operation.
    pub organization: Organization,
    /// The owner of the operation.
    pub caller: String,
    /// The operation.
    pub id: OperationId,
    /// The fence that the run holds it with.
    pub fence: Fence,
}

/// The secrets that run tokens are signed with. Never shown, not even by `Debug`.
#[derive(Clone)]
pub struct RunSecrets {
    /// The first one signs, all are accepted. At least one.
    keys: Vec<hmac::Key>,
}

impl fmt::Debug for RunSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RunSecrets(***)")
    }
}

impl RunSecrets {
    /// Reads a file of secrets: one in a line, the one that signs first. Empty lines
    /// and lines that begin with `#` count for nothing.
    ///
    /// # Errors
    /// When the file cannot be read, or has no secrets, too many, or short ones.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        let text = fs::read_to_string(path).map_err(|error| FileError::Read {
            path: path.display().to_string(),
            why: error.to_string(),
        })?;
        Self::parse(&text)
    }

    /// Reads the text of such a file.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn parse(text: &str) -> Result<Self, FileError> {
        let wrong = |entry: String, why: String| FileError::Value { entry, why };
        let mut keys = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let secret = line.trim();
            if secret.is_empty() || secret.starts_with('#') {
                continue;
            }
            if secret.len() < SECRET_CHARS {
                return Err(wrong(
                    format!("line {}", number + 1),
                    format!(
                        "a secret has at least {SECRET_CHARS} characters: openssl rand -hex 32"
                    ),
                ));
            }
            keys.push(hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()));
        }
        if keys.is_empty() || keys.len() > SECRETS {
            return Err(wrong(
                "secrets of run tokens".to_owned(),
                format!("the file must have 1 to {SECRETS} secrets, each in a line of its own"),
            ));
        }
        Ok(Self { keys })
    }

    /// A secret that no other process knows, for a service that is one process.
    ///
    /// # Errors
    /// When the operating system has no random numbers.
    pub fn random() -> Result<Self, Unspecified> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())?;
        Ok(Self { keys: vec![key] })
    }

    /// Returns true if a text claims to be a run token.
    pub(crate) fn is_token(text: &str) -> bool {
        text.starts_with(PREFIX)
    }

    /// The token of a run.
    #[must_use]
    pub fn token(&self, run: &Run) -> String {
        let organization = run.organization.0.as_bytes();
        let length = u16::try_from(organization.len()).unwrap_or(u16::MAX);
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(run.id.as_bytes().as_slice());
        bytes.extend_from_slice(&run.fence.0.to_be_bytes());
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(organization);
        bytes.extend_from_slice(run.caller.as_bytes());
        if let Some(key) = self.keys.first() {
            let tag = hmac::sign(key, &bytes);
            bytes.extend_from_slice(tag.as_ref());
        }
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
    }

    /// Reads a token. Costs no more for a forged one than for a good one.
    ///
    /// # Errors
    /// [`Denied::RunToken`] when none of the secrets has signed it.
    pub fn read(&self, text: &str) -> Result<Run, Denied> {
        let bytes = text
            .strip_prefix(PREFIX)
            .and_then(|text| URL_SAFE_NO_PAD.decode(text).ok())
            .ok_or(Denied::RunToken)?;
        let (signed, tag) = bytes
            .len()
            .checked_sub(TAG)
            .and_then(|at| bytes.split_at_checked(at))
            .ok_or(Denied::RunToken)?;
        let mut keys = self.keys.iter();
        if !keys.any(|key| hmac::verify(key, signed, tag).is_ok()) {
            return Err(Denied::RunToken);
        }
        run(signed).ok_or(Denied::RunToken)
    }
}

fn run(signed: &[u8]) -> Option<Run> {
    let rest = signed.strip_prefix(&[VERSION])?;
    let (id, rest) = rest.split_first_chunk::<16>()?;
    let (fence, rest) = rest.split_first_chunk::<8>()?;
    let (length, rest) = rest.split_first_chunk::<2>()?;
    let length = usize::from(u16::from_be_bytes(*length));
    let (organization, caller) = rest.split_at_checked(length)?;
    let text = |bytes: &[u8]| str::from_utf8(bytes).ok().map(str::to_owned);
    Some(Run {
        organization: Organization(text(organization)?),
        caller: text(caller)?,
        id: OperationId::from_bytes(*id)?,
        fence: Fence(u64::from_be_bytes(*fence)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "0123456789abcdef0123456789abcdef";
    const NEW: &str = "fedcba9876543210fedcba9876543210";

    fn sample() -> Run {
        let id = "01890a5d-ac96-7000-81d0-000000000000";
        Run {
            organization: Organization("contoso".to_owned()),
            caller: "orders".to_owned(),
            id: id.parse().unwrap(),
            fence: Fence(7),
        }
    }

    #[test]
    fn a_token_says_which_run_it_is_of() {
        let secrets = RunSecrets::parse(&format!("# of the fleet\n\n{OLD}\n")).unwrap();
        let token = secrets.token(&sample());
        assert_eq!(secrets.read(&token), Ok(sample()));
        assert!(RunSecrets::is_token(&token));
        assert!(!format!("{secrets:?}").contains("0123"));
    }

    #[test]
    fn a_changed_token_is_refused_wherever_it_was_changed() {
        let secrets = RunSecrets::random().unwrap();
        let token = secrets.token(&sample());
        let other = RunSecrets::random().unwrap().token(&sample());
        for at in PREFIX.len()..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(secrets.read(&changed), Err(Denied::RunToken), "{at}");
        }
        let cut = &token[..token.len() - 4];
        for bad in ["", "drt_", "drt_AAAA", cut, &other] {
            assert_eq!(secrets.read(bad), Err(Denied::RunToken), "{bad}");
        }
    }

    #[test]
    fn both_secrets_are_good_while_one_is_replaced() {
        let old = RunSecrets::parse(OLD).unwrap();
        let both = RunSecrets::parse(&format!("{NEW}\n{OLD}")).unwrap();
        let new = RunSecrets::parse(NEW).unwrap();
        assert!(both.read(&old.token(&sample())).is_ok());
        assert!(new.read(&both.token(&sample())).is_ok());
        assert!(new.read(&old.token(&sample())).is_err());
    }

    #[test]
    fn a_file_without_good_secrets_is_refused_and_none_is_shown() {
        let many = format!("{OLD}\n").repeat(5);
        for bad in ["", "# nothing", "hunter2 is too short", &many] {
            let error = RunSecrets::parse(bad).unwrap_err().to_string();
            assert!(
                !error.contains("hunter2") && !error.contains(OLD),
                "{error}"
            );
        }
    }
}
