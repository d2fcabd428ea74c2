//! A run: clients that create and control, while faults happen; then peace, and
//! the judgement.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use drumline_api::{Control, CreateOperation};
use drumline_backend::Random;
use drumline_backend::store::Filter;
use drumline_backend_embedded::{TokioClock, backend_with};
use drumline_protocol::{
    DependencyToken, OperationId, PartitionCount, RetryPolicy, State, Status, Timestamp,
};
use drumline_queue_manager::maintenance::MaintenanceOptions;
use drumline_queue_manager::{Actor, QueueManager};
use drumline_simulation::Judge;
use drumline_simulation::judge::Left;
use parking_lot::Mutex;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::TaskTracker;

use crate::Ran;
use crate::fleet::{Kind, Process, World};
use crate::link::{Calls, Condition, CrashAt, Faults, Link, Lost, Trace};
use crate::ports::Servers;
use crate::scene::{AFTERMATH, Scene};

/// The time that a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(8);
/// The time within which everything must end once the faults have ended.
const RECOVERY: Duration = Duration::from_secs(900);

/// The purpose of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Faults until the end: nothing may go wrong. What is not done yet is no
    /// fault.
    Safety,
    /// The faults end: everything must end.
    Liveness,
}

/// A run that is to be made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) mode: Mode,
    /// Prints every call.
    pub(crate) is_told: bool,
    /// True without the faults that are drawn.
    pub(crate) is_quiet: bool,
    /// The process that dies at a call, by its place in the first fleet.
    pub(crate) crash: Option<(usize, CrashAt)>,
    /// The scene that is played, in place of clients that do anything.
    pub(crate) scene: Option<Scene>,
}

/// The form that [`Plan::read`] reads: `liveness seed 7`, `safety seed 7 told`, `…
/// quiet scene retry crash 2 120 after`.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = match self.mode {
            Mode::Safety => "safety",
            Mode::Liveness => "liveness",
        };
        write!(f, "{mode} seed {}", self.seed)?;
        if self.is_told {
            f.write_str(" told")?;
        }
        if self.is_quiet {
            f.write_str(" quiet")?;
        }
        if let Some(scene) = self.scene {
            write!(f, " scene {scene}")?;
        }
        if let Some((place, at)) = self.crash {
            let when = if at.after { "after" } else { "before" };
            write!(f, " crash {place} {} {when}", at.call)?;
        }
        Ok(())
    }
}

impl Plan {
    /// Reads a plan.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let mode = match words.next()? {
            "safety" => Mode::Safety,
            "liveness" => Mode::Liveness,
            _ => return None,
        };
        let mut plan = Self::new(0, mode);
        while let Some(word) = words.next() {
            match word {
                "seed" => plan.seed = words.next()?.parse().ok()?,
                "told" => plan.is_told = true,
                "quiet" => plan.is_quiet = true,
                "scene" => plan.scene = Some(Scene::read(words.next()?)?),
                "crash" => {
                    let place = words.next()?.parse().ok()?;
                    let call = words.next()?.parse().ok()?;
                    let after = words.next()? == "after";
                    plan.crash = Some((place, CrashAt { call, after }));
                }
                _ => return None,
            }
        }
        Some(plan)
    }

    pub(crate) fn new(seed: u64, mode: Mode) -> Self {
        Self {
            seed,
            mode,
            is_told: false,
            is_quiet: false,
            crash: None,
            scene: None,
        }
    }

    /// A quiet run of a scene.
    pub(crate) fn of_scene(scene: Scene) -> Self {
        Self {
            is_quiet: true,
            scene: Some(scene),
            ..Self::new(7, Mode::Liveness)
        }
    }

    /// The processes of its first fleet. A scene has as few as can replace each other.
    fn places(&self) -> usize {
        match self.scene {
            None => MANAGERS + WORKERS,
            Some(_) => MANAGERS + 2,
        }
    }
}

/// The processes, some of which are dead.
pub(crate) struct Fleet {
    pub(crate) world: Arc<World>,
    processes: Mutex<Vec<Arc<Process>>>,
    begun: Mutex<u32>,
}

