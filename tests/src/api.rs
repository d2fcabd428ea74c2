//! A small client of the HTTP API, for tests: what a script would do.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

/// A client of one queue manager.
#[derive(Clone, Debug)]
pub struct Api {
    base: String,
    http: reqwest::Client,
}

impl Api {
    /// A client of the manager at `base` (`http://127.0.0.1:1234`).
    #[must_use]
    pub fn new(base: &str) -> Self {
        // The HTTP library wants to know whose cryptography it is to use, even
        // where there is none. A second call says that there is one already.
        drop(rustls::crypto::ring::default_provider().install_default());
        Self {
            base: base.to_owned(),
            http: reqwest::Client::new(),
        }
    }

    /// Creates an operation, again and again while the service says that it
    /// cannot now; the key makes that harmless.
    ///
    /// # Errors
    /// When the service refuses it, or cannot for a minute.
    pub async fn create(&self, key: &str, request: &Value) -> Result<Value> {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
        loop {
            let sent = self
                .http
                .post(format!("{}/v1/operations", self.base))
                .header("Idempotency-Key", key)
                .timeout(Duration::from_secs(20))
                .json(request)
                .send()
                .await;
            let why = match sent {
                Ok(answer) if answer.status().is_success() => return Ok(answer.json().await?),
                Ok(answer) if answer.status().is_server_error() => answer.text().await?,
                Ok(answer) => bail!("create: {} {}", answer.status(), answer.text().await?),
                Err(error) => error.to_string(),
            };
            if tokio::time::Instant::now() > deadline {
                bail!("create: no success for a minute: {why}");
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Asks for an action, with a body unless it is null; the status code and
    /// the answer.
    ///
    /// # Errors
    /// When the service cannot be reached.
    pub async fn act(&self, id: &str, action: &str, body: &Value) -> Result<(u16, Value)> {
        let mut request = self
            .http
            .post(format!("{}/v1/operations/{id}/{action}", self.base))
            .timeout(Duration::from_secs(20));
        if !body.is_null() {
            request = request.json(body);
        }
        let answer = request.send().await?;
        let status = answer.status().as_u16();
        Ok((status, answer.json().await.unwrap_or(Value::Null)))
    }

    /// Reads an address below the base.
    ///
    /// # Errors
    /// When the service cannot be reached or answers an error.
    pub async fn read(&self, path: &str) -> Result<Value> {
        let answer = self
            .http
            .get(format!("{}{path}", self.base))
            .timeout(Duration::from_secs(75))
            .send()
            .await?;
        if !answer.status().is_success() {
            bail!("GET {path}: {} {}", answer.status(), answer.text().await?);
        }
        answer.json().await.with_context(|| format!("GET {path}"))
    }

    /// Every operation that a query selects, over all pages.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub async fn list(&self, query: &str) -> Result<Vec<Value>> {
        let mut all = Vec::new();
        let mut cursor = String::new();
        loop {
            let mut page = self
                .read(&format!("/v1/operations?limit=500&{query}{cursor}"))
                .await?;
            if let Value::Array(operations) = page["operations"].take() {
                all.extend(operations);
            }
            match page["nextCursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return Ok(all),
            }
        }
    }

    /// Waits until an operation is Completed.
    ///
    /// # Errors
    /// When it is not after `limit`.
    pub async fn wait(&self, id: &str, limit: Duration) -> Result<Value> {
        let deadline = tokio::time::Instant::now() + limit;
        loop {
            let operation = self.read(&format!("/v1/operations/{id}?wait=5s")).await?;
            if operation["stateCode"] == 3 {
                return Ok(operation);
            }
            if tokio::time::Instant::now() > deadline {
                bail!("not Completed after {limit:?}: {operation}");
            }
        }
    }
}
