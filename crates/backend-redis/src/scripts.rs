//! The scripts, each with the file that it is written in.
//!
//! Scripts are called by their hash. The link loads those that the server does not
//! have with every new connection, and again when the server reports that it has
//! none.

use std::sync::LazyLock;

use redis::{Arg, Cmd, Pipeline};

mod compact;
mod placing;

/// Every script of this release. A field each: none is looked up by name.
#[derive(Debug)]
pub(crate) struct Scripts {
    pub(crate) acquire_permit: Script,
    pub(crate) append_audit: Script,
    pub(crate) add_failures: Script,
    pub(crate) add_rollup: Script,
    pub(crate) ask_to_drain: Script,
    pub(crate) beat: Script,
    pub(crate) chain_place: Script,
    pub(crate) check_chain: Script,
    pub(crate) check_leftover: Script,
    pub(crate) check_records: Script,
    pub(crate) check_reservation: Script,
    pub(crate) check_sets: Script,
    pub(crate) commit: Script,
    pub(crate) copy_pauses: Script,
    pub(crate) create: Script,
    pub(crate) due: Script,
    pub(crate) ended: Script,
    pub(crate) ended_since: Script,
    pub(crate) enter_offered: Script,
    pub(crate) history: Script,
    pub(crate) idle_queues: Script,
    pub(crate) index_sizes: Script,
    pub(crate) last_offer: Script,
    pub(crate) leave: Script,
    pub(crate) lift_ended_pauses: Script,
    pub(crate) marker_returned: Script,
    pub(crate) members: Script,
    pub(crate) newest: Script,
    pub(crate) newest_with: Script,
    pub(crate) notice_later: Script,
    pub(crate) notices: Script,
    pub(crate) offered: Script,
    pub(crate) outbox_entries: Script,
    pub(crate) pause_copies: Script,
    pub(crate) put_action: Script,
    pub(crate) raise_tick: Script,
    pub(crate) raise_ticks: Script,
    pub(crate) rebuilt: Script,
    pub(crate) recount: Script,
    pub(crate) reindex: Script,
    pub(crate) release_held: Script,
    pub(crate) release_permit: Script,
    pub(crate) remove_actions: Script,
    pub(crate) remove_from_outbox: Script,
    pub(crate) renew: Script,
    pub(crate) renew_permit: Script,
    pub(crate) reoffer: Script,
    pub(crate) repair: Script,
    pub(crate) report: Script,
    pub(crate) reserve: Script,
    pub(crate) runnable: Script,
    pub(crate) set_pause: Script,
    pub(crate) settle_queue: Script,
    pub(crate) stamp: Script,
    pub(crate) transact: Script,
    pub(crate) with_work: Script,
    pub(crate) use_queue: Script,
}

/// The scripts, with their hashes computed once per process.
pub(crate) static SCRIPTS: LazyLock<Scripts> = LazyLock::new(Scripts::new);

const LIB_BUCKETS: &str = include_str!("scripts/lib_buckets.lua");
const LIB_BUCKET_CHANGES: &str = include_str!("scripts/lib_bucket_changes.lua");
const PRELUDE: &str = include_str!("scripts/prelude.lua");
const LIB_USAGE: &str = include_str!("scripts/lib_usage.lua");
const LIB_USAGE_OF_COMMITS: &str = include_str!("scripts/lib_usage_of_commits.lua");
const LIB_CHECK: &str = include_str!("scripts/lib_check.lua");
const LIB_RECORD: &str = include_str!("scripts/lib_record.lua");
const LIB_FLOWS: &str = include_str!("scripts/lib_flows.lua");
const LIB_INDEXES: &str = include_str!("scripts/lib_indexes.lua");
const LIB_PAUSES: &str = include_str!("scripts/lib_pauses.lua");
const LIB_CREATE: &str = include_str!("scripts/lib_create.lua");
const LIB_COMMIT: &str = include_str!("scripts/lib_commit.lua");
const LIB_MEMBERS: &str = include_str!("scripts/lib_members.lua");
const LIB_MEMBERS_CHANGES: &str = include_str!("scripts/lib_members_changes.lua");
const WINDOW: &str = include_str!("scripts/window.lua");

