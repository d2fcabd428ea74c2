//! Whole fleets in one thread: real managers, workers and maintenance over the
//! embedded backend, with links that delay, lose and cut, processes that stand
//! still and die, and a broker that loses everything. All of it follows from a
//! seed, so a run that fails can be run again.
//!
//! `SEEDS=1000..2000` runs other seeds, `SEED=1234` one of them, and prints
//! every call. `CRASHES=all` lets processes die at every call of every scene, and
//! `SCENE=retry` plays one of the scenes.

#![expect(
    clippy::print_stdout,
    clippy::panic,
    reason = "all of this program is a test, whose helpers stand beside the tests"
)]

mod entropy;
mod fleet;
mod link;
mod ports;
mod scenario;
mod scene;

use std::collections::BTreeSet;
use std::env;
use std::fmt::Write as _;
use std::ops::Range;
use std::process::{Command, Stdio};
use std::thread;

use drumline_simulation::judge::Tally;

use crate::link::{Calls, CrashAt};
use crate::scenario::{Mode, Plan};
use crate::scene::Scene;

/// The variable that makes this program run one plan and say what happened.
const ONE_RUN: &str = "DRUMLINE_SIMULATE";
/// The runs at a time.
const AT_ONCE: usize = 2;

/// The result of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Ran {
    pub(crate) violations: Vec<String>,
    pub(crate) tally: Tally,
    /// The hash of the trace.
    pub(crate) trace: u64,
    /// The calls of each process of the first fleet.
    pub(crate) calls: Vec<Calls>,
}

impl Ran {
    /// The lines that [`Self::read`] reads.
    fn written(&self) -> String {
        let Tally {
            answered,
            runs,
            take_overs,
            behind,
            accepted,
            refused,
        } = self.tally;
        let mut text = format!(
            "=tally {answered} {runs} {take_overs} {behind} {accepted} {refused} {}",
            self.trace
        );
        for Calls { count, changes } in &self.calls {
            write!(text, "\n=calls {count}").expect("written");
            for number in changes {
                write!(text, " {number}").expect("written");
            }
        }
        for violation in &self.violations {
            write!(text, "\n=violation {violation}").expect("written");
        }
        text
    }

    fn read(text: &str) -> Option<Self> {
        let lines = |name: &'static str| text.lines().filter_map(move |at| at.strip_prefix(name));
        let numbers = |line: &str| -> Option<Vec<u64>> {
            line.split(' ').map(|number| number.parse().ok()).collect()
        };
        let tally = numbers(lines("=tally ").next()?)?;
        let [answered, runs, take_overs, behind, accepted, refused, trace] = *tally.as_slice()
        else {
            return None;
        };
        let calls = |line: &str| {
            let numbers = numbers(line)?;
            let (count, changes) = numbers.split_first()?;
            Some(Calls {
                count: *count,
                changes: changes.to_vec(),
            })
        };
        Some(Self {
            violations: lines("=violation ").map(str::to_owned).collect(),
            tally: Tally {
                answered,
                runs,
                take_overs,
                behind,
                accepted,
                refused,
            },
            trace,
            calls: lines("=calls ").map(calls).collect::<Option<_>>()?,
        })
    }
}

/// Runs a plan in a process of its own: what else a process has done decides about
/// the order in which `select!` polls.
fn run(plan: Plan) -> Ran {
    let program = env::current_exe().expect("this program");
    let mut command = Command::new(program);
    command
        .args(["--exact", "one_run", "--ignored", "--nocapture"])
        .env(ONE_RUN, plan.to_string())
        .stderr(Stdio::inherit());
    let output = command.output().expect("the program runs");
    let text = String::from_utf8_lossy(&output.stdout);
    if plan.is_told {
        println!("{text}");
    }
    let ran = Ran::read(&text);
    ran.unwrap_or_else(|| panic!("{plan} ended without a result: {}\n{text}", output.status))
}

#[test]
#[ignore = "is what the other tests run in processes of their own"]
fn one_run() {
    let plan = given(ONE_RUN).expect("a plan");
    let plan = Plan::read(&plan).expect("a plan");
    let running = thread::spawn(move || {
        entropy::set(plan.seed);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime");
        runtime.block_on(scenario::run(plan))
    });
    let ran = running.join().expect("no panic");
    println!("\n{}", ran.written());
}

