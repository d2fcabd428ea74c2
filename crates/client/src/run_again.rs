//! `POST /v1/operations/{id}/run-again`: the work of an operation, once more.

use reqwest::{Method, StatusCode};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::client::Client;
use crate::create::{Created, IDEMPOTENCY_KEY};
use crate::error::Result;
use crate::retry::Repeat;

/// The differences between a Completed operation and the new one.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RunAgain {
    /// Other data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<Box<RawValue>>,
    /// Another dependency token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dependency_token: Option<String>,
    /// True: the new operation has no token, so it waits for no other one.
    pub leave_token: bool,
    /// Another queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
}

impl Client {
    /// Creates an operation that does the work of a Completed one again. It is stored
    /// when this returns.
    ///
    /// Repeats itself while the service is unavailable or busy, without creating
    /// anything twice. With an `idempotency_key`, a later call with the same key
    /// within two days gets the same operation.
    ///
    /// # Errors
    /// [`Error::Refused`](crate::Error::Refused) when the operation is not Completed,
    /// or the changes break a rule.
    pub async fn run_again(
        &self,
        id: &str,
        changes: &RunAgain,
        idempotency_key: Option<&str>,
    ) -> Result<Created> {
        let key = idempotency_key.map_or_else(|| self.keys().fresh(), str::to_owned);
        let request = self
            .request(Method::POST, &["v1", "operations", id, "run-again"])
            .header(IDEMPOTENCY_KEY, key)
            .json(changes);
        let answer = self.exchange(Repeat::Safe, request).await?;
        Ok(Created {
            existed: answer.status == StatusCode::OK,
            operation: answer.read()?,
        })
    }
}
