//! The faults of a drill. Workers are killed, stopped for longer than a lease, and drained. Queue
//! managers are killed and stopped. The broker loses its messages.
//!
//! They are caused, counted and shown. Nothing is judged by them: see `drumline-oracle`.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use drumline_client::{Client, Filter, OperationView, State};
use drumline_oracle::journal::now_ns;
use rustix::process::Signal;
use tokio::time::{Instant, sleep, sleep_until};

use crate::clients::{Caller, Service};
use crate::fleet::Fleet;
use crate::load::{flood, list, numbers};
use crate::plan::Plan;
use crate::sink::Sink;
use crate::target::Target;

/// The time for which a manager is stopped: longer than a client waits for an answer.
const MANAGER_STOPPED: Duration = Duration::from_secs(4);
/// The time within which messages must wait in the broker, and that for one flood.
const FILLED: Duration = Duration::from_secs(180);
const FLOODED: Duration = Duration::from_secs(10);
/// The longest step of the first flood, in milliseconds. Those of each further one take four
/// times as long.
const FLOOD_MS: u64 = 400;
/// The time within which a worker must run something.
const BUSY: Duration = Duration::from_secs(60);
/// The time within which a run must be taken over and a write of its lost holder be refused, and
/// that in which a worker that goes on makes this write.
const HURT: Duration = Duration::from_secs(180);
const REFUSED: Duration = Duration::from_secs(10);
/// The time that a take-over may need besides ten leases.
const TAKEN_OVER: Duration = Duration::from_secs(20);
/// The time between two looks at what was taken over.
const LOOK: Duration = Duration::from_millis(100);
/// The pause between two faults, at least.
const BETWEEN_MS: u64 = 300;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    KillWorker,
    StopWorker,
    DrainWorker,
    KillManager,
    StopManager,
    LoseMessages,
}

/// The first round, in this order: a short drill has the faults that matter most.
const ROUND: [Kind; 6] = [
    Kind::KillWorker,
    Kind::StopWorker,
    Kind::KillManager,
    Kind::LoseMessages,
    Kind::DrainWorker,
    Kind::StopManager,
];

/// A fault that has happened.
#[derive(Clone, Debug)]
pub struct Happened {
    /// The time on the clock of the journal.
    pub at_ns: u64,
    /// The fault, for people.
    pub what: String,
}

/// The faults of a drill.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// All of them, in order of time.
    pub happened: Vec<Happened>,
    /// Workers that were killed.
    pub workers_killed: u64,
    /// Workers that were stopped for longer than a lease.
    pub workers_stopped: u64,
    /// Workers that were drained.
    pub workers_drained: u64,
    /// Managers that were killed.
    pub managers_killed: u64,
    /// Managers that were stopped.
    pub managers_stopped: u64,
    /// The times that the broker has lost its messages.
    pub losses: u64,
    /// Messages that waited in the broker when it lost them.
    pub messages_lost: u64,
}

impl Faults {
    /// The faults without which a drill is void.
    pub(crate) fn counted(&self) -> Vec<(String, u64)> {
        [
            ("a worker was killed", self.workers_killed),
            (
                "a worker was stopped for longer than its lease",
                self.workers_stopped,
            ),
            ("a queue manager was killed", self.managers_killed),
            (
                "messages were in the broker when it lost them",
                self.messages_lost,
            ),
        ]
        .map(|(what, count)| (what.to_owned(), count))
        .to_vec()
    }
}

/// The parts that a fault needs.
pub(crate) struct Chaos<'a> {
    pub(crate) fleet: &'a mut Fleet,
    pub(crate) target: &'a dyn Target,
    pub(crate) service: &'a Arc<Service>,
    pub(crate) sink: &'a Sink,
    pub(crate) plan: &'a Plan,
    /// The first number of operations without a token.
    pub(crate) alone: usize,
    pub(crate) deadline: Instant,
    pub(crate) progress: &'a dyn Fn(&str),
    pub(crate) faults: Faults,
    /// True once a run of a worker that stood still was taken over.
    pub(crate) has_taken_over: bool,
}

