//! `drumline.toml`: read, checked against the grammar, turned into defaults.
//!
//! A key outside of any table holds for every command that has such a flag; a
//! key in `[worker]` for `drumline worker` alone, and wins there. Everything is
//! checked, also what this command does not use: a typing error should not
//! wait for the day on which the other command starts.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use clap::{Arg, Command};
use drumline_process::settings;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::catalogue;

/// The settings of a file; empty without one.
#[derive(Debug, Default)]
pub(crate) struct File {
    path: PathBuf,
    entries: BTreeMap<Place, Entry>,
}

/// Where in a file a setting stands: its table, if any, and its key.
type Place = (Option<String>, String);

#[derive(Clone, Debug)]
struct Entry {
    values: Vec<String>,
    line: usize,
}

/// Something in the file that cannot be obeyed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mistake {
    /// Which file.
    pub(crate) path: PathBuf,
    /// Which line, where there is one.
    pub(crate) line: Option<usize>,
    /// What is wrong.
    pub(crate) what: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.path.display(), self.what),
            None => write!(f, "{}: {}", self.path.display(), self.what),
        }
    }
}

impl File {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// Every mistake in it.
    pub(crate) fn read(path: &Path, grammar: &Command) -> Result<Self, Vec<Mistake>> {
        let text = fs::read_to_string(path).map_err(|error| {
            vec![Mistake {
                path: path.to_owned(),
                line: None,
                what: format!("cannot be read: {error}"),
            }]
        })?;
        Self::parse(path, &text, grammar)
    }

    /// Checks the text of a file.
    pub(crate) fn parse(path: &Path, text: &str, grammar: &Command) -> Result<Self, Vec<Mistake>> {
        let mut reader = Reader {
            path,
            text,
            grammar,
            entries: BTreeMap::new(),
            mistakes: Vec::new(),
        };
        match DeTable::parse(text) {
            Ok(table) => reader.top(table.get_ref()),
            Err(error) => reader.mistake(error.span().as_ref(), error.message().to_owned()),
        }
        if reader.mistakes.is_empty() {
            Ok(Self {
                path: path.to_owned(),
                entries: reader.entries,
            })
        } else {
            Err(reader.mistakes)
        }
    }

    /// The grammar with the values of this file as defaults.
    pub(crate) fn as_defaults_of(&self, grammar: Command) -> Command {
        grammar
            .mut_args(|arg| self.as_default_of(None, arg))
            .mut_subcommands(|command| {
                let name = command.get_name().to_owned();
                command.mut_args(|arg| self.as_default_of(Some(&name), arg))
            })
    }

    /// A flag with the value of this file as default.
    pub(crate) fn as_default_of(&self, command: Option<&str>, arg: Arg) -> Arg {
        if arg.get_env().is_none() {
            return arg;
        }
        let found = arg
            .get_long()
            .and_then(|key| self.entry(command, key))
            .map(|entry| entry.values.clone());
        match found {
            Some(values) => arg.default_values(values),
            None => arg,
        }
    }

    /// Where the value of a setting of a command stands, for people.
    pub(crate) fn place(&self, command: Option<&str>, key: &str) -> Option<String> {
        let entry = self.entry(command, key)?;
        Some(format!("{}:{}", self.path.display(), entry.line))
    }

    fn entry(&self, command: Option<&str>, key: &str) -> Option<&Entry> {
        let in_table = command.map(str::to_owned);
        self.entries
            .get(&(in_table, key.to_owned()))
            .or_else(|| self.entries.get(&(None, key.to_owned())))
    }
}

/// Collects entries and mistakes.
struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
    grammar: &'a Command,
    entries: BTreeMap<Place, Entry>,
    mistakes: Vec<Mistake>,
}

