//! The keys that an issuer publishes (JWKS).

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

use super::{signature, token};

/// The most keys of an issuer that count.
const KEYS: usize = 64;

/// The keys of an issuer that can have signed a token.
#[derive(Clone, Debug, Default)]
pub struct KeySet {
    keys: Vec<PublicKey>,
}

#[derive(Clone, Debug)]
struct PublicKey {
    id: Option<String>,
    algorithm: Algorithm,
    key: DecodingKey,
}

#[derive(Deserialize)]
struct Published {
    keys: Vec<Value>,
}

impl KeySet {
    /// Reads the document of an issuer. Keys of other kinds are left out: issuers
    /// publish those of all their clients.
    ///
    /// # Errors
    /// When it is no such document, or has no key that counts here.
    pub fn parse(document: &[u8]) -> Result<Self, String> {
        let published: Published = serde_json::from_slice(document)
            .map_err(|error| format!("this is no set of keys: {error}"))?;
        let keys: Vec<_> = published
            .keys
            .into_iter()
            .filter_map(key)
            .take(KEYS)
            .collect();
        if keys.is_empty() {
            return Err("no key in it is for RS256, ES256 or EdDSA".to_owned());
        }
        signature::install();
        Ok(Self { keys })
    }

    /// Returns false for a token that a key has signed which is not in the set: the issuer
    /// may have published it since. True for one that no key would help.
    #[must_use]
    pub fn suffices(&self, token: &str) -> bool {
        match token::header(token) {
            Ok(header) => self.find(header.kid.as_deref(), header.alg).is_some(),
            Err(_bad) => true,
        }
    }

    /// The key that a token names. A token without a name means the only key of its
    /// algorithm.
    pub(super) fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Option<&DecodingKey> {
        let mut fit = self.keys.iter().filter(|key| key.algorithm == algorithm);
        let found = match id {
            Some(id) => fit.find(|key| key.id.as_deref() == Some(id)),
            None => fit.next().filter(|_| fit.next().is_none()),
        };
        found.map(|found| &found.key)
    }
}

/// A key that can verify signatures; `None` for one of another kind.
fn key(value: Value) -> Option<PublicKey> {
    let jwk: Jwk = serde_json::from_value(value).ok()?;
    let common = &jwk.common;
    if !matches!(common.public_key_use, None | Some(PublicKeyUse::Signature)) {
        return None;
    }
    let (algorithm, name) = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => (Algorithm::RS256, KeyAlgorithm::RS256),
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
            (Algorithm::ES256, KeyAlgorithm::ES256)
        }
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            (Algorithm::EdDSA, KeyAlgorithm::EdDSA)
        }
        // A secret among published keys is none.
        _ => return None,
    };
    if common.key_algorithm.is_some_and(|named| named != name) {
        return None;
    }
    Some(PublicKey {
        id: common.key_id.clone(),
        algorithm,
        key: DecodingKey::from_jwk(&jwk).ok()?,
    })
}
