//! The parameters of single requests.

use drumline_backend::store::Filter;
use drumline_protocol::{
    DependencyToken, ErrorCode, OperationId, OperationType, State, Status, limits,
};
use serde_json::value::RawValue;

use super::envelope::Envelope;
use super::{Item, Look, Name, Search, Update, Which, Wish, inherit};
use crate::error::{Error, Invalid, Result, Wrong};
use crate::options::Options;
use crate::request::attributes::Attributes;
use crate::request::{
    CREATE_ONLY, Changes, CreateRequest, READ_ONLY, RECURRENCE, objection_to_key, payload,
};

/// Attributes that an operation shows, and that are neither read-only nor
/// given at creation alone.
const CHANGEABLE: &[&str] = &["postponeUntil"];
/// The most columns that may be named: more than an operation has.
const COLUMNS: usize = 100;

/// Reads one request.
pub(super) fn single(envelope: Envelope<'_>, options: &Options) -> Result<Item> {
    let Envelope {
        name,
        request_id,
        parameters,
    } = envelope;
    match name {
        Name::Create => {
            let mut wish = create(parameters)?;
            inherit(&mut wish, request_id);
            Ok(Item::Create(Box::new(wish)))
        }
        Name::ExecuteAsync => {
            let mut wish = execute_async(parameters, options)?;
            inherit(&mut wish, request_id);
            Ok(Item::ExecuteAsync(Box::new(wish)))
        }
        Name::Retrieve => Ok(Item::Retrieve(retrieve(parameters)?)),
        Name::RetrieveMultiple => {
            let search = retrieve_multiple(parameters, options)?;
            Ok(Item::RetrieveMultiple(Box::new(search)))
        }
        Name::Update => Ok(Item::Update(update(parameters)?)),
        Name::Delete => {
            let mut given = parameters;
            let id = id(&mut given);
            given.refuse_rest(|_name| "is unknown");
            given.finish()?;
            Ok(Item::Delete(
                id.map_err(|error| within("parameters", error))?,
            ))
        }
        Name::ExecuteMultiple | Name::ExecuteTransaction => Err(nested(name)),
    }
}

/// The refusal of several requests in place of one.
pub(super) fn nested(name: Name) -> Error {
    let why = format!(
        "must not be {} here: it holds requests itself",
        name.as_str()
    );
    Invalid::arguments(vec![Wrong::new("requestName", why)]).into()
}

fn create(mut given: Attributes<'_>) -> Result<Wish> {
    let key = key(&mut given);
    let target = required(&mut given, "target");
    given.refuse_rest(|_name| "is unknown");
    let request = target.map(|target| {
        CreateRequest::from_json(target.get().as_bytes())
            .map_err(|error| within("parameters.target", error))
    });
    finish(given, request, |request| Wish { request, key })
}

/// The operation that executes a request later, with the parameters of that
/// request as its payload.
fn execute_async(mut given: Attributes<'_>, options: &Options) -> Result<Wish> {
    let key = key(&mut given);
    let later = required(&mut given, "request");
    given.refuse_rest(|_name| "is unknown");
    let request = later.map(|later| async_request(later, options));
    finish(given, request, |request| Wish { request, key })
}

