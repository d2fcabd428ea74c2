//! The supervisor alone: for programs that embed the worker and cannot be
//! started a second time themselves. See [`drumline_worker::supervise`].

use std::process::ExitCode;

fn main() -> ExitCode {
    // 64: EX_USAGE. It is of no use to people.
    drumline_worker::supervise::run_if_asked(std::env::args_os()).unwrap_or(ExitCode::from(64))
}
