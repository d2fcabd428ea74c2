//! Executing organization requests.
//!
//! A request here does the same as its own address elsewhere, through the same
//! functions and rules. In addition, many can come in one ([`batch`](self),
//! transaction) or be executed later.
//!
//! | request | does |
//! |---|---|
//! | Create, Update, Delete | as the operations' own addresses |
//! | Retrieve | one operation, by its id or as the newest with a name |
//! | RetrieveMultiple | one page of a listing |
//! | ExecuteAsync | creates the operation that executes the request |
//! | ExecuteMultiple | executes a list, each for itself: `batch` |
//! | ExecuteTransaction | all of a list or nothing: `transaction` |

mod answer;
mod batch;
mod fault;
mod transaction;

use std::time::Duration;

use drumline_api::OrganizationRequest;
use drumline_api::execute::{
    Item, KeyedCreate, RequestName, Retrieve, RetrieveMultiple, Selector, Update,
};
use drumline_api::view::OperationView;
use drumline_backend::store::Filter;
use drumline_protocol::Operation;
use serde_json::value::{RawValue, to_raw_value};
use tokio::time::Instant;

use super::read::{selection, weight};
use super::{Actor, Query, QueueManager};
use crate::error::{Error, Result};

pub use answer::{Answer, ItemAnswer};
pub use fault::Fault;

use answer::Results;

/// Operations on a page if the request names no size.
const USUAL_PAGE: usize = 50;
/// The time to look for an operation by its name. Names are no index: in a
/// large store the search for a name that is not there sees every operation.
const SEARCH: Duration = Duration::from_secs(20);

impl QueueManager {
    /// Executes one request and answers it.
    ///
    /// If the future is dropped, the request may or may not have been executed;
    /// of a batch, the items behind the present one are not executed.
    ///
    /// # Errors
    /// The faults of the request as a whole. Faults of the items of a batch are
    /// in the answer.
    pub async fn execute(&self, actor: &Actor, request: OrganizationRequest) -> Result<Answer> {
        match request {
            OrganizationRequest::One(item) => self.execute_one(actor, item).await,
            OrganizationRequest::Multiple(batch) => {
                let results = self.execute_multiple(actor, batch).await?;
                Ok(Answer::new(RequestName::ExecuteMultiple, results))
            }
        }
    }

    /// Executes a request that may also be an item of a batch.
    async fn execute_one(&self, actor: &Actor, item: Item) -> Result<Answer> {
        let name = item.name();
        match item {
            Item::Create(create) | Item::ExecuteAsync(create) => {
                let KeyedCreate { request, key } = *create;
                let created = self.create(actor, request, key.as_deref()).await?;
                Ok(Answer::new(
                    name,
                    Results::created(name, created.operation.id, !created.is_new),
                ))
            }
            Item::Retrieve(retrieve) => self.retrieve(actor, retrieve).await,
            Item::RetrieveMultiple(list) => self.retrieve_multiple(actor, *list).await,
            Item::Update(Update { id, changes }) => {
                self.update(actor, id, changes).await?;
                Ok(Answer::new(name, Results::Nothing))
            }
            Item::Delete(id) => {
                self.delete(actor, id).await?;
                Ok(Answer::new(name, Results::Nothing))
            }
            Item::Transaction(transaction) => {
                let responses = self.execute_transaction(actor, transaction).await?;
                Ok(Answer::new(name, Results::Responses { responses }))
            }
        }
    }

    async fn retrieve(&self, actor: &Actor, retrieve: Retrieve) -> Result<Answer> {
        let operation = match retrieve.selector {
            Selector::Id(id) => self.get(actor, id).await?,
            Selector::Name(name) => self.newest(actor, name).await?,
        };
        let bytes = weight(&operation);
        let operation = shown(&self.view(&operation), retrieve.columns.as_deref())?;
        let answer = Answer::new(RequestName::Retrieve, Results::Operation { operation });
        Ok(answer.with_bytes(bytes))
    }

    /// The newest operation with a name.
    async fn newest(&self, actor: &Actor, name: String) -> Result<Operation> {
        let end = Instant::now() + SEARCH;
        let mut query = Query {
            filter: Filter {
                name: Some(name.clone()),
                ..Filter::default()
            },
            cursor: None,
            limit: 1,
        };
        loop {
            let page = self.list(actor, &query).await?;
            if let Some(newest) = page.operations.into_iter().next() {
                return Ok(newest);
            }
            query.cursor = page.next;
            if query.cursor.is_none() {
                let id = format!("with the name {name:?}");
                return Err(Error::NotFound { id });
            }
            if Instant::now() >= end {
                return Err(Error::SearchTooLong);
            }
        }
    }

    async fn retrieve_multiple(&self, actor: &Actor, list: RetrieveMultiple) -> Result<Answer> {
        let RetrieveMultiple {
            filter,
            limit,
            cursor,
        } = list;
        let query = Query {
            filter: selection(filter, &actor.organization),
            cursor,
            limit: limit.unwrap_or(USUAL_PAGE),
        };
        let listing = self.list(actor, &query).await?;
        let bytes = listing.operations.iter().map(weight).sum();
        let results = Results::Operations {
            operations: listing.operations.iter().map(OperationView::from).collect(),
            next_cursor: listing.next.map(|place| place.to_string()),
        };
        Ok(Answer::new(RequestName::RetrieveMultiple, results).with_bytes(bytes))
    }
}

/// An operation as JSON, or those of its attributes.
fn shown(view: &OperationView, columns: Option<&[String]>) -> Result<Box<RawValue>> {
    let whole = to_raw_value(view).map_err(|error| Error::Internal(error.to_string()))?;
    let Some(columns) = columns else {
        return Ok(whole);
    };
    let part = answer::Columns::of(&whole, columns);
    to_raw_value(&part).map_err(|error| Error::Internal(error.to_string()))
}
