//! The caller: the headers `Drumline-Organization` and `Drumline-Caller`.
//!
//! They are believed. A gateway that authenticates sets them, and removes them
//! from client requests. Without a gateway, they separate callers that want to
//! be separated, and keep no caller out. A caller that sends none is
//! `anonymous`, of the organization `default`.

use axum::extract::FromRequestParts;
use axum::http::header::HeaderMap;
use axum::http::request::Parts;
use drumline_api::{FieldError, Invalid};
use drumline_protocol::Organization;

use crate::ingress::problem::Problem;
use crate::service::Actor;

/// The header that names the tenant.
pub(crate) const ORGANIZATION: &str = "Drumline-Organization";
/// The header that names the caller within it.
pub(crate) const CALLER: &str = "Drumline-Caller";
/// Characters that either may have.
pub(crate) const LONGEST: usize = 256;

/// The extracted caller.
#[derive(Clone, Debug)]
pub(crate) struct By(pub(crate) Actor);

impl<S: Send + Sync> FromRequestParts<S> for By {
    type Rejection = Box<Problem>;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
        Ok(Self(of_headers(&parts.headers)?))
    }
}

/// Reads the caller from the headers.
///
/// # Errors
/// With every header that breaks a rule. A gateway whose variable is empty must
/// not put all its tenants into one; a header that is there twice may be one
/// that a client slipped in.
pub(crate) fn of_headers(headers: &HeaderMap) -> Result<Actor, Invalid> {
    let mut actor = Actor::default();
    let mut wrong = Vec::new();
    match name_in(headers, ORGANIZATION) {
        Ok(Some(name)) => actor.organization = Organization(name),
        Ok(None) => {}
        Err(why) => wrong.push(FieldError::new(ORGANIZATION, why)),
    }
    match name_in(headers, CALLER) {
        Ok(Some(name)) => actor.caller = name,
        Ok(None) => {}
        Err(why) => wrong.push(FieldError::new(CALLER, why)),
    }
    if wrong.is_empty() {
        Ok(actor)
    } else {
        Err(Invalid::arguments(wrong))
    }
}

fn name_in(headers: &HeaderMap, header: &str) -> Result<Option<String>, String> {
    let mut values = headers.get_all(header).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err("is given twice".to_owned());
    }
    let bytes = value.as_bytes();
    let visible = bytes.iter().all(|byte| matches!(byte, b' '..=b'~'));
    match value.to_str() {
        Ok(name) if visible && (1..=LONGEST).contains(&name.len()) => Ok(Some(name.to_owned())),
        Ok(_) | Err(_) => Err(format!("must be 1 to {LONGEST} visible ASCII characters")),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(pairs: &[(&'static str, &[u8])]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_bytes(value).unwrap());
        }
        headers
    }

    #[test]
    fn whoever_says_nothing_is_anonymous_in_the_default_organization() {
        let actor = of_headers(&HeaderMap::new()).unwrap();
        assert_eq!(actor, Actor::default());
        assert!(actor.is_anonymous());
    }

    #[test]
    fn the_headers_name_organization_and_caller() {
        let longest = "x".repeat(LONGEST);
        let actor = of_headers(&headers(&[
            ("drumline-organization", longest.as_bytes()),
            ("drumline-caller", b"Jo Doe <jo@example.com>"),
        ]));
        let actor = actor.unwrap();
        assert_eq!(actor.organization, Organization(longest));
        assert_eq!(actor.caller, "Jo Doe <jo@example.com>");
        assert!(!actor.is_anonymous());
    }

    #[test]
    fn what_is_no_name_is_refused_and_named() {
        let too_long = "x".repeat(LONGEST + 1);
        let bad: [&[u8]; 4] = [b"", b"a\tb", "ü".as_bytes(), too_long.as_bytes()];
        for value in bad {
            let both = headers(&[("drumline-organization", value), ("drumline-caller", value)]);
            let refused = of_headers(&both).unwrap_err();
            let names: Vec<_> = refused.attributes.iter().map(|wrong| &wrong.name).collect();
            assert_eq!(names, [ORGANIZATION, CALLER], "{value:?}");
        }
    }

    #[test]
    fn a_header_that_is_there_twice_is_refused() {
        let twice = headers(&[("drumline-caller", b"a"), ("drumline-caller", b"b")]);
        assert!(of_headers(&twice).is_err());
    }
}
