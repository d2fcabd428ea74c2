//! One line of the audit log.

use std::collections::BTreeMap;

use drumline_auth::{Organizations, Principal, Proof};
use serde::Serialize;

use crate::service::Actor;

/// The most ids in a line. The number of all is beside them.
const IDS: usize = 20;

/// The operations, or the pause, that a request is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Subject {
    /// The first ids.
    pub(crate) ids: Vec<String>,
    /// The number of operations that were changed, where it is not that of the ids.
    pub(crate) count: Option<u64>,
    /// The conditions of an action on many, if they are not in its address.
    pub(crate) filter: BTreeMap<String, String>,
    /// The reason that the caller gave.
    pub(crate) reason: Option<String>,
    /// The kind of an organization request.
    pub(crate) request: Option<&'static str>,
    /// The status that stands for several refusals, where nothing was done.
    pub(crate) refused: Option<u16>,
    /// True if nothing was to be changed.
    pub(crate) is_read: bool,
}

impl Subject {
    /// One operation, or pause.
    pub(crate) fn one(id: impl ToString) -> Self {
        Self {
            ids: vec![id.to_string()],
            ..Self::default()
        }
    }

    /// Adds an id, if there is room for it.
    pub(crate) fn add(&mut self, id: String) {
        if self.ids.len() < IDS {
            self.ids.push(id);
        }
    }
}

/// The outcome of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Outcome {
    /// It was done.
    Done,
    /// Its sender may not ask for it.
    Denied,
    /// It broke a rule, or the state did not allow it.
    Refused,
    /// The store or the broker was unavailable: it may or may not have been done.
    Failed,
}

impl Outcome {
    /// The outcome that a status stands for.
    pub(crate) const fn of(status: u16) -> Self {
        match status {
            ..400 => Self::Done,
            401 | 403 => Self::Denied,
            400..500 => Self::Refused,
            500.. => Self::Failed,
        }
    }
}

/// One line.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Entry {
    /// By the clock of the store.
    pub(crate) time: String,
    /// `http` or `amqp`.
    pub(crate) via: &'static str,
    /// The request: method and route.
    pub(crate) action: String,
    /// The kind of an organization request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) request: Option<&'static str>,
    pub(crate) outcome: Outcome,
    /// The HTTP status.
    pub(crate) status: u16,
    /// The error code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) code: Option<String>,
    /// The reason of a denial, or the one that the caller gave.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    /// `key:`, `user:`, `token:` or `run:`, and the id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) principal: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) roles: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) organization: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) caller: Option<String>,
    /// The address of the connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) address: Option<String>,
    /// The name in the certificate of the client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) certificate: Option<String>,
    /// The addresses that `X-Forwarded-For` claims.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) forwarded_for: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) ids: Vec<String>,
    /// The conditions of an action on many.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) filter: BTreeMap<String, String>,
    /// The number of operations changed; of requests denied, where several share a
    /// line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) trace: Option<String>,
    /// True if it was too long for the stream.
    #[serde(rename = "cut", skip_serializing_if = "std::ops::Not::not")]
    pub(crate) is_cut: bool,
}

impl Entry {
    /// A line about a request, as far as its answer says. The current span is that of
    /// the request.
    pub(crate) fn new(time: String, via: &'static str, action: String, status: u16) -> Self {
        let trace = drumline_telemetry::current_context().traceparent;
        // version-trace-span-flags
        let trace = trace.split('-').nth(1).map(str::to_owned);
        Self {
            time,
            via,
            action,
            request: None,
            outcome: Outcome::of(status),
            status,
            code: None,
            reason: None,
            principal: None,
            roles: Vec::new(),
            organization: None,
            caller: None,
            address: None,
            certificate: None,
            forwarded_for: None,
            ids: Vec::new(),
            filter: BTreeMap::new(),
            count: None,
            trace,
            is_cut: false,
        }
    }

    /// The entry as JSON.
    pub(super) fn line(&self) -> String {
        // It consists of texts and numbers, which can be written.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The same with its sender.
    pub(crate) fn by(mut self, principal: Option<&Principal>, actor: Option<&Actor>) -> Self {
        if let Some(principal) = principal {
            let kind = match principal.proof {
                Proof::Key => "key",
                Proof::BrokerUser => "user",
                Proof::Token => "token",
                Proof::Run { .. } => "run",
            };
            self.principal = Some(format!("{kind}:{}", principal.id));
            self.roles = principal.roles.iter().map(|role| role.name()).collect();
        }
        // A denied request has no actor. Its sender belongs to an organization all the
        // same, whose operators are to see the denial.
        let home = principal.and_then(|principal| match &principal.organizations {
            Organizations::Only(only) => match only.as_slice() {
                [one] => Some(one),
                _ => None,
            },
            Organizations::All => None,
        });
        let organization = actor.map(|actor| &actor.organization).or(home);
        self.organization = organization.map(|organization| organization.0.clone());
        self.caller = actor.map(|actor| actor.caller.clone());
        self
    }

    /// The same with its subject.
    pub(crate) fn about(mut self, subject: Subject) -> Self {
        self.ids = subject.ids;
        self.count = subject.count;
        self.request = subject.request;
        self.reason = subject.reason.or(self.reason);
        self.filter.extend(subject.filter);
        self
    }
}
