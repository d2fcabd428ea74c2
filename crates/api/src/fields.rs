//! The attributes of a JSON object, taken one by one.
//!
//! Each `take` reads one attribute or notes its fault; an attribute that was
//! not taken is unknown. `null` is the same as missing.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use drumline_protocol::{Timestamp, limits};
use serde::de::{Deserialize, DeserializeOwned, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::error::{Error, FieldError, Invalid};

/// The most attributes of one kind that are reported: a program's mistake, not
/// a file that was sent by mistake.
const NAMED: usize = 50;
/// Characters of a name that are shown in a report.
const NAME_CHARS: usize = 100;

/// The attributes of an object that are not taken yet, and the faults of those
/// that are.
#[derive(Debug)]
pub(crate) struct Fields<'a> {
    /// The prefix of every name: `retryPolicy.`, say.
    prefix: &'static str,
    rest: Vec<(Cow<'a, str>, &'a RawValue)>,
    /// The faults, in the order in which they were found.
    pub(crate) errors: Vec<FieldError>,
}

impl<'a> Fields<'a> {
    /// The attributes of the object in a request's body.
    ///
    /// # Errors
    /// [`Error::Syntax`] when it is not JSON, [`Error::Invalid`] when it is
    /// not an object.
    pub(crate) fn of_body(body: &'a [u8]) -> Result<Self, Error> {
        let value: &RawValue = serde_json::from_slice(body).map_err(|error| Error::Syntax {
            message: error.to_string(),
        })?;
        Self::of(value, "").ok_or_else(|| {
            let error = FieldError::new("body", "must be a JSON object");
            Error::Invalid(error.into())
        })
    }

    /// The attributes of a value; `None` if it is not an object.
    pub(crate) fn of(value: &'a RawValue, prefix: &'static str) -> Option<Self> {
        let Entries(rest) = serde_json::from_str(value.get()).ok()?;
        let mut attributes = Self {
            prefix,
            rest,
            errors: Vec::new(),
        };
        attributes.refuse_doubles();
        Some(attributes)
    }

    /// No attributes at all.
    pub(crate) const fn empty(prefix: &'static str) -> Self {
        Self {
            prefix,
            rest: Vec::new(),
            errors: Vec::new(),
        }
    }

    /// Refuses names that appear twice: parsers differ on which value is meant.
    fn refuse_doubles(&mut self) {
        let mut names = HashSet::new();
        let mut doubles = Vec::new();
        self.rest.retain(|(name, _)| {
            let is_first = names.insert(name.clone());
            if !is_first && doubles.len() < NAMED {
                doubles.push(name.clone());
            }
            is_first
        });
        for name in doubles {
            self.note(&name, "is given twice");
        }
    }

    /// Notes that an attribute breaks a rule.
    pub(crate) fn note(&mut self, name: &str, why: impl Into<String>) {
        let name = format!("{}{}", self.prefix, limits::cut(name, NAME_CHARS));
        self.errors.push(FieldError::new(name, why));
    }

    /// Returns true if an attribute of this name breaks a rule.
    pub(crate) fn is_noted(&self, name: &str) -> bool {
        let mut errors = self.errors.iter();
        errors.any(|error| error.name.strip_prefix(self.prefix) == Some(name))
    }

