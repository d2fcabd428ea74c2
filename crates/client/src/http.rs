//! One request and its answer.

use std::time::Duration;

use reqwest::{RequestBuilder, Response, StatusCode};
use serde::de::DeserializeOwned;

use crate::error::{Error, Result, Unreachable};

/// The time of silence after which a connection that streams counts as broken. The service
/// sends something at least every quarter of a minute, or ends a stream.
pub(crate) const SILENCE: Duration = Duration::from_secs(60);

/// A success, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    body: Vec<u8>,
}

impl Answer {
    /// The JSON value in it.
    ///
    /// # Errors
    /// [`Error::UnexpectedResponse`] when it is not what was expected.
    pub(crate) fn read<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.body)
            .map_err(|error| Error::unexpected(self.status, &format!("{error}: {}", self.text())))
    }

    /// The text in it.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Sends a request and reads the whole answer; an answer that is not a success
/// is an error.
pub(crate) async fn exchange(request: RequestBuilder) -> Result<Answer> {
    let response = open(request).await?;
    Ok(Answer {
        status: response.status(),
        body: response.bytes().await.map_err(Unreachable::error)?.into(),
    })
}

/// Sends a request, and leaves the body of a success to be read.
pub(crate) async fn open(request: RequestBuilder) -> Result<Response> {
    let response = request.send().await.map_err(Unreachable::error)?;
    if response.status().is_success() {
        Ok(response)
    } else {
        Err(Error::of(response).await)
    }
}
