//! Sessions of a browser: a key, sealed so that the browser can hold it and cannot
//! read it.
//!
//! ```text
//! session = id of the key . base64url( nonce ‖ sealed( end, organization, key ) )
//!                                                 └ with HMAC-SHA256( hash of the key, label )
//! ```
//!
//! The hash of the key is in the file of every manager, so a session holds on all of
//! them and after a restart, and no further secret has to be kept. The file alone
//! makes no session, because the key is in it, too. Each request opens the session and
//! looks the key up again, so a revoked key ends its sessions.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use drumline_protocol::{Organization, Timestamp};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::error::Unspecified;
use ring::hmac;
use ring::rand::{SecureRandom as _, SystemRandom};

use crate::key::{ApiKey, KeyHash};
use crate::principal::Principal;

/// Keeps the keys of sessions apart from all other uses of the hash.
const LABEL: &[u8] = b"drumline session 1";
/// The most characters of a session: a key, an organization and what seals them.
const MAX_CHARS: usize = 1024;

/// An open session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The owner of the key, or the person who has signed in.
    pub principal: Arc<Principal>,
    /// The organization that was chosen; `None`: the only one of the principal.
    pub organization: Option<Organization>,
}

/// The content of a session.
pub(crate) struct Content {
    pub(crate) until: Timestamp,
    pub(crate) organization: Option<Organization>,
    pub(crate) key: String,
}

/// Seals a key into a session that ends at a time.
///
/// # Errors
/// When the operating system has no random numbers.
pub fn seal(
    key: &ApiKey,
    organization: Option<&Organization>,
    until: Timestamp,
) -> Result<String, Unspecified> {
    let organization = organization.map_or("", |organization| &organization.0);
    let content = format!("{}\n{organization}\n{}", until.as_millis(), key.reveal());
    let id = key.id();
    let hash = key.hash();
    let sealed = seal_bytes(hash.as_bytes(), LABEL, id.as_bytes(), content.into_bytes())?;
    Ok(format!("{id}.{}", URL_SAFE_NO_PAD.encode(sealed)))
}

/// Seals bytes with a secret, for one use (`label`) and one `context`.
pub(crate) fn seal_bytes(
    secret: &[u8],
    label: &[u8],
    context: &[u8],
    mut content: Vec<u8>,
) -> Result<Vec<u8>, Unspecified> {
    let mut nonce = [0; NONCE_LEN];
    SystemRandom::new().fill(&mut nonce)?;
    let by = Nonce::assume_unique_for_key(nonce);
    let key = sealing_key(secret, label)?;
    key.seal_in_place_append_tag(by, Aad::from(context), &mut content)?;
    let mut whole = nonce.to_vec();
    whole.append(&mut content);
    Ok(whole)
}

/// Opens what [`seal_bytes`] has sealed; `None` if that has not.
pub(crate) fn open_bytes(
    secret: &[u8],
    label: &[u8],
    context: &[u8],
    sealed: &[u8],
) -> Option<Vec<u8>> {
    let (nonce, sealed) = sealed.split_first_chunk::<NONCE_LEN>()?;
    let mut sealed = sealed.to_vec();
    let by = Nonce::assume_unique_for_key(*nonce);
    let key = sealing_key(secret, label).ok()?;
    let content = key
        .open_in_place(by, Aad::from(context), &mut sealed)
        .ok()?;
    Some(content.to_vec())
}

/// The parts of a session: the id of its key, and what is sealed.
pub(crate) fn split(session: &str) -> Option<(&str, Vec<u8>)> {
    if session.len() > MAX_CHARS {
        return None;
    }
    let (id, sealed) = session.split_once('.')?;
    let sealed = URL_SAFE_NO_PAD.decode(sealed).ok()?;
    Some((id, sealed))
}

