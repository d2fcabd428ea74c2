//! The answers.

use drumline_api::view::OperationView;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::error::{Error, Fault, Result};
use crate::list::Page;

/// The response to a request, one variant per request.
#[derive(Clone, Debug)]
pub enum OrganizationResponse {
    /// It is created.
    Create {
        /// The operation's id.
        id: String,
        /// True if it was there since an earlier request with the same key.
        existed: bool,
    },
    /// The operation.
    Retrieve(Retrieved),
    /// The operations.
    RetrieveMultiple(Page),
    /// It is changed; there is nothing else to say.
    Update,
    /// It is gone.
    Delete,
    /// It will be executed.
    ExecuteAsync {
        /// The id of the operation: wait for it with
        /// [`Client::wait`](crate::Client::wait).
        async_job_id: String,
    },
    /// The outcomes of the items.
    ExecuteMultiple {
        /// True if any item faulted.
        is_faulted: bool,
        /// In the order of the requests; the
        /// [`BatchSettings`](crate::BatchSettings) decide which responses are
        /// there.
        responses: Vec<ItemResponse>,
    },
    /// All is done.
    ExecuteTransaction {
        /// In the order of the requests; empty if they were not wanted. `None`:
        /// a request that by design answers nothing.
        responses: Vec<Option<OrganizationResponse>>,
    },
}

/// The outcome of one item of a batch.
#[derive(Clone, Debug)]
pub struct ItemResponse {
    /// The index of the request in the list, from 0.
    pub request_index: usize,
    /// Its response, or its fault. `None`: a request that by design answers
    /// nothing.
    pub outcome: Result<Option<OrganizationResponse>, Fault>,
}

/// An operation, or the attributes of it that were asked for.
#[derive(Clone, Debug)]
pub struct Retrieved(Box<RawValue>);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<'a> {
    response_name: String,
    #[serde(borrow, default)]
    results: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Item<'a> {
    request_index: usize,
    #[serde(borrow, default)]
    response: Option<&'a RawValue>,
    #[serde(default)]
    fault: Option<Fault>,
}

impl Retrieved {
    /// The whole operation.
    ///
    /// # Errors
    /// [`Error::UnexpectedResponse`] when only some attributes were asked for.
    pub fn operation(&self) -> Result<OperationView> {
        read(&self.0)
    }

    /// The attributes by name.
    ///
    /// # Errors
    /// [`Error::UnexpectedResponse`] when it is no JSON object.
    pub fn attributes(&self) -> Result<Map<String, Value>> {
        read(&self.0)
    }
}

impl OrganizationResponse {
    /// The name of the request that it answers.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Create { .. } => "Create",
            Self::Retrieve(_) => "Retrieve",
            Self::RetrieveMultiple(_) => "RetrieveMultiple",
            Self::Update => "Update",
            Self::Delete => "Delete",
            Self::ExecuteAsync { .. } => "ExecuteAsync",
            Self::ExecuteMultiple { .. } => "ExecuteMultiple",
            Self::ExecuteTransaction { .. } => "ExecuteTransaction",
        }
    }

    /// Reads an answer of the service: as [`Client::execute_json`] gives it, or
    /// as it stands in a reply over AMQP.
    ///
    /// [`Client::execute_json`]: crate::Client::execute_json
    ///
    /// # Errors
    /// [`Error::UnexpectedResponse`] when it is none.
    pub fn read(answer: &RawValue) -> Result<Self> {
        let Envelope {
            response_name,
            results,
        } = read(answer)?;
        let results = results.unwrap_or(RawValue::NULL);
        match response_name.as_str() {
            "Create" => created(results),
            "Retrieve" => retrieved(results),
            "RetrieveMultiple" => Ok(Self::RetrieveMultiple(read(results)?)),
            "Update" => Ok(Self::Update),
            "Delete" => Ok(Self::Delete),
            "ExecuteAsync" => accepted(results),
            "ExecuteMultiple" => batch(results),
            "ExecuteTransaction" => transaction(results),
            other => Err(Error::unexpected_text(&format!(
                "an unknown response {other:?}"
            ))),
        }
    }
}

fn created(results: &RawValue) -> Result<OrganizationResponse> {
    #[derive(Deserialize)]
    struct Results {
        id: String,
        #[serde(default)]
        existed: bool,
    }
    let Results { id, existed } = read(results)?;
    Ok(OrganizationResponse::Create { id, existed })
}

fn retrieved(results: &RawValue) -> Result<OrganizationResponse> {
    #[derive(Deserialize)]
    struct Results {
        operation: Box<RawValue>,
    }
    let Results { operation } = read(results)?;
    Ok(OrganizationResponse::Retrieve(Retrieved(operation)))
}

fn accepted(results: &RawValue) -> Result<OrganizationResponse> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Results {
        async_job_id: String,
    }
    let Results { async_job_id } = read(results)?;
    Ok(OrganizationResponse::ExecuteAsync { async_job_id })
}

fn batch(results: &RawValue) -> Result<OrganizationResponse> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Results<'a> {
        is_faulted: bool,
        #[serde(borrow)]
        responses: Vec<Item<'a>>,
    }
    let results: Results<'_> = read(results)?;
    let mut responses = Vec::with_capacity(results.responses.len());
    for item in results.responses {
        responses.push(ItemResponse {
            request_index: item.request_index,
            outcome: match item.fault {
                Some(fault) => Err(fault),
                None => Ok(item.response.map(OrganizationResponse::read).transpose()?),
            },
        });
    }
    Ok(OrganizationResponse::ExecuteMultiple {
        is_faulted: results.is_faulted,
        responses,
    })
}

fn transaction(results: &RawValue) -> Result<OrganizationResponse> {
    #[derive(Deserialize)]
    struct Results<'a> {
        #[serde(borrow, default)]
        responses: Vec<Option<&'a RawValue>>,
    }
    let results: Option<Results<'_>> = read(results)?;
    let mut responses = Vec::new();
    for response in results.map(|results| results.responses).unwrap_or_default() {
        responses.push(response.map(OrganizationResponse::read).transpose()?);
    }
    Ok(OrganizationResponse::ExecuteTransaction { responses })
}

fn read<'a, T: Deserialize<'a>>(text: &'a RawValue) -> Result<T> {
    serde_json::from_str(text.get()).map_err(|error| Error::unexpected_text(&error.to_string()))
}
