//! Many requests: batches of `ExecuteMultiple`, one after the other, so that the
//! order of the list is the order of execution, whatever happens on the way.
//!
//! ```text
//! left ──> batch ──> execute ──┬─ all executed ─────────────> hand out
//!   ▲                          ├─ item i refused ───────────> hand out up to i
//!   │                          ├─ item i: the service is busy ─> hand out up to i - 1, pause
//!   └──── what is not executed ┴─ batch too large ──────────> smaller batches
//! ```
//!
//! A batch ends at its first fault, because the items behind an item that is to
//! be sent again must not be executed before it.

use std::collections::VecDeque;

use drumline_api::draft::NewOperation;
use futures_util::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};
use tokio::time::{Instant, sleep};

use crate::client::Client;
use crate::error::{Error, Fault, Result};
use crate::execute::{BatchSettings, ItemResponse, OrganizationRequest, OrganizationResponse};
use crate::retry::Pauses;

/// The number of items that a batch may have unless the deployment says
/// otherwise.
pub const BATCH_ITEMS: usize = 1000;

/// The outcome of one request of many: its response (`None` for a request that
/// by design has none), or its fault.
pub type Outcome = Result<Option<OrganizationResponse>, Fault>;

impl Client {
    /// Creates operations, up to a thousand with one request, and the
    /// operations of one token in the order of the list. Returns the answer for
    /// each, in the order of the list: its id, or the fault that refused it. A
    /// refused operation does not keep the others from being created.
    ///
    /// ```no_run
    /// # async fn example(client: drumline_client::Client) -> drumline_client::Result<()> {
    /// use drumline_client::NewOperation;
    ///
    /// let mails = (0..5_000).map(|number| {
    ///     NewOperation::new("SendMail").idempotency_key(format!("newsletter 12 to {number}"))
    /// });
    /// for (number, answer) in client.create_all(mails).await?.iter().enumerate() {
    ///     if let Err(fault) = answer {
    ///         eprintln!("{number}: {fault}");
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// When the service is unavailable for longer than the client's patience.
    /// The first operations are created then: repeat the call with the same
    /// operations, and those that have keys of their own are not created twice.
    pub async fn create_all(
        &self,
        operations: impl IntoIterator<Item = NewOperation>,
    ) -> Result<Vec<Result<String, Fault>>> {
        let requests = operations
            .into_iter()
            .map(|new| OrganizationRequest::Create(Box::new(self.keys().keyed(new))));
        let mut answers = Vec::new();
        let mut outcomes = self.execute_all(requests);
        while let Some(some) = outcomes.try_next().await? {
            for outcome in some {
                answers.push(match outcome {
                    Ok(Some(OrganizationResponse::Create { id, .. })) => Ok(id),
                    Ok(Some(other)) => {
                        let text = format!("{} in answer to Create", other.name());
                        return Err(Error::unexpected_text(&text));
                    }
                    Ok(None) => return Err(Error::unexpected_text("no answer to Create")),
                    Err(fault) => Err(fault),
                });
            }
        }
        Ok(answers)
    }

    /// Executes requests in the order of the list, up to a thousand with one
    /// call. Streams their outcomes in the same order, some at a time as they
    /// are executed. A refused request does not keep the others from being
    /// executed. A request that faults because the service is busy is sent
    /// again, and nothing behind it is sent before.
    ///
    /// Batches that the service finds too large are sent in smaller pieces.
    /// Requests that may be repeated ([`Client::execute`]) are repeated if an
    /// answer is missing. The stream ends after the first error: when the
    /// service is unavailable for longer than the client's patience.
    ///
    /// ```no_run
    /// # async fn example(client: drumline_client::Client) -> drumline_client::Result<()> {
    /// use drumline_client::OrganizationRequest;
    /// use futures_util::TryStreamExt as _;
    ///
    /// let ids = ["019a9c1e-…", "019a9c1f-…"];
    /// let deletes = ids.map(|id| OrganizationRequest::Delete { id: id.to_owned() });
    /// let mut outcomes = client.execute_all(deletes);
    /// while let Some(some) = outcomes.try_next().await? {
    ///     println!("{} more", some.iter().filter(|outcome| outcome.is_ok()).count());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn execute_all(
        &self,
        requests: impl IntoIterator<Item = OrganizationRequest>,
    ) -> BoxStream<'static, Result<Vec<Outcome>>> {
        let batches = Batches {
            client: self.clone(),
            left: requests.into_iter().collect(),
            size: BATCH_ITEMS,
            pauses: Pauses::new(),
            busy_since: None,
            pending: None,
        };
        let outcomes = stream::try_unfold(batches, |mut batches| async move {
            let some = batches.next().await?;
            Ok::<_, Error>(some.map(|some| (some, batches)))
        });
        outcomes.boxed()
    }
}

