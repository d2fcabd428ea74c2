//! Several creates in one request, each independent of the others.

use serde_json::value::RawValue;

use crate::attributes::CreateOperation;
use crate::create::check_idempotency_key;
use crate::deployment::Deployment;
use crate::error::{Error, FieldError, Invalid, Result};
use crate::execute::KeyedCreate;
use crate::fields::Fields;

/// The member that has the list.
const CREATES: &str = "creates";

/// Reads the creates of a request. The fault of a create stays with it.
///
/// # Errors
/// - [`Error::Syntax`] when it is not JSON.
/// - [`Error::Invalid`] when it has no list, or an unknown attribute beside it.
/// - [`Error::BatchTooLarge`] when the list is too long.
pub fn creates_from_json(
    body: &[u8],
    deployment: &Deployment<'_>,
) -> Result<Vec<Result<KeyedCreate>>> {
    let mut given = Fields::of_body(body)?;
    let list = given.take(CREATES);
    given.refuse_rest(|_name| "is unknown");
    let creates = list.map(|list| serde_json::from_str::<Vec<&RawValue>>(list.get()));
    let creates = match creates {
        Some(Ok(creates)) => creates,
        Some(Err(_)) => {
            given.note(CREATES, "must be a list");
            Vec::new()
        }
        None => {
            given.note(CREATES, "is required");
            Vec::new()
        }
    };
    given.finish()?;
    let max = deployment.batch_items;
    if creates.len() > max {
        let found = creates.len();
        return Err(Error::BatchTooLarge { found, max });
    }
    let creates = creates.into_iter().map(|create| one(create, deployment));
    Ok(creates.collect())
}

/// Reads one of them. Its attributes are named as those of a request that creates one.
fn one(create: &RawValue, deployment: &Deployment<'_>) -> Result<KeyedCreate> {
    let Some(mut given) = Fields::of(create, "") else {
        let error = FieldError::new(CREATES, "must be a list of objects");
        return Err(Error::Invalid(error.into()));
    };
    let key = given.parsed("idempotencyKey", |key| {
        check_idempotency_key(&key).map(|()| key)
    });
    let operation = given.take("operation");
    if operation.is_none() {
        given.note("operation", "is required");
    }
    given.refuse_rest(|_name| "is unknown");
    let limit = deployment.body_bytes;
    if operation.is_some_and(|operation| operation.get().len() > limit) {
        return Err(Error::TooLarge { limit });
    }
    let read = operation.map(|operation| {
        CreateOperation::from_json(operation.get().as_bytes(), &deployment.grammar)
    });
    let mut errors = given.errors;
    match read {
        Some(Ok(request)) if errors.is_empty() => Ok(KeyedCreate { request, key }),
        Some(Err(Error::Invalid(invalid))) => {
            errors.extend(invalid.attributes);
            Err(Invalid {
                code: invalid.code,
                attributes: errors,
            }
            .into())
        }
        Some(Err(error)) if errors.is_empty() => Err(error),
        Some(_) | None => Err(Invalid::arguments(errors).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::Grammar;

    fn read(body: &str) -> Result<Vec<Result<KeyedCreate>>> {
        let anything = |_: &str| Ok(());
        let deployment = Deployment {
            body_bytes: 100,
            page: 10,
            batch_items: 3,
            async_requests: &[],
            grammar: Grammar {
                recurrence_pattern: anything,
                recurrence_time_zone: anything,
                webhook_url: anything,
            },
        };
        creates_from_json(body.as_bytes(), &deployment)
    }

    fn names(error: Error) -> Vec<String> {
        let Error::Invalid(invalid) = error else {
            panic!("{error}");
        };
        let attributes = invalid.attributes.into_iter();
        attributes.map(|field| field.name).collect()
    }

    #[test]
    fn each_create_has_its_own_fault() {
        let body = r#"{"creates": [
            {"operation": {"messageName": "A"}, "idempotencyKey": "k"},
            {"operation": {"messageName": 7, "nmae": ""}, "idempotencyKey": ""},
            {"operation": {"messageName": "C"}}
        ]}"#;
        let mut creates = read(body).unwrap().into_iter();
        let first = creates.next().unwrap().unwrap();
        assert_eq!(first.request.message_name, "A");
        assert_eq!(first.key.as_deref(), Some("k"));
        let second = creates.next().unwrap().unwrap_err();
        assert_eq!(names(second), ["idempotencyKey", "messageName", "nmae"]);
        let third = creates.next().unwrap().unwrap();
        assert_eq!(
            (third.request.message_name.as_str(), third.key),
            ("C", None)
        );
    }

    #[test]
    fn what_is_no_list_of_creates_is_refused_as_a_whole() {
        assert_eq!(names(read("{}").unwrap_err()), ["creates"]);
        let error = read(r#"{"creates": {}, "all": true}"#).unwrap_err();
        assert_eq!(names(error), ["all", "creates"]);
        assert!(matches!(read("[").unwrap_err(), Error::Syntax { .. }));
        let error = read(r#"{"creates": [1, 2, 3, 4]}"#).unwrap_err();
        assert_eq!(error, Error::BatchTooLarge { found: 4, max: 3 });
        assert_eq!(read(r#"{"creates": []}"#), Ok(Vec::new()));
    }

    #[test]
    fn a_create_is_an_object_of_bounded_size() {
        let large = "x".repeat(100);
        let body =
            format!(r#"{{"creates": [1, {{}}, {{"operation": {{"messageName": "{large}"}}}}]}}"#);
        let mut creates = read(&body).unwrap().into_iter().map(Result::unwrap_err);
        assert_eq!(names(creates.next().unwrap()), ["creates"]);
        assert_eq!(names(creates.next().unwrap()), ["operation"]);
        assert_eq!(creates.next().unwrap(), Error::TooLarge { limit: 100 });
    }
}