impl Chaos<'_> {
    /// Causes faults until `end`, and one round at least. A fault that has begun is brought to
    /// its end.
    pub(crate) async fn run(&mut self, end: Instant) -> Result<()> {
        let mut caller = Caller::new(self.service, self.plan.seed, usize::MAX >> 1, self.deadline);
        let mut round = ROUND.to_vec();
        let mut first = true;
        while first || Instant::now() < end {
            for kind in round.clone() {
                let pause = caller.random.u64(BETWEEN_MS..3 * BETWEEN_MS);
                let next = Instant::now() + Duration::from_millis(pause);
                sleep_until(next).await;
                if !first && Instant::now() >= end {
                    return Ok(());
                }
                self.cause(kind, &mut caller).await?;
            }
            first = false;
            caller.random.shuffle(&mut round);
        }
        Ok(())
    }

    async fn cause(&mut self, kind: Kind, caller: &mut Caller) -> Result<()> {
        match kind {
            Kind::KillWorker => {
                let place = self.busiest(caller).await?;
                let worker = self.fleet.workers.swap_remove(place);
                self.note(format!("{} killed", worker.name));
                worker.kill().await?;
                self.faults.workers_killed += 1;
                self.fleet.start_worker(self.target).await
            }
            Kind::StopWorker => self.stop_workers(caller).await,
            Kind::DrainWorker => {
                let place = caller.random.usize(0..self.fleet.workers.len());
                let worker = self.fleet.workers.swap_remove(place);
                worker.signal(Signal::TERM)?;
                self.note(format!("{} drained", worker.name));
                self.fleet.start_worker(self.target).await?;
                worker.ended().await?;
                self.faults.workers_drained += 1;
                Ok(())
            }
            Kind::KillManager => {
                let place = caller.random.usize(0..self.fleet.managers.len());
                let name = self.fleet.kill_manager(place).await?;
                self.note(format!("{name} killed"));
                self.faults.managers_killed += 1;
                self.fleet.start_manager(self.target, place).await
            }
            Kind::StopManager => {
                let place = caller.random.usize(0..self.fleet.managers.len());
                for (signal, what) in [(Signal::STOP, "stopped"), (Signal::CONT, "goes on")] {
                    let Some(manager) = self.fleet.managers.get(place) else {
                        return Ok(());
                    };
                    manager.signal(signal)?;
                    let text = format!("{} {what}", manager.name);
                    self.note(text);
                    if signal == Signal::STOP {
                        sleep(MANAGER_STOPPED).await;
                    }
                }
                self.faults.managers_stopped += 1;
                Ok(())
            }
            Kind::LoseMessages => self.lose_messages(caller).await,
        }
    }

    /// Stops a worker for longer than its lease. The first time, it stops one after the other
    /// until a run was taken over, and the sink has refused a write of its lost holder: on a busy
    /// machine, a worker may stand still between its runs, or come to the end of one in time.
    async fn stop_workers(&mut self, caller: &mut Caller) -> Result<()> {
        let limit = Instant::now() + HURT;
        loop {
            let place = self.busiest(caller).await?;
            let Some(worker) = self.fleet.workers.get(place) else {
                return Ok(());
            };
            let (pid, name) = (worker.pid, worker.name.clone());
            let held = self.held_by(caller, pid).await?;
            worker.signal(Signal::STOP)?;
            self.note(format!("{name} stopped"));
            let is_taken_over = self.until_taken_over(caller, held).await?;
            self.has_taken_over |= is_taken_over;
            if let Some(worker) = self.fleet.workers.get(place) {
                worker.signal(Signal::CONT)?;
            }
            self.note(format!("{name} goes on"));
            self.faults.workers_stopped += 1;
            let refused = Instant::now() + REFUSED;
            while is_taken_over && self.sink.refused() == 0 && Instant::now() < refused {
                sleep(LOOK).await;
            }
            let is_hurt = self.has_taken_over && self.sink.refused() > 0;
            if is_hurt || Instant::now() >= limit {
                return Ok(());
            }
        }
    }

    /// The operations that a worker runs.
    async fn held_by(&self, caller: &mut Caller, pid: u32) -> Result<Vec<Held>> {
        let locked = list(caller, &Filter::new().state(State::Locked)).await?;
        let held = locked.into_iter().filter(|view| is_held(view, pid));
        let held = held.filter_map(|view| {
            let (token, _) = numbers(&view.name)?;
            Some(Held {
                token,
                fence: self.sink.fence(token),
                view,
            })
        });
        Ok(held.collect())
    }

    /// Waits until other workers have taken over what a stopped one held, and have written to the
    /// sink: its handlers are refused then. Returns true if one was taken over.
    async fn until_taken_over(&self, caller: &mut Caller, mut held: Vec<Held>) -> Result<bool> {
        let mut is_taken_over = false;
        let limit = Instant::now() + self.plan.lease * 10 + TAKEN_OVER;
        // At least for longer than a lease, also if it held nothing.
        sleep(self.plan.lease * 2).await;
        while !held.is_empty() && Instant::now() < limit {
            let mut left = Vec::new();
            for one in held {
                let of = one.view.id.as_str();
                let look = move |client: Client| async move { client.get(of).await };
                let view = caller.read(look).await?;
                let is_written = self.sink.fence(one.token) > one.fence;
                let is_lost = view.lost_count > one.view.lost_count;
                is_taken_over |= is_written && is_lost && view.start_count > one.view.start_count;
                // An operation that was paused meanwhile is not taken over.
                let is_paused =
                    view.state_code == State::Suspended.code() && view.postpone_until.is_none();
                let is_completed = view.state_code == State::Completed.code();
                if !is_written && !is_completed && !is_paused {
                    left.push(one);
                }
            }
            held = left;
            sleep(LOOK).await;
        }
        Ok(is_taken_over)
    }

    /// Fills the broker, and has it lose everything. Where the workers are as quick as the
    /// creates are answered, nothing waits: the next flood keeps them busy for longer.
    async fn lose_messages(&mut self, caller: &mut Caller) -> Result<()> {
        let places = self.fleet.workers.len() * usize::from(self.plan.concurrency);
        let count = places * 8;
        let limit = Instant::now() + FILLED;
        let (mut waiting, mut longest_ms) = (0, FLOOD_MS);
        while waiting == 0 && Instant::now() < limit {
            let first = self.alone;
            self.alone += count;
            let numbers = (first, count);
            flood(
                self.service,
                self.plan.seed,
                numbers,
                longest_ms,
                self.deadline,
            )
            .await?;
            longest_ms *= 4;
            let flooded = Instant::now() + FLOODED;
            loop {
                waiting = messages(caller).await?;
                if waiting > 0 || Instant::now() >= flooded {
                    break;
                }
                sleep(LOOK).await;
            }
        }
        self.target.lose_messages().await?;
        let how = self.target.loss();
        self.note(format!("the broker loses {waiting} messages ({how})"));
        self.faults.losses += 1;
        self.faults.messages_lost += waiting;
        Ok(())
    }

    /// The place of the worker that runs the most operations, as soon as one runs any: a
    /// fault that meets nothing is none.
    async fn busiest(&self, caller: &mut Caller) -> Result<usize> {
        let any = caller.random.usize(0..self.fleet.workers.len().max(1));
        let limit = Instant::now() + BUSY;
        loop {
            let locked = list(caller, &Filter::new().state(State::Locked)).await?;
            let running = |pid: u32| locked.iter().filter(|view| is_held(view, pid)).count();
            let workers = self.fleet.workers.iter().enumerate();
            let busiest = workers
                .map(|(place, worker)| (running(worker.pid), place))
                .max();
            match busiest {
                Some((count, place)) if count > 0 => return Ok(place),
                Some(_) | None if Instant::now() >= limit => return Ok(any),
                Some(_) | None => sleep(LOOK).await,
            }
        }
    }

    fn note(&mut self, what: String) {
        (self.progress)(&what);
        self.faults.happened.push(Happened {
            at_ns: now_ns(),
            what,
        });
    }
}

/// An operation that a worker ran before it was stopped.
struct Held {
    token: usize,
    /// The greatest fence that had written to its token.
    fence: u64,
    view: OperationView,
}

/// Returns true if an operation is held by the process with this id.
fn is_held(view: &OperationView, pid: u32) -> bool {
    let host = view.host_id.as_deref();
    host.is_some_and(|host| host.ends_with(&format!("-{pid}")))
}

/// The number of messages that wait in the broker.
async fn messages(caller: &mut Caller) -> Result<u64> {
    let queues = caller
        .read(|client| async move { client.queues().await })
        .await?;
    let queues = queues.queues.iter();
    Ok(queues.filter_map(|queue| queue.waiting_messages).sum())
}

/// Holds that a plan has processes to hurt.
pub(crate) fn check(plan: &Plan) -> Result<()> {
    ensure!(
        plan.managers >= 2 && plan.workers >= 2,
        "a drill needs two queue managers and two workers: another one must take over"
    );
    Ok(())
}
