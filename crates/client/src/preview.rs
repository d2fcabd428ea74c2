//! Previews: what an action would do to one operation.

use drumline_api::preview::Preview;
use drumline_protocol::Action;
use reqwest::Method;

use crate::client::Client;
use crate::error::Result;
use crate::retry::Repeat;

impl Client {
    /// Says what an action would do to an operation now, and to those behind it in its
    /// token. Does nothing.
    ///
    /// # Errors
    /// [`Error::Refused`](crate::Error::Refused) with `0x80040217` if there is no such
    /// operation.
    pub async fn preview(&self, id: &str, action: Action) -> Result<Preview> {
        let request = self
            .request(Method::GET, &["v1", "operations", id, "preview"])
            .query(&[("action", action.name())]);
        self.exchange(Repeat::Safe, request).await?.read()
    }
}
