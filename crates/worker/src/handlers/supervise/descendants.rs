//! The processes that a command has started, found in `/proc`. Linux alone has what
//! this needs.
//!
//! ```text
//! supervisor (subreaper) ─→ command ─→ child ─→ … ┐ all of them are descendants of
//!            └─→ a process whose parent has ended ┘ the supervisor, whatever their group
//! ```
//!
//! A process that leaves its group or its session stays a descendant. When its
//! parent ends, it becomes a child of the nearest subreaper above it.
//!
//! A supervisor that was killed leaves no tree. The worker then finds the processes
//! by their environment, which every process inherits: see [`Marks`].

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, getpid, kill_process, pidfd_open, pidfd_send_signal,
};

/// One process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Process {
    parent: i32,
    /// True if the process has ended, and its parent has yet to notice.
    is_zombie: bool,
}

/// Makes this process the parent of every descendant whose own parent ends.
pub(super) fn adopt_orphans() {
    // A kernel that refuses leaves the process group, which is signalled as well.
    let _refused = rustix::process::set_child_subreaper(Some(getpid()));
}

/// Kills every descendant of this process. Returns true if at least one of them is
/// still about to end. None of these can start another process any more.
///
/// Leaves the processes of other users alone, which no signal of this process ends.
pub(super) fn kill_all() -> bool {
    let mut asked = BTreeSet::new();
    let mut is_left = false;
    loop {
        let all = all();
        let found = below(&all, &[getpid().as_raw_nonzero().get()]);
        let new: Vec<_> = found.difference(&asked).copied().collect();
        // A process with a pending SIGKILL cannot fork. So a pass that finds no new
        // process has found all of them.
        if new.is_empty() {
            return is_left;
        }
        for pid in new {
            let parent = all.get(&pid).map(|process| process.parent);
            match kill(pid, || parent_of(pid) == parent) {
                Killed::Yes => is_left = true,
                Killed::Refused => {}
                // Its parent has just ended, or the process itself has.
                Killed::Changed => continue,
            }
            asked.insert(pid);
        }
    }
}

/// The variables that mark the processes of one run.
#[derive(Clone, Debug)]
pub(crate) struct Marks(Vec<Vec<u8>>);

impl Marks {
    /// The marks `NAME=VALUE` of these variables.
    pub(crate) fn new(variables: &[(&str, String)]) -> Self {
        let mark = |(name, value): &(&str, String)| format!("{name}={value}").into_bytes();
        Self(variables.iter().map(mark).collect())
    }

    /// Kills the processes that have all of these variables in their environment, and
    /// the descendants of such processes. Returns the number of processes that are
    /// about to end.
    ///
    /// Finds no process that has cleared its environment, and none of another user.
    pub(crate) fn kill_marked(&self) -> usize {
        let all = all();
        let marked: Vec<_> = all
            .iter()
            .filter(|(pid, process)| !process.is_zombie && self.are_of(**pid))
            .map(|(pid, _process)| *pid)
            .collect();
        let mut found = below(&all, &marked);
        found.extend(&marked);
        let is_left = |pid: &&i32| {
            let parent = all.get(*pid).map(|process| process.parent);
            let killed = kill(**pid, || self.are_of(**pid) || parent_of(**pid) == parent);
            !matches!(killed, Killed::Refused)
        };
        found.iter().filter(is_left).count()
    }

    fn are_of(&self, pid: i32) -> bool {
        let Ok(environment) = fs::read(format!("/proc/{pid}/environ")) else {
            return false;
        };
        let variables: BTreeSet<_> = environment.split(|byte| *byte == 0).collect();
        self.0
            .iter()
            .all(|mark| variables.contains(mark.as_slice()))
    }
}

/// All processes of the machine that this user may see.
fn all() -> BTreeMap<i32, Process> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return BTreeMap::new();
    };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|pid| Some((pid, process(pid)?)))
        .collect()
}

/// Reads `PID (NAME) STATE PARENT …`. The name may contain anything.
fn process(pid: i32) -> Option<Process> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let stat = String::from_utf8_lossy(&stat);
    let (_name, rest) = stat.rsplit_once(") ")?;
    let mut words = rest.split(' ');
    let state = words.next()?;
    Some(Process {
        is_zombie: matches!(state, "Z" | "X"),
        parent: words.next()?.parse().ok()?,
    })
}

fn parent_of(pid: i32) -> Option<i32> {
    process(pid).map(|process| process.parent)
}

/// The living descendants of these processes, without the processes themselves.
fn below(all: &BTreeMap<i32, Process>, roots: &[i32]) -> BTreeSet<i32> {
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for (pid, process) in all {
        children.entry(process.parent).or_default().push(*pid);
    }
    let mut found = BTreeSet::new();
    let mut next = roots.to_vec();
    while let Some(parent) = next.pop() {
        for child in children.get(&parent).into_iter().flatten() {
            let lives = all.get(child).is_some_and(|process| !process.is_zombie);
            if lives && found.insert(*child) {
                next.push(*child);
            }
        }
    }
    found
}

/// The result of killing a process.
enum Killed {
    /// The process has the signal.
    Yes,
    /// The process belongs to another user.
    Refused,
    /// The number belongs to another process by now, or to none, or the process has
    /// another parent.
    Changed,
}

/// Kills a process, unless its number belongs to another process by now.
fn kill(pid: i32, is_still_it: impl Fn() -> bool) -> Killed {
    let Some(pid) = Pid::from_raw(pid) else {
        return Killed::Changed;
    };
    let sent = match pidfd_open(pid, PidfdFlags::empty()) {
        // The handle stays with the process, so nothing can change after the look.
        Ok(handle) if is_still_it() => pidfd_send_signal(handle, Signal::KILL),
        Err(Errno::NOSYS) if is_still_it() => kill_process(pid, Signal::KILL),
        Ok(_) | Err(_) => return Killed::Changed,
    };
    match sent {
        Ok(()) => Killed::Yes,
        Err(Errno::PERM) => Killed::Refused,
        Err(_) => Killed::Changed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_a_child_of_its_parent() {
        let all = all();
        let own = getpid().as_raw_nonzero().get();
        let parent = all[&own].parent;
        assert!(below(&all, &[parent]).contains(&own));
        assert!(!below(&all, &[own]).contains(&own));
    }

    #[test]
    fn a_mark_is_a_whole_variable() {
        let own = getpid().as_raw_nonzero().get();
        let path = fs::read(format!("/proc/{own}/environ")).unwrap();
        let path = path
            .split(|byte| *byte == 0)
            .find(|v| v.starts_with(b"PATH="));
        let path = String::from_utf8(path.unwrap()[5..].to_vec()).unwrap();
        let marks = |value: &str| Marks::new(&[("PATH", value.to_owned())]);
        assert!(marks(&path).are_of(own));
        assert!(!marks(&path[1..]).are_of(own));
        assert!(!marks(&format!("{path}:")).are_of(own));
    }
}
