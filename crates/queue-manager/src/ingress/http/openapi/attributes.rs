//! The attributes of operations as the document describes them: from the table
//! in [`drumline_api`], which they are read and shown by.

use drumline_api::schema;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::openapi::path::{Parameter, ParameterIn};
use utoipa::openapi::schema::SchemaType;
use utoipa::openapi::{ObjectBuilder, RefOr, Schema};
use utoipa::{IntoParams, PartialSchema, ToSchema};

use super::{Progress, RetryPolicy, TokenPolicy};

/// Types that stand for a schema of the table. `uses` are the types that the
/// schema refers to.
macro_rules! described {
    ($(
        $(#[doc = $doc:literal])+
        $name:ident = $schema:path, example $example:expr, uses [$($used:ty),*];
    )+) => {
        $(
            $(#[doc = $doc])+
            #[derive(Debug, Serialize)]
            pub(crate) struct $name;

            impl PartialSchema for $name {
                fn schema() -> RefOr<Schema> {
                    described(&[$($doc),+], &$schema(), $example)
                }
            }

            impl ToSchema for $name {
                fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
                    $( <$used>::schemas(schemas); )*
                    schemas.extend([
                        $( (<$used>::name().into_owned(), <$used>::schema()) ),*
                    ]);
                }
            }
        )+
    };
}

described! {
    /// The attributes of a new operation. Unknown attributes are refused.
    NewOperation = schema::create_operation,
        example json!({"messageName": "ImportSolution", "dependencyToken": "contoso", "data": {"file": "contoso_1_2.zip"}}),
        uses [RetryPolicy, TokenPolicy];
    /// The changes of an operation.
    OperationChanges = schema::update_operation,
        example json!({"stateCode": 1, "postponeUntil": "2027-01-01T06:00:00Z"}),
        uses [];
    /// Conditions that must all hold.
    ListFilter = schema::list_filter, example Value::Null, uses [];
    /// An operation. Times are RFC 3339 in UTC.
    Operation = schema::operation, example Value::Null, uses [Progress, RetryPolicy];
}

#[expect(
    deprecated,
    reason = "`example`, not `examples`, is what the derive of all other types writes"
)]
fn described(doc: &[&str], schema: &Value, example: Value) -> RefOr<Schema> {
    let doc: Vec<&str> = doc.iter().map(|line| line.trim()).collect();
    let mut object = ObjectBuilder::new()
        .description(Some(doc.join("\n")))
        .example(Some(example).filter(|example| !example.is_null()));
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        object = object.property(name, form(property));
    }
    for name in schema["required"].as_array().into_iter().flatten() {
        object = object.required(name.as_str().unwrap_or_default());
    }
    object.into()
}

fn form(property: &Value) -> RefOr<Schema> {
    serde_json::from_value(property.clone()).unwrap_or_else(|_without_a_type| {
        let any = ObjectBuilder::new().schema_type(SchemaType::AnyValue);
        any.description(property["description"].as_str()).into()
    })
}

/// The conditions of a listing, in an address.
#[derive(Debug)]
pub(crate) struct ListConditions;

impl IntoParams for ListConditions {
    fn into_params(_place: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        parameters(schema::list_parameters())
    }
}

/// The conditions on the ends of operations, in an address.
#[derive(Debug)]
pub(crate) struct EventConditions;

impl IntoParams for EventConditions {
    fn into_params(_place: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        parameters(schema::event_parameters())
    }
}

fn parameters(parameters: Vec<Value>) -> Vec<Parameter> {
    let parameters = parameters.into_iter();
    parameters
        .filter_map(|parameter| serde_json::from_value(parameter).ok())
        .collect()
}