impl Scripts {
    fn new() -> Self {
        let alone = |body: &str| Script::new(body);
        let with_buckets =
            |parts: &[&str]| Script::new(&[&[LIB_BUCKETS], parts].concat().join("\n"));
        let prelude = [LIB_BUCKETS, LIB_BUCKET_CHANGES, PRELUDE].join("\n");
        let with_prelude =
            |parts: &[&str]| Script::new(&compact::around(&prelude, &parts.join("\n")));
        let with_members =
            |parts: &[&str]| Script::new(&[&[LIB_MEMBERS], parts].concat().join("\n"));
        let with_check = |body: &'static str| with_prelude(&[LIB_INDEXES, LIB_CHECK, body]);
        let with_window = |body: &str| Script::new(&format!("{WINDOW}\n{body}"));
        Self {
            acquire_permit: with_window(include_str!("scripts/acquire_permit.lua")),
            append_audit: alone(include_str!("scripts/append_audit.lua")),
            add_failures: alone(include_str!("scripts/add_failures.lua")),
            add_rollup: alone(include_str!("scripts/add_rollup.lua")),
            ask_to_drain: alone(include_str!("scripts/ask_to_drain.lua")),
            beat: with_members(&[
                include_str!("scripts/beat.lua"),
                LIB_MEMBERS_CHANGES,
                include_str!("scripts/beat_changes.lua"),
            ]),
            chain_place: with_prelude(&[include_str!("scripts/chain_place.lua")]),
            check_chain: with_check(include_str!("scripts/check_chain.lua")),
            check_leftover: alone(include_str!("scripts/check_leftover.lua")),
            check_records: with_check(include_str!("scripts/check_records.lua")),
            check_reservation: alone(include_str!("scripts/check_reservation.lua")),
            check_sets: with_check(include_str!("scripts/check_sets.lua")),
            commit: with_prelude(&[
                LIB_USAGE,
                LIB_RECORD,
                LIB_INDEXES,
                LIB_PAUSES,
                LIB_COMMIT,
                LIB_USAGE_OF_COMMITS,
                include_str!("scripts/commit.lua"),
            ]),
            copy_pauses: alone(include_str!("scripts/copy_pauses.lua")),
            create: with_prelude(&[
                LIB_USAGE,
                LIB_RECORD,
                LIB_INDEXES,
                LIB_PAUSES,
                LIB_CREATE,
                include_str!("scripts/create.lua"),
            ]),
            due: alone(include_str!("scripts/due.lua")),
            ended: with_buckets(&[include_str!("scripts/ended.lua")]),
            ended_since: with_buckets(&[include_str!("scripts/ended_since.lua")]),
            enter_offered: with_prelude(&[include_str!("scripts/enter_offered.lua")]),
            history: with_prelude(&[include_str!("scripts/history.lua")]),
            idle_queues: alone(include_str!("scripts/idle_queues.lua")),
            index_sizes: with_prelude(&[LIB_INDEXES, include_str!("scripts/index_sizes.lua")]),
            last_offer: with_prelude(&[include_str!("scripts/last_offer.lua")]),
            leave: with_members(&[LIB_MEMBERS_CHANGES, include_str!("scripts/leave.lua")]),
            lift_ended_pauses: alone(include_str!("scripts/lift_ended_pauses.lua")),
            marker_returned: alone(include_str!("scripts/marker_returned.lua")),
            members: alone(include_str!("scripts/members.lua")),
            newest: with_buckets(&[include_str!("scripts/newest.lua")]),
            newest_with: with_prelude(&[LIB_INDEXES, include_str!("scripts/newest_with.lua")]),
            notice_later: alone(include_str!("scripts/notice_later.lua")),
            notices: alone(include_str!("scripts/notices.lua")),
            offered: with_prelude(&[include_str!("scripts/offered.lua")]),
            outbox_entries: with_prelude(&[LIB_FLOWS, include_str!("scripts/outbox_entries.lua")]),
            pause_copies: with_buckets(&[include_str!("scripts/pause_copies.lua")]),
            put_action: alone(include_str!("scripts/put_action.lua")),
            raise_tick: with_buckets(&[include_str!("scripts/raise_tick.lua")]),
            raise_ticks: alone(include_str!("scripts/raise_ticks.lua")),
            rebuilt: alone(include_str!("scripts/rebuilt.lua")),
            recount: with_prelude(&[
                LIB_USAGE,
                LIB_INDEXES,
                LIB_CHECK,
                include_str!("scripts/recount.lua"),
            ]),
            reindex: with_prelude(&[
                LIB_USAGE,
                LIB_RECORD,
                LIB_INDEXES,
                include_str!("scripts/reindex.lua"),
            ]),
            release_held: with_prelude(&[LIB_PAUSES, include_str!("scripts/release_held.lua")]),
            release_permit: with_window(include_str!("scripts/release_permit.lua")),
            remove_actions: alone(include_str!("scripts/remove_actions.lua")),
            remove_from_outbox: with_prelude(&[include_str!("scripts/remove_from_outbox.lua")]),
            renew: alone(include_str!("scripts/renew.lua")),
            renew_permit: with_window(include_str!("scripts/renew_permit.lua")),
            reoffer: with_prelude(&[include_str!("scripts/reoffer.lua")]),
            repair: with_check(include_str!("scripts/repair.lua")),
            report: with_prelude(&[
                LIB_USAGE,
                LIB_RECORD,
                LIB_INDEXES,
                include_str!("scripts/report.lua"),
            ]),
            reserve: alone(include_str!("scripts/reserve.lua")),
            runnable: with_prelude(&[LIB_FLOWS, include_str!("scripts/runnable.lua")]),
            set_pause: alone(include_str!("scripts/set_pause.lua")),
            settle_queue: alone(include_str!("scripts/settle_queue.lua")),
            stamp: alone(include_str!("scripts/stamp.lua")),
            transact: with_prelude(&[
                LIB_USAGE,
                LIB_RECORD,
                LIB_INDEXES,
                LIB_PAUSES,
                LIB_CREATE,
                LIB_COMMIT,
                LIB_USAGE_OF_COMMITS,
                include_str!("scripts/transact.lua"),
            ]),
            use_queue: alone(include_str!("scripts/use_queue.lua")),
            with_work: with_buckets(&[include_str!("scripts/with_work.lua")]),
        }
    }

