//! `drumline key`: the file with the API keys. Talks to no service.

use std::fs;

use drumline_auth::{AuthDocument, EditError, NewKey, Organizations, Policy, Principal};
use drumline_protocol::Timestamp;
use serde_json::json;

use crate::cli::keys::{CreateKey, Key, KeyAction};
use crate::exit::{Exit, Failure, Result};
use crate::output::time::Now;
use crate::output::{self, Output};

impl From<EditError> for Failure {
    fn from(error: EditError) -> Self {
        let exit = match &error {
            EditError::File(_) => Exit::Usage,
            EditError::NoKey(_) => Exit::NotFound,
            EditError::Write { .. } => Exit::Failed,
            EditError::NoRandom => Exit::Internal,
        };
        Self::caused(exit, error)
    }
}

/// Does what was asked.
pub(crate) fn run(key: &Key, now: Now) -> Result<Exit> {
    let out = Output::new(key.output.output, now);
    let path = key.auth_file.as_path();
    if matches!(key.action, KeyAction::List) {
        return list(out, key);
    }
    let mut document = AuthDocument::open(path)?;
    match &key.action {
        KeyAction::Create(create) => {
            let made = document.create(&new_key(create, now))?;
            document.save(path)?;
            show(out, made.id(), made.reveal())?;
        }
        KeyAction::Rotate { id, finish: true } => {
            let had_two = document.finish_rotation(id)?;
            document.save(path)?;
            output::hint(if had_two {
                "the older secret is not valid any more"
            } else {
                "the key has one secret"
            });
        }
        KeyAction::Rotate { id, finish: false } => {
            let made = document.rotate(id)?;
            document.save(path)?;
            show(out, id, made.reveal())?;
            output::hint(&format!(
                "the older secret is valid, too, until `drumline key rotate {id} --finish`"
            ));
        }
        KeyAction::Revoke { id } => {
            document.revoke(id)?;
            document.save(path)?;
            output::hint("queue managers refuse it within five seconds");
        }
        KeyAction::List => {}
    }
    Ok(Exit::Ok)
}

/// Shows a new key: alone on its line, so that a script can keep it.
fn show(out: Output, id: &str, key: &str) -> Result<()> {
    if out.is_json() {
        out.json(&json!({"id": id, "key": key}))?;
    } else {
        out.line(key)?;
        output::hint("this is shown once: keep it where only its user can read it");
    }
    Ok(())
}

fn new_key(create: &CreateKey, now: Now) -> NewKey {
    let end = create.expires.map(|span| {
        let now = Timestamp::from_millis(now.0.timestamp_millis());
        // Whole seconds: people read it.
        let at = now.saturating_add(span).as_millis();
        Timestamp::from_millis(at - at.rem_euclid(1000))
    });
    NewKey {
        organizations: create.organizations.clone(),
        roles: create.roles.clone(),
        caller: create.caller.clone(),
        expires: end,
        may_act_for: create.may_act_for,
    }
}

fn list(out: Output, key: &Key) -> Result<Exit> {
    let path = key.auth_file.as_path();
    let text = fs::read_to_string(path).map_err(|error| {
        let text = format!(
            "{} cannot be read: {error}\n  what to do: name the file with --auth-file, or make a key with \
             `drumline key create`",
            path.display()
        );
        Failure::new(Exit::Usage, text)
    })?;
    let policy = Policy::parse(&text).map_err(EditError::File)?;
    let mut principals: Vec<&Principal> = policy.principals().collect();
    principals.sort_by(|one, other| one.id.cmp(&other.id));
    for principal in principals {
        let organizations = match &principal.organizations {
            Organizations::All => vec!["*".to_owned()],
            Organizations::Only(some) => some.iter().map(|one| one.0.clone()).collect(),
        };
        let roles: Vec<&str> = principal.roles.iter().map(|role| role.name()).collect();
        let expires = principal.expires.map(|at| at.to_string());
        if out.is_json() {
            out.json(&json!({
                "id": principal.id,
                "caller": principal.caller,
                "organizations": organizations,
                "roles": roles,
                "expiresOn": expires,
                "mayActFor": principal.may_act_for,
            }))?;
        } else {
            out.line(&format!(
                "{}  {}  {}  {}  {}",
                principal.id,
                roles.join(","),
                organizations.join(","),
                principal.caller,
                expires.map_or_else(|| "never expires".to_owned(), |at| format!("expires {at}")),
            ))?;
        }
    }
    Ok(Exit::Ok)
}
