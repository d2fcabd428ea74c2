//! A TOML table that is read key by key. A key that the reader does not ask for is
//! a mistake, and so is a value of the wrong kind. All mistakes are collected.

use std::collections::BTreeSet;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Mistake;

/// The mistakes of a text.
pub(super) struct Mistakes<'t> {
    text: &'t str,
    list: Vec<Mistake>,
}

impl<'t> Mistakes<'t> {
    pub(super) const fn new(text: &'t str) -> Self {
        Self {
            text,
            list: Vec::new(),
        }
    }

    /// Notes a mistake at a byte of the text.
    pub(super) fn add(&mut self, at: usize, what: impl Into<String>) {
        let before = self.text.get(..at).unwrap_or(self.text);
        self.list.push(Mistake {
            line: before.matches('\n').count() + 1,
            what: what.into(),
        });
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The mistakes, in the order of the text.
    pub(super) fn into_list(mut self) -> Vec<Mistake> {
        self.list.sort_by_key(|mistake| mistake.line);
        self.list
    }
}

/// One table.
pub(super) struct Table<'a, 't> {
    table: &'a DeTable<'a>,
    /// The byte at which the table begins.
    at: usize,
    known: BTreeSet<&'static str>,
    mistakes: &'a mut Mistakes<'t>,
}

impl<'a, 't> Table<'a, 't> {
    pub(super) const fn new(
        table: &'a DeTable<'a>,
        at: usize,
        mistakes: &'a mut Mistakes<'t>,
    ) -> Self {
        Self {
            table,
            at,
            known: BTreeSet::new(),
            mistakes,
        }
    }

    pub(super) const fn mistakes(&mut self) -> &mut Mistakes<'t> {
        self.mistakes
    }

    /// Notes a mistake of the table as a whole.
    pub(super) fn mistake(&mut self, what: impl Into<String>) {
        self.mistakes.add(self.at, what);
    }

    pub(super) fn mistake_at(&mut self, at: usize, what: impl Into<String>) {
        self.mistakes.add(at, what);
    }

    /// Returns true if the table has the key, with any value.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Skips keys: they are known, and their values are not read.
    pub(super) fn skip(&mut self, keys: &[&'static str]) {
        self.known.extend(keys);
    }

    fn value(&mut self, key: &'static str) -> Option<(usize, &'a DeValue<'a>)> {
        self.known.insert(key);
        let value = self.table.get(key)?;
        Some((value.span().start, value.get_ref()))
    }

    fn wrong(&mut self, at: usize, key: &str, expected: &str, found: &DeValue<'_>) {
        let found = found.type_str();
        self.mistakes
            .add(at, format!("{key}: expected {expected}, found {found}"));
    }

    pub(super) fn string(&mut self, key: &'static str) -> Option<(usize, String)> {
        let (at, value) = self.value(key)?;
        if let DeValue::String(text) = value {
            return Some((at, text.clone().into_owned()));
        }
        self.wrong(at, key, "a string", value);
        None
    }

    pub(super) fn boolean(&mut self, key: &'static str) -> Option<bool> {
        let (at, value) = self.value(key)?;
        if let DeValue::Boolean(value) = value {
            return Some(*value);
        }
        self.wrong(at, key, "true or false", value);
        None
    }

    pub(super) fn duration(&mut self, key: &'static str) -> Option<Duration> {
        let (at, text) = self.string(key)?;
        match humantime::parse_duration(&text) {
            Ok(duration) if !duration.is_zero() => Some(duration),
            Ok(_zero) => {
                self.mistake_at(at, format!("{key}: must be more than 0s"));
                None
            }
            Err(error) => {
                self.mistake_at(at, format!("{key}: {error}, for example \"30m\""));
                None
            }
        }
    }

    /// Reads a whole number from 0 to 4294967295.
    pub(super) fn number(&mut self, key: &'static str) -> Option<u32> {
        let (at, value) = self.value(key)?;
        let DeValue::Integer(number) = value else {
            self.wrong(at, key, "a whole number", value);
            return None;
        };
        let number = (number.radix() == 10).then(|| number.as_str().parse());
        if let Some(Ok(number)) = number {
            return Some(number);
        }
        self.mistake_at(
            at,
            format!("{key}: expected a number from 0 to {}", u32::MAX),
        );
        None
    }

    /// Reads a table within this table, with the byte at which it begins.
    pub(super) fn table(&mut self, key: &'static str) -> Option<(usize, &'a DeTable<'a>)> {
        let (at, value) = self.value(key)?;
        if let DeValue::Table(table) = value {
            return Some((at, table));
        }
        self.wrong(at, key, "a table", value);
        None
    }

    fn array(&mut self, key: &'static str) -> Option<(usize, &'a [Spanned<DeValue<'a>>])> {
        let (at, value) = self.value(key)?;
        if let DeValue::Array(array) = value {
            return Some((at, array));
        }
        self.wrong(at, key, "an array", value);
        None
    }

    pub(super) fn strings(&mut self, key: &'static str) -> Option<(usize, Vec<String>)> {
        let (at, array) = self.array(key)?;
        let mut strings = Vec::new();
        for value in array {
            match value.get_ref() {
                DeValue::String(text) => strings.push(text.clone().into_owned()),
                other => self.wrong(value.span().start, key, "strings", other),
            }
        }
        Some((at, strings))
    }

    /// Reads exit codes: 1 to 255.
    pub(super) fn codes(&mut self, key: &'static str) -> Vec<i32> {
        let Some((_at, array)) = self.array(key) else {
            return Vec::new();
        };
        let mut codes = Vec::new();
        for value in array {
            let code = match value.get_ref() {
                DeValue::Integer(number) if number.radix() == 10 => {
                    number.as_str().parse::<u8>().ok()
                }
                _ => None,
            };
            match code {
                Some(code) if code > 0 => codes.push(i32::from(code)),
                Some(_) | None => {
                    let what = format!("{key}: an exit code is a number from 1 to 255");
                    self.mistake_at(value.span().start, what);
                }
            }
        }
        codes
    }

    /// Reads the pairs of a table of strings, each with its position.
    pub(super) fn pairs(&mut self, key: &'static str) -> Vec<(usize, String, String)> {
        let Some((at, value)) = self.value(key) else {
            return Vec::new();
        };
        let DeValue::Table(table) = value else {
            self.wrong(at, key, "a table of strings", value);
            return Vec::new();
        };
        let mut pairs = Vec::new();
        for (name, value) in table {
            let at = name.span().start;
            match value.get_ref() {
                DeValue::String(text) => pairs.push((
                    at,
                    name.get_ref().clone().into_owned(),
                    text.clone().into_owned(),
                )),
                other => self.wrong(at, key, "strings", other),
            }
        }
        pairs
    }

    /// Reads the tables of an array of tables, each with its position.
    pub(super) fn tables(&mut self, key: &'static str) -> Vec<(usize, &'a DeTable<'a>)> {
        let Some((_at, array)) = self.array(key) else {
            return Vec::new();
        };
        let mut tables = Vec::new();
        for value in array {
            let at = value.span().start;
            match value.get_ref() {
                DeValue::Table(table) => tables.push((at, table)),
                other => self.wrong(at, key, "tables", other),
            }
        }
        tables
    }

    /// Ends the reading. Every key that was not read is unknown.
    pub(super) fn finish(self) {
        for (name, _value) in self.table {
            if !self.known.contains(name.get_ref().as_ref()) {
                let what = format!("{:?} is not known here", name.get_ref());
                self.mistakes.add(name.span().start, what);
            }
        }
    }
}
