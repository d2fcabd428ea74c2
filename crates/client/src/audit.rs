//! `GET /v1/audit`: who has asked for which change, and who was denied.

use std::collections::BTreeMap;

use drumline_protocol::Timestamp;
use reqwest::Method;
use serde::{Deserialize, Serialize};

use crate::client::Client;
use crate::error::Result;
use crate::list::Paging;
use crate::retry::Repeat;

/// The conditions of audit entries. An entry has to meet all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// The caller, or the principal with its kind or without: `jo`, `key:k7f3q2ab`.
    pub who: Option<String>,
    /// A part of the action, or the name of an organization request, in any case.
    pub action: Option<String>,
    /// The operation or the pause.
    pub id: Option<String>,
    /// The organization, for callers that see several.
    pub organization: Option<String>,
    /// `done`, `denied`, `refused`, `failed` or `leftOut`.
    pub outcome: Option<String>,
    /// The earliest time.
    pub since: Option<Timestamp>,
    /// The latest time.
    pub until: Option<Timestamp>,
}

/// One audit entry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditEntry {
    /// The time, by the clock of the store, RFC 3339.
    pub time: String,
    /// Method and route.
    pub action: String,
    /// `done`, `denied`, `refused`, `failed` or `leftOut`.
    pub outcome: String,
    /// `key:`, `user:` or `run:`, and the id; `None` if the sender is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal: Option<String>,
    /// The organization.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organization: Option<String>,
    /// The caller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller: Option<String>,
    /// The reason of a denial, or the one that the caller gave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The first ids.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<String>,
    /// The number of operations, or of what has no entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// The other members, as docs/security.md has them.
    #[serde(flatten)]
    pub others: BTreeMap<String, serde_json::Value>,
}

/// One page of audit entries.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditPage {
    /// The entries, newest first. May be few, or none, although there are more pages.
    pub entries: Vec<AuditEntry>,
    /// The cursor of the next page; `None` after the last.
    pub next_cursor: Option<String>,
}

impl Client {
    /// One page of the audit entries that match, newest first.
    ///
    /// # Errors
    /// When the service refuses the conditions, the key may not read the audit, or the
    /// service is unavailable.
    pub async fn audit(&self, filter: &AuditFilter, paging: &Paging) -> Result<AuditPage> {
        let times = [("since", filter.since), ("until", filter.until)];
        let times = times
            .into_iter()
            .filter_map(|(name, at)| Some((name, at?.to_string())));
        let texts = [
            ("who", &filter.who),
            ("action", &filter.action),
            ("id", &filter.id),
            ("organization", &filter.organization),
            ("outcome", &filter.outcome),
        ];
        let texts = texts
            .into_iter()
            .filter_map(|(name, text)| Some((name, text.clone()?)));
        let pairs: Vec<(&str, String)> = texts.chain(times).collect();
        let request = self
            .request(Method::GET, &["v1", "audit"])
            .query(&pairs)
            .query(&paging.pairs());
        self.exchange(Repeat::Safe, request).await?.read()
    }
}
