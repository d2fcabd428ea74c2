//! One action for all operations that match: `POST /v1/operations/cancel?…`.
//!
//! The service looks at a share of the operations per request and says where to
//! go on, so that a million operations stall no other client. This module is
//! the loop.

use drumline_api::draft::Filter;
use drumline_protocol::{Action, ErrorCode, Timestamp};
use futures_util::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::client::Client;
use crate::error::Result;
use crate::list::Paging;
use crate::retry::Repeat;

/// The action for each operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BulkAction {
    /// End it, also a running one.
    Cancel,
    /// Let it wait for a person.
    Pause,
    /// Let it go on.
    Resume,
    /// Let it wait until this time.
    Postpone(Timestamp),
    /// Remove it, if it is Completed.
    Delete,
}

/// An action for all operations that match a filter; see [`Client::bulk`].
#[derive(Clone, Debug)]
#[must_use]
pub struct Bulk {
    client: Client,
    action: BulkAction,
    filter: Filter,
    all: bool,
    dry_run: bool,
    share: Option<usize>,
}

/// The result of one request of a bulk action.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BulkStep {
    /// Nothing was done, and the counts say what would be done.
    #[serde(default)]
    pub dry_run: bool,
    /// The number of operations that matched.
    pub matched: u64,
    /// The number of operations that did what was asked; in a dry run, that
    /// would.
    pub done: u64,
    /// The first of the operations that refused.
    #[serde(default)]
    pub refused: Vec<BulkRefusal>,
    /// The number of operations that refused: their state does not allow the
    /// action.
    #[serde(default)]
    pub refused_count: u64,
    /// The cursor of the next step; `None` after the last.
    #[serde(default)]
    pub next_cursor: Option<String>,
    /// In a dry run, the consequence for each operation, in sentences.
    #[serde(default)]
    pub consequence: Vec<String>,
}

/// An operation that refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BulkRefusal {
    /// The operation's id.
    pub id: String,
    /// The number that users know.
    #[serde(with = "crate::error::code")]
    pub code: ErrorCode,
    /// The reason, for people.
    #[serde(default)]
    pub message: String,
}

/// The result of all steps of a bulk action together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BulkTotal {
    /// The number of operations that matched.
    pub matched: u64,
    /// The number of operations that did what was asked; in a dry run, that
    /// would.
    pub done: u64,
    /// The number of operations that refused.
    pub refused_count: u64,
    /// The first of the operations that refused.
    pub refused: Vec<BulkRefusal>,
    /// In a dry run, the consequence for each operation, in sentences.
    pub consequence: Vec<String>,
}

/// Refusals that are kept: enough to see a pattern.
const REFUSALS: usize = 20;

impl BulkAction {
    /// The action on one operation.
    #[must_use]
    pub const fn action(self) -> Action {
        match self {
            Self::Cancel => Action::Cancel,
            Self::Pause => Action::Pause,
            Self::Resume => Action::Resume,
            Self::Postpone(_) => Action::Postpone,
            Self::Delete => Action::Delete,
        }
    }
}

impl Client {
    /// Prepares an action for all operations that match a filter. Nothing is
    /// sent before [`Bulk::run`] or [`Bulk::steps`].
    ///
    /// ```no_run
    /// # async fn example(client: drumline_client::Client) -> drumline_client::Result<()> {
    /// use drumline_client::{BulkAction, Filter, State};
    /// use futures_util::TryStreamExt as _;
    ///
    /// let waiting = Filter::new().message_name("SendMail").state(State::Suspended);
    /// let cancel = client.bulk(BulkAction::Cancel, waiting);
    /// println!("{} match", cancel.clone().dry_run().run().await?.matched);
    /// let mut steps = cancel.steps();
    /// while let Some(step) = steps.try_next().await? {
    ///     println!("{} more are cancelled", step.done);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn bulk(&self, action: BulkAction, filter: Filter) -> Bulk {
        Bulk {
            client: self.clone(),
            action,
            filter,
            all: false,
            dry_run: false,
            share: None,
        }
    }
}

impl Bulk {
    /// Says that a filter without conditions is meant: all operations. The
    /// service refuses it otherwise.
    pub const fn all(mut self) -> Self {
        self.all = true;
        self
    }

    /// Does nothing, and reports what would be done.
    pub const fn dry_run(mut self) -> Self {
        self.dry_run = true;
        self
    }

    /// The number of operations that one step may look at; the service's own
    /// share unless said.
    pub const fn share(mut self, operations: usize) -> Self {
        self.share = Some(operations);
        self
    }

    /// The steps, one after the other as they are wanted. Ends after the first
    /// error. Steps that were done stay done when the stream is dropped.
    #[must_use]
    pub fn steps(self) -> BoxStream<'static, Result<BulkStep>> {
        let start = Some(Paging {
            limit: self.share,
            cursor: None,
        });
        let steps = stream::try_unfold((self, start), |(bulk, paging)| async move {
            let Some(paging) = paging else {
                return Ok(None);
            };
            let step = bulk.step(&paging).await?;
            let next = step.next_cursor.clone().map(|cursor| Paging {
                cursor: Some(cursor),
                ..paging
            });
            Ok(Some((step, (bulk, next))))
        });
        steps.boxed()
    }

    /// All steps.
    ///
    /// # Errors
    /// When the service refuses the filter, or is unavailable. The results of
    /// earlier steps stay; running the action again goes on.
    pub async fn run(self) -> Result<BulkTotal> {
        let mut total = BulkTotal::default();
        let mut steps = self.steps();
        while let Some(step) = steps.try_next().await? {
            total.add(step);
        }
        Ok(total)
    }

    async fn step(&self, paging: &Paging) -> Result<BulkStep> {
        let body = match self.action {
            BulkAction::Postpone(until) => json!({ "postponeUntil": until.to_string() }),
            BulkAction::Cancel | BulkAction::Pause | BulkAction::Resume | BulkAction::Delete => {
                json!({})
            }
        };
        let mut flags = vec![("dryRun", self.dry_run)];
        if self.all {
            flags.push(("all", true));
        }
        let request = self
            .client
            .request(
                Method::POST,
                &["v1", "operations", self.action.action().name()],
            )
            .query(&self.filter.pairs())
            .query(&flags)
            .query(&paging.pairs())
            .json(&body);
        // A repeated step finds operations that are done already, and they
        // refuse: the counts suffer, the operations do not.
        self.client.exchange(Repeat::Safe, request).await?.read()
    }
}

impl BulkTotal {
    /// Adds the result of one more step.
    pub fn add(&mut self, step: BulkStep) {
        self.matched += step.matched;
        self.done += step.done;
        self.refused_count += step.refused_count;
        self.consequence = step.consequence;
        let room = REFUSALS.saturating_sub(self.refused.len());
        self.refused.extend(step.refused.into_iter().take(room));
    }
}