fn async_request(later: &RawValue, options: &Options) -> Result<CreateRequest> {
    let mut given = Attributes::of(later, "parameters.request.").ok_or_else(|| {
        let wrong = Wrong::new("parameters.request", "must be an object");
        Error::Invalid(Invalid::arguments(vec![wrong]))
    })?;
    let name = given.text("requestName", limits::MESSAGE_NAME_CHARS);
    match &name {
        None if given.wrong.is_empty() => given.note("requestName", "is required"),
        Some(name) if !options.executes_later(name) => {
            let known = options.async_requests.join(", ");
            let why = format!("is not one that is executed asynchronously here: {known}");
            given.note("requestName", why);
        }
        None | Some(_) => {}
    }
    let mut request = CreateRequest::new(name.unwrap_or_default());
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

fn retrieve(mut given: Attributes<'_>) -> Result<Look> {
    let by_id = given.is_given("id").then(|| id(&mut given));
    let by_name = given.text("name", limits::NAME_CHARS);
    let columns = columns(&mut given);
    given.refuse_rest(|_name| "is unknown");
    if by_id.is_some() && by_name.is_some() {
        given.note("name", "does not go with id");
    }
    given.finish()?;
    let which = match (by_id, by_name) {
        (Some(id), _) => Which::Id(id.map_err(|error| within("parameters", error))?),
        (None, Some(name)) => Which::Name(name),
        (None, None) => return Err(missing_id("parameters.id", "or name is required")),
    };
    Ok(Look { which, columns })
}

fn key(given: &mut Attributes<'_>) -> Option<String> {
    given.parsed("idempotencyKey", |key| match objection_to_key(&key) {
        Some(why) => Err(why),
        None => Ok(key),
    })
}

/// The attributes that are to be shown; `None`: all.
fn columns(given: &mut Attributes<'_>) -> Option<Vec<String>> {
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
    let known = [READ_ONLY, CREATE_ONLY, RECURRENCE, CHANGEABLE];
    let is_known = |name: &String| known.iter().any(|names| names.contains(&name.as_str()));
    if let Some(stranger) = columns.iter().find(|name| !is_known(name)) {
        let stranger = limits::cut(stranger, limits::NAME_CHARS);
        given.note(
            NAME,
            format!("names {stranger:?}, which operations do not have"),
        );
        return None;
    }
    Some(columns)
}

fn retrieve_multiple(mut given: Attributes<'_>, options: &Options) -> Result<Search> {
    let longest = options.limits.page;
    let limit = given.number("limit", &format!("from 1 to {longest}"));
    if limit.is_some_and(|limit: usize| !(1..=longest).contains(&limit)) {
        given.note("limit", format!("must be a number from 1 to {longest}"));
    }
    let cursor = given.parsed("cursor", |text| {
        let place = text.parse::<OperationId>();
        place.map_err(|_not_ours| "must be a nextCursor of an earlier answer".to_owned())
    });
    let mut search = Search {
        filter: Filter::default(),
        token: None,
        limit,
        cursor,
    };
    if let Some(value) = given.take("filter") {
        match Attributes::of(value, "parameters.filter.") {
            Some(mut filter) => {
                read_filter(&mut filter, &mut search);
                given.wrong.append(&mut filter.wrong);
            }
            None => given.note("filter", "must be an object"),
        }
    }
    given.refuse_rest(|_name| "is unknown");
    given.finish()?;
    Ok(search)
}

/// The conditions, named as in the address of a listing.
fn read_filter(given: &mut Attributes<'_>, search: &mut Search) {
    let filter = &mut search.filter;
    filter.name = given.text("name", limits::NAME_CHARS);
    filter.state = given.named(
        "state",
        "must be 0 to 3, or Ready, Suspended, Locked, Completed",
        |code, word| {
            let by_code = code.and_then(State::from_code);
            by_code.or_else(|| {
                State::ALL
                    .into_iter()
                    .find(|state| state.name().eq_ignore_ascii_case(word))
            })
        },
    );
    filter.status = given.named(
        "status",
        "must be a status code or its name, as 20 or InProgress",
        |code, word| {
            let by_code = code.and_then(Status::from_code);
            by_code.or_else(|| {
                Status::ALL
                    .into_iter()
                    .find(|status| status.name().eq_ignore_ascii_case(word))
            })
        },
    );
    filter.message_name = given.text("messageName", limits::MESSAGE_NAME_CHARS);
    let number = given.number("operationType", "from 0 to 4294967295");
    filter.operation_type = number.map(OperationType);
    search.token = given.parsed("dependencyToken", |text| {
        DependencyToken::try_from(text).map_err(|error| error.to_string())
    });
    filter.created_after = given.time("createdAfter");
    filter.created_before = given.time("createdBefore");
    filter.completed_before = given.time("completedBefore");
    filter.correlation_id = given.uuid("correlationId");
    given.refuse_rest(|_name| "is unknown");
}

fn update(mut given: Attributes<'_>) -> Result<Update> {
    let target = required(&mut given, "target");
    given.refuse_rest(|_name| "is unknown");
    let update = target.map(|target| {
        const PLACE: &str = "parameters.target";
        let Some(mut target) = Attributes::of(target, "") else {
            let wrong = Wrong::new(PLACE, "must be an object");
            return Err(Error::Invalid(Invalid::arguments(vec![wrong])));
        };
        let id = id(&mut target);
        let changes = Changes::of(target).map_err(|invalid| within(PLACE, invalid.into()))?;
        let id = id.map_err(|error| within(PLACE, error))?;
        Ok(Update { id, changes })
    });
    finish(given, update, |update| update)
}

/// Takes the id of an operation. A text that is not an id of this service names
/// no operation. A value that is not a text is noted, and the error is ignored.
fn id(given: &mut Attributes<'_>) -> Result<OperationId> {
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
        attributes: vec![Wrong::new(name, why)],
    })
}

fn required<'a>(given: &mut Attributes<'a>, name: &str) -> Option<&'a RawValue> {
    let value = given.take(name);
    if value.is_none() {
        given.note(name, "is required");
    }
    value
}

/// Returns the value that was read, or all faults: those of the parameters, and
/// those inside one of them.
fn finish<T, U>(
    given: Attributes<'_>,
    inner: Option<Result<T>>,
    make: impl FnOnce(T) -> U,
) -> Result<U> {
    let mut wrong = given.wrong;
    match inner {
        Some(Ok(value)) if wrong.is_empty() => Ok(make(value)),
        Some(Err(Error::Invalid(mut invalid))) => {
            invalid.attributes.append(&mut wrong);
            Err(invalid.into())
        }
        Some(Err(error)) if wrong.is_empty() => Err(error),
        Some(_) | None => Err(Invalid::arguments(wrong).into()),
    }
}

/// The same error, its attributes named from the outside.
fn within(place: &str, error: Error) -> Error {
    let Error::Invalid(mut invalid) = error else {
        return error;
    };
    for wrong in &mut invalid.attributes {
        wrong.name = match wrong.name.as_str() {
            "body" => place.to_owned(),
            name => format!("{place}.{name}"),
        };
    }
    invalid.into()
}
