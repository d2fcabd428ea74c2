//! The requests.

use drumline_api::draft::{Filter, NewOperation, Update};
use serde::ser::SerializeStruct as _;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::error::Result;
use crate::list::Paging;

/// The organization request that is to be executed.
#[derive(Clone, Debug)]
pub enum OrganizationRequest {
    /// Create an operation.
    Create(Box<NewOperation>),
    /// The same, with the attributes as JSON text, which is sent as it is.
    CreateJson {
        /// The attributes: a JSON object.
        target: Box<RawValue>,
        /// See [`NewOperation::idempotency_key`].
        idempotency_key: Option<String>,
    },
    /// Read one operation.
    Retrieve(Retrieve),
    /// Read a page of operations.
    RetrieveMultiple(Box<RetrieveMultiple>),
    /// Change an operation.
    Update {
        /// The operation's id.
        id: String,
        /// The changes.
        changes: Update,
    },
    /// Remove a Completed operation.
    Delete {
        /// The operation's id.
        id: String,
    },
    /// Execute something long, one at a time per organization, in order of
    /// arrival. Answers at once with the id of the operation that it becomes.
    ExecuteAsync(AsyncRequest),
    /// Execute requests in the order of the list, each for itself.
    ExecuteMultiple {
        /// Up to a thousand, unless the deployment says otherwise; none of them
        /// an `ExecuteMultiple`.
        requests: Vec<OrganizationRequest>,
        /// The settings: what happens after a fault, and what is answered.
        settings: BatchSettings,
    },
    /// Execute all requests, or none.
    ExecuteTransaction {
        /// In this order.
        requests: Vec<OrganizationRequest>,
        /// True if the responses are wanted.
        return_responses: bool,
    },
}

/// The settings of a batch.
///
/// For six items of which the third and fifth fault:
///
/// | `continue_on_error` | `return_responses` | responses |
/// |---|---|---|
/// | true | true | 6, two of them with a fault |
/// | false | true | 3, the last with a fault |
/// | true | false | 2, both faults |
/// | false | false | 1, a fault |
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchSettings {
    /// Go on after a fault.
    pub continue_on_error: bool,
    /// Answer the responses too; faults are always answered.
    pub return_responses: bool,
}

/// The operation that is read, and its attributes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[must_use]
pub struct Retrieve {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    column_set: Option<Vec<String>>,
}

/// The operations that are read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RetrieveMultiple {
    /// The conditions.
    pub filter: Filter,
    /// The part of the listing.
    pub paging: Paging,
}

/// A request that is executed later, by a worker.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[must_use]
pub struct AsyncRequest {
    request_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<Box<RawValue>>,
    /// Beside the request, not in it.
    #[serde(skip)]
    idempotency_key: Option<String>,
}

impl Retrieve {
    /// The operation with this id.
    pub fn by_id(id: impl Into<String>) -> Self {
        Self {
            id: Some(id.into()),
            name: None,
            column_set: None,
        }
    }

    /// The newest operation with this name.
    pub fn by_name(name: impl Into<String>) -> Self {
        Self {
            id: None,
            name: Some(name.into()),
            column_set: None,
        }
    }

    /// Only these attributes of the operation; all unless said.
    pub fn columns<T: Into<String>>(mut self, columns: impl IntoIterator<Item = T>) -> Self {
        self.column_set = Some(columns.into_iter().map(Into::into).collect());
        self
    }
}

impl AsyncRequest {
    /// The request with this name, one of those that the deployment executes
    /// asynchronously: `ImportSolution`.
    pub fn new(request_name: impl Into<String>) -> Self {
        Self {
            request_name: request_name.into(),
            parameters: None,
            idempotency_key: None,
        }
    }

    /// See [`NewOperation::idempotency_key`]; none is made up.
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.idempotency_key = Some(key.into());
        self
    }

    /// The request's parameters, which the handler gets as `data`.
    ///
    /// # Errors
    /// [`Error::Unwritable`](crate::Error::Unwritable) when they cannot be JSON.
    pub fn parameters(mut self, parameters: &(impl Serialize + ?Sized)) -> Result<Self> {
        self.parameters = Some(serde_json::value::to_raw_value(parameters)?);
        Ok(self)
    }
}

