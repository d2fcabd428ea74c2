//! The shim: becomes the command, once the kernel has promised to kill it with its
//! supervisor. Linux alone has this promise.
//!
//! A supervisor that was killed cannot end its command. The kernel can: it signals
//! a process whose parent has died, if the process has asked for that. A command
//! does not ask, so this program asks in its place and then replaces itself by the
//! command. The request survives the replacement, unless the command is a program
//! with raised privileges (setuid, capabilities).

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{Pid, Signal, getpid, getppid, set_parent_process_death_signal};

use super::{NOT_STARTED, cannot_start, fail};

/// The hidden subcommand. Its first argument is the supervisor's process id.
pub(super) const SUBCOMMAND: &str = "__supervised";

/// The command that becomes `program` under this supervisor.
pub(super) fn command(program: &OsString, arguments: &[OsString]) -> Command {
    // This program even after its file was replaced by an upgrade.
    let mut shim = Command::new("/proc/self/exe");
    shim.arg(SUBCOMMAND)
        .arg(getpid().to_string())
        .arg(program)
        .args(arguments);
    shim
}

/// Becomes the command. Returns the code to exit with if that is not possible.
pub(super) fn run(mut arguments: impl Iterator<Item = OsString>) -> u8 {
    let supervisor = arguments
        .next()
        .and_then(|pid| Pid::from_raw(pid.to_str()?.parse().ok()?));
    let Some(program) = arguments.next() else {
        return fail("nothing to supervise", &"no command", NOT_STARTED);
    };
    if let Err(error) = set_parent_process_death_signal(Some(Signal::KILL)) {
        let error = io::Error::from(error);
        return fail("supervision failed", &error, NOT_STARTED);
    }
    // The supervisor may have died before the request.
    if getppid() != supervisor {
        return fail("supervision failed", &"the supervisor is gone", NOT_STARTED);
    }
    let error = Command::new(&program).args(arguments).exec();
    cannot_start(&program, &error)
}
