//! Organization requests: the JSON of `POST /v1/execute`.
//!
//! ```text
//! {"requestName": "…", "requestId": …, "parameters": {…}}
//!
//! OrganizationRequest ┬ One ─ Item ┬ Create, ExecuteAsync   (a KeyedCreate)
//!                     │            ├ Retrieve, RetrieveMultiple
//!                     │            ├ Update, Delete
//!                     │            └ Transaction ─ Step*
//!                     └ Multiple ─ Batch ─ Item*
//! ```
//!
//! The types determine the nesting: a batch in a batch cannot be built. An item
//! of a batch that cannot be read is a fault of that item alone, so a [`Batch`]
//! holds results; a transaction with an unreadable request is no transaction.
//!
//! The limits of a deployment (the number of items, the asynchronous requests)
//! are checked while reading: a refused request costs nothing.

mod envelope;
mod read;
mod several;

use drumline_protocol::OperationId;
use uuid::Uuid;

use crate::attributes::{CreateOperation, ListFilter};
use crate::deployment::Deployment;
use crate::error::{Error, FieldError, Invalid, Result};
use crate::update::UpdateOperation;

use envelope::Envelope;

/// A request that was read, and that breaks no rule of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OrganizationRequest {
    /// A single request.
    One(Item),
    /// Many requests, each for itself.
    Multiple(Batch),
}

/// A request that may be made alone, and as an item of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// An operation is to be created.
    Create(Box<KeyedCreate>),
    /// A request is to be executed later.
    ExecuteAsync(Box<KeyedCreate>),
    /// One operation.
    Retrieve(Retrieve),
    /// A page of operations.
    RetrieveMultiple(Box<RetrieveMultiple>),
    /// A change of an operation.
    Update(Update),
    /// The removal of an operation.
    Delete(OperationId),
    /// All or nothing.
    Transaction(Transaction),
}

impl Item {
    fn changes(&self) -> bool {
        match self {
            Self::Update(_) => true,
            Self::Transaction(Transaction { steps, .. }) => {
                steps.iter().any(|step| matches!(step, Step::Update(_)))
            }
            Self::Create(_)
            | Self::ExecuteAsync(_)
            | Self::Retrieve(_)
            | Self::RetrieveMultiple(_)
            | Self::Delete(_) => false,
        }
    }

    fn changed_ids(&self) -> Vec<OperationId> {
        match self {
            Self::Update(update) => vec![update.id],
            Self::Delete(id) => vec![*id],
            Self::Transaction(Transaction { steps, .. }) => {
                let ids = steps.iter().filter_map(|step| match step {
                    Step::Update(update) => Some(update.id),
                    Step::Delete(id) => Some(*id),
                    Step::Create(_) | Step::ExecuteAsync(_) => None,
                });
                ids.collect()
            }
            Self::Create(_)
            | Self::ExecuteAsync(_)
            | Self::Retrieve(_)
            | Self::RetrieveMultiple(_) => Vec::new(),
        }
    }

    fn creates(&self) -> usize {
        match self {
            Self::Create(_) | Self::ExecuteAsync(_) => 1,
            Self::Transaction(Transaction { steps, .. }) => {
                let creates =
                    |step: &&Step| matches!(step, Step::Create(_) | Step::ExecuteAsync(_));
                steps.iter().filter(creates).count()
            }
            Self::Retrieve(_) | Self::RetrieveMultiple(_) | Self::Update(_) | Self::Delete(_) => 0,
        }
    }

    fn creates_mut(&mut self) -> Vec<&mut CreateOperation> {
        match self {
            Self::Create(create) | Self::ExecuteAsync(create) => vec![&mut create.request],
            Self::Transaction(Transaction { steps, .. }) => {
                let steps = steps.iter_mut();
                let creates = steps.filter_map(|step| match step {
                    Step::Create(create) | Step::ExecuteAsync(create) => Some(&mut create.request),
                    Step::Update(_) | Step::Delete(_) => None,
                });
                creates.collect()
            }
            Self::Retrieve(_) | Self::RetrieveMultiple(_) | Self::Update(_) | Self::Delete(_) => {
                Vec::new()
            }
        }
    }

    fn removes(&self) -> bool {
        match self {
            Self::Delete(_) => true,
            Self::Transaction(Transaction { steps, .. }) => {
                steps.iter().any(|step| matches!(step, Step::Delete(_)))
            }
            Self::Create(_)
            | Self::ExecuteAsync(_)
            | Self::Retrieve(_)
            | Self::RetrieveMultiple(_)
            | Self::Update(_) => false,
        }
    }
}

