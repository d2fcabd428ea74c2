//! `POST /v1/execute`: organization requests, as clients of the Dynamics
//! service know them, alone and in batches.

mod request;
mod response;
#[cfg(test)]
mod tests;

use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use serde_json::value::RawValue;

use crate::client::Client;
use crate::error::Result;
use crate::retry::Repeat;

pub use request::{AsyncRequest, BatchSettings, OrganizationRequest, Retrieve, RetrieveMultiple};
pub use response::{ItemResponse, OrganizationResponse, Retrieved};

impl Client {
    /// Executes an organization request.
    ///
    /// The request is repeated while the service is unavailable or busy, if
    /// that is safe. Safe are reads, creates and asynchronous requests with an
    /// idempotency key, and batches and transactions of nothing else.
    ///
    /// ```no_run
    /// # async fn example(client: drumline_client::Client) -> drumline_client::Result<()> {
    /// use drumline_client::{AsyncRequest, OrganizationRequest, OrganizationResponse};
    /// use serde_json::json;
    ///
    /// let import = AsyncRequest::new("ImportSolution").parameters(&json!({"file": "crm.zip"}))?;
    /// let request = OrganizationRequest::ExecuteAsync(import);
    /// match client.execute(&request).await {
    ///     Ok(OrganizationResponse::ExecuteAsync { async_job_id }) => println!("{async_job_id}"),
    ///     Ok(other) => println!("unexpected: {}", other.name()),
    ///     Err(error) => match error.fault() {
    ///         Some(fault) => println!("{} {fault}", fault.error_code),
    ///         None => return Err(error),
    ///     },
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Refused`](crate::Error::Refused) when it faults;
    /// [`Error::fault`](crate::Error::fault) has it as a fault. The faults of a
    /// batch's items are in its response.
    pub async fn execute(&self, request: &OrganizationRequest) -> Result<OrganizationResponse> {
        let repeat = if request.may_be_repeated() {
            Repeat::Safe
        } else {
            Repeat::Undone
        };
        let text = serde_json::to_string(request)?;
        let response: Box<RawValue> = self.send(text, repeat).await?;
        OrganizationResponse::read(&response)
    }

    /// Executes an organization request that is JSON text already, and returns
    /// the answer as it is. Repeated only if certainly nothing was done.
    ///
    /// # Errors
    /// As [`Self::execute`].
    pub async fn execute_json(&self, request: impl Into<String>) -> Result<Box<RawValue>> {
        self.send(request.into(), Repeat::Undone).await
    }

    async fn send(&self, text: String, repeat: Repeat) -> Result<Box<RawValue>> {
        let request = self
            .request(Method::POST, &["v1", "execute"])
            .header(CONTENT_TYPE, "application/json")
            .body(text);
        self.exchange(repeat, request).await?.read()
    }
}
