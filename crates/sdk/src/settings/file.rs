//! `drumline.toml`: read, checked for unknown names, and turned into text
//! values as a variable would hold them.
//!
//! Every name in the file is checked, so that a typing error does not go
//! unnoticed. Values are checked where the worker uses them; those of other
//! commands are left to `drumline`.

use std::borrow::Cow;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use drumline_process::settings;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Mistake;
use super::keys::{KEYS, OF_OTHERS, OTHER_TABLES, UNUSED};

/// The table of the worker.
const TABLE: &str = "worker";

/// The settings of a file that concern the worker; empty without a file.
#[derive(Debug, Default)]
pub(super) struct File {
    /// Those outside of any table, then those in `[worker]`.
    entries: Vec<Entry>,
}

/// One setting in a file.
#[derive(Debug)]
pub(super) struct Entry {
    key: String,
    in_table: bool,
    /// File, line and key, for people.
    pub(super) place: String,
    /// The value as a variable would hold it.
    pub(super) value: String,
}

impl File {
    /// Reads a file, and adds what is wrong with it to `mistakes`.
    pub(super) fn read(path: &Path, mistakes: &mut Vec<Mistake>) -> Self {
        match fs::read_to_string(path) {
            Ok(text) => Self::parse(path, &text, mistakes),
            Err(error) => {
                let place = path.display().to_string();
                mistakes.push(Mistake::new(&place, format!("cannot be read: {error}")));
                Self::default()
            }
        }
    }

    /// As [`Self::read`], for the text of a file.
    pub(super) fn parse(path: &Path, text: &str, mistakes: &mut Vec<Mistake>) -> Self {
        let mut reader = Reader {
            path: path.to_owned(),
            text,
            entries: Vec::new(),
            mistakes,
        };
        match DeTable::parse(text) {
            Ok(table) => reader.top(table.get_ref()),
            Err(error) => {
                let place = reader.place(error.span().as_ref(), None);
                reader
                    .mistakes
                    .push(Mistake::new(&place, error.message().to_owned()));
            }
        }
        let mut entries = reader.entries;
        entries.sort_by_key(|entry| entry.in_table);
        Self { entries }
    }

    /// Returns the values of a setting in ascending precedence.
    pub(super) fn entries(&self, key: &str) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(move |entry| entry.key == key)
    }
}

/// Collects entries and mistakes.
struct Reader<'a> {
    path: PathBuf,
    text: &'a str,
    entries: Vec<Entry>,
    mistakes: &'a mut Vec<Mistake>,
}

impl Reader<'_> {
    fn top(&mut self, table: &DeTable<'_>) {
        for (name, value) in table {
            match value.get_ref() {
                DeValue::Table(inner) if name.get_ref() == TABLE => {
                    for (key, value) in inner {
                        self.entry(key, value, true);
                    }
                }
                DeValue::Table(_) if OTHER_TABLES.contains(&name.get_ref().as_ref()) => {}
                DeValue::Table(_) => {
                    let place = self.place(Some(&name.span()), None);
                    let reason = format!("[{}]: no command has this name", name.get_ref());
                    self.mistakes.push(Mistake::new(&place, reason));
                }
                DeValue::String(_)
                | DeValue::Integer(_)
                | DeValue::Float(_)
                | DeValue::Boolean(_)
                | DeValue::Datetime(_)
                | DeValue::Array(_) => self.entry(name, value, false),
            }
        }
    }

    fn entry(&mut self, key: &Spanned<Cow<'_, str>>, value: &Spanned<DeValue<'_>>, in_table: bool) {
        let name = key.get_ref().as_ref();
        let shown = if in_table {
            format!("[{TABLE}] {name}")
        } else {
            name.to_owned()
        };
        let place = self.place(Some(&key.span()), Some(&shown));
        let known = KEYS
            .iter()
            .find(|known| known.name == name && (known.in_table || !in_table));
        let is_list = known.is_some_and(|known| known.is_list);
        if known.is_none() && !UNUSED.contains(&name) {
            if in_table || !OF_OTHERS.contains(&name) {
                let reason = "no such setting; docs/configuration.md lists them".to_owned();
                self.mistakes.push(Mistake::new(&place, reason));
            }
            return;
        }
        match settings::values(value.get_ref(), is_list) {
            Ok(values) => self.entries.push(Entry {
                key: name.to_owned(),
                in_table,
                place,
                value: values.join(","),
            }),
            Err(reason) => self.mistakes.push(Mistake::new(&place, reason)),
        }
    }

    /// Returns file, line and key, for people.
    fn place(&self, span: Option<&Range<usize>>, key: Option<&str>) -> String {
        let mut place = self.path.display().to_string();
        if let Some(span) = span {
            place.push_str(&format!(":{}", settings::line(self.text, span)));
        }
        if let Some(key) = key {
            place.push_str(&format!(": {key}"));
        }
        place
    }
}
