//! Answers to requests, as they are sent.

use std::borrow::Cow;
use std::collections::BTreeMap;

use drumline_api::execute::RequestName;
use drumline_api::view::OperationView;
use drumline_protocol::OperationId;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::value::RawValue;

use super::Fault;

/// The answer to one request: `{"responseName": …, "results": …}`.
#[derive(Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    response_name: &'static str,
    results: Results,
    /// The rough size of the answer, if it can be large.
    #[serde(skip)]
    bytes: usize,
}

/// The result of a request. Requests that by design answer nothing have none.
#[derive(Debug, serde::Serialize)]
#[serde(untagged, rename_all_fields = "camelCase")]
pub(super) enum Results {
    /// `Create`.
    Id {
        id: String,
        /// Left out if it is false: most requests have no key that was used
        /// before.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        existed: bool,
    },
    /// `ExecuteAsync`.
    Job { async_job_id: String },
    /// `Retrieve`.
    Operation { operation: Box<RawValue> },
    /// `RetrieveMultiple`.
    Operations {
        operations: Vec<OperationView>,
        next_cursor: Option<String>,
    },
    /// `ExecuteMultiple`.
    Items {
        is_faulted: bool,
        responses: Vec<ItemAnswer>,
    },
    /// `ExecuteTransaction`.
    Responses { responses: Vec<Answer> },
    /// `Update`, `Delete`.
    Nothing,
}

/// The result of one item of a batch: an answer, a fault, or neither if there
/// was nothing to answer.
#[derive(Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ItemAnswer {
    pub(super) request_index: usize,
    pub(super) response: Option<Answer>,
    pub(super) fault: Option<Fault>,
}

impl Answer {
    pub(super) const fn new(name: RequestName, results: Results) -> Self {
        Self {
            response_name: name.as_str(),
            results,
            bytes: 0,
        }
    }

    pub(super) fn with_bytes(self, bytes: usize) -> Self {
        Self { bytes, ..self }
    }

    /// Hands out the ids of the operations that the request has created.
    pub(crate) fn add_created(&self, add: &mut dyn FnMut(&str)) {
        match &self.results {
            Results::Id { id, .. } => add(id),
            Results::Job { async_job_id } => add(async_job_id),
            Results::Items { responses, .. } => {
                for answer in responses.iter().filter_map(|item| item.response.as_ref()) {
                    answer.add_created(add);
                }
            }
            Results::Responses { responses } => {
                for answer in responses {
                    answer.add_created(add);
                }
            }
            Results::Operation { .. } | Results::Operations { .. } | Results::Nothing => {}
        }
    }

    /// The rough size of the answer, if it can be large.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Converts it to an item's answer: `None` if there is nothing by design.
    pub(super) fn unless_nothing(self) -> Option<Self> {
        match self.results {
            Results::Nothing => None,
            Results::Id { .. }
            | Results::Job { .. }
            | Results::Operation { .. }
            | Results::Operations { .. }
            | Results::Items { .. }
            | Results::Responses { .. } => Some(self),
        }
    }
}

impl Results {
    /// The answer to a create, which has another name if it is a request that
    /// is to be executed later. With its key, the operation may have existed
    /// before.
    pub(super) fn created(name: RequestName, id: OperationId, existed: bool) -> Self {
        let id = id.to_string();
        match name {
            RequestName::ExecuteAsync => Self::Job { async_job_id: id },
            RequestName::Create
            | RequestName::Retrieve
            | RequestName::RetrieveMultiple
            | RequestName::Update
            | RequestName::Delete
            | RequestName::ExecuteMultiple
            | RequestName::ExecuteTransaction => Self::Id { id, existed },
        }
    }
}

/// Some members of an object, as they are written there, in the order asked
/// for, and the id always.
pub(super) struct Columns<'a>(Vec<(&'a str, &'a RawValue)>);

impl<'a> Columns<'a> {
    /// These members of `whole`.
    pub(super) fn of(whole: &'a RawValue, columns: &'a [String]) -> Self {
        let members = serde_json::from_str::<BTreeMap<Cow<'a, str>, &'a RawValue>>(whole.get());
        let members = members.unwrap_or_default();
        let mut names: Vec<&str> = vec!["id"];
        for column in columns {
            if !names.contains(&column.as_str()) {
                names.push(column);
            }
        }
        let named = names.into_iter();
        Self(
            named
                .filter_map(|name| Some((name, *members.get(name)?)))
                .collect(),
        )
    }
}

impl Serialize for Columns<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}
