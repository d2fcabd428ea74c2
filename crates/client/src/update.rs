//! `PATCH /v1/operations/{id}`: the attributes that clients may change.

use drumline_api::draft::Update;
use drumline_api::view::OperationView;
use reqwest::Method;

use crate::client::Client;
use crate::error::Result;
use crate::retry::Repeat;

impl Client {
    /// Changes an operation.
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
