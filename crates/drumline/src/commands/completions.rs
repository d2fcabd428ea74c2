//! `drumline completions`: the script with which a shell completes commands and flags.

use clap::{Command, CommandFactory as _};
use clap_complete::{Shell, generate};

use crate::cli::Cli;
use crate::cli::tools::{CompletedShell, Completions};
use crate::exit::{Exit, Failure, Result};
use crate::output;

/// Prints the script.
pub(crate) fn run(completions: &Completions) -> Result<Exit> {
    let shell = match completions.shell {
        CompletedShell::Bash => Shell::Bash,
        CompletedShell::Zsh => Shell::Zsh,
        CompletedShell::Fish => Shell::Fish,
    };
    let mut script = Vec::new();
    generate(shell, &mut for_people(), "drumline", &mut script);
    let script =
        String::from_utf8(script).map_err(|error| Failure::caused(Exit::Internal, error))?;
    output::line(script.trim_end())?;
    Ok(Exit::Ok)
}

/// The grammar without the commands that `--help` leaves out, too.
fn for_people() -> Command {
    let whole = Cli::command();
    let arguments = whole.get_arguments().cloned();
    let commands = whole.get_subcommands();
    let commands = commands.filter(|command| !command.is_hide_set()).cloned();
    Command::new("drumline")
        .args(arguments.collect::<Vec<_>>())
        .subcommands(commands.collect::<Vec<_>>())
        .disable_help_subcommand(true)
}
