//! Settings: the flag, else the environment, else `drumline.toml`, else the
//! default.
//!
//! The file is read first, and what it says becomes the defaults of the
//! grammar; clap then does the rest of the precedence. So there is one
//! definition of each setting, its flag, and file, help text, sample and
//! `drumline config` follow from it.
//!
//! Reading stops before anything else has happened: all mistakes of the file
//! are told at once, and the process ends with 64 without having bound a port.
//! Only this module and `drumline-process`, which it asks, read the environment.

pub(crate) mod catalogue;
pub(crate) mod file;
pub(crate) mod report;
pub(crate) mod sample;

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use clap::error::{ContextKind, ContextValue};
use clap::{ArgMatches, CommandFactory, FromArgMatches};
use drumline_process::settings::{DEFAULT_FILE, FILE_VARIABLE, environment};

use crate::cli::Cli;
use crate::cli::values::Format;
use file::{File, Mistake};

/// A command line that can be run.
#[derive(Debug)]
pub(crate) struct Settings {
    /// What to do, with every setting resolved.
    pub(crate) cli: Cli,
    /// The file that was read, if any.
    pub(crate) file: File,
    /// The format of the command's output; text for a command without a choice.
    pub(crate) format: Format,
}

/// The reason why there is no command to run.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The command line or the environment; also `--help` and `--version`.
    CommandLine(Box<clap::Error>),
    /// The file.
    File(Vec<Mistake>),
}

/// Resolves the settings of a command line, program name included.
///
/// # Errors
/// When there is no command to run.
pub(crate) fn load(arguments: &[OsString]) -> Result<Settings, Stop> {
    let path = file_to_read(arguments, environment(FILE_VARIABLE).as_deref());
    let file = match path {
        Some(path) => File::read(&path, &Cli::command()).map_err(Stop::File)?,
        None => File::default(),
    };
    let matches = resolve(arguments, &file)
        .map_err(|error| Stop::CommandLine(Box::new(without_secrets(error))))?;
    let cli = Cli::from_arg_matches(&matches)
        .map_err(|error| Stop::CommandLine(Box::new(error.format(&mut Cli::command()))))?;
    let format = matches.subcommand().and_then(|(_, command)| {
        // Not every command has the flag.
        command.try_get_one("output").ok().flatten().copied()
    });
    let format = format.unwrap_or(Format::Text);
    Ok(Settings { cli, file, format })
}

/// The format that a command line asks for. Found by hand, for errors of the command
/// line itself.
pub(crate) fn format_in(arguments: &[OsString]) -> Format {
    let mut last = variable("DRUMLINE_OUTPUT");
    let mut rest = arguments
        .iter()
        .take_while(|argument| *argument != "--")
        .filter_map(|argument| argument.to_str());
    while let Some(argument) = rest.next() {
        if ["-o", "--output"].contains(&argument) {
            last = rest.next().map(str::to_owned);
        } else if let Some(format) = argument
            .strip_prefix("--output=")
            .or_else(|| argument.strip_prefix("-o"))
        {
            last = Some(format.trim_start_matches('=').to_owned());
        }
    }
    match last.as_deref() {
        Some("json") => Format::Json,
        Some(_) | None => Format::Text,
    }
}

/// The error without the value that it is about, if that may hold a password.
pub(crate) fn without_secrets(mut error: clap::Error) -> clap::Error {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        Some(_) | None => None,
    };
    let argument = text(ContextKind::InvalidArg).unwrap_or_default();
    let flag = argument.split([' ', '=']).next().unwrap_or_default();
    let settings = catalogue::of(&Cli::command());
    let is_secret = settings.iter().any(|setting| {
        flag == format!("--{}", setting.key) && setting.arg.is_hide_env_values_set()
    });
    if is_secret && text(ContextKind::InvalidValue).is_some() {
        let hidden = ContextValue::String("***".to_owned());
        error.insert(ContextKind::InvalidValue, hidden);
    }
    error
}

/// The resolved values of a command line.
pub(crate) fn resolve(arguments: &[OsString], file: &File) -> Result<ArgMatches, clap::Error> {
    file.as_defaults_of(Cli::command())
        .try_get_matches_from(arguments)
}

/// The file that was named, else the default one if it is there. A file that
/// was named and is not there is a mistake, which reading it will tell.
fn file_to_read(arguments: &[OsString], from_environment: Option<&OsStr>) -> Option<PathBuf> {
    named_in(arguments).or_else(|| {
        let named = from_environment.map(OsStr::to_owned);
        drumline_process::settings::file_to_read(named, Path::new(DEFAULT_FILE))
    })
}

/// The value of `--config`. Found by hand, because the grammar cannot be
/// applied before the file has been read.
fn named_in(arguments: &[OsString]) -> Option<PathBuf> {
    let mut rest = arguments.iter().take_while(|argument| *argument != "--");
    while let Some(argument) = rest.next() {
        if argument == "--config" {
            return rest.next().map(PathBuf::from);
        }
        if let Some(path) = argument
            .to_str()
            .and_then(|text| text.strip_prefix("--config="))
        {
            return Some(PathBuf::from(path));
        }
    }
    None
}

/// A variable that is no setting, as text: those of OpenTelemetry, and what a
/// command handler finds about its operation.
pub(crate) fn variable(name: &str) -> Option<String> {
    environment(name)?.into_string().ok()
}

#[cfg(test)]
mod tests;
