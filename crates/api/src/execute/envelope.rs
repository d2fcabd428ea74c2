//! The envelope of an organization request: its name, its id, and its
//! parameters, which the name gives a meaning.

use serde_json::value::RawValue;
use uuid::Uuid;

use super::RequestName;
use crate::error::{Error, FieldError, Invalid, Result};
use crate::fields::Fields;

/// The prefix of parameter names in reports.
const PARAMETERS: &str = "parameters.";

/// A request whose parameters are not read yet.
#[derive(Debug)]
pub(super) struct Envelope<'a> {
    pub(super) name: RequestName,
    pub(super) request_id: Option<Uuid>,
    /// Empty if there are none.
    pub(super) parameters: Fields<'a>,
}

impl<'a> Envelope<'a> {
    /// Reads the envelope in a body.
    pub(super) fn of_body(body: &'a [u8]) -> Result<Self> {
        Self::read(Fields::of_body(body)?)
    }

    /// Reads the envelope of one request of several.
    pub(super) fn of_item(item: &'a RawValue) -> Result<Self> {
        let given = Fields::of(item, "").ok_or_else(|| {
            let error = FieldError::new("request", "must be an object with a requestName");
            Error::Invalid(error.into())
        })?;
        Self::read(given)
    }

    fn read(mut given: Fields<'a>) -> Result<Self> {
        let is_named = given.is_given("requestName");
        let name = given.parsed("requestName", |text| {
            let mut all = RequestName::ALL.into_iter();
            all.find(|name| name.as_str() == text)
                .ok_or_else(unknown_name)
        });
        if !is_named {
            given.note("requestName", "is required");
        }
        let request_id = given.uuid("requestId");
        let parameters = match given.take("parameters") {
            None => Some(Fields::empty(PARAMETERS)),
            Some(value) => {
                let parameters = Fields::of(value, PARAMETERS);
                if parameters.is_none() {
                    given.note("parameters", "must be an object");
                }
                parameters
            }
        };
        given.refuse_rest(|_name| "is unknown");
        match (name, parameters) {
            (Some(name), Some(parameters)) if given.errors.is_empty() => Ok(Self {
                name,
                request_id,
                parameters,
            }),
            (Some(_), Some(_)) | (None, _) | (_, None) => {
                if given.errors.is_empty() {
                    // `null` is the same as missing.
                    given.note("requestName", "is required");
                }
                Err(Invalid::arguments(given.errors).into())
            }
        }
    }
}

fn unknown_name() -> String {
    let known: Vec<&str> = RequestName::ALL
        .into_iter()
        .map(RequestName::as_str)
        .collect();
    format!(
        "is not a request of this service, which has {}",
        known.join(", ")
    )
}