#[derive(Debug)]
struct Batches {
    client: Client,
    left: VecDeque<OrganizationRequest>,
    size: usize,
    pauses: Pauses,
    /// The time since which nothing was executed.
    busy_since: Option<Instant>,
    /// The fault behind the outcomes that were returned last: the service wants the rest later.
    pending: Option<Fault>,
}

impl Batches {
    /// The outcomes of the next requests, at least one; `None` after the last.
    async fn next(&mut self) -> Result<Option<Vec<Outcome>>> {
        if let Some(fault) = self.pending.take() {
            self.rest(fault).await?;
        }
        while !self.left.is_empty() {
            let requests: Vec<_> = self.left.drain(..self.size.min(self.left.len())).collect();
            let sent = requests.len();
            let batch = OrganizationRequest::ExecuteMultiple {
                requests,
                settings: BatchSettings {
                    continue_on_error: false,
                    return_responses: true,
                },
            };
            let answer = self.client.execute(&batch).await;
            let OrganizationRequest::ExecuteMultiple { mut requests, .. } = batch else {
                return Ok(None);
            };
            match answer {
                Ok(response) => {
                    let (outcomes, busy) = outcomes(response, sent)?;
                    requests.drain(..outcomes.len());
                    self.put_back(requests);
                    if !outcomes.is_empty() {
                        // The caller hears of what was executed before a pause, and before an error.
                        self.busy_since = None;
                        self.pauses = Pauses::new();
                        self.pending = busy;
                        return Ok(Some(outcomes));
                    }
                    if let Some(fault) = busy {
                        self.rest(fault).await?;
                    }
                }
                Err(error) => {
                    self.size = smaller(&error, sent).ok_or(error)?;
                    self.put_back(requests);
                }
            }
        }
        Ok(None)
    }

    fn put_back(&mut self, requests: Vec<OrganizationRequest>) {
        for request in requests.into_iter().rev() {
            self.left.push_front(request);
        }
    }

    /// A pause, until patience is over.
    async fn rest(&mut self, fault: Fault) -> Result<()> {
        let since = *self.busy_since.get_or_insert_with(Instant::now);
        let pause = self.pauses.at_least(fault.retry_after());
        if since.elapsed() + pause > self.client.patience() {
            return Err(Error::Busy(Box::new(fault)));
        }
        sleep(pause).await;
        Ok(())
    }
}

/// The size to go on with after a batch was refused for its size. `None` if the
/// batch was refused for something else, or cannot be smaller.
fn smaller(error: &Error, size: usize) -> Option<usize> {
    let smaller = match error.fault()?.max_batch_size() {
        Some(allowed) => allowed,
        None if error.status() == Some(413) => size / 2,
        None => return None,
    };
    (1..size).contains(&smaller).then_some(smaller)
}

/// The final outcomes among the answers of a batch, and the fault that is not
/// final.
fn outcomes(response: OrganizationResponse, sent: usize) -> Result<(Vec<Outcome>, Option<Fault>)> {
    let OrganizationResponse::ExecuteMultiple { responses, .. } = response else {
        let text = format!("{} in answer to ExecuteMultiple", response.name());
        return Err(Error::unexpected_text(&text));
    };
    let mut outcomes = Vec::with_capacity(responses.len());
    for ItemResponse {
        request_index,
        outcome,
    } in responses
    {
        if request_index != outcomes.len() || request_index >= sent {
            return Err(Error::unexpected_text(
                "answers of a batch are out of order",
            ));
        }
        match outcome {
            Err(fault) if fault.is_transient() => return Ok((outcomes, Some(fault))),
            Err(fault) => outcomes.push(Err(fault)),
            Ok(response) => outcomes.push(Ok(response)),
        }
    }
    let ends_with_fault = outcomes.last().is_some_and(Result::is_err);
    if outcomes.len() < sent && !ends_with_fault {
        return Err(Error::unexpected_text("answers of a batch are missing"));
    }
    Ok((outcomes, None))
}