    /// The command that asks which of them the server has.
    pub(crate) fn exist(&self) -> Cmd {
        let mut command = redis::cmd("SCRIPT");
        command.arg("EXISTS");
        for script in self.all() {
            command.arg(&script.hash);
        }
        command
    }

    /// The commands that load those that the server does not have, by its answer to
    /// [`Self::exist`].
    pub(crate) fn load(&self, known: &[bool]) -> Pipeline {
        let mut commands = redis::pipe();
        for (script, is_known) in self.all().into_iter().zip(known) {
            if !is_known {
                commands.add_command(script.load());
            }
        }
        commands
    }

    /// Returns true if none of the commands issues a number of the store: they are plain
    /// ones, or scripts that change nothing.
    pub(crate) fn only_read(&self, commands: &Pipeline) -> bool {
        commands.cmd_iter().all(|command| {
            let mut words = command.args_iter();
            if words.next() != Some(Arg::Simple(b"EVALSHA")) {
                return true;
            }
            let hash = words.next();
            let is_it = |script: &&Script| hash == Some(Arg::Simple(script.hash.as_bytes()));
            self.reading().iter().any(is_it)
        })
    }

    /// Those that callers read with, and that issue nothing. Those of a check write when
    /// they are to repair.
    const fn reading(&self) -> [&Script; 14] {
        [
            &self.chain_place,
            &self.check_chain,
            &self.check_leftover,
            &self.check_records,
            &self.check_reservation,
            &self.check_sets,
            &self.ended,
            &self.ended_since,
            &self.history,
            &self.index_sizes,
            &self.members,
            &self.newest,
            &self.newest_with,
            &self.recount,
        ]
    }