impl OrganizationRequest {
    /// Its name on the wire.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Create(_) | Self::CreateJson { .. } => "Create",
            Self::Retrieve(_) => "Retrieve",
            Self::RetrieveMultiple(_) => "RetrieveMultiple",
            Self::Update { .. } => "Update",
            Self::Delete { .. } => "Delete",
            Self::ExecuteAsync(_) => "ExecuteAsync",
            Self::ExecuteMultiple { .. } => "ExecuteMultiple",
            Self::ExecuteTransaction { .. } => "ExecuteTransaction",
        }
    }

    /// Returns true if executing the request twice does no more than once.
    pub(super) fn may_be_repeated(&self) -> bool {
        match self {
            Self::Create(new) => new.key().is_some(),
            Self::CreateJson {
                idempotency_key, ..
            } => idempotency_key.is_some(),
            Self::Retrieve(_) | Self::RetrieveMultiple(_) => true,
            Self::ExecuteMultiple { requests, .. } => requests.iter().all(Self::may_be_repeated),
            // Refused the second time, which would hide that the first was
            // done.
            Self::Update { .. } | Self::Delete { .. } => false,
            Self::ExecuteAsync(request) => request.idempotency_key.is_some(),
            // Repeatable if its creates are. Its updates and deletes are
            // refused the second time, and then nothing of the transaction is
            // answered.
            Self::ExecuteTransaction { requests, .. } => requests.iter().all(Self::may_be_repeated),
        }
    }
}

impl Serialize for OrganizationRequest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Create<'a, T> {
            target: &'a T,
            #[serde(skip_serializing_if = "Option::is_none")]
            idempotency_key: Option<&'a str>,
        }
        #[derive(Serialize)]
        struct Target<'a> {
            id: &'a str,
            #[serde(flatten)]
            changes: &'a Update,
        }
        #[derive(Serialize)]
        struct Changed<'a> {
            target: Target<'a>,
        }
        #[derive(Serialize)]
        struct Named<'a> {
            id: &'a str,
        }
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Later<'a> {
            request: &'a AsyncRequest,
            #[serde(skip_serializing_if = "Option::is_none")]
            idempotency_key: Option<&'a str>,
        }
        #[derive(Serialize)]
        struct Multiple<'a> {
            requests: &'a [OrganizationRequest],
            settings: BatchSettings,
        }
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Transaction<'a> {
            requests: &'a [OrganizationRequest],
            return_responses: bool,
        }

        let name = self.name();
        match self {
            Self::Create(new) => {
                let create = Create {
                    target: new,
                    idempotency_key: new.key(),
                };
                envelope(serializer, name, &create)
            }
            Self::CreateJson {
                target,
                idempotency_key,
            } => {
                let create = Create {
                    target,
                    idempotency_key: idempotency_key.as_deref(),
                };
                envelope(serializer, name, &create)
            }
            Self::Retrieve(retrieve) => envelope(serializer, name, retrieve),
            Self::RetrieveMultiple(retrieve) => envelope(serializer, name, retrieve),
            Self::Update { id, changes } => {
                let target = Target { id, changes };
                envelope(serializer, name, &Changed { target })
            }
            Self::Delete { id } => envelope(serializer, name, &Named { id }),
            Self::ExecuteAsync(request) => {
                let later = Later {
                    request,
                    idempotency_key: request.idempotency_key.as_deref(),
                };
                envelope(serializer, name, &later)
            }
            Self::ExecuteMultiple { requests, settings } => {
                let multiple = Multiple {
                    requests,
                    settings: *settings,
                };
                envelope(serializer, name, &multiple)
            }
            Self::ExecuteTransaction {
                requests,
                return_responses,
            } => {
                let transaction = Transaction {
                    requests,
                    return_responses: *return_responses,
                };
                envelope(serializer, name, &transaction)
            }
        }
    }
}

fn envelope<S: Serializer>(
    serializer: S,
    name: &'static str,
    parameters: &impl Serialize,
) -> Result<S::Ok, S::Error> {
    let mut request = serializer.serialize_struct("OrganizationRequest", 2)?;
    request.serialize_field("requestName", name)?;
    request.serialize_field("parameters", parameters)?;
    request.end()
}

impl Serialize for RetrieveMultiple {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Parameters<'a> {
            filter: &'a Filter,
            #[serde(skip_serializing_if = "Option::is_none")]
            limit: Option<usize>,
            #[serde(skip_serializing_if = "Option::is_none")]
            cursor: Option<&'a str>,
        }
        Parameters {
            filter: &self.filter,
            limit: self.paging.limit,
            cursor: self.paging.cursor.as_deref(),
        }
        .serialize(serializer)
    }
}
