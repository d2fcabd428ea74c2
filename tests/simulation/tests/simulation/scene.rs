//! Scenes: small stories, each about one thing that operations do, in which one process
//! dies at one call. Clients repeat what is not answered, at another manager, and the end
//! is the same wherever the process died.

use std::fmt;
use std::time::Duration;

use drumline_api::execute::{Item, KeyedCreate, Step, Transaction, Update};
use drumline_api::pause::SetPause;
use drumline_api::{Control, CreateOperation, OrganizationRequest, UpdateOperation};
use drumline_backend::store::Filter;
use drumline_protocol::{
    DependencyToken, Operation, OperationId, PauseKind, RetryPolicy, State, Status, Timestamp,
};
use drumline_queue_manager::maintenance::{MaintenanceOptions, Retention};
use drumline_queue_manager::{Actor, QueueManager};
use tokio::time::{sleep, timeout};

use crate::fleet::LEASE;
use crate::link::Condition;
use crate::scenario::Fleet;

/// The time that the client of a scene waits for an answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// The pause between two looks, and between two tries.
const LOOK: Duration = Duration::from_millis(100);
/// The time for which a scene goes on after its end: a delivery, a lease or a mark that was
/// left behind has its effect in it.
pub(crate) const AFTERMATH: Duration = Duration::from_secs(12);

/// A story.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scene {
    /// Created, run, Succeeded.
    Run,
    /// Three operations of a token.
    Chain,
    /// Two failures, then a success.
    Retry,
    /// Cancelled while it runs, with an operation behind it.
    Cancel,
    /// Paused while it runs, then resumed.
    Pause,
    /// Postponed while it waits for a time.
    Postpone,
    /// Two creates and a cancel, all or nothing.
    Transaction,
    /// Not started by its time, behind a head that runs.
    Expiry,
    /// Two occurrences of a series.
    Series,
    /// A queue that is paused while operations are created for it.
    HeldQueue,
    /// A worker that stands still for longer than its lease.
    TakeOver,
    /// Removed once it is old.
    Removal,
}

impl Scene {
    pub(crate) const ALL: [Self; 12] = [
        Self::Run,
        Self::Chain,
        Self::Retry,
        Self::Cancel,
        Self::Pause,
        Self::Postpone,
        Self::Transaction,
        Self::Expiry,
        Self::Series,
        Self::HeldQueue,
        Self::TakeOver,
        Self::Removal,
    ];

    /// The scene of that name.
    pub(crate) fn read(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.to_string() == name)
    }

    /// The maintenance of the managers.
    pub(crate) fn maintenance(self) -> MaintenanceOptions {
        let usual = MaintenanceOptions::default();
        if self != Self::Removal {
            return usual;
        }
        MaintenanceOptions {
            retention: Duration::from_millis(500),
            keep: Retention {
                // Longer than a client takes to ask a second manager: the repetition of a
                // create whose operation was removed is answered so.
                succeeded: Some(3 * PATIENCE),
                ..Retention::default()
            },
            ..usual
        }
    }

    /// Plays the scene up to its end. Returns what is not as it must be.
    pub(crate) async fn play(self, fleet: &Fleet) -> Vec<String> {
        let client = Client::new(fleet);
        match self {
            Self::Run => client.run().await,
            Self::Chain => client.chain().await,
            Self::Retry => client.retry().await,
            Self::Cancel => client.cancel().await,
            Self::Pause => client.pause().await,
            Self::Postpone => client.postpone().await,
            Self::Transaction => client.transaction().await,
            Self::Expiry => client.expiry().await,
            Self::Series => client.series().await,
            Self::HeldQueue => client.held_queue().await,
            Self::TakeOver => client.take_over().await,
            Self::Removal => client.removal().await,
        }
    }
}

impl fmt::Display for Scene {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Run => "run",
            Self::Chain => "chain",
            Self::Retry => "retry",
            Self::Cancel => "cancel",
            Self::Pause => "pause",
            Self::Postpone => "postpone",
            Self::Transaction => "transaction",
            Self::Expiry => "expiry",
            Self::Series => "series",
            Self::HeldQueue => "held-queue",
            Self::TakeOver => "take-over",
            Self::Removal => "removal",
        })
    }
}