const MANAGERS: usize = 2;
const WORKERS: usize = 3;

impl Fleet {
    async fn start(world: &Arc<World>, plan: Plan) -> Arc<Self> {
        let fleet = Arc::new(Self {
            world: Arc::clone(world),
            processes: Mutex::default(),
            begun: Mutex::new(0),
        });
        for place in 0..plan.places() {
            let crash = plan.crash.filter(|(of, _)| *of == place);
            let process = fleet.begin(place, crash.map(|(_, at)| at)).await;
            fleet.processes.lock().push(process);
        }
        fleet
    }

    async fn begin(&self, place: usize, crash: Option<CrashAt>) -> Arc<Process> {
        let number = {
            let mut begun = self.begun.lock();
            *begun += 1;
            *begun
        };
        let process = if place < MANAGERS {
            Process::manager(&self.world, format!("manager-{number}"), crash).await
        } else {
            Process::worker(&self.world, format!("worker-{number}"), crash).await
        };
        Arc::new(process)
    }

    /// Starts another process in the place of each that is dead.
    async fn replace_dead(&self) {
        for place in 0..self.places() {
            let old = self.at(place);
            if old.link.condition() == Condition::Dead {
                let new = self.begin(place, None).await;
                if let Some(at) = self.processes.lock().get_mut(place) {
                    *at = new;
                }
            }
        }
    }

    fn places(&self) -> usize {
        self.processes.lock().len()
    }

    fn at(&self, place: usize) -> Arc<Process> {
        let processes = self.processes.lock();
        Arc::clone(processes.get(place).expect("a place of the fleet"))
    }

    fn link(&self, place: usize) -> Arc<Link> {
        Arc::clone(&self.at(place).link)
    }

    /// One of the managers; it may be dead.
    fn manager(&self) -> QueueManager {
        let managers = u64::try_from(MANAGERS).unwrap_or(1);
        let place = usize::try_from(self.world.random.below(managers)).unwrap_or(0);
        self.manager_at(place)
    }

    /// All managers, in their order; some may be dead.
    pub(crate) fn managers(&self) -> Vec<QueueManager> {
        (0..MANAGERS).map(|place| self.manager_at(place)).collect()
    }

    fn manager_at(&self, place: usize) -> QueueManager {
        match &self.at(place).kind {
            Kind::Manager { manager, .. } => manager.clone(),
            Kind::Worker { .. } => unreachable!("managers come first"),
        }
    }

    /// The link of the process of that name.
    pub(crate) fn link_of(&self, name: &str) -> Option<Arc<Link>> {
        let processes = self.processes.lock();
        let of_name = processes.iter().find(|one| one.link.name == name);
        of_name.map(|one| Arc::clone(&one.link))
    }

    /// The calls of each process so far.
    fn calls(&self) -> Vec<Calls> {
        let processes = self.processes.lock();
        processes.iter().map(|one| one.link.calls()).collect()
    }
}

/// Runs a plan.
pub(crate) async fn run(plan: Plan) -> Ran {
    let random = Random::seeded(plan.seed);
    let clock = TokioClock::starting_at(Timestamp::from_millis(1_795_000_000_000));
    let partitions = PartitionCount::new(4).expect("4 is in range");
    let backend = backend_with(partitions, Arc::new(clock), &random);
    let world = Arc::new(World {
        servers: Servers::new(backend),
        random,
        trace: Arc::new(Trace::new(plan.is_told)),
        judge: Mutex::new(Judge::new()),
        tokens: Mutex::default(),
        maintenance: plan
            .scene
            .map_or_else(MaintenanceOptions::default, Scene::maintenance),
    });
    let fleet = Fleet::start(&world, plan).await;
    if let Some(scene) = plan.scene {
        return play(&fleet, plan, scene).await;
    }
    let clients = TaskTracker::new();
    for number in 0..3 {
        clients.spawn(client(Arc::clone(&fleet), number));
    }
    clients.close();
    if !plan.is_quiet {
        let end = Instant::now() + Duration::from_secs(40);
        while Instant::now() < end {
            disturb(&fleet).await;
        }
    }
    if plan.mode == Mode::Liveness {
        peace(&fleet).await;
        let ending = async {
            clients.wait().await;
            until_over(&fleet).await;
        };
        // An operation that has not ended by then is judged below.
        drop(timeout(RECOVERY, ending).await);
    }
    ran(&fleet, plan, fleet.calls()).await
}

