//! Requests that hold requests.

use serde_json::value::RawValue;

use super::envelope::Envelope;
use super::{Batch, Item, Name, Settings, Step, Transaction, read};
use crate::error::{Error, Invalid, Result, Wrong};
use crate::options::Options;
use crate::request::attributes::Attributes;

/// Reads an `ExecuteMultiple`: the fault of an item stays with the item.
pub(super) fn batch(envelope: Envelope<'_>, options: &Options) -> Result<Batch> {
    let mut given = envelope.parameters;
    let items = requests(&mut given, options)?;
    let settings = settings(&mut given);
    given.refuse_rest(|_name| "is unknown");
    given.finish()?;
    let items = items.into_iter().map(|item| self::item(item, options));
    Ok(Batch {
        items: items.collect(),
        settings,
    })
}

/// Reads an `ExecuteTransaction`: the fault of a request is a fault of the
/// whole.
pub(super) fn transaction(envelope: Envelope<'_>, options: &Options) -> Result<Transaction> {
    let mut given = envelope.parameters;
    let items = requests(&mut given, options)?;
    let return_responses = given.boolean("returnResponses").unwrap_or(false);
    given.refuse_rest(|_name| "is unknown");
    given.finish()?;
    let steps = items.into_iter().enumerate().map(|(index, item)| {
        step(item, options).map_err(|error| Error::InTransaction {
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
fn requests<'a>(given: &mut Attributes<'a>, options: &Options) -> Result<Vec<&'a RawValue>> {
    const NAME: &str = "requests";
    let Some(value) = given.take(NAME) else {
        given.note(NAME, "is required");
        return Ok(Vec::new());
    };
    let Ok(items) = serde_json::from_str::<Vec<&RawValue>>(value.get()) else {
        given.note(NAME, "must be a list of requests");
        return Ok(Vec::new());
    };
    let max = options.max_batch_size.get();
    if items.len() > max {
        let found = items.len();
        return Err(Error::BatchTooLarge { found, max });
    }
    Ok(items)
}

fn settings(given: &mut Attributes<'_>) -> Settings {
    const NAME: &str = "settings";
    let Some(value) = given.take(NAME) else {
        return Settings::default();
    };
    let Some(mut inner) = Attributes::of(value, "parameters.settings.") else {
        given.note(NAME, "must be an object");
        return Settings::default();
    };
    let settings = Settings {
        continue_on_error: inner.boolean("continueOnError").unwrap_or(false),
        return_responses: inner.boolean("returnResponses").unwrap_or(false),
    };
    inner.refuse_rest(|_name| "is unknown");
    given.wrong.append(&mut inner.wrong);
    settings
}

fn item(item: &RawValue, options: &Options) -> Result<Item> {
    let envelope = envelope(item, options)?;
    match envelope.name {
        Name::ExecuteTransaction => Ok(Item::Transaction(transaction(envelope, options)?)),
        Name::Create
        | Name::Retrieve
        | Name::RetrieveMultiple
        | Name::Update
        | Name::Delete
        | Name::ExecuteAsync
        | Name::ExecuteMultiple => read::single(envelope, options),
    }
}

fn step(item: &RawValue, options: &Options) -> Result<Step> {
    let envelope = envelope(item, options)?;
    let name = envelope.name;
    match read::single(envelope, options)? {
        Item::Create(wish) => Ok(Step::Create(wish)),
        Item::ExecuteAsync(wish) => Ok(Step::ExecuteAsync(wish)),
        Item::Update(update) => Ok(Step::Update(update)),
        Item::Delete(id) => Ok(Step::Delete(id)),
        Item::Retrieve(_) | Item::RetrieveMultiple(_) => {
            let why = format!(
                "must not be {} in a transaction: it changes nothing",
                name.as_str()
            );
            Err(Invalid::arguments(vec![Wrong::new("requestName", why)]).into())
        }
        Item::Transaction(_) => Err(read::nested(name)),
    }
}

/// A request of several may be as large as one that comes alone.
fn envelope<'a>(item: &'a RawValue, options: &Options) -> Result<Envelope<'a>> {
    let envelope = Envelope::of_item(item)?;
    let limit = options.limits.body_bytes;
    let holds_others = envelope.name == Name::ExecuteTransaction;
    if item.get().len() > limit && !holds_others {
        return Err(Error::TooLarge { limit });
    }
    Ok(envelope)
}
