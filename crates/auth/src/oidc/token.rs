//! One token: its signature, who it is from, whom it is for, and when it holds.

use std::time::Duration;

use drumline_protocol::Timestamp;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, Header, Validation, decode, decode_header};
use serde_json::{Map, Value};

use super::KeySet;

/// The difference between the clocks of issuer and store that is forgiven.
const LEEWAY: Duration = Duration::from_secs(60);
/// The longest token, in bytes. Issuers put the groups of a person into it; those of
/// people in very many groups are refused before they cost anything.
const LONGEST: usize = 16 * 1024;

/// A token that does not hold. The text names no part of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadToken {
    /// It is too long to be looked at.
    #[error(
        "the token is longer than {LONGEST} bytes: have the issuer put fewer groups into it, such as those of this \
         application only"
    )]
    TooLong,
    /// It cannot be read.
    #[error("the token cannot be read: it was cut, or is not a signed JWT")]
    Form,
    /// Its header cannot be read, or names a signature that does not count.
    #[error("the token has no signature that counts here: RS256, ES256 and EdDSA do")]
    Algorithm,
    /// The issuer does not publish the key that it names.
    #[error(
        "the token names a key that its issuer does not publish: get a new token from the issuer that the file of the \
         keys names"
    )]
    UnknownKey,
    /// The key that it names has not signed it.
    #[error("the signature of the token is wrong: it was changed, or another issuer has signed it")]
    Signature,
    /// It is from another issuer.
    #[error("the token is from another issuer than the one that counts here")]
    Issuer,
    /// It is for another service.
    #[error(
        "the token is for another service: ask the issuer for one with the audience of this service"
    )]
    Audience,
    /// It has no end, or a claim that is no time.
    #[error("the token has no time at which it ends (exp), or one that cannot be read")]
    NoEnd,
    /// It is too old.
    #[error("the token expired at {at}: get a new one from the issuer")]
    Expired {
        /// The time since which it is refused, but for the leeway.
        at: Timestamp,
    },
    /// It holds later.
    #[error(
        "the token holds from {at} on: the clocks of issuer and service differ by more than a minute"
    )]
    NotYet {
        /// The time from which it holds.
        at: Timestamp,
    },
    /// It does not say whose it is.
    #[error(
        "the token has no claim {claim} of 1 to 256 visible ASCII characters, which is to name its owner"
    )]
    Caller {
        /// The claim.
        claim: String,
    },
}

/// A token that holds.
#[derive(Debug)]
pub(super) struct Verified {
    pub(super) claims: Map<String, Value>,
    pub(super) expires: Timestamp,
}

/// The header of a token that may count.
///
/// # Errors
/// When the token is too long, or names a signature that does not count.
pub(super) fn header(token: &str) -> Result<Header, BadToken> {
    if token.len() > LONGEST {
        return Err(BadToken::TooLong);
    }
    let header = decode_header(token).map_err(|_other| BadToken::Algorithm)?;
    match header.alg {
        Algorithm::RS256 | Algorithm::ES256 | Algorithm::EdDSA => Ok(header),
        _ => Err(BadToken::Algorithm),
    }
}

/// Verifies a token.
///
/// # Errors
/// With the first reason why it does not hold.
pub(super) fn verify(
    token: &str,
    keys: &KeySet,
    issuer: &str,
    audience: &str,
    now: Timestamp,
) -> Result<Verified, BadToken> {
    let header = header(token)?;
    let key = keys
        .find(header.kid.as_deref(), header.alg)
        .ok_or(BadToken::UnknownKey)?;
    let mut rules = Validation::new(header.alg);
    // The clock is the store's, which the library does not know: the times are below.
    rules.validate_exp = false;
    rules.validate_nbf = false;
    rules.set_issuer(&[issuer]);
    rules.set_audience(&[audience]);
    rules.set_required_spec_claims(&["iss", "aud"]);
    let token = decode::<Map<String, Value>>(token, key, &rules);
    let claims = token.map_err(|error| reason(error.kind()))?.claims;
    let end = claims.get("exp").and_then(time).ok_or(BadToken::NoEnd)?;
    if end.saturating_add(LEEWAY) <= now {
        return Err(BadToken::Expired { at: end });
    }
    if let Some(begin) = claims.get("nbf") {
        let begin = time(begin).ok_or(BadToken::NoEnd)?;
        if begin > now.saturating_add(LEEWAY) {
            return Err(BadToken::NotYet { at: begin });
        }
    }
    Ok(Verified {
        claims,
        expires: end,
    })
}

fn reason(kind: &ErrorKind) -> BadToken {
    match kind {
        ErrorKind::InvalidSignature => BadToken::Signature,
        ErrorKind::InvalidIssuer => BadToken::Issuer,
        ErrorKind::InvalidAudience => BadToken::Audience,
        ErrorKind::MissingRequiredClaim(claim) if claim == "iss" => BadToken::Issuer,
        ErrorKind::MissingRequiredClaim(_) => BadToken::Audience,
        ErrorKind::InvalidClaimFormat(claim) if claim == "aud" => BadToken::Audience,
        ErrorKind::InvalidClaimFormat(_) => BadToken::Issuer,
        ErrorKind::InvalidAlgorithm
        | ErrorKind::UnsupportedAlgorithm
        | ErrorKind::MissingAlgorithm => BadToken::Algorithm,
        _ => BadToken::Form,
    }
}

/// Seconds since 1970, with or without a fraction.
fn time(value: &Value) -> Option<Timestamp> {
    let seconds = Duration::try_from_secs_f64(value.as_f64()?).ok()?;
    Some(Timestamp::from_millis(0).saturating_add(seconds))
}
