//! `PATCH /v1/operations/{id}`: the attributes that clients may change.

use drumline_api::view::OperationView;
use drumline_protocol::{State, Status, Timestamp};
use reqwest::Method;
use serde::{Serialize, Serializer};

use crate::client::Client;
use crate::error::Result;
use crate::new_operation::rfc3339;
use crate::retry::Repeat;

/// A change of an operation, as a client of the Dynamics service would make it.
/// Everything else about an operation is fixed when it is created.
///
/// ```no_run
/// # async fn example(client: drumline_client::Client, id: &str) -> drumline_client::Result<()> {
/// use drumline_client::{State, Update};
///
/// client.update(id, &Update::new().state(State::Suspended)).await?; // pause
/// client.update(id, &Update::new().state(State::Ready)).await?; // resume
/// client.update(id, &Update::new().recurrence("FREQ=HOURLY;INTERVAL=6")).await?; // of a series
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[must_use]
pub struct Update {
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "state_code")]
    state_code: Option<State>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_code: Option<Status>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "rfc3339")]
    postpone_until: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recurrence_pattern: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "rfc3339")]
    recurrence_start_time: Option<Timestamp>,
}

impl Update {
    /// No change yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Ready resumes, Suspended pauses, Completed cancels.
    pub const fn state(mut self, state: State) -> Self {
        self.state_code = Some(state);
        self
    }

    /// As [`Self::state`], more exactly.
    pub const fn status(mut self, status: Status) -> Self {
        self.status_code = Some(status);
        self
    }

    /// Postpones.
    pub const fn postpone_until(mut self, until: Timestamp) -> Self {
        self.postpone_until = Some(until);
        self
    }

    /// Another rule for a series; refused for any other operation.
    pub fn recurrence(mut self, pattern: impl Into<String>) -> Self {
        self.recurrence_pattern = Some(pattern.into());
        self
    }

    /// Another start for a series; refused for any other operation.
    pub const fn recurrence_start(mut self, start: Timestamp) -> Self {
        self.recurrence_start_time = Some(start);
        self
    }

    /// Returns true if nothing is to be changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

fn state_code<S: Serializer>(state: &Option<State>, serializer: S) -> Result<S::Ok, S::Error> {
    state.map(State::code).serialize(serializer)
}

impl Client {
    /// Changes an operation.
    ///
    /// # Errors
    /// [`Error::Refused`](crate::Error::Refused), with the possible changes, if
    /// the change is not possible.
    pub async fn update(&self, id: &str, update: &Update) -> Result<OperationView> {
        let request = self
            .request(Method::PATCH, &["v1", "operations", id])
            .json(update);
        self.exchange(Repeat::Undone, request).await?.read()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn states_are_sent_as_numbers() {
        let update = Update::new()
            .state(State::Suspended)
            .status(Status::Waiting)
            .postpone_until(Timestamp::from_millis(0));
        assert_eq!(
            serde_json::to_value(&update).unwrap(),
            json!({"stateCode": 1, "statusCode": 10, "postponeUntil": "1970-01-01T00:00:00.000Z"})
        );
        assert!(Update::new().is_empty());
    }
}
