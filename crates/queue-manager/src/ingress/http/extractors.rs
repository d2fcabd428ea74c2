//! Extractors: the caller and the key in the headers, the id in the path, and
//! the query after the `?`. They refuse with problems, because axum's own
//! extractors would answer with text.

use std::collections::HashSet;

use axum::extract::{FromRequestParts, Path, Query};
use axum::http::Extensions;
use axum::http::header::{AsHeaderName, HeaderMap, HeaderValue};
use axum::http::request::Parts;
use drumline_api::{FieldError, Invalid};
use drumline_protocol::OperationId;

use crate::error::Error;
use crate::ingress::headers;
use crate::ingress::problem::Problem;
use crate::service::Actor;

/// The caller, as the guard or the headers say.
#[derive(Clone, Debug)]
pub(crate) struct By(pub(crate) Actor);

/// The operation that the path names. A text that is not an id of this service
/// names none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Id(pub(crate) OperationId);

/// The parameters after the `?`, in order.
#[derive(Clone, Debug)]
pub(crate) struct Parameters(pub(crate) Vec<(String, String)>);

/// Returns the caller that the guard has found, or reads it from the headers.
///
/// # Errors
/// With every header that breaks a rule.
pub(crate) fn actor(extensions: &Extensions, headers: &HeaderMap) -> Result<Actor, Invalid> {
    match extensions.get::<Actor>() {
        Some(actor) => Ok(actor.clone()),
        None => headers::actor(|name| headers.get_all(name).iter().map(HeaderValue::as_bytes)),
    }
}

/// Reads the idempotency key from the headers, if there is one.
///
/// # Errors
/// When the key is not visible ASCII, or given twice.
pub(crate) fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, Invalid> {
    let value = once(headers, headers::IDEMPOTENCY_KEY)?;
    let key = value.map(|value| headers::idempotency_key(value.as_bytes()));
    key.transpose()
}

/// Reads a header that may be given once: of two values, the sender and a proxy on
/// the way may mean different ones.
///
/// # Errors
/// When it is given twice.
pub(crate) fn once(
    headers: &HeaderMap,
    name: impl AsHeaderName + std::fmt::Display + Copy,
) -> Result<Option<&HeaderValue>, Invalid> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (value, None) => Ok(value),
        (_, Some(_)) => {
            let twice = FieldError::new(name.to_string(), "is given twice");
            Err(Invalid::arguments(vec![twice]))
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for By {
    type Rejection = Box<Problem>;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
        Ok(Self(actor(&parts.extensions, &parts.headers)?))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Box<Problem>;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        let text = Path::<String>::from_request_parts(parts, state).await;
        let text = text.map_or_else(|_not_text| "of this address".to_owned(), |Path(text)| text);
        match text.parse() {
            Ok(id) => Ok(Self(id)),
            Err(_invalid) => Err(Error::NotFound { id: text }.into()),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Parameters {
    type Rejection = Box<Problem>;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
        match Query::<Vec<_>>::try_from_uri(&parts.uri) {
            Ok(Query(pairs)) => {
                check_once(&pairs)?;
                Ok(Self(pairs))
            }
            Err(error) => {
                let wrong = FieldError::new("address", format!("is not valid: {error}"));
                Err(Invalid::arguments(vec![wrong]).into())
            }
        }
    }
}

/// Refuses parameters that are given twice: no parameter has several values.
fn check_once(pairs: &[(String, String)]) -> Result<(), Invalid> {
    let mut names = HashSet::new();
    let twice = pairs.iter().filter(|(name, _)| !names.insert(name));
    let wrong: Vec<_> = twice
        .map(|(name, _)| FieldError::new(name.clone(), "is given twice"))
        .collect();
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(Invalid::arguments(wrong))
    }
}
