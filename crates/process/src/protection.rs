//! Protection of a process from other processes of its user.

use std::io;

/// Keeps other processes of the same user from reading this process's memory and its
/// environment (`/proc/<pid>/environ`), where passwords are: the commands of handlers
/// are such processes. The process then writes no core dump, and a debugger needs the
/// rights of root. Does nothing on other systems than Linux.
///
/// # Errors
/// When the system refuses it.
#[cfg(target_os = "linux")]
pub fn protect() -> io::Result<()> {
    use rustix::process::{DumpableBehavior, set_dumpable_behavior};
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    Ok(())
}

/// Does nothing: this is a service of Linux.
///
/// # Errors
/// Never.
#[cfg(not(target_os = "linux"))]
pub fn protect() -> io::Result<()> {
    Ok(())
}
