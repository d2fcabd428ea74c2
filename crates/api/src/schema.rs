//! The shapes of requests and operations as JSON Schema, made from the table of
//! attributes: what `/openapi.json` says about them.

use std::borrow::Cow;

use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::attributes::{Filter, ListFilter, NewOperation, OperationView, Update};
use crate::table::Scope;
use crate::view::{ProgressView, RetryPolicyView};

/// The schema of the JSON that creates an operation.
#[must_use]
pub fn create_operation() -> Value {
    object(NewOperation::properties())
}

/// The schema of the JSON that changes an operation.
#[must_use]
pub fn update_operation() -> Value {
    object(Update::properties())
}

/// The schema of the JSON that filters a listing.
#[must_use]
pub fn list_filter() -> Value {
    object(conditions(&[Scope::List, Scope::Events]))
}

/// The schema of an operation as it is shown.
#[must_use]
pub fn operation() -> Value {
    object(OperationView::properties())
}

/// The conditions of a listing, as parameters of an address.
#[must_use]
pub fn list_parameters() -> Vec<Value> {
    let conditions = conditions(&[Scope::List, Scope::Events]).into_iter();
    conditions.map(Property::parameter).collect()
}

/// The conditions on the ends of operations, as parameters of an address.
#[must_use]
pub fn event_parameters() -> Vec<Value> {
    let conditions = conditions(&[Scope::Events]).into_iter();
    conditions.map(Property::parameter).collect()
}

fn conditions(scopes: &[Scope]) -> Vec<Property> {
    let mut conditions = Filter::properties();
    conditions.retain(|condition| {
        ListFilter::scope(condition.name).is_some_and(|scope| scopes.contains(&scope))
    });
    for condition in &mut conditions {
        // Any text can be compared with; one that is too long is equal to none.
        condition.form.remove("maxLength");
    }
    conditions
}

/// One attribute of an object.
pub(crate) struct Property {
    pub(crate) name: &'static str,
    /// The lines of its documentation.
    pub(crate) doc: &'static [&'static str],
    /// Its form, apart from `null`.
    pub(crate) form: Map<String, Value>,
    pub(crate) is_required: bool,
}

impl Property {
    pub(crate) fn of<F: Form>(
        name: &'static str,
        doc: &'static [&'static str],
        is_required: bool,
    ) -> Self {
        let form = match F::schema() {
            Value::Object(form) => form,
            // A form is an object.
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_) => Map::new(),
        };
        Self {
            name,
            doc,
            form,
            is_required,
        }
    }

    fn description(&self) -> String {
        let lines = self.doc.iter().map(|line| line.trim());
        lines.collect::<Vec<_>>().join("\n")
    }

    fn parameter(self) -> Value {
        let mut parameter = Map::from_iter([
            ("name".to_owned(), self.name.into()),
            ("in".to_owned(), "query".into()),
            ("description".to_owned(), self.description().into()),
            ("required".to_owned(), false.into()),
        ]);
        let mut form = self.form;
        if let Some(example) = form.remove("example") {
            parameter.insert("example".to_owned(), example);
        }
        parameter.insert("schema".to_owned(), form.into());
        parameter.into()
    }

    /// The attribute among the others of its object. One that may be missing
    /// may be `null`, too.
    fn schema(self) -> Value {
        let description = self.description();
        let mut form = self.form;
        let kind = form.get("type").cloned();
        form.insert("description".to_owned(), description.into());
        match kind {
            Some(kind) if !self.is_required => {
                form.insert("type".to_owned(), json!([kind, "null"]));
                form.into()
            }
            None if !self.is_required && form.contains_key("$ref") => {
                json!({"oneOf": [form, {"type": "null"}]})
            }
            Some(_) | None => form.into(),
        }
    }
}

fn object(properties: Vec<Property>) -> Value {
    let required = properties.iter().filter(|property| property.is_required);
    let required: Vec<&str> = required.map(|property| property.name).collect();
    let mut schema = Map::from_iter([("type".to_owned(), "object".into())]);
    if !required.is_empty() {
        schema.insert("required".to_owned(), required.into());
    }
    let properties = properties.into_iter();
    let properties: Map<String, Value> = properties
        .map(|property| (property.name.to_owned(), property.schema()))
        .collect();
    schema.insert("properties".to_owned(), properties.into());
    schema.into()
}

/// A type that has a form in JSON.
pub(crate) trait Form {
    /// True if the value may be `null`.
    const OPTIONAL: bool = false;

    /// The form, apart from `null`.
    fn schema() -> Value;
}

/// The form that the document defines by this name.
pub(crate) fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

impl<T: Form> Form for Option<T> {
    const OPTIONAL: bool = true;

    fn schema() -> Value {
        T::schema()
    }
}

macro_rules! forms {
    ($($type:ty: $schema:expr;)+) => {
        $(
            impl Form for $type {
                fn schema() -> Value {
                    $schema
                }
            }
        )+
    };
}

forms! {
    bool: json!({"type": "boolean"});
    u8: json!({"type": "integer", "format": "int32", "minimum": 0});
    u32: json!({"type": "integer", "format": "int32", "minimum": 0});
    u64: json!({"type": "integer", "format": "int64", "minimum": 0});
    f64: json!({"type": "number", "format": "double"});
    String: json!({"type": "string"});
    Cow<'static, str>: json!({"type": "string"});
    Vec<String>: json!({"type": "array", "items": {"type": "string"}});
    Vec<Cow<'static, str>>: json!({"type": "array", "items": {"type": "string"}});
    Uuid: json!({"type": "string", "format": "uuid"});
    Box<RawValue>: json!({});
    ProgressView: reference("Progress");
    RetryPolicyView: reference("RetryPolicy");
}
