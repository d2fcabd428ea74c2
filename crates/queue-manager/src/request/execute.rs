//! Organization requests: the JSON of `POST /v1/execute`.
//!
//! ```text
//! {"requestName": "…", "requestId": …, "parameters": {…}}
//!
//! OrganizationRequest ─ Ask ┬ One ─ Item ┬ Create, ExecuteAsync        (a Wish)
//!                           │            ├ Retrieve, RetrieveMultiple
//!                           │            ├ Update, Delete
//!                           │            └ Transaction ─ Step*
//!                           └ Multiple ─ Batch ─ Item*
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

use drumline_backend::store::Filter;
use drumline_protocol::{DependencyToken, OperationId};
use uuid::Uuid;

use super::{Changes, CreateRequest};
use crate::error::{Error, Invalid, Result, Wrong};
use crate::options::Options;

use envelope::Envelope;

/// A request that was read, and that breaks no rule of its own.
#[derive(Debug)]
pub struct OrganizationRequest {
    pub(crate) ask: Ask,
}

/// The content of a request.
#[derive(Debug)]
pub(crate) enum Ask {
    /// A single request.
    One(Item),
    /// Many requests, each for itself.
    Multiple(Batch),
}

/// A request that may be made alone, and as an item of a batch.
#[derive(Debug)]
pub(crate) enum Item {
    /// An operation is to be created.
    Create(Box<Wish>),
    /// A request is to be executed later.
    ExecuteAsync(Box<Wish>),
    /// One operation.
    Retrieve(Look),
    /// A page of operations.
    RetrieveMultiple(Box<Search>),
    /// A change of an operation.
    Update(Update),
    /// The removal of an operation.
    Delete(OperationId),
    /// All or nothing.
    Transaction(Transaction),
}

/// A create, and its key, which makes it repeatable.
#[derive(Debug)]
pub(crate) struct Wish {
    pub(crate) request: CreateRequest,
    pub(crate) key: Option<String>,
}

/// The operation to show, and the attributes to show of it.
#[derive(Debug)]
pub(crate) struct Look {
    pub(crate) which: Which,
    /// These attributes only.
    pub(crate) columns: Option<Vec<String>>,
}

/// The name of an operation.
#[derive(Debug)]
pub(crate) enum Which {
    /// By its id.
    Id(OperationId),
    /// The newest with this name.
    Name(String),
}

/// The operations to list.
#[derive(Debug)]
pub(crate) struct Search {
    /// Without the token: only the caller's organization tells its owner.
    pub(crate) filter: Filter,
    pub(crate) token: Option<DependencyToken>,
    /// `None`: the usual number.
    pub(crate) limit: Option<usize>,
    pub(crate) cursor: Option<OperationId>,
}

/// A change of an operation.
#[derive(Clone, Debug)]
pub(crate) struct Update {
    pub(crate) id: OperationId,
    pub(crate) changes: Changes,
}

/// `ExecuteMultiple`.
#[derive(Debug)]
pub(crate) struct Batch {
    /// In their order; an item that could not be read is its error.
    pub(crate) items: Vec<Result<Item>>,
    pub(crate) settings: Settings,
}

/// The settings by which a batch is executed and answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    /// A fault does not keep the items behind it from being executed.
    pub(crate) continue_on_error: bool,
    /// Answers come back, not only faults.
    pub(crate) return_responses: bool,
}

/// `ExecuteTransaction`.
#[derive(Debug)]
pub(crate) struct Transaction {
    pub(crate) steps: Vec<Step>,
    pub(crate) return_responses: bool,
}

/// A request that may be part of a transaction: it changes something, in the
/// store alone.
#[derive(Debug)]
pub(crate) enum Step {
    /// See [`Item::Create`].
    Create(Box<Wish>),
    /// See [`Item::ExecuteAsync`].
    ExecuteAsync(Box<Wish>),
    /// See [`Item::Update`].
    Update(Update),
    /// See [`Item::Delete`].
    Delete(OperationId),
}

