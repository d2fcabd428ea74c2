//! The audit stream, as people read it: filtered, and newest first.
//!
//! The store knows the order of the entries and nothing else about them. A page looks
//! at so many entries at most, and may be short: its cursor is the place that the
//! search has reached.

use drumline_backend::store::{AUDIT_PAGE, AuditEntry, AuditPlace};
use drumline_protocol::{Organization, Timestamp};
use serde_json::{Map, Value};

use super::QueueManager;
use crate::error::{Error, Result};

/// Entries that are looked at for a page: 3 MB at most.
const LOOKED_AT: usize = 2_000;

/// The entries that a caller may see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AuditScope {
    /// All, also those of no organization.
    Everything,
    /// Those of this organization.
    Only(Organization),
}

/// The conditions of a page. An entry has to meet all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AuditQuery {
    /// The caller, or the principal with its kind or without.
    pub(crate) who: Option<String>,
    /// A part of the action, or the name of an organization request, in any case.
    pub(crate) action: Option<String>,
    /// An operation or a pause.
    pub(crate) id: Option<String>,
    /// The organization.
    pub(crate) organization: Option<String>,
    /// The outcome.
    pub(crate) outcome: Option<String>,
    /// The earliest time.
    pub(crate) since: Option<Timestamp>,
    /// The latest time.
    pub(crate) until: Option<Timestamp>,
    /// The place to go on behind.
    pub(crate) cursor: Option<AuditPlace>,
    /// The most entries on the page.
    pub(crate) limit: usize,
}

/// One entry.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct AuditLine {
    /// The members, as docs/security.md has them.
    pub(crate) members: Map<String, Value>,
}

impl AuditLine {
    /// A member that is a text; empty if there is none.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.members
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    /// The ids.
    pub(crate) fn ids(&self) -> impl Iterator<Item = &str> {
        let ids = self.members.get("ids").and_then(Value::as_array);
        ids.into_iter().flatten().filter_map(Value::as_str)
    }
}

/// One page.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct AuditPage {
    /// The entries, newest first.
    pub(crate) entries: Vec<AuditLine>,
    /// The place to go on behind; `None` at the end.
    pub(crate) next: Option<AuditPlace>,
}

impl QueueManager {
    /// Returns a page of the audit stream.
    ///
    /// # Errors
    /// When the store is unavailable.
    pub(crate) async fn audit_page(
        &self,
        sight: &AuditScope,
        query: &AuditQuery,
    ) -> Result<AuditPage> {
        // An entry is stored after it was made. So what was stored before `since` was
        // made before it.
        let oldest = query.since.map_or(0, |since| {
            u64::try_from(since.as_millis()).unwrap_or_default()
        });
        let mut page = AuditPage::default();
        let mut looked_at = 0;
        page.next = query.cursor;
        loop {
            let found = self.store().audit_before(page.next, AUDIT_PAGE).await;
            let found = found.map_err(Error::Store)?;
            let is_end = found.len() < AUDIT_PAGE;
            looked_at += found.len();
            for entry in found {
                if entry.place.ms < oldest {
                    page.next = None;
                    return Ok(page);
                }
                page.next = Some(entry.place);
                page.entries.extend(shown(&entry, sight, query));
                if page.entries.len() >= query.limit {
                    return Ok(page);
                }
            }
            if is_end {
                page.next = None;
                return Ok(page);
            }
            if looked_at >= LOOKED_AT {
                return Ok(page);
            }
        }
    }
}

/// The entry, if the caller may see it and it meets the conditions.
fn shown(entry: &AuditEntry, sight: &AuditScope, query: &AuditQuery) -> Option<AuditLine> {
    // An entry that is no JSON is of a later release.
    let members = serde_json::from_str(&entry.text).ok()?;
    let line = AuditLine { members };
    let is = |wanted: &Option<String>, name| {
        let wanted = wanted.as_deref();
        wanted.is_none_or(|wanted| line.text(name) == wanted)
    };
    let may_see = match sight {
        AuditScope::Everything => true,
        AuditScope::Only(organization) => line.text("organization") == organization.0,
    };
    let is_by = |who: &String| {
        let principal = line.text("principal");
        let bare = principal.split_once(':').map_or("", |(_, id)| id);
        [principal, bare, line.text("caller")].contains(&who.as_str())
    };
    let is_action = |action: &String| {
        let action = action.to_lowercase();
        let asked = line.text("action").to_lowercase();
        asked.contains(&action) || line.text("request").to_lowercase() == action
    };
    let at = Timestamp::parse_rfc3339(line.text("time")).ok();
    let is_shown = may_see
        && is(&query.organization, "organization")
        && is(&query.outcome, "outcome")
        && query.who.as_ref().is_none_or(is_by)
        && query.action.as_ref().is_none_or(is_action)
        && query
            .id
            .as_ref()
            .is_none_or(|id| line.ids().any(|one| one == id))
        && query.since.is_none_or(|since| at >= Some(since))
        && query
            .until
            .is_none_or(|until| at.is_some_and(|at| at <= until));
    is_shown.then_some(line)
}
