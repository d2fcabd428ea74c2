//! The scripts, each with the file that it is written in.
//!
//! They are called by their hash; the link loads them into every new
//! connection's server, and again when the server says that it has none.

use std::sync::LazyLock;

use redis::{Cmd, Pipeline};

/// Every script that this release has. A field each: none is looked up by name.
#[derive(Debug)]
pub(crate) struct Scripts {
    pub(crate) beat: Script,
    pub(crate) commit: Script,
    pub(crate) create: Script,
    pub(crate) dispatched: Script,
    pub(crate) due: Script,
    pub(crate) marker_returned: Script,
    pub(crate) newest: Script,
    pub(crate) offered: Script,
    pub(crate) renew: Script,
    pub(crate) reoffer: Script,
    pub(crate) report: Script,
    pub(crate) reserve: Script,
    pub(crate) stamp: Script,
    pub(crate) undispatched: Script,
}

/// Their hashes are computed once per process.
pub(crate) static SCRIPTS: LazyLock<Scripts> = LazyLock::new(Scripts::new);

const PRELUDE: &str = include_str!("scripts/prelude.lua");

impl Scripts {
    fn new() -> Self {
        let alone = |body: &str| Script::new(body);
        let with_prelude = |body: &str| Script::new(&format!("{PRELUDE}\n{body}"));
        Self {
            beat: alone(include_str!("scripts/beat.lua")),
            commit: with_prelude(include_str!("scripts/commit.lua")),
            create: with_prelude(include_str!("scripts/create.lua")),
            dispatched: alone(include_str!("scripts/dispatched.lua")),
            due: alone(include_str!("scripts/due.lua")),
            marker_returned: alone(include_str!("scripts/marker_returned.lua")),
            newest: alone(include_str!("scripts/newest.lua")),
            offered: with_prelude(include_str!("scripts/offered.lua")),
            renew: alone(include_str!("scripts/renew.lua")),
            reoffer: with_prelude(include_str!("scripts/reoffer.lua")),
            report: alone(include_str!("scripts/report.lua")),
            reserve: alone(include_str!("scripts/reserve.lua")),
            stamp: alone(include_str!("scripts/stamp.lua")),
            undispatched: alone(include_str!("scripts/undispatched.lua")),
        }
    }

    /// The commands that load all of them.
    pub(crate) fn load(&self) -> Pipeline {
        let Self {
            beat,
            commit,
            create,
            dispatched,
            due,
            marker_returned,
            newest,
            offered,
            renew,
            reoffer,
            report,
            reserve,
            stamp,
            undispatched,
        } = self;
        let all = [
            beat,
            commit,
            create,
            dispatched,
            due,
            marker_returned,
            newest,
            offered,
            renew,
            reoffer,
            report,
            reserve,
            stamp,
            undispatched,
        ];
        let mut commands = redis::pipe();
        for script in all {
            commands.cmd("SCRIPT").arg("LOAD").arg(&script.code);
        }
        commands
    }
}

/// One script.
#[derive(Debug)]
pub(crate) struct Script {
    code: String,
    hash: String,
}

impl Script {
    fn new(code: &str) -> Self {
        Self {
            code: code.to_owned(),
            hash: redis::Script::new(code).get_hash().to_owned(),
        }
    }

    /// A call with these keys; the caller adds the arguments.
    pub(crate) fn call<K: AsRef<[u8]>>(&self, keys: &[K]) -> Cmd {
        let mut command = redis::cmd("EVALSHA");
        command.arg(&self.hash).arg(keys.len());
        for key in keys {
            command.arg(key.as_ref());
        }
        command
    }
}
