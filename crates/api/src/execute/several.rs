//! Requests that hold requests.

use serde_json::value::RawValue;

use super::envelope::Envelope;
use super::{Batch, BatchSettings, Item, RequestName, Step, Transaction, read};
use crate::deployment::Deployment;
use crate::error::{Error, FieldError, Invalid, Result};
use crate::fields::Fields;

/// Reads an `ExecuteMultiple`: the fault of an item stays with the item.
pub(super) fn batch(envelope: Envelope<'_>, deployment: &Deployment<'_>) -> Result<Batch> {
    let mut given = envelope.parameters;
    let items = requests(&mut given, deployment)?;
    let settings = settings(&mut given);
    given.refuse_rest(|_name| "is unknown");
    given.finish()?;
    let items = items.into_iter().map(|item| self::item(item, deployment));
    Ok(Batch {
        items: items.collect(),
        settings,
    })
}

/// Reads an `ExecuteTransaction`: the fault of a request is a fault of the
/// whole.
pub(super) fn transaction(
    envelope: Envelope<'_>,
    deployment: &Deployment<'_>,
) -> Result<Transaction> {
    let mut given = envelope.parameters;
    let items = requests(&mut given, deployment)?;
    let return_responses = given.boolean("returnResponses").unwrap_or(false);
    given.refuse_rest(|_name| "is unknown");
    given.finish()?;
    let steps = items.into_iter().enumerate().map(|(index, item)| {
        step(item, deployment).map_err(|error| Error::InTransaction {
            index,
            source: Box::new(error),
        })
    });
    Ok(Transaction {
        steps: steps.collect::<Result<_>>()?,
        return_responses,
    })
}

/// Takes the requests, not yet read. Their number is checked first, before any
/// of them is read and before anything is done.
fn requests<'a>(given: &mut Fields<'a>, deployment: &Deployment<'_>) -> Result<Vec<&'a RawValue>> {
    const NAME: &str = "requests";
    let Some(value) = given.take(NAME) else {
        given.note(NAME, "is required");
        return Ok(Vec::new());
    };
    let Ok(items) = serde_json::from_str::<Vec<&RawValue>>(value.get()) else {
        given.note(NAME, "must be a list of requests");
        return Ok(Vec::new());
    };
    let max = deployment.batch_items;
    if items.len() > max {
        let found = items.len();
        return Err(Error::BatchTooLarge { found, max });
    }
    Ok(items)
}

fn settings(given: &mut Fields<'_>) -> BatchSettings {
    const NAME: &str = "settings";
    let Some(value) = given.take(NAME) else {
        return BatchSettings::default();
    };
    let Some(mut inner) = Fields::of(value, "parameters.settings.") else {
        given.note(NAME, "must be an object");
        return BatchSettings::default();
    };
    let settings = BatchSettings {
        continue_on_error: inner.boolean("continueOnError").unwrap_or(false),
        return_responses: inner.boolean("returnResponses").unwrap_or(false),
    };
    inner.refuse_rest(|_name| "is unknown");
    given.errors.append(&mut inner.errors);
    settings
}

fn item(item: &RawValue, deployment: &Deployment<'_>) -> Result<Item> {
    let envelope = envelope(item, deployment)?;
    match envelope.name {
        RequestName::ExecuteTransaction => {
            Ok(Item::Transaction(transaction(envelope, deployment)?))
        }
        RequestName::Create
        | RequestName::Retrieve
        | RequestName::RetrieveMultiple
        | RequestName::Update
        | RequestName::Delete
        | RequestName::ExecuteAsync
        | RequestName::ExecuteMultiple => read::single(envelope, deployment),
    }
}

fn step(item: &RawValue, deployment: &Deployment<'_>) -> Result<Step> {
    let envelope = envelope(item, deployment)?;
    let name = envelope.name;
    match read::single(envelope, deployment)? {
        Item::Create(wish) => Ok(Step::Create(wish)),
        Item::ExecuteAsync(wish) => Ok(Step::ExecuteAsync(wish)),
        Item::Update(update) => Ok(Step::Update(update)),
        Item::Delete(id) => Ok(Step::Delete(id)),
        Item::Retrieve(_) | Item::RetrieveMultiple(_) => {
            let why = format!(
                "must not be {} in a transaction: it changes nothing",
                name.as_str()
            );
            Err(Invalid::from(FieldError::new("requestName", why)).into())
        }
        Item::Transaction(_) => Err(read::nested(name)),
    }
}

/// A request of several may be as large as one that comes alone.
fn envelope<'a>(item: &'a RawValue, deployment: &Deployment<'_>) -> Result<Envelope<'a>> {
    let envelope = Envelope::of_item(item)?;
    let limit = deployment.body_bytes;
    let holds_others = envelope.name == RequestName::ExecuteTransaction;
    if item.get().len() > limit && !holds_others {
        return Err(Error::TooLarge { limit });
    }
    Ok(envelope)
}