/// Opens what is sealed with a key of this hash; `None` if it is not.
pub(crate) fn open(id: &str, sealed: &[u8], hash: &KeyHash) -> Option<Content> {
    let content = open_bytes(hash.as_bytes(), LABEL, id.as_bytes(), sealed)?;
    let mut lines = str::from_utf8(&content).ok()?.splitn(3, '\n');
    let until = lines.next()?.parse().ok()?;
    let organization = lines.next()?;
    let key = lines.next()?.to_owned();
    Some(Content {
        until: Timestamp::from_millis(until),
        organization: (!organization.is_empty()).then(|| Organization(organization.to_owned())),
        key,
    })
}

fn sealing_key(secret: &[u8], label: &[u8]) -> Result<LessSafeKey, Unspecified> {
    let by = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let key = hmac::sign(&by, label);
    UnboundKey::new(&CHACHA20_POLY1305, key.as_ref()).map(LessSafeKey::new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::Policy;
    use crate::principal::Denied;

    fn policy(key: &ApiKey) -> Policy {
        let hash = key.hash().to_hex();
        let text = format!(
            "[[key]]\nid = {:?}\nsha256 = [{hash:?}]\norganizations = [\"*\"]\nroles = [\"reader\"]\ncaller = \"jo\"\n",
            key.id()
        );
        Policy::parse(&text).unwrap()
    }

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    #[test]
    fn a_session_is_the_key_for_a_while_and_does_not_show_it() {
        let key = ApiKey::generate().unwrap();
        let contoso = Organization("contoso".to_owned());
        let session = seal(&key, Some(&contoso), at(1_000)).unwrap();
        assert!(!session.contains(key.reveal()), "{session}");
        let open = policy(&key).open(&session, at(999)).unwrap();
        assert_eq!(open.principal.caller, "jo");
        assert_eq!(open.organization, Some(contoso));
        assert_eq!(policy(&key).open(&session, at(1_000)), Err(Denied::Session));
        let usual = seal(&key, None, at(1_000)).unwrap();
        assert_eq!(policy(&key).open(&usual, at(0)).unwrap().organization, None);
    }

    #[test]
    fn a_key_that_was_replaced_or_revoked_has_no_session() {
        let key = ApiKey::generate().unwrap();
        let session = seal(&key, None, at(1_000)).unwrap();
        let next = ApiKey::with_id(key.id()).unwrap();
        assert_eq!(policy(&next).open(&session, at(0)), Err(Denied::Session));
        let none = Policy::parse("").unwrap();
        assert_eq!(none.open(&session, at(0)), Err(Denied::Session));
    }

    #[test]
    fn a_session_cannot_be_changed_or_made_of_the_file() {
        let key = ApiKey::generate().unwrap();
        let session = seal(&key, None, at(1_000)).unwrap();
        let policy = policy(&key);
        let mut changed = session.clone().into_bytes();
        let last = changed.last_mut().unwrap();
        *last = if *last == b'A' { b'Q' } else { b'A' };
        let changed = String::from_utf8(changed).unwrap();
        // The hash opens and seals, but what is in it must be the key.
        let mut forged =
            format!("1000\n\n{}", ApiKey::with_id(key.id()).unwrap().reveal()).into_bytes();
        let nonce = [7; NONCE_LEN];
        let by = Nonce::assume_unique_for_key(nonce);
        let sealing = sealing_key(key.hash().as_bytes(), LABEL).unwrap();
        sealing
            .seal_in_place_append_tag(by, Aad::from(key.id()), &mut forged)
            .unwrap();
        let forged = [&nonce[..], &forged].concat();
        let forged = format!("{}.{}", key.id(), URL_SAFE_NO_PAD.encode(forged));
        let long = format!("{}.{}", key.id(), "A".repeat(MAX_CHARS));
        let cut = format!("{}.AAAA", key.id());
        for bad in [
            "",
            ".",
            key.id(),
            key.reveal(),
            &changed,
            &forged,
            &long,
            &cut,
        ] {
            assert!(policy.open(bad, at(0)).is_err(), "{bad}");
        }
        assert!(policy.open(&session, at(0)).is_ok());
    }
}
