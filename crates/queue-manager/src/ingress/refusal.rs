//! Refusals because of who asks, whichever way the request came.

use axum::http::StatusCode;
use drumline_api::{CreateOperation, FieldError, Invalid, OrganizationRequest};
use drumline_auth::{Denied, Forbidden, Permission, Principal};
use drumline_backend::store;
use drumline_protocol::ErrorCode;
use uuid::Uuid;

use super::headers;
use super::problem::Problem;
use crate::audit::Subject;
use crate::error::Error;

/// The reason why a request is refused before it is read.
#[derive(Debug)]
pub(super) enum Refusal {
    Denied(Denied),
    Forbidden(Forbidden),
    Invalid(Invalid),
    /// The store could not say whether the run of a token has ended.
    Store(store::Error),
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
            Self::Denied(Denied::Session | Denied::SignIn | Denied::TooManyOrganizations) => {
                "session"
            }
            Self::Denied(Denied::RunToken) => "invalid_run",
            Self::Denied(Denied::RunEnded) => "ended_run",
            Self::Denied(Denied::Token(_)) => "token",
            Self::Denied(Denied::IssuerUnavailable) => "issuer",
            Self::Denied(Denied::NoRole { .. }) => "no_role",
            Self::Denied(Denied::NoOrganization { .. }) => "no_organization",
            Self::Denied(Denied::NoUser) => "no_user",
            Self::Denied(Denied::UnknownUser) => "unknown_user",
            Self::Forbidden(Forbidden::Role { .. } | Forbidden::Run) => "role",
            Self::Forbidden(Forbidden::Organization { .. } | Forbidden::NoOrganization { .. }) => {
                "organization"
            }
            Self::Forbidden(Forbidden::Caller { .. }) => "caller",
            Self::Forbidden(Forbidden::ReplyTo { .. }) => "reply_to",
            Self::Invalid(_) => "headers",
            Self::Store(_) => "store",
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
            // They are known, and have no right here: another token would not help.
            Refusal::Denied(known @ (Denied::NoRole { .. } | Denied::NoOrganization { .. })) => {
                forbidden(known.to_string())
            }
            Refusal::Denied(Denied::IssuerUnavailable) => {
                Self::busy(Denied::IssuerUnavailable.to_string())
            }
            Refusal::Denied(denied) => Self::new(
                StatusCode::UNAUTHORIZED,
                ErrorCode::UNAUTHENTICATED,
                denied.to_string(),
            ),
            Refusal::Forbidden(why @ Forbidden::NoOrganization { .. }) => {
                let wrong = FieldError::new(headers::ORGANIZATION, why.to_string());
                Self::from(Invalid::arguments(vec![wrong]))
            }
            Refusal::Forbidden(
                why @ (Forbidden::Role { .. }
                | Forbidden::Run
                | Forbidden::Organization { .. }
                | Forbidden::Caller { .. }
                | Forbidden::ReplyTo { .. }),
            ) => forbidden(why.to_string()),
            Refusal::Invalid(invalid) => Self::from(invalid),
            Refusal::Store(error) => Self::from(Error::Store(error)),
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

/// Refuses an organization request that needs more than its address, which is open
/// to all that may create. What a run creates becomes a child of its operation.
///
/// # Errors
/// When the principal has no role for one of the requests in it. Without keys,
/// everything is allowed.
pub(super) fn check_request(
    principal: Option<&Principal>,
    request: &mut OrganizationRequest,
) -> Result<(), Refusal> {
    let Some(principal) = principal else {
        return Ok(());
    };
    if request.removes() {
        principal.require(Permission::Operate)?;
    }
    if request.changes() {
        principal.require(Permission::Control)?;
    }
    for create in request.creates_mut() {
        check_create(Some(principal), create)?;
    }
    Ok(())
}

/// The subject of an organization request: the operations that it names, and the number
/// of its changes.
pub(super) fn subject_of(request: &OrganizationRequest) -> Subject {
    let changed = request.changed_ids();
    let created = request.creates();
    let mut subject = Subject {
        request: Some(request.name().as_str()),
        is_read: changed.is_empty() && created == 0,
        ..Subject::default()
    };
    let count = changed.len() + created;
    if count > 1 {
        subject.count = u64::try_from(count).ok();
    }
    for id in changed {
        subject.add(id.to_string());
    }
    subject
}

/// Makes what a run creates a child of its operation.
///
/// # Errors
/// When the request names another parent.
pub(super) fn check_create(
    principal: Option<&Principal>,
    request: &mut CreateOperation,
) -> Result<(), Refusal> {
    let Some(id) = principal.and_then(Principal::parent) else {
        return Ok(());
    };
    let own = Uuid::from_bytes(*id.as_bytes());
    if *request.parent_id.get_or_insert(own) == own {
        Ok(())
    } else {
        Err(Forbidden::Run.into())
    }
}
