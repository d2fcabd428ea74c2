//! The grid of operations: one page of a listing, and the filter that made it.

use askama::Template;
use drumline_protocol::{Body, Header, OperationId, Timestamp};

use crate::frame::Frame;
use crate::text::{Text, address};
use crate::time::Moment;
use crate::words::{self, Badge};

/// One operation in a list.
#[derive(Clone, Debug)]
pub struct Row {
    /// The id.
    pub id: String,
    /// The version, which grows with each change.
    pub version: u64,
    /// The name, or the message name of an operation without a name.
    pub name: Text,
    /// The message name.
    pub message: Text,
    /// The dependency token, and the address of all operations with it.
    pub token: Option<(Text, String)>,
    /// The status.
    pub status: Badge,
    /// The reason in a few words.
    pub reason: Text,
    /// The time of creation.
    pub created: Moment,
    /// The attempt that runs, or that ran last.
    pub attempt: u32,
    /// The worker that holds it, or held it last.
    pub host: Option<Text>,
}

impl Row {
    /// The row of an operation.
    #[must_use]
    pub fn of(id: OperationId, header: &Header, body: &Body, now: Timestamp) -> Self {
        let name = if body.name.trim().is_empty() {
            &body.message_name
        } else {
            &body.name
        };
        let token = body.dependency_token.as_ref().map(|token| {
            let all = address("/operations", [("dependencyToken", token.as_str())]);
            (Text::line(token.as_str()), all)
        });
        Self {
            id: id.to_string(),
            version: header.version,
            name: Text::line(name),
            message: Text::line(&body.message_name),
            token,
            status: Badge(header.status),
            reason: words::reason(header, now),
            created: Moment {
                at: body.created_on,
                now,
            },
            attempt: header.attempt(),
            host: header.host_id.as_deref().map(Text::line),
        }
    }
}

/// The conditions of a listing, as the address has them.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Names and values of the API's parameters, without the cursor.
    pub pairs: Vec<(String, String)>,
}

/// Values of conditions that are known, to be offered while a person types.
#[derive(Clone, Debug, Default)]
pub struct Known(Vec<(&'static str, Vec<Text>)>);

impl Known {
    /// The most values of one condition: a longer list is no help.
    const MOST: usize = 100;

    /// Adds a value of a parameter, unless it is there, or there is no room. A value with
    /// characters that cannot be shown would be offered as another one, so it is left out.
    pub fn add(&mut self, name: &'static str, value: &str) {
        let Self(all) = self;
        let at = all.iter().position(|(other, _)| *other == name);
        let at = at.unwrap_or_else(|| {
            all.push((name, Vec::new()));
            all.len() - 1
        });
        let (given, value) = (value, Text::line(value));
        if let Some((_, values)) = all.get_mut(at)
            && values.len() < Self::MOST
            && !value.is_empty()
            && value.as_str() == given
            && !values.contains(&value)
        {
            values.push(value);
        }
    }

    fn of(&self, name: &str) -> &[Text] {
        let Self(all) = self;
        let found = all.iter().find(|(other, _)| *other == name);
        found.map_or(&[], |(_, values)| values)
    }
}

/// A parameter of the API, the flag of the command line for it, and the label of its
/// field.
const FIELDS: &[(&str, &str, &str)] = &[
    ("state", "--state", "State"),
    ("messageName", "--message", "Message name"),
    ("dependencyToken", "--token", "Token"),
    ("name", "--name", "Name"),
    ("status", "--status", "Status"),
    ("queue", "--queue", "Queue"),
    ("ownerId", "--owner", "Owner"),
    ("correlationId", "--correlation-id", "Correlation id"),
    ("parentId", "--parent-id", "Parent"),
    ("primaryEntityType", "--entity-type", "Record type"),
    ("regardingObjectId", "--regarding", "Record id"),
    ("operationType", "--type", "Operation type"),
    ("createdAfter", "--created-after", "Created after"),
    ("createdBefore", "--created-before", "Created before"),
    ("completedBefore", "--completed-before", "Completed before"),
    ("holdsToken", "--holds-token", "Holds its token"),
    ("failure", "--failure", "Failure group"),
];

/// The fields that are always visible.
const FIRST: usize = 4;

/// One field of the form.
#[derive(Clone, Copy, Debug)]
pub struct Field<'a> {
    /// The name of the parameter.
    pub name: &'static str,
    /// The label.
    pub label: &'static str,
    /// The value as it was given.
    pub value: &'a str,
    /// The values to choose from; empty: any text.
    pub choices: &'static [&'static str],
    /// An example of a value.
    pub example: &'static str,
    /// Values that are known, which the browser offers while a person types.
    pub known: &'a [Text],
}

impl Filter {
    /// The value of a parameter; empty if it is not given.
    #[must_use]
    pub fn value(&self, name: &str) -> &str {
        let mut pairs = self.pairs.iter();
        let found = pairs.find(|(other, _)| other == name);
        found.map_or("", |(_, value)| value)
    }

    /// The fields that are always visible.
    #[must_use]
    pub fn first<'a>(&'a self, known: &'a Known) -> Vec<Field<'a>> {
        self.fields(known).take(FIRST).collect()
    }

    /// The other fields.
    #[must_use]
    pub fn rest<'a>(&'a self, known: &'a Known) -> Vec<Field<'a>> {
        self.fields(known).skip(FIRST).collect()
    }

    /// Returns true if one of the other fields has a value.
    #[must_use]
    pub fn uses_rest(&self) -> bool {
        let rest = FIELDS.iter().skip(FIRST);
        rest.map(|(name, _, _)| self.value(name))
            .any(|value| !value.is_empty())
    }

