//! The parameters of single requests.

use drumline_protocol::{ErrorCode, OperationId, limits};
use serde_json::value::RawValue;

use super::envelope::Envelope;
use super::{
    Item, KeyedCreate, RequestName, Retrieve, RetrieveMultiple, Selector, Update, inherit,
};
use crate::attributes::{CreateOperation, ListFilter};
use crate::create::check_idempotency_key;
use crate::deployment::Deployment;
use crate::error::{Error, FieldError, Invalid, Result};
use crate::fields::Fields;
use crate::update::UpdateOperation;
use crate::{is_attribute, payload};

/// The most columns that may be named: more than an operation has.
const COLUMNS: usize = 100;

/// Reads one request.
pub(super) fn single(envelope: Envelope<'_>, deployment: &Deployment<'_>) -> Result<Item> {
    let Envelope {
        name,
        request_id,
        parameters,
    } = envelope;
    match name {
        RequestName::Create => {
            let mut create = create(parameters, deployment)?;
            inherit(&mut create, request_id);
            Ok(Item::Create(Box::new(create)))
        }
        RequestName::ExecuteAsync => {
            let mut create = execute_async(parameters, deployment)?;
            inherit(&mut create, request_id);
            Ok(Item::ExecuteAsync(Box::new(create)))
        }
        RequestName::Retrieve => Ok(Item::Retrieve(retrieve(parameters)?)),
        RequestName::RetrieveMultiple => {
            let list = retrieve_multiple(parameters, deployment)?;
            Ok(Item::RetrieveMultiple(Box::new(list)))
        }
        RequestName::Update => Ok(Item::Update(update(parameters, deployment)?)),
        RequestName::Delete => {
            let mut given = parameters;
            let id = id(&mut given);
            given.refuse_rest(|_name| "is unknown");
            given.finish()?;
            Ok(Item::Delete(
                id.map_err(|error| within("parameters", error))?,
            ))
        }
        RequestName::ExecuteMultiple | RequestName::ExecuteTransaction => Err(nested(name)),
    }
}

/// The refusal of several requests in place of one.
pub(super) fn nested(name: RequestName) -> Error {
    let why = format!(
        "must not be {} here: it contains requests itself",
        name.as_str()
    );
    Invalid::from(FieldError::new("requestName", why)).into()
}

fn create(mut given: Fields<'_>, deployment: &Deployment<'_>) -> Result<KeyedCreate> {
    let key = key(&mut given);
    let target = required(&mut given, "target");
    given.refuse_rest(|_name| "is unknown");
    let request = target.map(|target| {
        CreateOperation::from_json(target.get().as_bytes(), &deployment.grammar)
            .map_err(|error| within("parameters.target", error))
    });
    finish(given, request, |request| KeyedCreate { request, key })
}

/// The operation that executes a request later, with the parameters of that
/// request as its payload.
fn execute_async(mut given: Fields<'_>, deployment: &Deployment<'_>) -> Result<KeyedCreate> {
    let key = key(&mut given);
    let later = required(&mut given, "request");
    let settings = settings(&mut given, deployment);
    given.refuse_rest(|_name| "is unknown");
    let request = later.map(|later| {
        let CreateOperation {
            queue,
            retry,
            webhook_url,
            not_after,
            ..
        } = settings?;
        Ok(CreateOperation {
            queue,
            retry,
            webhook_url,
            not_after,
            ..async_request(later, deployment)?
        })
    });
    finish(given, request, |request| KeyedCreate { request, key })
}

/// The attributes of a create that an asynchronous request may have, too.
const SETTINGS: [&str; 4] = ["queue", "retryPolicy", "webhookUrl", "notAfter"];

/// Reads them, by the rules of a create.
fn settings(given: &mut Fields<'_>, deployment: &Deployment<'_>) -> Result<CreateOperation> {
    let mut create = serde_json::Map::new();
    // Every create has one; this one is not used.
    create.insert("messageName".to_owned(), "*".into());
    for name in SETTINGS {
        if let Some(value) = given.take(name) {
            let value = serde_json::from_str(value.get());
            create.insert(name.to_owned(), value.unwrap_or_default());
        }
    }
    let json = serde_json::Value::Object(create).to_string();
    CreateOperation::from_json(json.as_bytes(), &deployment.grammar)
        .map_err(|error| within("parameters", error))
}

fn async_request(later: &RawValue, deployment: &Deployment<'_>) -> Result<CreateOperation> {
    let mut given = Fields::of(later, "parameters.request.").ok_or_else(|| {
        let error = FieldError::new("parameters.request", "must be an object");
        Error::Invalid(error.into())
    })?;
    let name = given.text("requestName", limits::MESSAGE_NAME_CHARS);
    match &name {
        None if given.errors.is_empty() => given.note("requestName", "is required"),
        Some(name) if !deployment.executes_later(name) => {
            let known = deployment.async_requests.join(", ");
            let why = format!("is not accepted for asynchronous execution here: {known}");
            given.note("requestName", why);
        }
        None | Some(_) => {}
    }
    let mut request = CreateOperation::new(name.unwrap_or_default());
    request.name.clone_from(&request.message_name);
    request.in_order_of_requests = true;
    request.request_id = given.uuid("requestId");
    if let Some(parameters) = given.take("parameters") {
        if !parameters.get().starts_with('{') {
            given.note("parameters", "must be an object");
        } else if let Err(why) = payload::check(parameters) {
            given.note("parameters", why);
        }
        request.data = Some(parameters.get().to_owned());
    }
    given.refuse_rest(|_name| "is unknown");
    given.finish()?;
    Ok(request)
}

