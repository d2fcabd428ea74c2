//! `drumline config`: the settings in force, and where each comes from.

use std::ffi::OsString;

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command, CommandFactory};
use serde::Serialize;

use super::catalogue;
use super::file::File;
use super::sample::literal;
use crate::cli::Cli;

/// A setting as it is in force for a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct InForce {
    /// The command; `None` for the program.
    pub(crate) command: Option<String>,
    /// Its name.
    pub(crate) key: String,
    /// Its values; empty where it is not set. Passwords are masked.
    pub(crate) values: Vec<String>,
    /// Where they come from.
    pub(crate) source: String,
    #[serde(skip)]
    list: bool,
}

impl InForce {
    /// The line that one would write into the file.
    pub(crate) fn as_toml(&self) -> String {
        let values: Vec<_> = self.values.iter().map(|value| literal(value)).collect();
        match (self.list, values.first()) {
            (true, _) => format!("{} = [{}]", self.key, values.join(", ")),
            (false, Some(value)) => format!("{} = {value}", self.key),
            (false, None) => format!("# {} is not set", self.key),
        }
    }
}

/// The settings of every command, as far as flags do not change them.
///
/// # Errors
/// When the environment cannot be obeyed.
pub(crate) fn of_all(file: &File) -> Result<Vec<InForce>, clap::Error> {
    let grammar = file.as_defaults_of(Cli::command());
    let mut report = of_settings(None, &grammar, file)?;
    for command in catalogue::commands(&grammar) {
        report.extend(of_settings(Some(command.get_name()), command, file)?);
    }
    Ok(report)
}

/// The settings of one command line, `drumline` left out.
///
/// # Errors
/// When the command line or the environment cannot be obeyed.
pub(crate) fn of_command_line(
    arguments: &[OsString],
    file: &File,
) -> Result<Vec<InForce>, clap::Error> {
    let program = OsString::from("drumline");
    let arguments: Vec<_> = std::iter::once(program)
        .chain(arguments.iter().cloned())
        .collect();
    let matches = super::resolve(&arguments, file)?;
    let grammar = file.as_defaults_of(Cli::command());
    let mut report = read(None, &grammar, &matches, file);
    if let Some((name, matches)) = matches.subcommand()
        && let Some(command) = grammar.find_subcommand(name)
    {
        report.extend(read(Some(name), command, matches, file));
    }
    Ok(report)
}

/// The settings of one command, without the arguments that it may require.
fn of_settings(
    name: Option<&str>,
    command: &Command,
    file: &File,
) -> Result<Vec<InForce>, clap::Error> {
    let matches = Command::new(name.unwrap_or("drumline").to_owned())
        .no_binary_name(true)
        .args(catalogue::settings_in(command))
        .try_get_matches_from(std::iter::empty::<OsString>())
        .map_err(super::without_secrets)?;
    Ok(read(name, command, &matches, file))
}

fn read(name: Option<&str>, command: &Command, matches: &ArgMatches, file: &File) -> Vec<InForce> {
    catalogue::settings_in(command)
        .map(|arg| {
            let key = arg.get_long().unwrap_or_default();
            let values = matches
                .get_raw(arg.get_id().as_str())
                .into_iter()
                .flatten()
                .map(|value| shown(arg, &value.to_string_lossy()))
                .collect();
            InForce {
                command: name.map(str::to_owned),
                key: key.to_owned(),
                values,
                source: source(name, arg, matches, file),
                list: catalogue::is_list(arg),
            }
        })
        .collect()
}

fn source(name: Option<&str>, arg: &Arg, matches: &ArgMatches, file: &File) -> String {
    let key = arg.get_long().unwrap_or_default();
    match matches.value_source(arg.get_id().as_str()) {
        Some(ValueSource::CommandLine) => format!("--{key}"),
        Some(ValueSource::EnvVariable) => arg
            .get_env()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default(),
        _ => file
            .place(name, key)
            .unwrap_or_else(|| "default".to_owned()),
    }
}

/// A value without its secrets.
fn shown(arg: &Arg, value: &str) -> String {
    let is_url = value.contains("://");
    if arg.is_hide_env_values_set() && !is_url {
        return "***".to_owned();
    }
    masked(value)
}

/// A value without the password that it has if it is a URL.
pub(crate) fn masked(value: &str) -> String {
    if value.contains("://") {
        drumline_process::masked(value)
    } else {
        value.to_owned()
    }
}