#[expect(
    clippy::disallowed_methods,
    reason = "the seeds of a long run are given by people"
)]
fn given(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

/// The seeds to run.
fn seeds(default: Range<u64>) -> Range<u64> {
    let number = |text: &str| text.trim().parse::<u64>().expect("a number");
    match (given("SEED"), given("SEEDS")) {
        (Some(one), _) => number(&one)..number(&one) + 1,
        (None, Some(range)) => {
            let (from, to) = range.split_once("..").expect("SEEDS=first..last");
            number(from)..number(to)
        }
        (None, None) => default,
    }
}

/// Runs plans, some at a time. Fails with everything that any of them broke.
fn run_all(plans: &[Plan]) -> Tally {
    let part = plans.len().div_ceil(AT_ONCE).max(1);
    let ran: Vec<(Plan, Ran)> = thread::scope(|scope| {
        let parts: Vec<_> = plans
            .chunks(part)
            .map(|part| {
                scope.spawn(move || {
                    let ran = part.iter().map(|plan| (*plan, run(*plan)));
                    ran.collect::<Vec<_>>()
                })
            })
            .collect();
        let ran = parts.into_iter().map(|part| part.join().expect("no panic"));
        ran.flatten().collect()
    });
    let mut sum = Tally::default();
    let mut bad = String::new();
    for (plan, ran) in &ran {
        for violation in &ran.violations {
            write!(bad, "\n{plan}: {violation}").expect("written");
        }
        sum.add(ran.tally);
    }
    assert!(bad.is_empty(), "{bad}");
    println!("{} runs: {sum:?}", ran.len());
    sum
}

fn plans(seeds: Range<u64>, mode: Mode) -> Vec<Plan> {
    let is_told = given("SEED").is_some();
    let plan = |seed| Plan {
        is_told,
        ..Plan::new(seed, mode)
    };
    seeds.map(plan).collect()
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in 1..4 {
        let plan = Plan::new(seed, Mode::Liveness);
        assert_eq!(run(plan), run(plan), "{plan}");
    }
    let other = |seed| run(Plan::new(seed, Mode::Liveness)).trace;
    assert_ne!(other(1), other(2));
}

#[test]
fn no_promise_is_broken_while_everything_fails() {
    let seeds = seeds(1_000..1_100);
    let is_one = seeds.end == seeds.start + 1;
    let tally = run_all(&plans(seeds, Mode::Safety));
    // Runs in which no fault hit anything show nothing, nor do those without order.
    assert!(is_one || tally.take_overs > 0, "{tally:?}");
    assert!(is_one || tally.behind > 0, "{tally:?}");
    assert!(is_one || tally.refused > 0, "{tally:?}");
}

#[test]
fn everything_ends_once_the_faults_have_ended() {
    let seeds = seeds(1..101);
    let is_one = seeds.end == seeds.start + 1;
    let tally = run_all(&plans(seeds, Mode::Liveness));
    assert!(is_one || tally.take_overs > 0, "{tally:?}");
    assert!(is_one || tally.behind > 0, "{tally:?}");
    assert!(is_one || tally.accepted > tally.answered, "{tally:?}");
}

/// The first processes of a quiet fleet die at calls all over its life, before and
/// after what the call does.
#[test]
fn a_process_may_die_at_any_call() {
    let quiet = Plan {
        is_quiet: true,
        ..Plan::new(7, Mode::Liveness)
    };
    let calls = run(quiet).calls;
    run_all(&deaths(quiet, &calls, |calls| spread(calls, CRASHES)));
}

/// The calls of each process at which it dies, before and after.
const CRASHES: u64 = 20;

/// In each scene, one of the processes dies at one of its calls, before and after what the
/// call does, and the scene has the same end.
///
/// A process that dies between two changes leaves the same as one that dies before the
/// second. So a short run has every change, and calls from all over the scene.
#[test]
fn a_scene_ends_alike_whatever_process_dies_at_whatever_call() {
    let is_whole = given("CRASHES").is_some();
    let chosen = |calls: &Calls| {
        if is_whole {
            return (1..=calls.count).collect();
        }
        let changes = calls.changes.iter().copied();
        changes.chain(spread(calls, CRASHES_OF_SCENE)).collect()
    };
    let only = given("SCENE");
    let mut dying = Vec::new();
    for scene in Scene::ALL {
        if only.as_ref().is_some_and(|only| *only != scene.to_string()) {
            continue;
        }
        let quiet = Plan::of_scene(scene);
        let ran = run(quiet);
        assert_eq!(ran.violations, [""; 0], "{quiet}");
        let of_scene = deaths(quiet, &ran.calls, chosen);
        let calls = ran.calls.iter().map(|calls| calls.count);
        let calls: Vec<u64> = calls.collect();
        println!("{scene}: {calls:?} calls, {} deaths", of_scene.len());
        dying.extend(of_scene);
    }
    let tally = run_all(&dying);
    assert!(only.is_some() || tally.take_overs > 0, "{tally:?}");
    assert!(only.is_some() || tally.behind > 0, "{tally:?}");
}

/// The calls of each process at which it dies in a scene beside the changes, before and
/// after.
const CRASHES_OF_SCENE: u64 = 3;

/// Calls from all over the life of a process, at most so many.
fn spread(calls: &Calls, most: u64) -> BTreeSet<u64> {
    let step = calls.count.div_ceil(most).max(1);
    let step = usize::try_from(step).expect("a small number");
    (1..=calls.count).step_by(step).collect()
}

/// A run like the quiet one for each death: of each process, before and after each of the
/// chosen calls.
fn deaths(quiet: Plan, calls: &[Calls], chosen: impl Fn(&Calls) -> BTreeSet<u64>) -> Vec<Plan> {
    let mut dying = Vec::new();
    for (place, calls) in calls.iter().enumerate() {
        for call in chosen(calls) {
            for after in [false, true] {
                let at = CrashAt { call, after };
                dying.push(Plan {
                    crash: Some((place, at)),
                    ..quiet
                });
            }
        }
    }
    dying
}
