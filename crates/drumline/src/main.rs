//! `drumline`: the one binary. Concrete backends are named in `run/backend`, and
//! in `doctor`, which examines them.
//!
//! ```text
//! settings ─ cli ─┬─ run       dev, standalone, queue-manager, worker: processes that stay
//!                 ├─ commands  submit, get, list, …: over HTTP, by `drumline-client`
//!                 ├─ doctor    are the servers fit?
//!                 ├─ bench     how fast are they?
//!                 └─ drill     are the promises kept when processes die?
//! ```
//!
//! The answer of a command goes to standard output, everything else to standard
//! error; the exit code tells how it ended ([`exit`]).

mod bench;
mod check;
mod check_handler;
mod cli;
mod client_error;
mod commands;
mod doctor;
mod drill;
mod exit;
mod index;
mod keys;
mod output;
mod run;
mod settings;
mod transfer;

use std::ffi::OsString;
use std::process::ExitCode;

use drumline_client::BulkAction as Act;
use mimalloc::MiMalloc;

use crate::cli::client::Remote;
use crate::cli::control::Control;
use crate::cli::values::Format;
use crate::cli::{Cli, Command, Global};
use crate::commands::{Caller, Session};
use crate::exit::{Exit, Failure, Result};
use crate::output::Output;
use crate::output::time::Now;
use crate::settings::{Settings, Stop};

/// The allocator of this program. The libraries choose none.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    // Handlers' commands run under a second process of this program.
    if let Some(exit) = drumline_worker::supervise::run_if_asked(arguments.clone()) {
        return exit;
    }
    let settings = match settings::load(&arguments) {
        Ok(settings) => settings,
        Err(stop) => return tell(stop, settings::format_in(&arguments)).into(),
    };
    let format = settings.format;
    match dispatch(settings) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            if failure.exit != Exit::Ok {
                output::error(format, &failure);
            }
            failure.exit.into()
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place where a command learns the time"
)]
fn now() -> Now {
    Now(std::time::SystemTime::now().into())
}

/// Explains why there is no command to run.
fn tell(stop: Stop, format: Format) -> Exit {
    match stop {
        Stop::CommandLine(error) if error.use_stderr() && format == Format::Json => {
            let text = error.render().to_string();
            let text = text.trim().trim_start_matches("error: ").to_owned();
            output::error(format, &Failure::new(Exit::Usage, text));
            Exit::Usage
        }
        Stop::CommandLine(error) => {
            // The terminal is gone: there is nothing to print to.
            let _nobody = error.print();
            if error.use_stderr() {
                Exit::Usage
            } else {
                Exit::Ok
            }
        }
        Stop::File(mistakes) => {
            for mistake in &mistakes {
                output::error(format, &Failure::new(Exit::Usage, mistake.to_string()));
            }
            Exit::Usage
        }
    }
}

