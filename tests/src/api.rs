//! The HTTP API for tests: the client crate, and beside it the bare JSON, as a
//! script would see it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use drumline_client::{Client, HistoryView, State};
use drumline_oracle::journal::{Call, Journal, Line, Phase, now_ns};
use reqwest::{Response, StatusCode};
use serde_json::Value;
use tokio::time::{Instant, sleep};

/// The time for which a service may be busy or a manager be replaced, and the time between
/// two tries.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
pub(crate) const AGAIN: Duration = Duration::from_millis(100);

/// The creates of all clients of a fleet, written down.
#[derive(Debug)]
pub struct Calls {
    journal: Journal,
    number: AtomicU64,
}

impl Calls {
    /// Calls that are written into this journal.
    #[must_use]
    pub const fn new(journal: Journal) -> Self {
        Self {
            journal,
            number: AtomicU64::new(0),
        }
    }

    fn note(&self, call: u64, name: &str, phase: Phase) -> Result<()> {
        self.journal.append(&Line::Call(Call {
            call,
            caller: String::new(),
            action: "create".to_owned(),
            key: name.to_owned(),
            phase,
            at_ns: now_ns(),
        }))
    }
}

/// A client of one queue manager.
#[derive(Clone, Debug)]
pub struct Api {
    base: String,
    client: Client,
    http: reqwest::Client,
    calls: Option<Arc<Calls>>,
}

impl Api {
    /// A client of the manager at `base` (`http://127.0.0.1:1234`).
    ///
    /// # Panics
    /// When `base` is no address.
    #[must_use]
    pub fn new(base: &str) -> Self {
        let client = Client::builder(base)
            .timeout(Duration::from_secs(20))
            .patience(Duration::from_secs(60))
            .build()
            .expect("an address");
        Self {
            base: base.to_owned(),
            client,
            http: reqwest::Client::new(),
            calls: None,
        }
    }

    /// A client whose creates are written down.
    ///
    /// # Panics
    /// When `base` is no address.
    #[must_use]
    pub fn recorded(base: &str, calls: &Arc<Calls>) -> Self {
        Self {
            calls: Some(Arc::clone(calls)),
            ..Self::new(base)
        }
    }

    /// Creates an operation, again and again while the service says that it
    /// cannot now; the key makes the repetition harmless.
    ///
    /// # Errors
    /// When the service refuses it, or cannot for a minute.
    pub async fn create(&self, key: &str, request: &Value) -> Result<Value> {
        let creating = self.client.create_json(request.to_string(), Some(key));
        let Some(calls) = &self.calls else {
            return Ok(serde_json::to_value(creating.await?.operation)?);
        };
        let name = request["name"].as_str().unwrap_or_default();
        let call = calls.number.fetch_add(1, Ordering::Relaxed);
        calls.note(call, name, Phase::Invoke)?;
        let created = creating.await;
        let phase = match &created {
            Ok(created) => Phase::Ok {
                id: created.operation.id.clone(),
            },
            // An attempt before the last one may have been done.
            Err(error) => Phase::Unknown {
                why: error.to_string(),
            },
        };
        calls.note(call, name, phase)?;
        Ok(serde_json::to_value(created?.operation)?)
    }

    /// Asks for an action, with a body unless it is null; returns the status
    /// code and the answer.
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

    /// Posts a body to an address below the base.
    ///
    /// # Errors
    /// When the service cannot be reached or answers an error.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        let post = self.http.post(format!("{}{path}", self.base));
        let answer = post.timeout(Duration::from_secs(75)).json(body).send();
        good(&format!("POST {path}"), answer.await?).await
    }

    /// Reads an address below the base.
    ///
    /// # Errors
    /// When the service cannot be reached or answers an error.
    pub async fn read(&self, path: &str) -> Result<Value> {
        let answer = self.get(path).await?;
        good(&format!("GET {path}"), answer).await
    }

    /// Reads an address below the base, again and again while the service says that it cannot
    /// answer now: a busy machine is no fault of it.
    ///
    /// # Errors
    /// When the service cannot be reached, answers another error, or cannot for a minute.
    pub async fn read_patiently(&self, path: &str) -> Result<Value> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = self.get(path).await?;
            let is_busy = answer.status() == StatusCode::SERVICE_UNAVAILABLE;
            if !is_busy || Instant::now() >= deadline {
                return good(&format!("GET {path}"), answer).await;
            }
            sleep(AGAIN).await;
        }
    }

    async fn get(&self, path: &str) -> Result<Response> {
        let get = self.http.get(format!("{}{path}", self.base));
        Ok(get.timeout(Duration::from_secs(75)).send().await?)
    }

    /// The value of a metric of the manager, over all its labels.
    ///
    /// # Errors
    /// When the service cannot be reached.
    pub async fn metric(&self, name: &str) -> Result<f64> {
        let request = self.http.get(format!("{}/metrics", self.base));
        let text = request.send().await?.text().await?;
        let values = text.lines().filter_map(|line| {
            let behind = line.strip_prefix(name)?;
            let is_it = behind.starts_with(['{', ' ']);
            is_it.then(|| behind.rsplit(' ').next()?.parse::<f64>().ok())?
        });
        Ok(values.sum())
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
                .read_patiently(&format!("/v1/operations?limit=500&{query}{cursor}"))
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

    /// The history of an operation.
    ///
    /// # Errors
    /// When the service cannot be reached, or there is none.
    pub async fn history(&self, id: &str) -> Result<HistoryView> {
        Ok(self.client.history(id).await?)
    }

    /// Waits until an operation is Completed.
    ///
    /// # Errors
    /// When the operation is not Completed after `limit`.
    pub async fn wait(&self, id: &str, limit: Duration) -> Result<Value> {
        let operation = self.client.wait(id, Some(limit)).await?;
        let is_over = operation.state_code == State::Completed.code();
        let operation = serde_json::to_value(operation)?;
        ensure!(is_over, "not Completed after {limit:?}: {operation}");
        Ok(operation)
    }
}

/// The JSON of an answer.
async fn good(request: &str, answer: Response) -> Result<Value> {
    if !answer.status().is_success() {
        bail!("{request}: {} {}", answer.status(), answer.text().await?);
    }
    answer.json().await.with_context(|| request.to_owned())
}