/// An operation that takes so many steps of 200 ms.
fn taking(steps: u32) -> CreateOperation {
    with_data(format!("{{\"steps\":{steps},\"stepMs\":200}}"))
}

fn with_data(data: String) -> CreateOperation {
    let mut request = CreateOperation::new("Work");
    request.data = Some(data);
    request.retry = RetryPolicy {
        initial_ms: 300,
        ..RetryPolicy::default()
    };
    request
}

/// The one client of a scene, and what is not as it must be.
struct Client<'a> {
    fleet: &'a Fleet,
    actor: Actor,
    wrong: Vec<String>,
}

impl<'a> Client<'a> {
    fn new(fleet: &'a Fleet) -> Self {
        Self {
            fleet,
            actor: Actor::default(),
            wrong: Vec::new(),
        }
    }

    async fn run(mut self) -> Vec<String> {
        let id = self.create("a", taking(2)).await;
        self.ends(id, Status::Succeeded).await;
        self.wrong
    }

    async fn chain(mut self) -> Vec<String> {
        let mut ids = Vec::new();
        for key in ["a", "b", "c"] {
            ids.push(self.create_with_token(key, taking(2)).await);
        }
        for id in ids {
            self.ends(id, Status::Succeeded).await;
        }
        self.wrong
    }

    async fn retry(mut self) -> Vec<String> {
        let data = "{\"steps\":1,\"stepMs\":200,\"failsUntil\":3}";
        let id = self.create("a", with_data(data.to_owned())).await;
        let ended = self.ends(id, Status::Succeeded).await;
        if ended.header.starts < 3 {
            self.wrong
                .push(format!("{id} has Succeeded without its retries"));
        }
        self.wrong
    }

    async fn cancel(mut self) -> Vec<String> {
        let id = self.create_with_token("a", taking(100)).await;
        let behind = self.create_with_token("b", taking(1)).await;
        self.runs(id).await;
        self.until(async |client: &Self| {
            client.act(id, Control::Cancel).await;
            let seen = client.seen(id).await.header.status;
            seen == Status::Canceling || seen.state() == State::Completed
        })
        .await;
        self.ends(id, Status::Canceled).await;
        self.ends(behind, Status::Succeeded).await;
        self.wrong
    }

    async fn pause(mut self) -> Vec<String> {
        let id = self.create("a", taking(20)).await;
        self.runs(id).await;
        self.until(async |client: &Self| {
            client.act(id, Control::Pause).await;
            client.seen(id).await.header.waits_without_time()
        })
        .await;
        let starts = self.seen(id).await.header.starts;
        sleep(2 * LEASE).await;
        let rested = self.seen(id).await.header;
        if rested.starts != starts || !rested.waits_without_time() {
            self.wrong.push(format!("{id} went on while it was paused"));
        }
        self.until(async |client: &Self| {
            client.act(id, Control::Resume).await;
            !client.seen(id).await.header.waits_without_time()
        })
        .await;
        self.ends(id, Status::Succeeded).await;
        self.wrong
    }

    async fn postpone(mut self) -> Vec<String> {
        let mut request = taking(1);
        request.postpone_until = Some(self.later(20_000));
        let id = self.create("a", request).await;
        let until = self.later(8_000);
        self.until(async |client: &Self| {
            client.act(id, Control::Postpone(until)).await;
            client.seen(id).await.header.postpone_until == Some(until)
        })
        .await;
        let ended = self.ends(id, Status::Succeeded).await;
        if ended.header.started_on.is_none_or(|start| start < until) {
            self.wrong.push(format!("{id} has started before its time"));
        }
        self.wrong
    }

