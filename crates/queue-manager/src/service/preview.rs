//! Previews of actions on one operation: the same words for the console, the API and
//! the command line.

use drumline_api::Control;
use drumline_api::preview::{self, Preview};
use drumline_backend::store::{Neighbourhood, Summary};
use drumline_protocol::{Action, Operation, OperationId, Timestamp};

use super::{Actor, BulkAct, QueueManager};
use crate::error::{Error, Result};

impl QueueManager {
    /// Says what an action would do to an operation now, and does nothing.
    ///
    /// # Errors
    /// When there is no operation with this id, or the store is unavailable.
    pub async fn preview(&self, actor: &Actor, id: OperationId, action: Action) -> Result<Preview> {
        let operation = self.get(actor, id).await?;
        let act = match action {
            Action::Cancel => BulkAct::Act(Control::Cancel),
            Action::Pause => BulkAct::Act(Control::Pause),
            Action::Resume => BulkAct::Act(Control::Resume),
            // Any time will do: the state alone decides.
            Action::Postpone => BulkAct::Act(Control::Postpone(Timestamp::from_millis(0))),
            Action::Delete => BulkAct::Delete,
        };
        let refusal = match self.rehearse(act, &actor.author(), &Summary::of(&operation)) {
            Ok(()) => None,
            Err(error @ (Error::Refused(_) | Error::Invalid(_))) => Some(error.to_string()),
            Err(error) => return Err(error),
        };
        Ok(Preview {
            action: action.name().to_owned(),
            possible: refusal.is_none(),
            refusal,
            consequence: self.consequence(&operation, action).await?,
        })
    }

    /// The consequence of an action for an operation and those behind it in its token,
    /// in sentences.
    pub(crate) async fn consequence(
        &self,
        operation: &Operation,
        action: Action,
    ) -> Result<Vec<String>> {
        let place = self
            .store()
            .chain_place(operation.id, Neighbourhood::NONE)
            .await?;
        let behind = place.map_or(0, |place| place.behind);
        Ok(preview::of_one(action, &operation.header, behind))
    }
}
