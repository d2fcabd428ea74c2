//! Which settings there are: every flag of the grammar that has an environment
//! variable, and which commands have it.

use clap::{Arg, Command};

/// One setting.
#[derive(Debug)]
pub(crate) struct Setting {
    /// Its name in the file; with two dashes in front, its flag.
    pub(crate) key: String,
    /// Its environment variable.
    pub(crate) env: String,
    /// Its meaning.
    pub(crate) help: String,
    /// The commands that have it, with the flag there: texts and defaults may
    /// differ. Empty for the settings of every command.
    pub(crate) commands: Vec<(String, Arg)>,
    /// The flag, as the first command has it.
    pub(crate) arg: Arg,
}

impl Setting {
    /// Whether it is one of the program rather than of some commands.
    pub(crate) const fn is_global(&self) -> bool {
        self.commands.is_empty()
    }

    /// The commands that have it.
    pub(crate) fn command_names(&self) -> impl Iterator<Item = &str> {
        self.commands.iter().map(|(name, _)| name.as_str())
    }

    /// The default, where any command has one. A setting may be optional in
    /// one command and have a default in the others.
    pub(crate) fn default_values(&self) -> Vec<String> {
        std::iter::once(&self.arg)
            .chain(self.commands.iter().map(|(_, arg)| arg))
            .map(defaults_of)
            .find(|values| !values.is_empty())
            .unwrap_or_default()
    }
}

/// Every setting of the grammar, in the order in which help shows them.
pub(crate) fn of(grammar: &Command) -> Vec<Setting> {
    let mut settings: Vec<Setting> = settings_in(grammar).map(|arg| setting(arg, None)).collect();
    for command in commands(grammar) {
        for arg in settings_in(command) {
            let known = settings
                .iter_mut()
                .find(|setting| Some(setting.key.as_str()) == arg.get_long());
            match known {
                Some(known) => known
                    .commands
                    .push((command.get_name().to_owned(), arg.clone())),
                None => settings.push(setting(arg, Some(command.get_name()))),
            }
        }
    }
    settings
}

/// The commands that people use.
pub(crate) fn commands(grammar: &Command) -> impl Iterator<Item = &Command> {
    grammar
        .get_subcommands()
        .filter(|command| !command.is_hide_set())
}

/// The flags of one command that are settings.
pub(crate) fn settings_in(command: &Command) -> impl Iterator<Item = &Arg> {
    command
        .get_arguments()
        .filter(|arg| arg.get_env().is_some() && arg.get_long().is_some())
}

/// Whether a flag takes several values.
pub(crate) fn is_list(arg: &Arg) -> bool {
    matches!(arg.get_action(), clap::ArgAction::Append)
}

/// The default values of a flag.
pub(crate) fn defaults_of(arg: &Arg) -> Vec<String> {
    arg.get_default_values()
        .iter()
        .map(|value| value.to_string_lossy().into_owned())
        .collect()
}

fn setting(arg: &Arg, command: Option<&str>) -> Setting {
    Setting {
        key: arg.get_long().unwrap_or_default().to_owned(),
        env: arg
            .get_env()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default(),
        help: arg.get_help().map(ToString::to_string).unwrap_or_default(),
        commands: command
            .map(|name| (name.to_owned(), arg.clone()))
            .into_iter()
            .collect(),
        arg: arg.clone(),
    }
}