    /// Takes an attribute as it is; `None` if it is missing or null.
    pub(crate) fn take(&mut self, name: &str) -> Option<&'a RawValue> {
        let place = self.rest.iter().position(|(other, _)| other == name)?;
        let (_, value) = self.rest.remove(place);
        Some(value).filter(|value| value.get() != "null")
    }

    /// Takes a text of at most `limit` characters.
    pub(crate) fn text(&mut self, name: &str, limit: usize) -> Option<String> {
        let text: String = self.value(name, "must be a string")?;
        let length = text.chars().count();
        if length > limit {
            let why = format!("has {length} characters, {limit} are allowed");
            self.note(name, why);
            return None;
        }
        Some(text)
    }

    /// Takes a whole number that fits `T`.
    pub(crate) fn number<T: DeserializeOwned>(&mut self, name: &str, range: &str) -> Option<T> {
        self.value(name, &format!("must be a number {range}"))
    }

    /// Takes a number that is the code of something.
    pub(crate) fn coded<T>(
        &mut self,
        name: &str,
        why: &str,
        find: impl FnOnce(u8) -> Option<T>,
    ) -> Option<T> {
        let found = find(self.value(name, why)?);
        if found.is_none() {
            self.note(name, why);
        }
        found
    }

    /// Takes a value that has both a number and a name: `find` gets the number,
    /// if it is one, and the text.
    pub(crate) fn named<T>(
        &mut self,
        name: &str,
        why: &str,
        find: impl FnOnce(Option<u8>, &str) -> Option<T>,
    ) -> Option<T> {
        let given = self.take(name)?.get();
        let text = serde_json::from_str::<Cow<'_, str>>(given);
        let text = text.as_deref().unwrap_or(given);
        let found = find(text.parse().ok(), text);
        if found.is_none() {
            self.note(name, why);
        }
        found
    }

    /// Returns true if an attribute is present, if only as `null`.
    pub(crate) fn is_given(&self, name: &str) -> bool {
        self.rest.iter().any(|(other, _)| other == name)
    }

    /// Takes `true` or `false`.
    pub(crate) fn boolean(&mut self, name: &str) -> Option<bool> {
        self.value(name, "must be true or false")
    }

    /// Takes a UUID.
    pub(crate) fn uuid(&mut self, name: &str) -> Option<Uuid> {
        self.value(name, "must be a UUID")
    }

    /// Takes a point in time.
    pub(crate) fn time(&mut self, name: &str) -> Option<Timestamp> {
        const WHY: &str = "must be a time, as 2026-11-20T15:42:00Z";
        let text: String = self.value(name, WHY)?;
        let time = Timestamp::parse_rfc3339(&text).ok();
        if time.is_none() {
            self.note(name, WHY);
        }
        time
    }

    /// Takes a text and parses it.
    pub(crate) fn parsed<T>(
        &mut self,
        name: &str,
        parse: impl FnOnce(String) -> Result<T, String>,
    ) -> Option<T> {
        let text: String = self.value(name, "must be a string")?;
        match parse(text) {
            Ok(value) => Some(value),
            Err(why) => {
                self.note(name, why);
                None
            }
        }
    }

    fn value<T: DeserializeOwned>(&mut self, name: &str, why: &str) -> Option<T> {
        let value = serde_json::from_str(self.take(name)?.get()).ok();
        if value.is_none() {
            self.note(name, why);
        }
        value
    }

    /// Notes a reason against each attribute that is left.
    pub(crate) fn refuse_rest(&mut self, why: impl Fn(&str) -> &'static str) {
        let rest = std::mem::take(&mut self.rest);
        for (name, _) in rest.iter().take(NAMED) {
            self.note(name, why(name));
        }
    }

    /// The names of all attributes that are left.
    pub(crate) fn rest(&self) -> impl Iterator<Item = &str> {
        self.rest.iter().map(|(name, _)| name.as_ref())
    }

    /// Returns the faults, if there are any.
    pub(crate) fn finish(self) -> Result<(), Invalid> {
        if self.errors.is_empty() {
            Ok(())
        } else {
            Err(Invalid::arguments(self.errors))
        }
    }
}

/// The members of an object in their order, duplicates too.
struct Entries<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Entries<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Entries<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(Name(name)) = map.next_key()? {
                    entries.push((name, map.next_value()?));
                }
                Ok(Entries(entries))
            }
        }

        deserializer.deserialize_map(Members)
    }
}

/// A member's name, borrowed if it has no escapes.
#[derive(serde::Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);
