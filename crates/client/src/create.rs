//! `POST /v1/operations`: one operation.

use bytes::Bytes;
use drumline_api::draft::NewOperation;
use drumline_api::view::OperationView;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Method, StatusCode};

use crate::client::Client;
use crate::error::Result;
use crate::http;
use crate::retry::Repeat;

/// The header that makes a create repeatable: see the API's documentation.
pub(crate) const IDEMPOTENCY_KEY: &str = "Idempotency-Key";

/// A create that was answered.
#[derive(Clone, Debug)]
pub struct Created {
    /// The operation.
    pub operation: OperationView,
    /// True if the operation was there since an earlier request with the same
    /// key. After a request that failed this may be the first attempt of the same
    /// call.
    pub existed: bool,
}

impl Client {
    /// Creates an operation. It is stored when this returns.
    ///
    /// Repeats itself while the service is unavailable or busy, without
    /// creating anything twice: see [`NewOperation::idempotency_key`].
    ///
    /// ```no_run
    /// # async fn example(client: drumline_client::Client) -> drumline_client::Result<()> {
    /// use drumline_client::NewOperation;
    ///
    /// let mail = NewOperation::new("SendMail").idempotency_key("welcome-4711");
    /// let created = client.create(&mail).await?;
    /// assert!(client.create(&mail).await?.existed);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Refused`](crate::Error::Refused) when it breaks a rule, or when
    /// its key was used for other content.
    pub async fn create(&self, new: &NewOperation) -> Result<Created> {
        let request = serde_json::to_string(new)?;
        self.create_json(request, new.key()).await
    }

    /// Creates an operation from a request that is JSON text already. It is
    /// sent as it is.
    ///
    /// # Errors
    /// As [`Self::create`].
    pub async fn create_json(
        &self,
        request: impl Into<String>,
        idempotency_key: Option<&str>,
    ) -> Result<Created> {
        let key = idempotency_key.map_or_else(|| self.keys().fresh(), str::to_owned);
        let operation = Bytes::from(request.into());
        let mut attempts = self.patient(Repeat::Safe);
        let mut may_share = true;
        loop {
            match self.create_once(&key, &operation, &mut may_share).await {
                Ok(created) => return Ok(created),
                Err(error) => attempts.next_after(error).await?,
            }
        }
    }

    /// Sends one create in a request of its own, once.
    pub(crate) async fn create_alone(&self, key: &str, operation: &Bytes) -> Result<Created> {
        let request = self
            .request(Method::POST, &["v1", "operations"])
            .header(CONTENT_TYPE, "application/json")
            .header(IDEMPOTENCY_KEY, key)
            .body(operation.clone());
        let answer = http::exchange(request).await?;
        Ok(Created {
            existed: answer.status == StatusCode::OK,
            operation: answer.read()?,
        })
    }
}
