//! The headers with a meaning that requests of both protocols may have.
//!
//! `Drumline-Organization` and `Drumline-Caller` name the caller. Where there are
//! keys, they select among what the key allows. Elsewhere they are believed: a
//! gateway that authenticates sets them, and removes them from client requests;
//! without a gateway, they separate callers that want to be separated, and keep no
//! caller out. A caller that sends none is `anonymous`, of the organization
//! `default`.
//!
//! `Idempotency-Key` makes a create repeatable.

use drumline_api::{FieldError, Invalid};
use drumline_protocol::Organization;

use crate::service::Actor;

/// The header that names the tenant.
pub(crate) const ORGANIZATION: &str = "Drumline-Organization";
/// The header that names the caller within the tenant.
pub(crate) const CALLER: &str = "Drumline-Caller";
/// The header that makes a create repeatable.
pub(crate) const IDEMPOTENCY_KEY: &str = "Idempotency-Key";
/// The most characters that the name of a tenant or caller may have.
const NAME_CHARS: usize = 256;

/// The organization and the caller that a request names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) organization: Option<Organization>,
    pub(crate) caller: Option<String>,
}

/// Reads the caller, who is believed; `values` returns all values of a header.
///
/// # Errors
/// As [`named`].
pub(crate) fn actor<'a, V>(values: impl Fn(&'static str) -> V) -> Result<Actor, Invalid>
where
    V: Iterator<Item = &'a [u8]>,
{
    let named = named(values)?;
    let anonymous = Actor::default();
    Ok(Actor {
        organization: named.organization.unwrap_or(anonymous.organization),
        caller: named.caller.unwrap_or(anonymous.caller),
    })
}

/// Reads what a request says about its caller; `values` returns all values of a
/// header.
///
/// # Errors
/// With every header that breaks a rule. A gateway whose variable is empty must
/// not put all its tenants into one; a header that is there twice may be one
/// that a client slipped in.
pub(crate) fn named<'a, V>(values: impl Fn(&'static str) -> V) -> Result<Named, Invalid>
where
    V: Iterator<Item = &'a [u8]>,
{
    let mut wrong = Vec::new();
    let mut read = |header| {
        let read = name(values(header));
        read.unwrap_or_else(|why| {
            wrong.push(FieldError::new(header, why));
            None
        })
    };
    let named = Named {
        organization: read(ORGANIZATION).map(Organization),
        caller: read(CALLER),
    };
    if wrong.is_empty() {
        Ok(named)
    } else {
        Err(Invalid::arguments(wrong))
    }
}

/// Reads an idempotency key. The service checks its length.
///
/// # Errors
/// When the value is not visible ASCII.
pub(crate) fn idempotency_key(value: &[u8]) -> Result<&str, Invalid> {
    let is_visible = |byte: &u8| matches!(byte, b'\t' | b' '..=b'~');
    match str::from_utf8(value) {
        Ok(key) if value.iter().all(is_visible) => Ok(key),
        Ok(_) | Err(_) => {
            let why = "must be visible ASCII";
            Err(Invalid::arguments(vec![FieldError::new(
                IDEMPOTENCY_KEY,
                why,
            )]))
        }
    }
}

fn name<'a>(mut values: impl Iterator<Item = &'a [u8]>) -> Result<Option<String>, String> {
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err("is given twice".to_owned());
    }
    let is_visible = |byte: &u8| matches!(byte, b' '..=b'~');
    match str::from_utf8(value) {
        Ok(name) if value.iter().all(is_visible) && (1..=NAME_CHARS).contains(&name.len()) => {
            Ok(Some(name.to_owned()))
        }
        Ok(_) | Err(_) => Err(format!(
            "must be 1 to {NAME_CHARS} visible ASCII characters"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&'static str, &[u8])]) -> Result<Actor, Invalid> {
        actor(|header| {
            let named = pairs.iter().filter(move |(name, _)| *name == header);
            named.map(|(_, value)| *value)
        })
    }

    #[test]
    fn whoever_says_nothing_is_anonymous_in_the_default_organization() {
        let actor = read(&[]).unwrap();
        assert_eq!(actor, Actor::default());
        assert!(actor.is_anonymous());
    }

    #[test]
    fn the_headers_name_organization_and_caller() {
        let longest = "x".repeat(NAME_CHARS);
        let actor = read(&[
            (ORGANIZATION, longest.as_bytes()),
            (CALLER, b"Jo Doe <jo@example.com>"),
        ]);
        let actor = actor.unwrap();
        assert_eq!(actor.organization, Organization(longest));
        assert_eq!(actor.caller, "Jo Doe <jo@example.com>");
        assert!(!actor.is_anonymous());
    }

    #[test]
    fn what_is_no_name_is_refused_and_named() {
        let too_long = "x".repeat(NAME_CHARS + 1);
        let bad: [&[u8]; 4] = [b"", b"a\tb", "ü".as_bytes(), too_long.as_bytes()];
        for value in bad {
            let refused = read(&[(ORGANIZATION, value), (CALLER, value)]).unwrap_err();
            let names: Vec<_> = refused.attributes.iter().map(|wrong| &wrong.name).collect();
            assert_eq!(names, [ORGANIZATION, CALLER], "{value:?}");
        }
    }

    #[test]
    fn a_header_that_is_there_twice_is_refused() {
        assert!(read(&[(CALLER, b"a"), (CALLER, b"b")]).is_err());
    }

    #[test]
    fn a_key_is_visible_text() {
        assert_eq!(idempotency_key(b"a\tb"), Ok("a\tb"));
        for bad in ["ü", "a\nb", "\u{7f}"] {
            assert!(idempotency_key(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }
}