    fn fields<'a>(&'a self, known: &'a Known) -> impl Iterator<Item = Field<'a>> {
        FIELDS.iter().map(|(name, _, label)| Field {
            known: known.of(name),
            name,
            label,
            value: self.value(name),
            choices: match *name {
                "state" => &["Ready", "Suspended", "Locked", "Completed"],
                "status" => &[
                    "WaitingForResources",
                    "Waiting",
                    "InProgress",
                    "Pausing",
                    "Canceling",
                    "Succeeded",
                    "Failed",
                    "Canceled",
                ],
                "holdsToken" => &["true", "false"],
                _ => &[],
            },
            example: match *name {
                "createdAfter" | "createdBefore" | "completedBefore" => "2026-11-29T07:00:00Z",
                _ => "",
            },
        })
    }

    /// The address of the grid with other values of one parameter.
    #[must_use]
    pub fn with(&self, name: &str, value: &str) -> String {
        let others = self.pairs.iter().filter(|(other, _)| other != name);
        let others = others.map(|(name, value)| (name.as_str(), value.as_str()));
        let one = (!value.is_empty()).then_some((name, value));
        address("/operations", others.chain(one))
    }

    /// The address of an action on everything that is listed.
    #[must_use]
    pub fn many(&self, action: &str) -> String {
        let pairs = self.pairs.iter();
        address(
            &format!("/many/{action}"),
            pairs.map(|(name, value)| (name.as_str(), value.as_str())),
        )
    }

    /// The address of the changes of what is listed.
    #[must_use]
    pub fn live(&self) -> String {
        let pairs = self.pairs.iter();
        address(
            "/live",
            pairs.map(|(name, value)| (name.as_str(), value.as_str())),
        )
    }

    /// The same list from the API.
    #[must_use]
    pub fn query(&self) -> String {
        let pairs = self.pairs.iter();
        address(
            "/v1/operations",
            pairs.map(|(name, value)| (name.as_str(), value.as_str())),
        )
    }

    /// The same list from the command line.
    #[must_use]
    pub fn command(&self) -> Text {
        let mut command = "drumline list".to_owned();
        for (name, value) in &self.pairs {
            let known = FIELDS.iter().find(|(other, _, _)| other == name);
            match known {
                Some(("holdsToken", flag, _)) if value == "true" => {
                    command.push(' ');
                    command.push_str(flag);
                }
                Some((_, flag, _)) => {
                    command.push_str(&format!(" {flag} {}", quoted(value)));
                }
                None => {}
            }
        }
        Text::line(&command)
    }
}

/// A word of a shell's command line.
fn quoted(value: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:/@+".contains(&byte);
    if !value.is_empty() && value.bytes().all(is_plain) && !value.starts_with('-') {
        value.to_owned()
    } else {
        format!("'{}'", value.replace('\'', r"'\''"))
    }
}

/// Another view of a table: one click above it.
#[derive(Clone, Debug)]
pub struct View {
    /// The word.
    pub label: &'static str,
    /// The address.
    pub address: String,
    /// True for the one that is shown.
    pub is_here: bool,
}

/// The views: label, parameter, value.
const VIEWS: &[(&str, &str, &str)] = &[
    ("All", "", ""),
    ("Ready", "state", "Ready"),
    ("Suspended", "state", "Suspended"),
    ("Running", "state", "Locked"),
    ("Succeeded", "status", "Succeeded"),
    ("Failed", "status", "Failed"),
    ("Canceled", "status", "Canceled"),
    ("Hold their token", "holdsToken", "true"),
];

/// The page with the grid.
#[derive(Debug, Template)]
#[template(path = "operations.html")]
pub struct OperationsPage {
    /// The frame.
    pub frame: Frame,
    /// The conditions.
    pub filter: Filter,
    /// Values that are known.
    pub known: Known,
    /// The parameters that break a rule, and the rules.
    pub mistakes: Vec<(Text, Text)>,
    /// A note about the action that led here.
    pub done: Option<Text>,
    /// The operations.
    pub rows: Vec<Row>,
    /// True if this is not the first page.
    pub is_later_page: bool,
    /// The place at which the next page begins; `None`: this is the last.
    pub next: Option<String>,
    /// The time up to which the search has come, if it has found less than a page
    /// and is not over.
    pub looked_back_to: Option<Moment>,
}

impl OperationsPage {
    /// The views above the grid.
    #[must_use]
    pub fn views(&self) -> Vec<View> {
        let ours = ["state", "status", "holdsToken"];
        let others: Vec<_> = self
            .filter
            .pairs
            .iter()
            .filter(|(name, _)| !ours.contains(&name.as_str()))
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let given = |name: &str, value: &str| {
            let is_alone = ours
                .iter()
                .filter(|other| !self.filter.value(other).is_empty());
            match name {
                "" => is_alone.count() == 0,
                _ => self.filter.value(name) == value && is_alone.count() == 1,
            }
        };
        let views = VIEWS.iter().map(|(label, name, value)| View {
            label,
            address: address(
                "/operations",
                others
                    .iter()
                    .copied()
                    .chain((!name.is_empty()).then_some((*name, *value))),
            ),
            is_here: given(name, value),
        });
        views.collect()
    }

    /// The address of the next page.
    #[must_use]
    pub fn next_address(&self) -> Option<String> {
        let next = self.next.as_deref()?;
        Some(self.filter.with("cursor", next))
    }

    /// The address of the first page.
    #[must_use]
    pub fn first_address(&self) -> String {
        self.filter.with("", "")
    }
}
