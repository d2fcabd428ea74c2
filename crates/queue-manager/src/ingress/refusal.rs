//! Refusals because of who asks, whichever way the request came.

use axum::http::StatusCode;
use drumline_auth::{Denied, Forbidden, Permission, Principal};
use drumline_protocol::ErrorCode;

use super::headers;
use super::problem::Problem;

/// The reason why a request is refused before it is read.
#[derive(Debug)]
pub(super) enum Refusal {
    Denied(Denied),
    Forbidden(Forbidden),
    Invalid(drumline_api::Invalid),
    /// A web page of another site has sent it.
    Site(String),
    /// The table of permissions does not have the address.
    Unlisted,
}

impl Refusal {
    /// The label of the metric.
    pub(super) const fn reason(&self) -> &'static str {
        match self {
            Self::Denied(Denied::Missing) => "no_key",
            Self::Denied(Denied::Invalid(_)) => "invalid_key",
            Self::Denied(Denied::Unknown { .. }) => "unknown_key",
            Self::Denied(Denied::Expired { .. }) => "expired_key",
            Self::Denied(Denied::Session) => "session",
            Self::Denied(Denied::NoUser) => "no_user",
            Self::Denied(Denied::UnknownUser) => "unknown_user",
            Self::Forbidden(Forbidden::Role { .. }) => "role",
            Self::Forbidden(Forbidden::Organization { .. } | Forbidden::NoOrganization { .. }) => {
                "organization"
            }
            Self::Forbidden(Forbidden::Caller { .. }) => "caller",
            Self::Forbidden(Forbidden::ReplyTo { .. }) => "reply_to",
            Self::Invalid(_) => "headers",
            Self::Site(_) => "site",
            Self::Unlisted => "unlisted",
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let forbidden =
            |detail: String| Self::new(StatusCode::FORBIDDEN, ErrorCode::PRIVILEGE_DENIED, detail);
        match refusal {
            Refusal::Denied(denied) => Self::new(
                StatusCode::UNAUTHORIZED,
                ErrorCode::UNAUTHENTICATED,
                denied.to_string(),
            ),
            Refusal::Forbidden(why @ Forbidden::NoOrganization { .. }) => {
                let wrong = drumline_api::FieldError::new(headers::ORGANIZATION, why.to_string());
                Self::from(drumline_api::Invalid::arguments(vec![wrong]))
            }
            Refusal::Forbidden(
                why @ (Forbidden::Role { .. }
                | Forbidden::Organization { .. }
                | Forbidden::Caller { .. }
                | Forbidden::ReplyTo { .. }),
            ) => forbidden(why.to_string()),
            Refusal::Invalid(invalid) => Self::from(invalid),
            Refusal::Site(detail) => {
                Self::new(StatusCode::FORBIDDEN, ErrorCode::FOREIGN_SITE, detail)
            }
            Refusal::Unlisted => {
                forbidden("this address has no entry in the table of permissions".to_owned())
            }
        }
    }
}

impl From<Forbidden> for Refusal {
    fn from(forbidden: Forbidden) -> Self {
        Self::Forbidden(forbidden)
    }
}

/// Refuses a request in a body that needs more than its address.
///
/// # Errors
/// When the principal has no role with the permission. Without keys, everything is
/// allowed.
pub(super) fn require(
    principal: Option<&Principal>,
    permission: Permission,
) -> Result<(), Refusal> {
    let required = principal.map_or(Ok(()), |principal| principal.require(permission));
    required.map_err(Refusal::Forbidden)
}
