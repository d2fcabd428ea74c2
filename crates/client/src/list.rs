//! `GET /v1/operations`: the operations that match, newest first.

use drumline_api::draft::Filter;
use drumline_api::view::OperationView;
use futures_util::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};
use reqwest::Method;
use serde::Deserialize;

use crate::client::Client;
use crate::error::{Error, Result};
use crate::retry::Repeat;

/// Operations on a page of [`Client::list_all`]: few requests, and none that
/// takes long.
const PAGE: usize = 200;

/// The part of a listing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Paging {
    /// At most so many; `None`: the service's default.
    pub limit: Option<usize>,
    /// [`Page::next_cursor`] of the page before; `None`: from the newest on.
    pub cursor: Option<String>,
}

/// One page of a listing.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Page {
    /// The operations, newest first. May be few, or none, although there are
    /// more pages.
    pub operations: Vec<OperationView>,
    /// The cursor of the next page; `None` after the last.
    pub next_cursor: Option<String>,
}

impl Paging {
    /// The paging as the API writes it.
    pub(crate) fn pairs(&self) -> Vec<(&'static str, String)> {
        let limit = self.limit.map(|limit| ("limit", limit.to_string()));
        let cursor = self.cursor.clone().map(|cursor| ("cursor", cursor));
        limit.into_iter().chain(cursor).collect()
    }
}

impl Client {
    /// One page of the operations that match.
    ///
    /// # Errors
    /// When the service refuses the conditions, or is unavailable.
    pub async fn list(&self, filter: &Filter, paging: &Paging) -> Result<Page> {
        let request = self
            .request(Method::GET, &["v1", "operations"])
            .query(&filter.pairs())
            .query(&paging.pairs());
        self.exchange(Repeat::Safe, request).await?.read()
    }

    /// One page of the operations that match, without data, results, checkpoints and
    /// errors. It costs the same however large these are.
    ///
    /// # Errors
    /// When the service refuses the conditions, or is unavailable.
    pub async fn list_summaries(&self, filter: &Filter, paging: &Paging) -> Result<Page> {
        let request = self
            .request(Method::GET, &["v1", "operations"])
            .query(&filter.pairs())
            .query(&paging.pairs())
            .query(&[("summary", true)]);
        self.exchange(Repeat::Safe, request).await?.read()
    }

    /// All operations that match, newest first, page by page as they are
    /// wanted. Operations that are created meanwhile are not among them. Ends
    /// after the first error.
    ///
    /// ```no_run
    /// # async fn example(client: drumline_client::Client) -> drumline_client::Result<()> {
    /// use drumline_client::{Filter, State};
    /// use futures_util::TryStreamExt as _;
    ///
    /// let mut waiting = client.list_all(&Filter::new().state(State::Suspended));
    /// while let Some(operation) = waiting.try_next().await? {
    ///     println!("{} until {:?}", operation.id, operation.postpone_until);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn list_all(&self, filter: &Filter) -> BoxStream<'static, Result<OperationView>> {
        let start = Some(Paging {
            limit: Some(PAGE),
            cursor: None,
        });
        let client = self.clone();
        let filter = filter.clone();
        let pages = stream::try_unfold(start, move |paging| {
            let (client, filter) = (client.clone(), filter.clone());
            async move {
                let Some(paging) = paging else {
                    return Ok::<_, Error>(None);
                };
                let page = client.list(&filter, &paging).await?;
                let next = page.next_cursor.map(|cursor| Paging {
                    cursor: Some(cursor),
                    ..paging
                });
                Ok(Some((
                    stream::iter(page.operations.into_iter().map(Ok)),
                    next,
                )))
            }
        });
        pages.try_flatten().boxed()
    }
}
