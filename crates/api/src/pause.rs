//! Pauses: the request that sets one, and pauses as programs and people see
//! them.

use drumline_protocol::{Pause, PauseKind, QueueName, Timestamp, limits};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Invalid};
use crate::fields::Fields;

/// A pause that is to be set, read and checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetPause {
    /// The attribute that the pause is about.
    pub kind: PauseKind,
    /// The value of the attribute. Of an organization it may be missing.
    pub name: Option<String>,
    /// The reason, for people.
    pub reason: String,
    /// The time at which the pause ends by itself.
    pub until: Option<Timestamp>,
}

impl SetPause {
    /// Reads the request from JSON: `scope`, `name`, `reason`, `until`.
    ///
    /// # Errors
    /// [`Error::Syntax`] when it is not JSON; [`Error::Invalid`] with all
    /// attributes that are missing, unknown, or break a rule.
    pub fn from_json(body: &[u8]) -> Result<Self, Error> {
        const SCOPES: &str = "must be queue, messageName, organization or dependencyToken";
        let mut given = Fields::of_body(body)?;
        let kind = given.parsed("scope", |text| {
            PauseKind::from_name(&text).ok_or_else(|| SCOPES.to_owned())
        });
        let name = match kind {
            Some(PauseKind::MessageName) => given.text("name", limits::MESSAGE_NAME_CHARS),
            Some(PauseKind::Queue) => given.parsed("name", |text| {
                let name: Result<QueueName, _> = text.parse();
                name.map(String::from).map_err(|error| error.to_string())
            }),
            Some(PauseKind::DependencyToken | PauseKind::Organization) | None => {
                given.text("name", limits::TOKEN_CHARS)
            }
        };
        let reason = given.text("reason", limits::PAUSE_REASON_CHARS);
        let reason = reason.filter(|reason| !reason.trim().is_empty());
        let needs_name = kind.is_some_and(|kind| kind != PauseKind::Organization);
        for (attribute, is_missing) in [
            ("scope", kind.is_none()),
            ("name", needs_name && name.is_none()),
            ("reason", reason.is_none()),
        ] {
            if is_missing && !given.is_noted(attribute) {
                given.note(attribute, "is required");
            }
        }
        let until = given.time("until");
        given.refuse_rest(|_name| "is unknown");
        match (kind, reason) {
            (Some(kind), Some(reason)) if given.errors.is_empty() => Ok(Self {
                kind,
                name,
                reason,
                until,
            }),
            (Some(_) | None, Some(_) | None) => Err(Invalid::arguments(given.errors).into()),
        }
    }
}

/// The reason of a freeze whose caller gave none.
const NO_REASON: &str = "no reason was given";

/// A freeze that is to be set, read and checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Freeze {
    /// The reason, for people.
    pub reason: String,
    /// The time at which the freeze ends by itself.
    pub until: Option<Timestamp>,
}

impl Freeze {
    /// Reads the request from JSON: `reason`, `until`. Both may be missing: a person
    /// who has to stop everything is not to be asked for words first.
    ///
    /// # Errors
    /// [`Error::Syntax`] when it is not JSON; [`Error::Invalid`] with all attributes
    /// that are unknown or break a rule.
    pub fn from_json(body: &[u8]) -> Result<Self, Error> {
        let mut given = Fields::of_body(body)?;
        let reason = given.text("reason", limits::PAUSE_REASON_CHARS);
        let until = given.time("until");
        given.refuse_rest(|_name| "is unknown");
        if !given.errors.is_empty() {
            return Err(Invalid::arguments(given.errors).into());
        }
        let reason = reason.filter(|reason| !reason.trim().is_empty());
        Ok(Self {
            reason: reason.unwrap_or_else(|| NO_REASON.to_owned()),
            until,
        })
    }
}

/// All pauses of the caller's organization.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PausesView {
    /// The pauses, by scope and name.
    pub pauses: Vec<PauseView>,
}