/// Plays a scene, whose calls are those up to its end, and the judgement after its
/// aftermath.
async fn play(fleet: &Fleet, plan: Plan, scene: Scene) -> Ran {
    let played = timeout(RECOVERY, scene.play(fleet)).await;
    let calls = fleet.calls();
    sleep(AFTERMATH).await;
    let mut ran = ran(fleet, plan, calls).await;
    match played {
        Ok(wrong) => ran.violations.extend(wrong),
        Err(_elapsed) => ran.violations.push("the scene has no end".to_owned()),
    }
    if let Some((place, _)) = plan.crash
        && fleet.link(place).condition() != Condition::Dead
    {
        ran.violations.push("no process has died".to_owned());
    }
    ran
}

/// Judges a run in which the first fleet has made these calls.
async fn ran(fleet: &Fleet, plan: Plan, calls: Vec<Calls>) -> Ran {
    let world = &fleet.world;
    judge(world, plan.mode).await;
    let judge = world.judge.lock();
    Ran {
        violations: judge.violations().iter().map(ToString::to_string).collect(),
        tally: judge.tally(),
        trace: world.trace.hash(),
        calls,
    }
}

/// One fault, and the pause after it.
async fn disturb(fleet: &Fleet) {
    let random = &fleet.world.random;
    let all = u64::try_from(fleet.places()).unwrap_or(1);
    let place = usize::try_from(random.below(all)).unwrap_or(0);
    let link = fleet.link(place);
    let direction = if random.below(2) == 0 {
        Lost::Request
    } else {
        Lost::Answer
    };
    let faults = Faults {
        lossy: random.below(60),
        delay_ms: random.below(80),
        ..Faults::default()
    };
    let kind = random.below(12);
    let note = format_args!("{kind} {direction:?} {faults:?}");
    fleet.world.trace.note(&link.name, "disturbed", note);
    match kind {
        0 | 1 => link.set_condition(Condition::Dead),
        2 | 3 => link.set_condition(Condition::Still),
        4 => link.set_faults(Faults {
            store_cut: Some(direction),
            ..faults
        }),
        5 => link.set_faults(Faults {
            broker_cut: Some(direction),
            ..faults
        }),
        6 => link.set_faults(Faults {
            store_cut: Some(direction),
            broker_cut: Some(direction),
            ..faults
        }),
        7 => fleet.world.servers.broker.lose_everything(),
        8 => link.set_faults(Faults {
            lossy: 300,
            ..faults
        }),
        _ => link.set_faults(faults),
    }
    // Some stand still for longer than a lease.
    let longest = if random.below(4) == 0 { 9_000 } else { 3_000 };
    sleep(Duration::from_millis(200 + random.below(longest))).await;
    // Half of the faults go on for longer.
    if random.below(2) == 0 {
        link.set_condition(Condition::Live);
        link.set_faults(faults);
        fleet.replace_dead().await;
    }
}

/// Ends all faults.
async fn peace(fleet: &Fleet) {
    fleet.replace_dead().await;
    for place in 0..fleet.places() {
        let link = fleet.link(place);
        link.set_condition(Condition::Live);
        link.set_faults(Faults::default());
    }
    fleet.world.trace.note("world", "peace", format_args!(""));
}