/// A create, and its key, which makes it repeatable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyedCreate {
    /// The operation.
    pub request: CreateOperation,
    /// The key.
    pub key: Option<String>,
}

/// The operation to show, and the attributes to show of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retrieve {
    /// The operation.
    pub selector: Selector,
    /// These attributes only; `None`: all.
    pub columns: Option<Vec<String>>,
}

/// The name of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    /// By its id.
    Id(OperationId),
    /// The newest with this name.
    Name(String),
}

/// The operations to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RetrieveMultiple {
    /// The filter.
    pub filter: ListFilter,
    /// The most on the page; `None`: the usual number.
    pub limit: Option<usize>,
    /// Operations older than this one.
    pub cursor: Option<OperationId>,
}

/// A change of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// The operation.
    pub id: OperationId,
    /// The change.
    pub changes: UpdateOperation,
}

/// `ExecuteMultiple`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// In their order; an item that could not be read is its error.
    pub items: Vec<Result<Item>>,
    /// The settings.
    pub settings: BatchSettings,
}

/// The settings by which a batch is executed and answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BatchSettings {
    /// A fault does not keep the items behind it from being executed.
    pub continue_on_error: bool,
    /// Answers come back, not only faults.
    pub return_responses: bool,
}

/// `ExecuteTransaction`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// In their order.
    pub steps: Vec<Step>,
    /// Answers come back.
    pub return_responses: bool,
}

/// A request that may be part of a transaction: it changes something, in the
/// store alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// See [`Item::Create`].
    Create(Box<KeyedCreate>),
    /// See [`Item::ExecuteAsync`].
    ExecuteAsync(Box<KeyedCreate>),
    /// See [`Item::Update`].
    Update(Update),
    /// See [`Item::Delete`].
    Delete(OperationId),
}

impl OrganizationRequest {
    /// Its name.
    #[must_use]
    pub const fn name(&self) -> RequestName {
        match self {
            Self::One(item) => item.name(),
            Self::Multiple(_) => RequestName::ExecuteMultiple,
        }
    }

    /// Returns true if it removes an operation, or one of its requests does.
    #[must_use]
    pub fn removes(&self) -> bool {
        match self {
            Self::One(item) => item.removes(),
            Self::Multiple(batch) => batch.items.iter().flatten().any(Item::removes),
        }
    }

    /// Returns true if it changes an operation that exists, or one of its requests
    /// does.
    #[must_use]
    pub fn changes(&self) -> bool {
        match self {
            Self::One(item) => item.changes(),
            Self::Multiple(batch) => batch.items.iter().flatten().any(Item::changes),
        }
    }

    /// The operations that it changes or removes, in their order.
    #[must_use]
    pub fn changed_ids(&self) -> Vec<OperationId> {
        match self {
            Self::One(item) => item.changed_ids(),
            Self::Multiple(batch) => {
                let items = batch.items.iter().flatten();
                items.flat_map(Item::changed_ids).collect()
            }
        }
    }

    /// The number of operations that it creates.
    #[must_use]
    pub fn creates(&self) -> usize {
        match self {
            Self::One(item) => item.creates(),
            Self::Multiple(batch) => batch.items.iter().flatten().map(Item::creates).sum(),
        }
    }

    /// All operations that it creates.
    pub fn creates_mut(&mut self) -> Vec<&mut CreateOperation> {
        match self {
            Self::One(item) => item.creates_mut(),
            Self::Multiple(batch) => {
                let items = batch.items.iter_mut().flatten();
                items.flat_map(Item::creates_mut).collect()
            }
        }
    }

    /// Reads a request from JSON, as far as the deployment allows it.
    ///
    /// # Errors
    /// - [`Error::Syntax`] when it is not JSON.
    /// - [`Error::Invalid`] with all attributes that are unknown or break a
    ///   rule.
    /// - [`Error::BatchTooLarge`] when it has too many requests.
    /// - [`Error::InTransaction`] if it concerns one request of a transaction.
    /// - [`Error::TooLarge`] when it has more bytes than a request that is no
    ///   batch may have.
    pub fn from_json(body: &[u8], deployment: &Deployment<'_>) -> Result<Self> {
        let envelope = Envelope::of_body(body)?;
        match envelope.name {
            RequestName::ExecuteMultiple => {
                Ok(Self::Multiple(several::batch(envelope, deployment)?))
            }
            RequestName::ExecuteTransaction => {
                let transaction = several::transaction(envelope, deployment)?;
                Ok(Self::One(Item::Transaction(transaction)))
            }
            RequestName::Create
            | RequestName::Retrieve
            | RequestName::RetrieveMultiple
            | RequestName::Update
            | RequestName::Delete
            | RequestName::ExecuteAsync => {
                let limit = deployment.body_bytes;
                if body.len() > limit {
                    return Err(Error::TooLarge { limit });
                }
                Ok(Self::One(read::single(envelope, deployment)?))
            }
        }
    }

