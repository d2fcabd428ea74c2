//! Actions on many operations that the service executes by itself: start one, look at
//! it, abort it.

use std::collections::BTreeMap;

use drumline_api::actions::{ActionPreview, ActionView, ActionsView};
use drumline_api::draft::Filter;
use reqwest::Method;
use serde::Serialize;

use crate::bulk::BulkAction;
use crate::client::Client;
use crate::error::Result;
use crate::list::Paging;
use crate::retry::Repeat;

/// An action on many operations that is to be started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[must_use]
pub struct NewAction {
    action: &'static str,
    filter: BTreeMap<&'static str, String>,
    all: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    postpone_until: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expected: Option<u64>,
    dry_run: bool,
}

impl NewAction {
    /// The action on all operations that match a filter and exist when it is started,
    /// for this reason.
    pub fn new(action: BulkAction, filter: &Filter, reason: impl Into<String>) -> Self {
        let until = match action {
            BulkAction::Postpone(until) => Some(until),
            BulkAction::Cancel | BulkAction::Pause | BulkAction::Resume | BulkAction::Delete => {
                None
            }
        };
        Self {
            action: action.action().name(),
            filter: filter.pairs().into_iter().collect(),
            all: false,
            reason: reason.into(),
            postpone_until: until.map(|until| until.to_string()),
            expected: None,
            dry_run: false,
        }
    }

    /// The same work again for all Completed operations that match a filter and exist when
    /// it is started: each by a new operation with the same attributes, the oldest first.
    /// An operation that ran again in the last two days is left alone.
    pub fn run_again(filter: &Filter, reason: impl Into<String>) -> Self {
        Self {
            action: "run-again",
            filter: filter.pairs().into_iter().collect(),
            all: false,
            reason: reason.into(),
            postpone_until: None,
            expected: None,
            dry_run: false,
        }
    }

    /// Says that a filter without conditions is meant: all operations. The service
    /// refuses it otherwise.
    pub fn all(self) -> Self {
        Self { all: true, ..self }
    }

    /// The most operations that are meant. If more match, the service starts nothing;
    /// if more are met later, the action fails before them.
    pub fn expected(self, operations: u64) -> Self {
        Self {
            expected: Some(operations),
            ..self
        }
    }
}

impl Client {
    /// Starts an action on many operations, which the service executes by itself. The
    /// answer comes before anything was done; [`Self::action`] shows the progress.
    ///
    /// ```no_run
    /// # async fn example(client: drumline_client::Client) -> drumline_client::Result<()> {
    /// use drumline_client::{BulkAction, Filter, NewAction};
    ///
    /// let mail = Filter::new().message_name("SendMail");
    /// let cancel = NewAction::new(BulkAction::Cancel, &mail, "sent by mistake");
    /// println!("{} match", client.preview_action(&cancel).await?.matched);
    /// let action = client.start_action(&cancel).await?;
    /// println!("{} of them are done", client.action(&action.id).await?.done);
    /// client.abort_action(&action.id).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Refused`](crate::Error::Refused) with `0x80040203` if it breaks a rule,
    /// and with `0x80072326` while too many actions run.
    pub async fn start_action(&self, action: &NewAction) -> Result<ActionView> {
        let request = self.request(Method::POST, &["v1", "actions"]).json(action);
        // A second action would find the work done, and be one more in the list.
        self.exchange(Repeat::Undone, request).await?.read()
    }

    /// Reports what an action would do, and does nothing. Counts for two seconds at
    /// most.
    ///
    /// # Errors
    /// When the service refuses the filter, or is unavailable.
    pub async fn preview_action(&self, action: &NewAction) -> Result<ActionPreview> {
        let preview = NewAction {
            dry_run: true,
            expected: None,
            ..action.clone()
        };
        let request = self.request(Method::POST, &["v1", "actions"]);
        let request = request.json(&preview);
        self.exchange(Repeat::Safe, request).await?.read()
    }

    /// One page of the actions of the caller's organization, newest first.
    ///
    /// # Errors
    /// When the service is unavailable.
    pub async fn actions(&self, paging: &Paging) -> Result<ActionsView> {
        let request = self
            .request(Method::GET, &["v1", "actions"])
            .query(&paging.pairs());
        self.exchange(Repeat::Safe, request).await?.read()
    }

    /// An action as it is now, with its numbers so far.
    ///
    /// # Errors
    /// [`Error::Refused`](crate::Error::Refused) with `0x80040217` if there is none, or
    /// not any more.
    pub async fn action(&self, id: &str) -> Result<ActionView> {
        let request = self.request(Method::GET, &["v1", "actions", id]);
        self.exchange(Repeat::Safe, request).await?.read()
    }

    /// Asks an action to end before its end, and returns it as it is then. What was
    /// done stays done. An action that has ended stays as it is.
    ///
    /// # Errors
    /// As [`Self::action`].
    pub async fn abort_action(&self, id: &str) -> Result<ActionView> {
        let request = self.request(Method::POST, &["v1", "actions", id, "abort"]);
        self.exchange(Repeat::Safe, request).await?.read()
    }
}
