//! `drumline cancel`, `pause`, `resume`, `delete`: the same for each id.

use drumline_protocol::Action;
use serde_json::{Value, json};

use super::Session;
use crate::client::Error;
use crate::exit::{Exit, Failure, Result};
use crate::output::hint;
use crate::output::reasons;

/// Acts on every operation, also when some refuse; ends with the first refusal's
/// code then.
pub(crate) async fn run(
    session: &Session,
    ids: &[String],
    action: Action,
    body: Option<&Value>,
) -> Result<Exit> {
    let mut first = None;
    for id in ids {
        match act(session, id, action, body).await {
            Ok(()) => {}
            // The service is the same for the other ids.
            Err(failure) if failure.exit == Exit::Unavailable => return Err(failure),
            Err(failure) => {
                if ids.len() > 1 {
                    hint(&format!("{id}: {}", reasons(&failure.error)));
                }
                first.get_or_insert(failure);
            }
        }
    }
    match first {
        None => Ok(Exit::Ok),
        Some(failure) if ids.len() == 1 => Err(failure),
        Some(failure) => Err(Failure::new(
            failure.exit,
            format!("not every operation could be told to {}", action.name()),
        )),
    }
}

async fn act(session: &Session, id: &str, action: Action, body: Option<&Value>) -> Result<()> {
    match action {
        Action::Delete => {
            session.client.delete(id).await?;
            if session.out.is_json() {
                session.out.json(&json!({ "id": id, "deleted": true }))?;
            } else {
                session.out.line(&format!("{id}  deleted"))?;
            }
        }
        Action::Cancel | Action::Pause | Action::Resume | Action::Postpone => {
            let operation = session
                .client
                .act(id, action.name(), body)
                .await
                .map_err(|error| explain(error, action))?;
            session.out.outcome(&operation)?;
        }
    }
    Ok(())
}

/// A connection that broke after the request leaves open what was done.
fn explain(error: Error, action: Action) -> Failure {
    let open = matches!(&error, Error::Away(source) if !source.is_connect());
    let mut failure = Failure::from(error);
    if open {
        failure.error = failure.error.context(format!(
            "it is open whether the operation was told to {}; `drumline get` says",
            action.name()
        ));
    }
    failure
}