    /// The same request, repeatable: with this key it creates once.
    ///
    /// # Errors
    /// When it does not create one operation, or has another key already.
    pub fn with_key(mut self, key: &str) -> Result<Self> {
        let create = match &mut self {
            Self::One(Item::Create(create) | Item::ExecuteAsync(create)) => create,
            Self::One(
                Item::Retrieve(_)
                | Item::RetrieveMultiple(_)
                | Item::Update(_)
                | Item::Delete(_)
                | Item::Transaction(_),
            )
            | Self::Multiple(_) => {
                return Err(refused_key(
                    "goes with Create and ExecuteAsync; items have an idempotencyKey of their own",
                ));
            }
        };
        if create.key.as_ref().is_some_and(|other| other != key) {
            return Err(refused_key("is not the idempotencyKey in the parameters"));
        }
        create.key = Some(key.to_owned());
        Ok(self)
    }

    /// The same request, repeatable as a whole. Each create without a key of
    /// its own gets one that is made of this key and its place. Changes and
    /// removals are done again.
    #[must_use]
    pub fn repeatable(mut self, key: &str) -> Self {
        match &mut self {
            Self::One(item) => item.repeatable(key),
            Self::Multiple(batch) => {
                for (index, item) in batch.items.iter_mut().enumerate() {
                    if let Ok(item) = item {
                        item.repeatable(&format!("{key}/{index}"));
                    }
                }
            }
        }
        self
    }
}

impl Item {
    fn repeatable(&mut self, key: &str) {
        match self {
            Self::Create(create) | Self::ExecuteAsync(create) => {
                create.key.get_or_insert_with(|| key.to_owned());
            }
            Self::Transaction(transaction) => {
                for (index, step) in transaction.steps.iter_mut().enumerate() {
                    match step {
                        Step::Create(create) | Step::ExecuteAsync(create) => {
                            create.key.get_or_insert_with(|| format!("{key}/{index}"));
                        }
                        Step::Update(_) | Step::Delete(_) => {}
                    }
                }
            }
            Self::Retrieve(_) | Self::RetrieveMultiple(_) | Self::Update(_) | Self::Delete(_) => {}
        }
    }

    /// The name of the request.
    #[must_use]
    pub const fn name(&self) -> RequestName {
        match self {
            Self::Create(_) => RequestName::Create,
            Self::ExecuteAsync(_) => RequestName::ExecuteAsync,
            Self::Retrieve(_) => RequestName::Retrieve,
            Self::RetrieveMultiple(_) => RequestName::RetrieveMultiple,
            Self::Update(_) => RequestName::Update,
            Self::Delete(_) => RequestName::Delete,
            Self::Transaction(_) => RequestName::ExecuteTransaction,
        }
    }
}

fn refused_key(why: &str) -> Error {
    Invalid::from(FieldError::new("Idempotency-Key", why)).into()
}

/// The requests of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestName {
    /// Create an operation.
    Create,
    /// Show one.
    Retrieve,
    /// Show many.
    RetrieveMultiple,
    /// Change one.
    Update,
    /// Remove one.
    Delete,
    /// Execute a request later.
    ExecuteAsync,
    /// Execute many requests.
    ExecuteMultiple,
    /// Execute many requests or none.
    ExecuteTransaction,
}

impl RequestName {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Create,
        Self::Retrieve,
        Self::RetrieveMultiple,
        Self::Update,
        Self::Delete,
        Self::ExecuteAsync,
        Self::ExecuteMultiple,
        Self::ExecuteTransaction,
    ];

    /// As `requestName` and `responseName` have it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "Create",
            Self::Retrieve => "Retrieve",
            Self::RetrieveMultiple => "RetrieveMultiple",
            Self::Update => "Update",
            Self::Delete => "Delete",
            Self::ExecuteAsync => "ExecuteAsync",
            Self::ExecuteMultiple => "ExecuteMultiple",
            Self::ExecuteTransaction => "ExecuteTransaction",
        }
    }
}

/// Sets the id of the request that an operation comes from, if it names none
/// itself.
fn inherit(create: &mut KeyedCreate, request_id: Option<Uuid>) {
    create.request.request_id = create.request.request_id.or(request_id);
}
