//! One operation: look at it, wait for it, control it.

use std::time::Duration;

use drumline_api::attempts::AttemptsView;
use drumline_api::history::HistoryView;
use drumline_api::view::OperationView;
use drumline_protocol::{Action, State, Timestamp};
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::time::Instant;

use crate::client::Client;
use crate::error::Result;
use crate::retry::Repeat;

/// The time that one request of [`Client::wait`] waits: proxies on the way tend
/// to give up after a minute.
const POLL: Duration = Duration::from_secs(30);

/// An operation, and the service's explanation of its wait.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explained {
    /// The operation.
    #[serde(flatten)]
    pub operation: OperationView,
    /// The reason that it does not run, or does not end; `None` if it runs or
    /// is Completed.
    pub waiting_for: Option<WaitingFor>,
}

/// The reason that an operation does not run, or does not end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WaitingFor {
    /// A word for programs: `time`, `person`, `stop`, `predecessor`, `worker`,
    /// `handler`, `broker`, `slot`, `delivery`, and others in later releases.
    pub reason: String,
    /// The same for people, with advice.
    pub detail: String,
    /// The operation that is in its way, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation_id: Option<String>,
    /// The time since which the operation has its status, as RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// The number of operations of the same order that are before it.
    #[serde(default)]
    pub before: u64,
    /// The number of operations of the same order that wait behind it.
    #[serde(default)]
    pub behind: u64,
    /// The operation that all of the order wait for, if it is another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<Root>,
}

/// The operation that all of an order wait for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Root {
    /// Its id.
    pub operation_id: String,
    /// Its status.
    pub status: String,
    /// The time since which it has this status, as RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// A word for programs, as [`WaitingFor::reason`]; none if it runs, or holds the
    /// order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The same for people, with advice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// The part of the answer that [`OperationView`] does not read.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Explanation {
    #[serde(default)]
    waiting_for: Option<WaitingFor>,
}

impl Client {
    /// An operation as it is now.
    ///
    /// # Errors
    /// [`Error::Refused`](crate::Error::Refused) with `0x80040217` when there
    /// is none, or not any more.
    pub async fn get(&self, id: &str) -> Result<OperationView> {
        let request = self.request(Method::GET, &["v1", "operations", id]);
        self.exchange(Repeat::Safe, request).await?.read()
    }

    /// An operation, and the reason that it does not run or does not end. More
    /// expensive for the service than [`Self::get`]: for people, not for
    /// polling.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn get_explained(&self, id: &str) -> Result<Explained> {
        let request = self
            .request(Method::GET, &["v1", "operations", id])
            .query(&[("explain", "true")]);
        let answer = self.exchange(Repeat::Safe, request).await?;
        // Read twice, because `data` as it was written survives no flattening.
        let Explanation { waiting_for } = answer.read()?;
        Ok(Explained {
            operation: answer.read()?,
            waiting_for,
        })
    }

    /// The history of an operation: every change with its time and its author,
    /// oldest first. Of a long history the first and the last entries are kept.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn history(&self, id: &str) -> Result<HistoryView> {
        let request = self.request(Method::GET, &["v1", "operations", id, "history"]);
        self.exchange(Repeat::Safe, request).await?.read()
    }

    /// The attempts of an operation, the earliest first, with the end of what their
    /// handlers have printed. The outputs of the last four are kept.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn attempts(&self, id: &str) -> Result<AttemptsView> {
        let request = self.request(Method::GET, &["v1", "operations", id, "attempts"]);
        self.exchange(Repeat::Safe, request).await?.read()
    }

    /// One long poll: the operation when it is Completed, or as it is after
    /// `wait`. The service cuts `wait` to a minute.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn poll(&self, id: &str, wait: Duration) -> Result<OperationView> {
        let request = self
            .request(Method::GET, &["v1", "operations", id])
            .query(&[("wait", format!("{}ms", wait.as_millis()))])
            .timeout(self.timeout().saturating_add(wait));
        self.exchange(Repeat::Safe, request).await?.read()
    }

    /// Waits until an operation is Completed, or for `timeout`; `None`: for as
    /// long as it takes. Returns the operation as it was seen last, which after
    /// the timeout is not Completed (`state_code` is not 3).
    ///
    /// ```no_run
    /// # async fn example(client: drumline_client::Client, id: &str) -> drumline_client::Result<()> {
    /// use std::time::Duration;
    /// use drumline_client::Status;
    ///
    /// let operation = client.wait(id, Some(Duration::from_secs(600))).await?;
    /// match Status::from_code(operation.status_code) {
    ///     Some(Status::Succeeded) => println!("{:?}", operation.result),
    ///     Some(Status::Failed | Status::Canceled) => println!("{:?}", operation.message),
    ///     _ => println!("it takes longer"),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn wait(&self, id: &str, timeout: Option<Duration>) -> Result<OperationView> {
        let end = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            let left = end.map_or(POLL, |end| end.saturating_duration_since(Instant::now()));
            let seen = self.poll(id, left.min(POLL)).await?;
            let is_over = end.is_some_and(|end| Instant::now() >= end);
            if is_over || seen.state_code == State::Completed.code() {
                return Ok(seen);
            }
        }
    }

    /// Cancels an operation. A running operation is asked to stop, and is
    /// Canceling until it has.
    ///
    /// # Errors
    /// [`Error::Refused`](crate::Error::Refused) with `0x80044F00`, and the
    /// possible actions, if it cannot be cancelled.
    pub async fn cancel(&self, id: &str) -> Result<OperationView> {
        self.act(id, Action::Cancel, json!({})).await
    }

    /// Pauses an operation until a person resumes it. A running operation is
    /// asked to stop, and is Pausing until it has.
    ///
    /// # Errors
    /// [`Error::Refused`](crate::Error::Refused) with `0x80044F01`, and the
    /// possible actions, if it cannot be paused.
    pub async fn pause(&self, id: &str) -> Result<OperationView> {
        self.act(id, Action::Pause, json!({})).await
    }

    /// Lets a Suspended operation go on. For an operation that holds its
    /// token's chain: lets the chain go on.
    ///
    /// # Errors
    /// [`Error::Refused`](crate::Error::Refused), with the possible actions, if
    /// it does not wait.
    pub async fn resume(&self, id: &str) -> Result<OperationView> {
        self.act(id, Action::Resume, json!({})).await
    }

    /// Lets an operation wait until a time.
    ///
    /// # Errors
    /// [`Error::Refused`](crate::Error::Refused), with the possible actions, if
    /// it cannot be postponed.
    pub async fn postpone(&self, id: &str, until: Timestamp) -> Result<OperationView> {
        let body = json!({ "postponeUntil": until.to_string() });
        self.act(id, Action::Postpone, body).await
    }

    /// Removes a Completed operation.
    ///
    /// # Errors
    /// [`Error::Refused`](crate::Error::Refused) with `0x8004416A` if it is not
    /// Completed.
    pub async fn delete(&self, id: &str) -> Result<()> {
        let request = self.request(Method::DELETE, &["v1", "operations", id]);
        self.exchange(Repeat::Undone, request).await?;
        Ok(())
    }

    async fn act(
        &self,
        id: &str,
        action: Action,
        body: serde_json::Value,
    ) -> Result<OperationView> {
        let request = self
            .request(Method::POST, &["v1", "operations", id, action.name()])
            .json(&body);
        // A second cancel is refused, which would hide that the first was done.
        self.exchange(Repeat::Undone, request).await?.read()
    }
}