fn retrieve(mut given: Fields<'_>) -> Result<Retrieve> {
    let by_id = given.is_given("id").then(|| id(&mut given));
    let by_name = given.text("name", limits::NAME_CHARS);
    let columns = columns(&mut given);
    given.refuse_rest(|_name| "is unknown");
    if by_id.is_some() && by_name.is_some() {
        given.note("name", "does not go with id");
    }
    given.finish()?;
    let selector = match (by_id, by_name) {
        (Some(id), _) => Selector::Id(id.map_err(|error| within("parameters", error))?),
        (None, Some(name)) => Selector::Name(name),
        (None, None) => return Err(missing_id("parameters.id", "or name is required")),
    };
    Ok(Retrieve { selector, columns })
}

fn key(given: &mut Fields<'_>) -> Option<String> {
    given.parsed("idempotencyKey", |key| {
        check_idempotency_key(&key).map(|()| key)
    })
}

/// The attributes that are to be shown; `None`: all.
fn columns(given: &mut Fields<'_>) -> Option<Vec<String>> {
    const NAME: &str = "columnSet";
    let value = given.take(NAME)?;
    let Ok(columns) = serde_json::from_str::<Vec<String>>(value.get()) else {
        given.note(NAME, "must be a list of attributes");
        return None;
    };
    if columns.len() > COLUMNS {
        given.note(NAME, format!("has more than {COLUMNS} entries"));
        return None;
    }
    if let Some(stranger) = columns.iter().find(|name| !is_attribute(name)) {
        let stranger = limits::cut(stranger, limits::NAME_CHARS);
        given.note(
            NAME,
            format!("names {stranger:?}, which operations do not have"),
        );
        return None;
    }
    Some(columns)
}

fn retrieve_multiple(
    mut given: Fields<'_>,
    deployment: &Deployment<'_>,
) -> Result<RetrieveMultiple> {
    let longest = deployment.page;
    let limit = given.number("limit", &format!("from 1 to {longest}"));
    if limit.is_some_and(|limit: usize| !(1..=longest).contains(&limit)) {
        given.note("limit", format!("must be a number from 1 to {longest}"));
    }
    let cursor = given.parsed("cursor", |text| {
        let place = text.parse::<OperationId>();
        place.map_err(|_not_ours| "must be a nextCursor of an earlier answer".to_owned())
    });
    let mut filter = ListFilter::default();
    if let Some(value) = given.take("filter") {
        match Fields::of(value, "parameters.filter.") {
            Some(mut fields) => {
                filter = ListFilter::take(&mut fields);
                given.errors.append(&mut fields.errors);
            }
            None => given.note("filter", "must be an object"),
        }
    }
    given.refuse_rest(|_name| "is unknown");
    given.finish()?;
    Ok(RetrieveMultiple {
        filter,
        limit,
        cursor,
    })
}

fn update(mut given: Fields<'_>, deployment: &Deployment<'_>) -> Result<Update> {
    let target = required(&mut given, "target");
    given.refuse_rest(|_name| "is unknown");
    let update = target.map(|target| {
        const PLACE: &str = "parameters.target";
        let Some(mut target) = Fields::of(target, "") else {
            let error = FieldError::new(PLACE, "must be an object");
            return Err(Error::Invalid(error.into()));
        };
        let id = id(&mut target);
        let changes = UpdateOperation::of(target, &deployment.grammar)
            .map_err(|invalid| within(PLACE, invalid.into()))?;
        let id = id.map_err(|error| within(PLACE, error))?;
        Ok(Update { id, changes })
    });
    finish(given, update, |update| update)
}

/// Takes the id of an operation. A text that is not an id of this service names
/// no operation. A value that is not a text is noted, and the error is ignored.
fn id(given: &mut Fields<'_>) -> Result<OperationId> {
    match given.parsed("id", Ok) {
        None => Err(missing_id("id", "is required")),
        Some(text) => text.parse().map_err(|_not_ours| Error::NotFound {
            id: limits::cut(&text, limits::NAME_CHARS).to_owned(),
        }),
    }
}

fn missing_id(name: &str, why: &str) -> Error {
    Error::Invalid(Invalid {
        code: ErrorCode::MISSING_ID,
        attributes: vec![FieldError::new(name, why)],
    })
}

fn required<'a>(given: &mut Fields<'a>, name: &str) -> Option<&'a RawValue> {
    let value = given.take(name);
    if value.is_none() {
        given.note(name, "is required");
    }
    value
}

/// Returns the value that was read, or all faults: those of the parameters, and
/// those inside one of them.
fn finish<T, U>(
    given: Fields<'_>,
    inner: Option<Result<T>>,
    make: impl FnOnce(T) -> U,
) -> Result<U> {
    let mut errors = given.errors;
    match inner {
        Some(Ok(value)) if errors.is_empty() => Ok(make(value)),
        Some(Err(Error::Invalid(mut invalid))) => {
            invalid.attributes.append(&mut errors);
            Err(invalid.into())
        }
        Some(Err(error)) if errors.is_empty() => Err(error),
        Some(_) | None => Err(Invalid::arguments(errors).into()),
    }
}

/// The same error, its attributes named from the outside.
fn within(place: &str, error: Error) -> Error {
    let Error::Invalid(mut invalid) = error else {
        return error;
    };
    for error in &mut invalid.attributes {
        error.name = match error.name.as_str() {
            "body" => place.to_owned(),
            name => format!("{place}.{name}"),
        };
    }
    invalid.into()
}