    fn all(&self) -> Vec<&Script> {
        let Self {
            acquire_permit,
            append_audit,
            add_failures,
            add_rollup,
            ask_to_drain,
            beat,
            chain_place,
            check_chain,
            check_leftover,
            check_records,
            check_reservation,
            check_sets,
            commit,
            copy_pauses,
            create,
            due,
            ended,
            ended_since,
            enter_offered,
            history,
            idle_queues,
            index_sizes,
            last_offer,
            leave,
            lift_ended_pauses,
            marker_returned,
            members,
            newest,
            newest_with,
            notice_later,
            notices,
            offered,
            outbox_entries,
            pause_copies,
            put_action,
            raise_tick,
            raise_ticks,
            rebuilt,
            recount,
            reindex,
            release_held,
            release_permit,
            remove_actions,
            remove_from_outbox,
            renew,
            renew_permit,
            reoffer,
            repair,
            report,
            reserve,
            runnable,
            set_pause,
            settle_queue,
            stamp,
            transact,
            use_queue,
            with_work,
        } = self;
        vec![
            acquire_permit,
            append_audit,
            add_failures,
            add_rollup,
            ask_to_drain,
            beat,
            chain_place,
            check_chain,
            check_leftover,
            check_records,
            check_reservation,
            check_sets,
            commit,
            copy_pauses,
            create,
            due,
            ended,
            ended_since,
            enter_offered,
            history,
            idle_queues,
            index_sizes,
            last_offer,
            leave,
            lift_ended_pauses,
            marker_returned,
            members,
            newest,
            newest_with,
            notice_later,
            notices,
            offered,
            outbox_entries,
            pause_copies,
            put_action,
            raise_tick,
            raise_ticks,
            rebuilt,
            recount,
            reindex,
            release_held,
            release_permit,
            remove_actions,
            remove_from_outbox,
            renew,
            renew_permit,
            reoffer,
            repair,
            report,
            reserve,
            runnable,
            set_pause,
            settle_queue,
            stamp,
            transact,
            use_queue,
            with_work,
        ]
    }
}

/// One script.
#[derive(Debug)]
pub(crate) struct Script {
    code: String,
    hash: String,
}

impl Script {
    pub(crate) fn new(code: &str) -> Self {
        let code = compact::compact(&replaced::parts_of(code));
        Self {
            hash: redis::Script::new(&code).get_hash().to_owned(),
            code,
        }
    }

    /// The name by which a server knows it.
    #[cfg(test)]
    pub(crate) fn hash(&self) -> &str {
        &self.hash
    }

    /// The command that loads it.
    pub(crate) fn load(&self) -> Cmd {
        let mut command = redis::cmd("SCRIPT");
        command.arg("LOAD").arg(&self.code);
        command
    }

    /// Makes a call with these keys; the caller adds the arguments.
    pub(crate) fn call<K: AsRef<[u8]>>(&self, keys: &[K]) -> Cmd {
        let mut command = redis::cmd("EVALSHA");
        command.arg(&self.hash).arg(keys.len());
        for key in keys {
            command.arg(key.as_ref());
        }
        command
    }
}

/// Replaces files of the scripts, for measurements of the tests. A build without debug
/// assertions has none of it.
///
/// With `DRUMLINE_TEST_LUA=folder`, the text of `folder/is/NAME` takes the place of the
/// text of `folder/was/NAME` in every script that has it.
mod replaced {
    #[cfg(not(debug_assertions))]
    pub(super) fn parts_of(code: &str) -> String {
        code.to_owned()
    }

    #[cfg(debug_assertions)]
    pub(super) fn parts_of(code: &str) -> String {
        FILES.iter().fold(code.to_owned(), |code, (was, is)| {
            // A text that is no script's is in none.
            code.replace(was, is)
        })
    }

    #[cfg(debug_assertions)]
    static FILES: std::sync::LazyLock<Vec<(String, String)>> = std::sync::LazyLock::new(|| {
        #[expect(
            clippy::disallowed_methods,
            reason = "a measurement of the tests is no setting"
        )]
        let folder = std::env::var("DRUMLINE_TEST_LUA");
        folder.map_or_else(|_| Vec::new(), |folder| read(folder.as_ref()))
    });

    /// Reads the pairs of files. One that cannot be read would make a measurement of
    /// something else.
    #[cfg(debug_assertions)]
    #[expect(
        clippy::expect_used,
        reason = "no measurement is better than a false one"
    )]
    fn read(folder: &std::path::Path) -> Vec<(String, String)> {
        let text = |path| std::fs::read_to_string(path).expect("a text of DRUMLINE_TEST_LUA");
        let files = std::fs::read_dir(folder.join("was")).expect("the folder was");
        files
            .map(|file| {
                let name = file.expect("a file").file_name();
                (
                    text(folder.join("was").join(&name)),
                    text(folder.join("is").join(&name)),
                )
            })
            .collect()
    }
}
