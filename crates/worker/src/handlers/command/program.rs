//! Finds the program of a command as the system does when it starts one.

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::Command;

/// The reason that a command cannot be started, as far as the file system shows.
pub(crate) fn missing(command: &Command) -> Option<String> {
    let directory = &command.directory;
    if !directory.is_dir() {
        return Some(format!("directory: {} is not there", directory.display()));
    }
    let program = command.command.first()?;
    if program.contains('/') {
        let path = directory.join(program);
        return match found(&path) {
            Found::Program => None,
            Found::NotExecutable => Some(format!("command: {} cannot be executed", path.display())),
            Found::Nothing => Some(format!("command: {} is not there", path.display())),
        };
    }
    let path = path_of(command);
    let is_there = std::env::split_paths(&path)
        .any(|folder| found(&directory.join(folder).join(program)) == Found::Program);
    (!is_there).then(|| {
        format!(
            "command: there is no program {program:?} in the PATH; \
             a program beside this file is \"./{program}\""
        )
    })
}

#[derive(PartialEq, Eq)]
enum Found {
    Program,
    NotExecutable,
    Nothing,
}

fn found(path: &Path) -> Found {
    match path.metadata() {
        Ok(data) if data.is_file() && data.permissions().mode() & 0o111 != 0 => Found::Program,
        Ok(_) => Found::NotExecutable,
        Err(_) => Found::Nothing,
    }
}

/// The folders that programs are looked for in: the command's own, or the worker's.
#[expect(
    clippy::disallowed_methods,
    reason = "the system looks in the same variable"
)]
fn path_of(command: &Command) -> OsString {
    let mut own = command.environment.iter().rev();
    match own.find(|(name, _value)| name == "PATH") {
        Some((_name, value)) => value.into(),
        None => std::env::var_os("PATH").unwrap_or_default(),
    }
}
