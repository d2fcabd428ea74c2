//! The caller of a page, and what it may use.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use drumline_auth::{Organizations, Permission, Principal};
use drumline_console::{Frame, Rights, Section, Text, Viewer};
use drumline_protocol::Timestamp;

use crate::ingress::http::extractors;
use crate::ingress::http::guard::SignedIn;
use crate::ingress::problem::Problem;
use crate::service::{Actor, QueueManager, Sight};

/// The caller of a page.
#[derive(Clone, Debug)]
pub(in crate::ingress::http) struct Seen {
    pub(in crate::ingress::http) actor: Actor,
    pub(super) rights: Rights,
    /// True if its key came in the cookie of a browser.
    is_signed_in: bool,
    /// The time at which the page is made.
    pub(super) now: Timestamp,
}

impl Seen {
    /// The parts of the service that the caller may see.
    pub(in crate::ingress::http) const fn sight(&self) -> Sight {
        Sight {
            fleet: self.rights.fleet,
            operations: self.rights.read,
        }
    }

    /// The frame of a page.
    pub(super) fn frame(&self, title: impl Into<Text>, section: Section) -> Frame {
        Frame {
            title: title.into(),
            section,
            viewer: Some(Viewer {
                caller: Text::line(&self.actor.caller),
                organization: Text::line(&self.actor.organization.0),
                is_signed_in: self.is_signed_in,
                rights: self.rights,
            }),
            now: self.now,
        }
    }
}

fn rights(principal: Option<&Principal>) -> Rights {
    let Some(principal) = principal else {
        return Rights::ALL;
    };
    let permissions = principal.permissions();
    let is_of_all = match principal.organizations {
        Organizations::All => true,
        Organizations::Only(_) => false,
    };
    Rights {
        read: permissions.contains(Permission::Read),
        control: permissions.contains(Permission::Control),
        operate: permissions.contains(Permission::Operate),
        fleet: permissions.contains(Permission::Fleet),
        drain: permissions.contains(Permission::Operate) && is_of_all,
    }
}

impl FromRequestParts<QueueManager> for Seen {
    type Rejection = Box<Problem>;

    async fn from_request_parts(
        parts: &mut Parts,
        manager: &QueueManager,
    ) -> Result<Self, Self::Rejection> {
        let principal = parts.extensions.get::<Arc<Principal>>();
        Ok(Self {
            actor: extractors::actor(&parts.extensions, &parts.headers)?,
            rights: rights(principal.map(|principal| &**principal)),
            is_signed_in: parts.extensions.get::<SignedIn>().is_some(),
            now: manager.store().now(),
        })
    }
}