impl OrganizationRequest {
    /// Reads a request from JSON, as far as `options` allow it.
    ///
    /// # Errors
    /// [`Error::Syntax`] when it is not JSON; [`Error::Invalid`] with all
    /// attributes that are unknown or break a rule; [`Error::BatchTooLarge`];
    /// [`Error::InTransaction`] if it concerns one request of a transaction;
    /// [`Error::TooLarge`] when it has more bytes than a request that is no
    /// batch may have.
    pub fn from_json(body: &[u8], options: &Options) -> Result<Self> {
        let envelope = Envelope::of_body(body)?;
        let ask = match envelope.name {
            Name::ExecuteMultiple => Ask::Multiple(several::batch(envelope, options)?),
            Name::ExecuteTransaction => {
                Ask::One(Item::Transaction(several::transaction(envelope, options)?))
            }
            Name::Create
            | Name::Retrieve
            | Name::RetrieveMultiple
            | Name::Update
            | Name::Delete
            | Name::ExecuteAsync => {
                let limit = options.limits.body_bytes;
                if body.len() > limit {
                    return Err(Error::TooLarge { limit });
                }
                Ask::One(read::single(envelope, options)?)
            }
        };
        Ok(Self { ask })
    }

    /// The same request, repeatable: with this key it creates once.
    ///
    /// # Errors
    /// When it does not create one operation, or has another key already.
    pub fn with_key(mut self, key: &str) -> Result<Self> {
        let wish = match &mut self.ask {
            Ask::One(Item::Create(wish) | Item::ExecuteAsync(wish)) => wish,
            Ask::One(
                Item::Retrieve(_)
                | Item::RetrieveMultiple(_)
                | Item::Update(_)
                | Item::Delete(_)
                | Item::Transaction(_),
            )
            | Ask::Multiple(_) => {
                return Err(refused_key(
                    "goes with Create and ExecuteAsync; items have an idempotencyKey of their own",
                ));
            }
        };
        if wish.key.as_ref().is_some_and(|other| other != key) {
            return Err(refused_key("is not the idempotencyKey in the parameters"));
        }
        wish.key = Some(key.to_owned());
        Ok(self)
    }
}

impl OrganizationRequest {
    /// The same request, repeatable as a whole. Each create without a key of
    /// its own gets one that is made of this key and its place. Changes and
    /// removals are done again.
    #[must_use]
    pub(crate) fn repeatable(mut self, key: &str) -> Self {
        match &mut self.ask {
            Ask::One(item) => item.repeatable(key),
            Ask::Multiple(batch) => {
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
            Self::Create(wish) | Self::ExecuteAsync(wish) => {
                wish.key.get_or_insert_with(|| key.to_owned());
            }
            Self::Transaction(transaction) => {
                for (index, step) in transaction.steps.iter_mut().enumerate() {
                    match step {
                        Step::Create(wish) | Step::ExecuteAsync(wish) => {
                            wish.key.get_or_insert_with(|| format!("{key}/{index}"));
                        }
                        Step::Update(_) | Step::Delete(_) => {}
                    }
                }
            }
            Self::Retrieve(_) | Self::RetrieveMultiple(_) | Self::Update(_) | Self::Delete(_) => {}
        }
    }
}

fn refused_key(why: &str) -> Error {
    Invalid::arguments(vec![Wrong::new("Idempotency-Key", why)]).into()
}

/// The requests of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Name {
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

impl Name {
    /// All of them.
    pub(crate) const ALL: [Self; 8] = [
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
    pub(crate) const fn as_str(self) -> &'static str {
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

impl Item {
    /// The name of the request.
    pub(crate) const fn name(&self) -> Name {
        match self {
            Self::Create(_) => Name::Create,
            Self::ExecuteAsync(_) => Name::ExecuteAsync,
            Self::Retrieve(_) => Name::Retrieve,
            Self::RetrieveMultiple(_) => Name::RetrieveMultiple,
            Self::Update(_) => Name::Update,
            Self::Delete(_) => Name::Delete,
            Self::Transaction(_) => Name::ExecuteTransaction,
        }
    }
}

/// Sets the id of the request that an operation comes from, if it names none
/// itself.
fn inherit(wish: &mut Wish, request_id: Option<Uuid>) {
    wish.request.request_id = wish.request.request_id.or(request_id);
}
