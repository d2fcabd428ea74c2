//! `GET /v1/operations`: the operations that match, newest first.

use drumline_api::view::OperationView;
use drumline_protocol::{OperationType, State, Status, Timestamp};
use futures_util::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};
use reqwest::Method;
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Serialize, Serializer};
use uuid::Uuid;

use crate::client::Client;
use crate::error::{Error, Result};
use crate::retry::Repeat;

/// Operations on a page of [`Client::list_all`]: few requests, and none that
/// takes long.
const PAGE: usize = 200;

/// The conditions on operations; several conditions must all hold.
///
/// ```no_run
/// use drumline_client::{Filter, Status};
///
/// let failed_imports = Filter::new().message_name("ImportSolution").status(Status::Failed);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Filter {
    name: Option<String>,
    state: Option<State>,
    status: Option<Status>,
    message_name: Option<String>,
    operation_type: Option<OperationType>,
    dependency_token: Option<String>,
    correlation_id: Option<Uuid>,
    created_after: Option<Timestamp>,
    created_before: Option<Timestamp>,
    completed_before: Option<Timestamp>,
    holds_token: bool,
}

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

impl Filter {
    /// All operations.
    pub fn new() -> Self {
        Self::default()
    }

    /// With exactly this name.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// In this state.
    pub const fn state(mut self, state: State) -> Self {
        self.state = Some(state);
        self
    }

    /// With this status.
    pub const fn status(mut self, status: Status) -> Self {
        self.status = Some(status);
        self
    }

    /// With this message name.
    pub fn message_name(mut self, name: impl Into<String>) -> Self {
        self.message_name = Some(name.into());
        self
    }

    /// Of this type.
    pub const fn operation_type(mut self, operation_type: OperationType) -> Self {
        self.operation_type = Some(operation_type);
        self
    }

    /// With this dependency token.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.dependency_token = Some(token.into());
        self
    }

    /// With this correlation id.
    pub const fn correlation_id(mut self, id: Uuid) -> Self {
        self.correlation_id = Some(id);
        self
    }

    /// Created after this time.
    pub const fn created_after(mut self, time: Timestamp) -> Self {
        self.created_after = Some(time);
        self
    }

    /// Created before this time.
    pub const fn created_before(mut self, time: Timestamp) -> Self {
        self.created_before = Some(time);
        self
    }

    /// Completed before this time; hence Completed.
    pub const fn completed_before(mut self, time: Timestamp) -> Self {
        self.completed_before = Some(time);
        self
    }

    /// With a held token: the operation ended Failed or Canceled, and its chain
    /// waits until a person resumes it. Not known to
    /// [`RetrieveMultiple`](crate::RetrieveMultiple).
    pub const fn holds_token(mut self) -> Self {
        self.holds_token = true;
        self
    }

    /// Returns true if every operation matches.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The conditions as the API writes them.
    pub(crate) fn pairs(&self) -> Vec<(&'static str, String)> {
        let Self {
            name,
            state,
            status,
            message_name,
            operation_type,
            dependency_token,
            correlation_id,
            created_after,
            created_before,
            completed_before,
            holds_token,
        } = self;
        let time = |time: Option<Timestamp>| time.map(|time| time.to_string());
        [
            ("name", name.clone()),
            ("state", state.map(|state| state.code().to_string())),
            ("status", status.map(|status| status.code().to_string())),
            ("messageName", message_name.clone()),
            (
                "operationType",
                operation_type.map(|kind| kind.0.to_string()),
            ),
            ("dependencyToken", dependency_token.clone()),
            ("correlationId", correlation_id.map(|id| id.to_string())),
            ("createdAfter", time(*created_after)),
            ("createdBefore", time(*created_before)),
            ("completedBefore", time(*completed_before)),
            ("holdsToken", holds_token.then(|| true.to_string())),
        ]
        .into_iter()
        .filter_map(|(key, value)| value.map(|value| (key, value)))
        .collect()
    }
}

/// Serialized as in an organization request: the same names, and numbers as
/// numbers.
impl Serialize for Filter {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut filter = serializer.serialize_map(None)?;
        for (name, value) in self.pairs() {
            match name {
                "state" | "status" | "operationType" => {
                    filter.serialize_entry(name, &value.parse::<u32>().ok())?;
                }
                _ => filter.serialize_entry(name, &value)?,
            }
        }
        filter.end()
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_have_the_names_of_the_api() {
        let filter = Filter::new()
            .name("n")
            .state(State::Completed)
            .status(Status::Failed)
            .message_name("m")
            .operation_type(OperationType(10))
            .token("")
            .correlation_id(Uuid::nil())
            .created_after(Timestamp::from_millis(0))
            .created_before(Timestamp::from_millis(1))
            .completed_before(Timestamp::from_millis(2))
            .holds_token();
        let pairs = filter.pairs();
        let pairs: Vec<_> = pairs.iter().map(|(k, v)| (*k, v.as_str())).collect();
        assert_eq!(
            pairs,
            [
                ("name", "n"),
                ("state", "3"),
                ("status", "31"),
                ("messageName", "m"),
                ("operationType", "10"),
                ("dependencyToken", ""),
                ("correlationId", "00000000-0000-0000-0000-000000000000"),
                ("createdAfter", "1970-01-01T00:00:00.000Z"),
                ("createdBefore", "1970-01-01T00:00:00.001Z"),
                ("completedBefore", "1970-01-01T00:00:00.002Z"),
                ("holdsToken", "true"),
            ]
        );
        assert!(Filter::new().pairs().is_empty() && Filter::new().is_empty());
    }
}