/// One pause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PauseView {
    /// The id, which follows from scope and name.
    pub id: String,
    /// `queue`, `messageName`, `organization` or `dependencyToken`; `everything` for a
    /// freeze.
    pub scope: String,
    /// The queue, the message name, the organization or the token.
    pub name: String,
    /// The reason, for people.
    pub reason: String,
    /// The time at which it ends by itself, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// The caller that has set it.
    pub set_by: String,
    /// The time at which it was set, RFC 3339.
    pub set_on: String,
}

impl From<&Pause> for PauseView {
    fn from(pause: &Pause) -> Self {
        let Pause {
            scope,
            reason,
            until,
            author,
            since,
        } = pause;
        Self {
            id: scope.key().to_string(),
            scope: scope.name().to_owned(),
            name: scope.value.clone(),
            reason: reason.clone(),
            until: until.map(|until| until.to_string()),
            set_by: author.name(),
            set_on: since.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use drumline_protocol::{Author, Organization, PauseScope};

    use super::*;

    #[test]
    fn a_pause_is_read() {
        let body = br#"{"scope": "messageName", "name": "SendMail",
            "reason": "the mail server is down", "until": "2026-11-20T15:42:00Z"}"#;
        let read = SetPause::from_json(body).unwrap();
        assert_eq!(read.kind, PauseKind::MessageName);
        assert_eq!(read.name.as_deref(), Some("SendMail"));
        assert_eq!(read.reason, "the mail server is down");
        let until = read.until.unwrap().to_string();
        assert_eq!(until, "2026-11-20T15:42:00.000Z");
        let body = br#"{"scope": "organization", "reason": "an audit"}"#;
        let read = SetPause::from_json(body).unwrap();
        assert_eq!((read.kind, read.name), (PauseKind::Organization, None));
    }

    #[test]
    fn every_mistake_is_named() {
        let wrong = |body: &str| match SetPause::from_json(body.as_bytes()) {
            Err(Error::Invalid(invalid)) => {
                let names = invalid.attributes.into_iter().map(|one| one.name);
                names.collect::<Vec<_>>()
            }
            other => panic!("{body}: {other:?}"),
        };
        assert_eq!(wrong("{}"), ["scope", "reason"]);
        assert_eq!(
            wrong(r#"{"scope": "messageName", "name": null, "reason": " "}"#),
            ["name", "reason"]
        );
        assert_eq!(wrong(r#"{"scope": "worker", "reason": "x"}"#), ["scope"]);
        assert_eq!(wrong(r#"{"scope": "queue", "reason": "x"}"#), ["name"]);
        assert_eq!(
            wrong(r#"{"scope": "queue", "name": "No Queue", "until": "soon", "also": 1}"#),
            ["name", "reason", "until", "also"]
        );
        let long = "x".repeat(limits::PAUSE_REASON_CHARS + 1);
        let body = format!(r#"{{"scope": "organization", "reason": "{long}"}}"#);
        assert_eq!(wrong(&body), ["reason"]);
    }

    #[test]
    fn a_freeze_needs_no_reason() {
        let read = Freeze::from_json(b"{}").unwrap();
        assert_eq!((read.reason.as_str(), read.until), (NO_REASON, None));
        let read = Freeze::from_json(br#"{"reason": "Redis moves"}"#).unwrap();
        assert_eq!(read.reason, "Redis moves");
        assert!(Freeze::from_json(br#"{"scope": "queue"}"#).is_err());
        assert!(Freeze::from_json(br#"{"until": "soon"}"#).is_err());
    }

    #[test]
    fn a_pause_is_shown() {
        let pause = Pause {
            scope: PauseScope {
                kind: PauseKind::MessageName,
                organization: Organization::default(),
                value: "SendMail".to_owned(),
            },
            reason: "the mail server is down".to_owned(),
            until: None,
            author: Author::Caller("ann".to_owned()),
            since: Timestamp::from_millis(1_795_000_000_000),
        };
        let shown = serde_json::to_value(PauseView::from(&pause)).unwrap();
        assert_eq!(
            shown,
            serde_json::json!({
                "id": pause.scope.key().to_string(),
                "scope": "messageName",
                "name": "SendMail",
                "reason": "the mail server is down",
                "setBy": "ann",
                "setOn": "2026-11-18T11:06:40.000Z",
            })
        );
    }
}