fn dispatch(settings: Settings) -> Result<Exit> {
    let Settings {
        cli,
        file,
        format: _,
    } = settings;
    let Cli { global, command } = cli;
    let caller = Caller {
        now: now(),
        traceparent: settings::variable("TRACEPARENT"),
        parent: settings::variable("DRUMLINE_OPERATION_ID").and_then(|id| id.parse().ok()),
    };
    // Users of TLS need it: reqwest, lapin, the exporter. A second call would
    // report that there is one, which is as good.
    let _already_there = rustls::crypto::ring::default_provider().install_default();
    match command {
        Command::Completions(completions) => commands::completions::run(&completions),
        Command::Config(config) => {
            let out = Output::new(config.output.output, caller.now);
            commands::config::run(out, &config, &file)
        }
        Command::Submit(submit) => with_session(&submit.remote, &caller, async |session| {
            commands::submit::run(session, &submit).await
        }),
        Command::Execute(execute) => with_session(&execute.remote, &caller, async |session| {
            commands::execute::run(session, &execute).await
        }),
        Command::Get(get) => with_session(&get.remote, &caller, async |session| {
            commands::get::run(session, &get).await
        }),
        Command::Explain(explain) => with_session(&explain.remote, &caller, async |session| {
            commands::explain::run(session, &explain).await
        }),
        Command::Top(top) => with_session(&top.remote, &caller, async |session| {
            commands::top::run(session, &top).await
        }),
        Command::Stats(stats) => with_session(&stats.remote, &caller, async |session| {
            commands::stats::run(session, &stats).await
        }),
        Command::Failures(failures) => with_session(&failures.remote, &caller, async |session| {
            commands::stats::failures(session, &failures).await
        }),
        Command::Mute(mute) => with_session(&mute.remote, &caller, async |session| {
            commands::stats::mute(session, &mute).await
        }),
        Command::Unmute(unmute) => with_session(&unmute.remote, &caller, async |session| {
            commands::stats::unmute(session, &unmute).await
        }),
        Command::History(history) => with_session(&history.remote, &caller, async |session| {
            commands::history::run(session, &history).await
        }),
        Command::Attempts(attempts) => with_session(&attempts.remote, &caller, async |session| {
            commands::attempts::run(session, &attempts).await
        }),
        Command::List(list) => with_session(&list.remote, &caller, async |session| {
            commands::list::run(session, &list).await
        }),
        Command::Audit(audit) => with_session(&audit.remote, &caller, async |session| {
            commands::audit::run(session, &audit).await
        }),
        Command::Wait(wait) => with_session(&wait.remote, &caller, async |session| {
            commands::wait::run(session, &wait).await
        }),
        Command::Events(events) => with_session(&events.remote, &caller, async |session| {
            commands::events::run(session, &events).await
        }),
        Command::Cancel(control) => act(&control, Act::Cancel, &caller),
        Command::Pause(pause) => with_session(&pause.remote, &caller, async |session| {
            commands::pauses::pause(session, &pause).await
        }),
        Command::Resume(resume) => with_session(&resume.remote, &caller, async |session| {
            commands::pauses::resume(session, &resume).await
        }),
        Command::Pauses(pauses) => with_session(&pauses.remote, &caller, async |session| {
            commands::pauses::list(session).await
        }),
        Command::Actions(actions) => with_session(&actions.remote, &caller, async |session| {
            commands::actions::run(session, &actions).await
        }),
        Command::Backup(backup) => with_session(&backup.remote, &caller, async |session| {
            commands::backup::run(session, &backup).await
        }),
        Command::Freeze(freeze) => with_session(&freeze.remote, &caller, async |session| {
            commands::freeze::freeze(session, &freeze).await
        }),
        Command::Thaw(thaw) => with_session(&thaw.remote, &caller, async |session| {
            commands::freeze::thaw(session).await
        }),
        Command::Delete(control) => act(&control, Act::Delete, &caller),
        Command::RunAgain(again) => with_session(&again.remote, &caller, async |session| {
            commands::run_again::run(session, &again).await
        }),
        Command::Postpone(postpone) => with_session(&postpone.remote, &caller, async |session| {
            commands::postpone::run(session, &postpone).await
        }),
        Command::Update(update) => with_session(&update.remote, &caller, async |session| {
            commands::update::run(session, &update).await
        }),
        Command::Purge(purge) => with_session(&purge.remote, &caller, async |session| {
            commands::purge::run(session, &purge).await
        }),
        Command::Dev(dev) => {
            run::listen::check(&dev.http)?;
            run::process(&global, "drumline-dev", async || run::dev::run(&dev).await)
        }
        Command::Standalone(standalone) => {
            run::listen::check(&standalone.process.http)?;
            run::process(&global, "drumline-standalone", async || {
                run::standalone::run(&standalone).await
            })
        }
        Command::QueueManager(manager) => {
            run::listen::check(&manager.http)?;
            run::process(&global, "drumline-queue-manager", async || {
                run::queue_manager::run(&manager).await
            })
        }
        Command::Worker(worker) => run::process(&global, "drumline-worker", async || {
            run::worker::run(&worker).await
        }),
        Command::CheckHandler(check) => {
            // The worker's log has what the checks are about.
            let global = Global {
                log: "error".to_owned(),
                ..global
            };
            let out = Output::new(check.output.output, caller.now);
            run::process(&global, "drumline-check-handler", async || {
                check_handler::run(&check, out).await
            })
        }
        Command::Bench(bench) => {
            // The services' logs are of no interest here.
            let global = Global {
                log: "warn".to_owned(),
                ..global
            };
            run::process(&global, "drumline-bench", async || {
                bench::run(&bench, caller.now).await
            })
        }
        Command::Drill(drill) => {
            // The processes of the drill have logs of their own.
            let global = Global {
                log: "warn".to_owned(),
                ..global
            };
            run::process(&global, "drumline-drill", async || {
                drill::run(&drill, caller.now).await
            })
        }
        Command::DrillWorker(worker) => run::process(&global, "drumline-drill", async || {
            drill::work(&worker).await
        }),
        Command::BenchWorker(worker) => run::process(&global, "drumline-bench", async || {
            bench::work(&worker).await
        }),
        Command::Check(check) => alone(async || check::run(&check, caller.now).await),
        Command::Index(index) => alone(async || index::run(&index, caller.now).await),
        Command::Export(export) => alone(async || transfer::export(&export, caller.now).await),
        Command::Import(import) => alone(async || transfer::import(&import).await),
        Command::Key(key) => keys::run(&key, caller.now),
        Command::WhoAmI(who) => with_session(&who.remote, &caller, async |session| {
            commands::whoami::run(session).await
        }),
        Command::Workers(workers) => with_session(&workers.remote, &caller, async |session| {
            commands::workers::run(session, &workers).await
        }),
        Command::Quotas(quotas) => with_session(&quotas.remote, &caller, async |session| {
            commands::quotas::run(session).await
        }),
        Command::Health(health) => alone(async || commands::health::run(&health).await),
        Command::Doctor(doctor) => alone(async || doctor::run(&doctor, caller.now).await),
    }
}

fn act(control: &Control, act: Act, caller: &Caller) -> Result<Exit> {
    with_session(&control.remote, caller, async |session| {
        commands::control::run(session, &control.ids, &control.selection, act).await
    })
}

/// Runs a client command.
fn with_session(
    remote: &Remote,
    caller: &Caller,
    command: impl AsyncFnOnce(&Session) -> Result<Exit>,
) -> Result<Exit> {
    alone(async || {
        let session = Session::open(remote, caller)?;
        command(&session).await
    })
}

/// Runs a command that waits for answers and computes nothing: a small runtime
/// will do.
fn alone(command: impl AsyncFnOnce() -> Result<Exit>) -> Result<Exit> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::caused(Exit::Internal, error))?
        .block_on(command())
}
