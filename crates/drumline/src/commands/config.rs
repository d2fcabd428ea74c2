//! `drumline config`: the settings in force, the sample file, the reference.

use crate::cli::tools::Config;
use crate::exit::{Exit, Failure, Result};
use crate::output::Output;
use crate::settings::file::File;
use crate::settings::report::{self, InForce};
use crate::settings::sample;

/// Prints the requested form.
pub(crate) fn run(out: Output, config: &Config, file: &File) -> Result<Exit> {
    if config.sample {
        out.line(sample::toml().trim_end())?;
        return Ok(Exit::Ok);
    }
    if config.reference {
        out.line(sample::reference().trim_end())?;
        return Ok(Exit::Ok);
    }
    let report = if config.command.is_empty() {
        report::of_all(file)
    } else {
        report::of_command_line(&config.command, file)
    };
    let report = report.map_err(|error| Failure::new(Exit::Usage, error.to_string()))?;
    if out.is_json() {
        for setting in &report {
            out.json(setting)?;
        }
    } else {
        out.line(&text(&report))?;
    }
    Ok(Exit::Ok)
}

/// The settings as a user would write them into the file, with the source
/// behind each. A value that all commands share stands outside of the tables.
fn text(report: &[InForce]) -> String {
    let mut by_key: Vec<(&str, Vec<&InForce>)> = Vec::new();
    for setting in report {
        match by_key.iter_mut().find(|(key, _)| *key == setting.key) {
            Some((_, all)) => all.push(setting),
            None => by_key.push((&setting.key, vec![setting])),
        }
    }
    let mut top = Vec::new();
    let mut tables: Vec<(&str, Vec<String>)> = Vec::new();
    for (_, all) in by_key {
        if let Some(setting) = agreed(&all) {
            top.push(line(setting));
            continue;
        }
        for setting in all {
            let name = setting.command.as_deref().unwrap_or_default();
            match tables.iter_mut().find(|(table, _)| *table == name) {
                Some((_, lines)) => lines.push(line(setting)),
                None => tables.push((name, vec![line(setting)])),
            }
        }
    }
    let tables = tables
        .into_iter()
        .map(|(name, lines)| format!("\n\n[{name}]\n{}", lines.join("\n")));
    top.join("\n") + &tables.collect::<String>()
}

/// The value that all commands agree on, if several have a setting.
fn agreed<'a>(all: &[&'a InForce]) -> Option<&'a InForce> {
    let (first, rest) = all.split_first()?;
    if rest.is_empty() && first.command.is_some() {
        return None;
    }
    let mut set = all.iter().filter(|setting| !setting.values.is_empty());
    let one = set.next().copied().unwrap_or(first);
    set.all(|other| other.values == one.values && other.source == one.source)
        .then_some(one)
}

fn line(setting: &InForce) -> String {
    let text = setting.as_toml();
    if setting.values.is_empty() {
        text
    } else {
        format!("{text:<48} # {}", setting.source)
    }
}