/// A client: creates operations, and changes its mind about some of them.
async fn client(fleet: Arc<Fleet>, number: u32) {
    let world = &fleet.world;
    let actor = Actor::default();
    for turn in 0..10 {
        sleep(Duration::from_millis(world.random.below(4_000))).await;
        let token = world.random.below(5);
        let token = (token < 4).then(|| format!("token-{token}"));
        let once = token.is_none() && world.random.below(4) == 0;
        let mut request = CreateOperation::new("Work");
        request.dependency_token = token
            .clone()
            .map(|token| DependencyToken::try_from(token).expect("a token"));
        request.at_most_once = once;
        request.retry = RetryPolicy {
            initial_ms: 300,
            ..RetryPolicy::default()
        };
        let fails = if once { 0 } else { world.random.below(40) };
        let steps = 1 + world.random.below(5);
        request.data = Some(format!("{{\"steps\":{steps},\"fails\":{fails}}}"));
        if world.random.below(8) == 0 {
            let later = Duration::from_millis(world.random.below(20_000));
            let now = world.servers.backend.store.now();
            request.postpone_until = Some(now.saturating_add(later));
        }
        let key = format!("{number}-{turn}");
        let (id, sequence) = created(&fleet, &actor, request, &key).await;
        world.judge.lock().answered(id, once);
        if let Some(token) = token {
            let mut tokens = world.tokens.lock();
            tokens.entry(token).or_default().push((sequence, id));
        }
        if world.random.below(4) == 0 {
            change(&fleet, &actor, id).await;
        }
    }
}

/// Creates an operation, again until it is answered.
async fn created(
    fleet: &Fleet,
    actor: &Actor,
    request: CreateOperation,
    key: &str,
) -> (OperationId, u64) {
    loop {
        let manager = fleet.manager();
        let asking = manager.create(actor, request.clone(), Some(key));
        match timeout(PATIENCE, asking).await {
            Ok(Ok(creation)) => return (creation.operation.id, creation.operation.sequence),
            Ok(Err(error)) => {
                let note = format_args!("{error}");
                fleet.world.trace.note("client", "refused", note);
            }
            Err(_elapsed) => {}
        }
        sleep(Duration::from_millis(500)).await;
    }
}

/// Changes an operation, and resumes it if it was to wait.
async fn change(fleet: &Fleet, actor: &Actor, id: OperationId) {
    let random = &fleet.world.random;
    sleep(Duration::from_millis(random.below(3_000))).await;
    let now = fleet.world.servers.backend.store.now();
    let later = now.saturating_add(Duration::from_millis(random.below(5_000)));
    let act = match random.below(3) {
        0 => Control::Cancel,
        1 => Control::Pause,
        _ => Control::Postpone(later),
    };
    let is_pause = matches!(act, Control::Pause);
    drop(timeout(PATIENCE, fleet.manager().act(actor, id, act)).await);
    if !is_pause {
        return;
    }
    // The answer may be lost, and the pause done: so it is resumed whatever it was,
    // until it is seen to wait for no person.
    loop {
        sleep(Duration::from_millis(1_000 + random.below(4_000))).await;
        let manager = fleet.manager();
        let resuming = async {
            // Refused where there is nothing to resume.
            drop(manager.act(actor, id, Control::Resume).await);
            manager.get(actor, id).await
        };
        if let Ok(Ok(operation)) = timeout(PATIENCE, resuming).await {
            fleet.world.judge.lock().saw(id, operation.header.status);
            let header = &operation.header;
            if !header.waits_without_time() && header.status != Status::Pausing {
                return;
            }
        }
    }
}

/// Waits until nothing is left to do.
async fn until_over(fleet: &Fleet) {
    let store = &fleet.world.servers.backend.store;
    loop {
        let page = store.list(&Filter::default(), None, 1_000).await;
        let all = page.expect("the embedded store is there").operations;
        let is_over = |status: Status| status.state() == State::Completed;
        if all.iter().all(|one| is_over(one.header.status)) {
            return;
        }
        sleep(Duration::from_secs(1)).await;
    }
}

async fn judge(world: &World, mode: Mode) {
    let store = &world.servers.backend.store;
    let page = store.list(&Filter::default(), None, 1_000).await;
    let all = page.expect("the embedded store is there").operations;
    let left: Vec<Left> = all
        .iter()
        .map(|one| Left {
            id: one.id,
            status: one.header.status,
            starts: one.header.starts,
            waits_for_person: one.header.waits_without_time(),
        })
        .collect();
    let mut judge = world.judge.lock();
    judge.over(&left, mode == Mode::Liveness);
}