    async fn transaction(mut self) -> Vec<String> {
        let mut request = taking(1);
        request.postpone_until = Some(self.later(600_000));
        let waiting = self.create("a", request).await;
        let create = |key: &str| {
            Step::Create(Box::new(KeyedCreate {
                request: taking(1),
                key: Some(key.to_owned()),
            }))
        };
        let cancel = Step::Update(Update {
            id: waiting,
            changes: UpdateOperation::Control(Control::Cancel),
        });
        let transaction = Transaction {
            steps: vec![create("b"), cancel, create("c")],
            return_responses: true,
        };
        let request = OrganizationRequest::One(Item::Transaction(transaction));
        loop {
            // The answer may be lost, and the transaction made.
            let executing = |manager: QueueManager| {
                let (actor, request) = (self.actor.clone(), request.clone());
                async move { manager.execute(&actor, request).await.is_ok() }
            };
            self.ask(executing).await;
            let all = self.all().await;
            let is_done = all
                .iter()
                .any(|one| one.id == waiting && one.header.status == Status::Canceled);
            let expected = if is_done { 3 } else { 1 };
            if all.len() != expected {
                let all: Vec<_> = all.iter().map(|one| one.header.status).collect();
                self.wrong.push(format!("half a transaction: {all:?}"));
            }
            if is_done {
                break;
            }
            sleep(LOOK).await;
        }
        self.all_end(Status::Succeeded, 2).await;
        self.wrong
    }

    async fn expiry(mut self) -> Vec<String> {
        let head = self.create_with_token("a", taking(40)).await;
        let mut request = taking(1);
        request.not_after = Some(self.later(6_000));
        let late = self.create_with_token("b", request).await;
        let behind = self.create_with_token("c", taking(1)).await;
        let expired = self.ends(late, Status::Failed).await;
        if expired.header.starts != 0 {
            self.wrong.push(format!("{late} has started and expired"));
        }
        self.ends(head, Status::Succeeded).await;
        self.ends(behind, Status::Succeeded).await;
        self.wrong
    }

    async fn series(mut self) -> Vec<String> {
        let mut request = taking(1);
        request.recurrence_pattern = Some("FREQ=MINUTELY;COUNT=2".to_owned());
        // Long enough for a client that must ask a second manager: an occurrence before
        // the create would be none.
        let start = self.later(8_000);
        request.recurrence_start_time = Some(start);
        let series = self.create("a", request).await;
        self.ends(series, Status::Succeeded).await;
        self.all_end(Status::Succeeded, 3).await;
        let mut times: Vec<Timestamp> = self
            .all()
            .await
            .iter()
            .map(|one| one.id.created())
            .collect();
        times.sort_unstable();
        let minute = Duration::from_secs(60);
        let due = [start, start.saturating_add(minute)];
        if times.iter().skip(1).zip(due).any(|(made, due)| *made < due) {
            self.wrong
                .push(format!("occurrences of {due:?} at {times:?}"));
        }
        self.wrong
    }

    async fn held_queue(mut self) -> Vec<String> {
        let pause = SetPause {
            kind: PauseKind::Queue,
            name: Some("default".to_owned()),
            reason: "a scene".to_owned(),
            until: None,
        };
        let set = loop {
            let setting = |manager: QueueManager| {
                let (actor, pause) = (self.actor.clone(), pause.clone());
                async move { manager.set_pause(&actor, pause).await.ok() }
            };
            if let Some(Some((set, _))) = self.ask(setting).await {
                break set;
            }
            sleep(LOOK).await;
        };
        let one = self.create("a", taking(1)).await;
        let other = self.create_with_token("b", taking(1)).await;
        sleep(Duration::from_secs(2)).await;
        for id in [one, other] {
            if self.seen(id).await.header.starts > 0 {
                self.wrong
                    .push(format!("{id} has started in a paused queue"));
            }
        }
        let key = set.scope.key();
        loop {
            let lifting = |manager: QueueManager| {
                let actor = self.actor.clone();
                async move { manager.lift_pause(&actor, key).await.is_ok() }
            };
            // Refused where it was lifted by a call whose answer was lost.
            self.ask(lifting).await;
            let store = &self.fleet.world.servers.backend.store;
            let left = store.pauses().await.expect("the embedded store is there");
            if left.pauses.is_empty() {
                break;
            }
            sleep(LOOK).await;
        }
        self.ends(one, Status::Succeeded).await;
        self.ends(other, Status::Succeeded).await;
        self.wrong
    }

    async fn take_over(mut self) -> Vec<String> {
        let id = self.create_with_token("a", taking(10)).await;
        self.runs(id).await;
        let host = self.seen(id).await.header.host_id;
        let holder = host.and_then(|host| self.fleet.link_of(&host));
        let holder = holder.expect("a worker of the fleet");
        holder.set_condition(Condition::Still);
        sleep(2 * LEASE).await;
        holder.set_condition(Condition::Live);
        let ended = self.ends(id, Status::Succeeded).await;
        if ended.header.starts < 2 {
            self.wrong.push(format!("{id} was not taken over"));
        }
        self.wrong
    }

