//! The page of the audit: who has asked for which change, and who was denied.

use askama::Template;

use crate::frame::Frame;
use crate::operations::Field;
use crate::text::{Text, address, number};
use crate::time::Moment;

/// The outcomes of entries.
const OUTCOMES: &[&str] = &["done", "denied", "refused", "failed", "leftOut"];

/// The ids of an entry that are shown.
const IDS: usize = 3;

/// The conditions, as the address has them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Names and values, without the place in the list.
    pub pairs: Vec<(String, String)>,
}

impl AuditFilter {
    fn value(&self, name: &str) -> &str {
        let mut pairs = self.pairs.iter();
        let found = pairs.find(|(other, _)| other == name);
        found.map_or("", |(_, value)| value)
    }

    /// The fields of the form.
    #[must_use]
    pub fn fields(&self) -> Vec<Field<'_>> {
        let field = |name, label, choices, example| Field {
            name,
            label,
            value: self.value(name),
            choices,
            example,
            known: &[],
        };
        vec![
            field("who", "Caller or key", &[], "jo"),
            field("action", "Action", &[], "cancel"),
            field("id", "Operation or pause", &[], ""),
            field("organization", "Organization", &[], ""),
            field("outcome", "Outcome", OUTCOMES, ""),
            field("since", "Since", &[], "2026-11-30T06:00:00Z"),
            field("until", "Until", &[], "2026-11-30T06:00:00Z"),
        ]
    }

    fn at<'a>(&'a self, path: &str, more: Option<(&'a str, &'a str)>) -> String {
        let pairs = self.pairs.iter();
        let pairs = pairs.map(|(name, value)| (name.as_str(), value.as_str()));
        address(path, pairs.chain(more))
    }

    /// The address of the same entries as a file.
    #[must_use]
    pub fn export(&self) -> String {
        self.at("/audit.jsonl", None)
    }

    /// The query of the API that lists the same entries.
    #[must_use]
    pub fn query(&self) -> String {
        self.at("/v1/audit", None)
    }
}

/// One entry.
#[derive(Clone, Debug)]
pub struct AuditRow {
    /// Its time.
    pub at: Option<Moment>,
    /// Method and route.
    pub action: Text,
    /// The name of an organization request.
    pub request: Option<Text>,
    /// The caller, or else the principal; `None` if it is not known.
    pub caller: Option<Text>,
    /// The principal.
    pub principal: Option<Text>,
    /// The organization.
    pub organization: Option<Text>,
    /// The word for the outcome.
    pub outcome: Text,
    /// The reason.
    pub reason: Option<Text>,
    /// The ids, and the address of each that is an operation.
    pub ids: Vec<(Text, Option<String>)>,
    /// The conditions of an action on many.
    pub filter: Option<Text>,
    /// The number of operations, or of what has no entry.
    pub count: Option<u64>,
    /// The address of the connection.
    pub address: Option<Text>,
}

impl AuditRow {
    /// The ids that are shown, and the number of the others in the entry. An id takes as
    /// many bytes of a page as all else in an entry.
    #[must_use]
    pub fn shown(&self) -> (&[(Text, Option<String>)], usize) {
        let shown = self.ids.get(..IDS).unwrap_or(&self.ids);
        (shown, self.ids.len() - shown.len())
    }

    /// The count in words; empty if there is none.
    #[must_use]
    pub fn counted(&self) -> String {
        self.count.map_or_else(String::new, number)
    }
}

/// The page.
#[derive(Debug, Template)]
#[template(path = "audit.html")]
pub struct AuditSheet {
    /// The frame.
    pub frame: Frame,
    /// The conditions.
    pub filter: AuditFilter,
    /// The conditions that break a rule, and the rules.
    pub mistakes: Vec<(Text, Text)>,
    /// The entries, newest first.
    pub rows: Vec<AuditRow>,
    /// True if the caller sees the entries of all organizations.
    pub is_of_all: bool,
    /// True if newer entries are on an earlier page.
    pub is_later_page: bool,
    /// The cursor of the next page.
    pub next: Option<String>,
}

impl AuditSheet {
    /// The address of the first page.
    #[must_use]
    pub fn first_address(&self) -> String {
        self.filter.at("/audit", None)
    }

    /// The address of the next page.
    #[must_use]
    pub fn next_address(&self) -> Option<String> {
        let next = self.next.as_deref()?;
        Some(self.filter.at("/audit", Some(("cursor", next))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_keeps_the_conditions() {
        let filter = AuditFilter {
            pairs: vec![("who".to_owned(), "jo & co".to_owned())],
        };
        assert_eq!(filter.export(), "/audit.jsonl?who=jo%20%26%20co");
        assert_eq!(filter.query(), "/v1/audit?who=jo%20%26%20co");
        let who = filter.fields().into_iter().find(|one| one.name == "who");
        assert_eq!(
            who.map(|field| field.value.to_owned()).as_deref(),
            Some("jo & co")
        );
    }
}
