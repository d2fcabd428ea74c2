//! The clients of a drill. Each call is written down before it is sent and when its end is
//! known: answered, refused, or not answered.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use drumline_client::{Action, Client, Error, NewOperation, OperationView, Timestamp};
use drumline_oracle::journal::{Call, Journal, Line, Phase, now_ns};
use drumline_protocol::Backoff;
use tokio::time::{Instant, sleep};

use crate::fleet::Bases;

/// The name under which the drill calls.
pub(crate) const CALLER: &str = "drill";
/// The organization of the drill.
pub(crate) const ORGANIZATION: &str = "drill";

/// The time after which a call counts as not answered. A manager that was stopped answers none.
const ANSWER: Duration = Duration::from_secs(3);
/// The first pause before a call is repeated, and the longest.
const AGAIN: Duration = Duration::from_millis(100);
const AGAIN_AT_MOST: Duration = Duration::from_secs(2);

/// The parts that all clients share.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) bases: Bases,
    pub(crate) key: String,
    journal: Journal,
    calls: AtomicU64,
    /// Operations that were answered with an id.
    pub(crate) created: AtomicU64,
}

impl Service {
    pub(crate) fn new(bases: Bases, key: String, journal: Journal) -> Arc<Self> {
        Arc::new(Self {
            bases,
            key,
            journal,
            calls: AtomicU64::new(0),
            created: AtomicU64::new(0),
        })
    }
}

/// The trace of everything that one client creates. Drawn from the seed, so that it need not be
/// remembered.
pub(crate) fn trace(seed: u64, number: usize) -> String {
    // A trace must not be all zeroes.
    format!("{seed:016x}{:016x}", number.saturating_add(1))
}

/// One client. It asks another manager each time.
#[derive(Debug)]
pub(crate) struct Caller {
    service: Arc<Service>,
    traceparent: String,
    clients: HashMap<String, Client>,
    pub(crate) random: fastrand::Rng,
    /// The time at which it gives up.
    deadline: Instant,
}

/// The result of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Acted {
    /// It was done.
    Done,
    /// The operation is in a state in which it is not possible.
    Refused,
}

impl Caller {
    /// A client with a number of its own, which gives up at `deadline`.
    pub(crate) fn new(service: &Arc<Service>, seed: u64, number: usize, deadline: Instant) -> Self {
        let trace = trace(seed, number);
        Self {
            service: Arc::clone(service),
            traceparent: format!("00-{trace}-{:016x}-01", number.saturating_add(1)),
            clients: HashMap::new(),
            random: fastrand::Rng::with_seed(seed.wrapping_add(number as u64)),
            deadline,
        }
    }

    /// A client of one of the managers. Waits until there is one.
    pub(crate) async fn client(&mut self) -> Result<Client> {
        let mut pauses = Backoff::new(AGAIN, AGAIN_AT_MOST);
        let base = loop {
            if let Some(base) = self.service.bases.any(&mut self.random) {
                break base;
            }
            self.again(&mut pauses).await?;
        };
        if let Some(client) = self.clients.get(&base) {
            return Ok(client.clone());
        }
        let client = Client::builder(&base)
            .organization(ORGANIZATION)
            .api_key(&self.service.key)
            .traceparent(&self.traceparent)
            .timeout(ANSWER)
            // Each attempt is a call of its own.
            .patience(Duration::ZERO)
            .build()?;
        self.clients.insert(base, client.clone());
        Ok(client)
    }

    /// Waits before a call is repeated, each time for longer.
    async fn again(&mut self, pauses: &mut Backoff) -> Result<()> {
        if Instant::now() > self.deadline {
            bail!("no queue manager has answered until the end");
        }
        sleep(pauses.jittered(self.random.f64())).await;
        Ok(())
    }

    /// Creates an operation, again and again until it is answered; returns its id.
    pub(crate) async fn create(&mut self, name: &str, new: NewOperation) -> Result<OperationView> {
        let new = new.name(name).idempotency_key(name);
        let mut pauses = Backoff::new(AGAIN, AGAIN_AT_MOST);
        loop {
            let client = self.client().await?;
            let call = self.invoke("create", name)?;
            match client.create(&new).await {
                Ok(created) => {
                    let id = created.operation.id.clone();
                    self.end(call, "create", name, Phase::Ok { id })?;
                    self.service.created.fetch_add(1, Ordering::Relaxed);
                    return Ok(created.operation);
                }
                Err(error) => {
                    self.end(call, "create", name, failed(&error))?;
                    if !error.is_transient() {
                        return Err(error).with_context(|| format!("create {name:?}"));
                    }
                }
            }
            self.again(&mut pauses).await?;
        }
    }

    /// Asks for an action, again until it is answered.
    pub(crate) async fn act(
        &mut self,
        id: &str,
        action: Action,
        until: Option<Timestamp>,
    ) -> Result<Acted> {
        let mut pauses = Backoff::new(AGAIN, AGAIN_AT_MOST);
        loop {
            let client = self.client().await?;
            let call = self.invoke(action.name(), id)?;
            let asked = match (action, until) {
                (Action::Cancel, _) => client.cancel(id).await,
                (Action::Pause, _) => client.pause(id).await,
                (Action::Postpone, Some(until)) => client.postpone(id, until).await,
                _ => client.resume(id).await,
            };
            match asked {
                Ok(_view) => {
                    let id_of = Phase::Ok { id: id.to_owned() };
                    self.end(call, action.name(), id, id_of)?;
                    return Ok(Acted::Done);
                }
                Err(error) => {
                    self.end(call, action.name(), id, failed(&error))?;
                    if !error.is_transient() {
                        return Ok(Acted::Refused);
                    }
                }
            }
            self.again(&mut pauses).await?;
        }
    }

    /// Reads, again until it is answered.
    pub(crate) async fn read<T, F>(&mut self, question: impl Fn(Client) -> F) -> Result<T>
    where
        F: Future<Output = drumline_client::Result<T>>,
    {
        let mut pauses = Backoff::new(AGAIN, AGAIN_AT_MOST);
        loop {
            let client = self.client().await?;
            match question(client).await {
                Ok(answer) => return Ok(answer),
                Err(error) if error.is_transient() => self.again(&mut pauses).await?,
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn invoke(&self, action: &str, key: &str) -> Result<u64> {
        let call = self.service.calls.fetch_add(1, Ordering::Relaxed);
        self.end(call, action, key, Phase::Invoke)?;
        Ok(call)
    }

    fn end(&self, call: u64, action: &str, key: &str, phase: Phase) -> Result<()> {
        let line = Line::Call(Call {
            call,
            caller: CALLER.to_owned(),
            action: action.to_owned(),
            key: key.to_owned(),
            phase,
            at_ns: now_ns(),
        });
        self.service.journal.append(&line)
    }
}

/// The end of a call that was not answered with a success.
fn failed(error: &Error) -> Phase {
    let why = error.to_string();
    if error.nothing_was_done() {
        Phase::Fail { why }
    } else {
        Phase::Unknown { why }
    }
}