    async fn removal(self) -> Vec<String> {
        let first = self.create_with_token("a", taking(1)).await;
        let second = self.create_with_token("b", taking(1)).await;
        self.until(async |client: &Self| client.all().await.is_empty())
            .await;
        let mut judge = self.fleet.world.judge.lock();
        judge.removed(first);
        judge.removed(second);
        drop(judge);
        self.wrong
    }

    /// Asks one manager after the other until one answers within the patience of a
    /// client: `None` if none did.
    async fn ask<T, F: Future<Output = T>>(
        &self,
        request: impl Fn(QueueManager) -> F,
    ) -> Option<T> {
        for manager in self.fleet.managers() {
            if let Ok(answer) = timeout(PATIENCE, request(manager)).await {
                return Some(answer);
            }
        }
        None
    }

    async fn create(&self, key: &str, request: CreateOperation) -> OperationId {
        loop {
            let creating = |manager: QueueManager| {
                let (actor, request) = (self.actor.clone(), request.clone());
                async move { manager.create(&actor, request, Some(key)).await }
            };
            if let Some(Ok(creation)) = self.ask(creating).await {
                let Operation { id, sequence, .. } = creation.operation;
                let world = &self.fleet.world;
                world.judge.lock().answered(id, false);
                if let Some(token) = request.dependency_token {
                    let mut tokens = world.tokens.lock();
                    let of_token = tokens.entry(token.as_str().to_owned()).or_default();
                    of_token.push((sequence, id));
                }
                return id;
            }
            sleep(LOOK).await;
        }
    }

    async fn create_with_token(&self, key: &str, request: CreateOperation) -> OperationId {
        let token = DependencyToken::try_from("token".to_owned()).expect("a token");
        let request = CreateOperation {
            dependency_token: Some(token),
            ..request
        };
        self.create(key, request).await
    }

    /// Asks for an action. It may be refused, as one that was made before is.
    async fn act(&self, id: OperationId, act: Control) {
        let acting = |manager: QueueManager| {
            let actor = self.actor.clone();
            async move { manager.act(&actor, id, act).await.is_ok() }
        };
        self.ask(acting).await;
    }

    fn later(&self, ms: u64) -> Timestamp {
        let now = self.fleet.world.servers.backend.store.now();
        now.saturating_add(Duration::from_millis(ms))
    }

    /// The operation, past all links.
    async fn seen(&self, id: OperationId) -> Operation {
        let store = &self.fleet.world.servers.backend.store;
        let mut found = store.get(&[id]).await.expect("the embedded store is there");
        found.pop().flatten().expect("an operation of the scene")
    }

    async fn all(&self) -> Vec<Operation> {
        let store = &self.fleet.world.servers.backend.store;
        let page = store.list(&Filter::default(), None, 1_000).await;
        page.expect("the embedded store is there").operations
    }

    /// Waits for something; a scene that never comes to it is judged by what is left.
    async fn until(&self, is_so: impl AsyncFn(&Self) -> bool) {
        while !is_so(self).await {
            sleep(LOOK).await;
        }
    }

    async fn runs(&self, id: OperationId) {
        self.until(async |client: &Self| client.seen(id).await.header.starts > 0)
            .await;
    }

    async fn ends(&mut self, id: OperationId, status: Status) -> Operation {
        self.until(async |client: &Self| {
            client.seen(id).await.header.status.state() == State::Completed
        })
        .await;
        let ended = self.seen(id).await;
        let is = ended.header.status;
        if is != status {
            self.wrong.push(format!("{id} is {is:?}, not {status:?}"));
        }
        ended
    }

    /// Waits until all operations have ended; so many of them must have this status.
    async fn all_end(&mut self, status: Status, count: usize) {
        let is_over = |one: &Operation| one.header.status.state() == State::Completed;
        self.until(async |client: &Self| client.all().await.iter().all(is_over))
            .await;
        let all = self.all().await;
        let found = all.iter().filter(|one| one.header.status == status);
        let found = found.count();
        if found != count {
            self.wrong
                .push(format!("{found} operations are {status:?}, not {count}"));
        }
    }
}