impl Reader<'_> {
    fn top(&mut self, table: &DeTable<'_>) {
        for (key, value) in table {
            match value.get_ref() {
                DeValue::Table(inner) => self.table(key, inner),
                DeValue::String(_)
                | DeValue::Integer(_)
                | DeValue::Float(_)
                | DeValue::Boolean(_)
                | DeValue::Datetime(_)
                | DeValue::Array(_) => self.shared(key, value),
            }
        }
    }

    /// A key outside of any table.
    fn shared(&mut self, key: &Spanned<std::borrow::Cow<'_, str>>, value: &Spanned<DeValue<'_>>) {
        let grammar = self.grammar;
        let flags: Vec<&Arg> = std::iter::once(grammar)
            .chain(catalogue::commands(grammar))
            .filter_map(|command| setting(command, key.get_ref()))
            .collect();
        self.entry(None, key, value, &flags, || {
            catalogue::of(grammar)
                .into_iter()
                .map(|setting| setting.key)
                .collect()
        });
    }

    /// The table of one command.
    fn table(&mut self, name: &Spanned<std::borrow::Cow<'_, str>>, table: &DeTable<'_>) {
        let grammar = self.grammar;
        let has_settings = |command: &&Command| catalogue::settings_in(command).next().is_some();
        let command = catalogue::commands(grammar)
            .filter(has_settings)
            .find(|command| command.get_name() == name.get_ref());
        let Some(command) = command else {
            let known: Vec<_> = catalogue::commands(grammar)
                .filter(has_settings)
                .map(Command::get_name)
                .collect();
            self.mistake(
                Some(&name.span()),
                format!(
                    "[{}]: no such command; known: {}",
                    name.get_ref(),
                    known.join(", ")
                ),
            );
            return;
        };
        for (key, value) in table {
            let flags: Vec<&Arg> = setting(command, key.get_ref()).into_iter().collect();
            self.entry(Some(command.get_name()), key, value, &flags, || {
                catalogue::settings_in(command)
                    .filter_map(Arg::get_long)
                    .map(str::to_owned)
                    .collect()
            });
        }
    }

    fn entry(
        &mut self,
        table: Option<&str>,
        key: &Spanned<std::borrow::Cow<'_, str>>,
        value: &Spanned<DeValue<'_>>,
        flags: &[&Arg],
        known: impl Fn() -> Vec<String>,
    ) {
        let name = match table {
            Some(table) => format!("[{table}] {}", key.get_ref()),
            None => key.get_ref().to_string(),
        };
        let Some(first) = flags.first() else {
            let known = known().join(", ");
            self.mistake(
                Some(&key.span()),
                format!("{name}: no such setting; known here: {known}"),
            );
            return;
        };
        let values = match settings::values(value.get_ref(), catalogue::is_list(first)) {
            Ok(values) => values,
            Err(what) => {
                self.mistake(Some(&value.span()), format!("{name}: {what}"));
                return;
            }
        };
        // Commands may differ in what they accept; one complaint is enough.
        if let Some(what) = flags.iter().find_map(|flag| objection(flag, &values)) {
            self.mistake(Some(&value.span()), format!("{name}: {what}"));
            return;
        }
        let line = self.line(&key.span());
        self.entries.insert(
            (table.map(str::to_owned), key.get_ref().to_string()),
            Entry { values, line },
        );
    }

    fn mistake(&mut self, span: Option<&Range<usize>>, what: String) {
        self.mistakes.push(Mistake {
            path: self.path.to_owned(),
            line: span.map(|span| self.line(span)),
            what,
        });
    }

    fn line(&self, span: &Range<usize>) -> usize {
        settings::line(self.text, span)
    }
}

/// The setting of a command with this key.
fn setting<'a>(command: &'a Command, key: &str) -> Option<&'a Arg> {
    catalogue::settings_in(command).find(|arg| arg.get_long() == Some(key))
}

/// What the flag says against the values, in clap's words.
fn objection(flag: &Arg, values: &[String]) -> Option<String> {
    let key = flag.get_long()?;
    let arguments = values.iter().map(|value| format!("--{key}={value}"));
    let error = Command::new("check")
        .no_binary_name(true)
        .disable_help_flag(true)
        .arg(flag.clone())
        .try_get_matches_from(arguments)
        .err()?;
    let text = super::without_secrets(error).to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let text = text
        .split("\n\nFor more information")
        .next()
        .unwrap_or(text);
    Some(text.split_whitespace().collect::<Vec<_>>().join(" "))
}
