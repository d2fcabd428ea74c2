//! The live processes, the waiting messages, and the readiness of the service.

use std::collections::BTreeMap;

use reqwest::{Method, StatusCode};
use serde::{Deserialize, Serialize};

use crate::client::Client;
use crate::error::{Result, Unreachable};
use crate::retry::Repeat;

/// The live processes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fleet {
    /// The processes that run handlers.
    pub workers: Vec<Member>,
    /// The processes that take requests.
    pub managers: Vec<Member>,
}

/// A page of the live processes.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FleetPage {
    #[serde(flatten)]
    fleet: Fleet,
    next_cursor: Option<String>,
}

/// One live process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// The id of this life of this process.
    pub id: String,
    /// Its name for people.
    pub host: String,
    /// The queues that it serves.
    pub queues: Vec<String>,
    /// The message names that it has handlers for; `*` for all.
    pub message_names: Vec<String>,
    /// The message names whose handler has failed too often: it does not take them now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub throttled: Vec<String>,
    /// The number of operations that it runs at once.
    pub concurrency: u32,
    /// The number of operations that it runs now.
    pub running: u32,
    /// It takes nothing new.
    pub draining: bool,
    /// The time at which it started, RFC 3339.
    pub started_on: String,
    /// Its release; `None` for a release that does not announce it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
    /// The newest format of the store that it reads: `4.0`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store_format: Option<String>,
    /// The newest format of messages that it reads: `4.0`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wire_format: Option<String>,
}

/// The caller, as the service knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WhoAmI {
    /// False where callers name themselves.
    pub authenticated: bool,
    /// The id of the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_id: Option<String>,
    /// The organization of the request.
    pub organization: String,
    /// The caller of the request.
    pub caller: String,
    /// The organizations that the key may act in; `*`: all.
    pub organizations: Vec<String>,
    /// The roles of the key.
    pub roles: Vec<String>,
    /// The time after which the key is refused, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_on: Option<String>,
}

/// The quotas of an organization, and their use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quotas {
    /// The organization of the request.
    pub organization: String,
    /// Every quota, limited or not.
    pub quotas: Vec<QuotaUse>,
}

/// The use of one quota.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuotaUse {
    /// `open`, `series`, `tokens`, `bytes` or `creates-per-minute`.
    pub name: String,
    /// The use by the organization now.
    pub used: u64,
    /// The most that it may have; `None` where nothing is limited.
    pub limit: Option<u64>,
}

/// The queues, and the numbers of operations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queues {
    /// By name.
    pub queues: Vec<Queue>,
    /// Operations of all queues by state.
    pub operations: Counts,
}

/// One queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Queue {
    /// Its name.
    pub name: String,
    /// The number of workers that serve it.
    pub workers: u32,
    /// The number of operations that they run at once, all together.
    pub concurrency: u32,
    /// The number of operations that they run now, of any of their queues.
    pub running: u32,
    /// Messages that no worker has been given yet; `None` if the broker does
    /// not answer.
    pub waiting_messages: Option<u64>,
}

/// The numbers of operations by state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// Wait for a worker, or for their predecessors.
    pub ready: u64,
    /// Wait for a time or for a person.
    pub suspended: u64,
    /// Are held by a worker.
    pub locked: u64,
    /// Are over.
    pub completed: u64,
    /// Ready operations that are not known to be with the broker yet.
    pub undispatched: u64,
}

/// The readiness of a queue manager.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// It takes requests.
    pub ready: bool,
    /// The HTTP status of the answer.
    pub status: u16,
    /// The answer, for people.
    pub text: String,
}

/// The state of the service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Now {
    /// Nothing needs a person.
    pub normal: bool,
    /// The faults, the worst first.
    pub findings: Vec<Finding>,
    /// The numbers of operations of all organizations, for callers that may see the
    /// fleet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operations: Option<NowCounts>,
    /// The live processes, for callers that may see them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fleet: Option<NowFleet>,
    /// The number of pauses in force in the caller's organization.
    pub pauses: u64,
    /// The first operations of the organization that hold their token.
    pub holding: Vec<NowOperation>,
    /// The latest failures of the organization.
    pub failures: Vec<NowOperation>,
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The fault in a sentence.
    pub sentence: String,
    /// The remedy in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
    /// The page of the console that shows more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page: Option<String>,
}

/// The numbers of operations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NowCounts {
    /// Ready.
    pub ready: u64,
    /// Suspended.
    pub suspended: u64,
    /// Locked: they run.
    pub running: u64,
    /// Completed and not yet removed.
    pub completed: u64,
    /// Ready, and not known to be with the broker yet.
    pub undispatched: u64,
}

/// The live processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NowFleet {
    /// The number of workers.
    pub workers: u64,
    /// The number of queue managers.
    pub managers: u64,
    /// The operations that all workers run.
    pub running: u64,
    /// The operations that they can run at the same time.
    pub slots: u64,
}

/// One operation, in short.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NowOperation {
    /// Its id.
    pub id: String,
    /// Its message name.
    pub message_name: String,
    /// Its name.
    pub name: String,
    /// Its token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dependency_token: Option<String>,
    /// Its status.
    pub status: String,
    /// The time at which it was Completed, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_on: Option<String>,
}

impl Client {
    /// The state of the service in a sentence, and what it is made of.
    ///
    /// # Errors
    /// When the service cannot be reached.
    pub async fn now(&self) -> Result<Now> {
        let request = self.request(Method::GET, &["v1", "now"]);
        self.exchange(Repeat::Safe, request).await?.read()
    }

    /// The live workers and managers, in order of their ids. A large fleet takes
    /// several requests.
    ///
    /// # Errors
    /// When the service is unavailable.
    pub async fn workers(&self) -> Result<Fleet> {
        let (mut workers, mut managers) = (BTreeMap::new(), BTreeMap::new());
        let mut cursor: Option<String> = None;
        loop {
            let request = self.request(Method::GET, &["v1", "workers"]);
            let request = request.query(&[("cursor", cursor.as_deref().unwrap_or_default())]);
            let page: FleetPage = self.exchange(Repeat::Safe, request).await?.read()?;
            // A process whose state changes meanwhile is on two pages.
            let by_id = |member: Member| (member.id.clone(), member);
            workers.extend(page.fleet.workers.into_iter().map(by_id));
            managers.extend(page.fleet.managers.into_iter().map(by_id));
            cursor = page.next_cursor;
            if cursor.is_none() {
                return Ok(Fleet {
                    workers: workers.into_values().collect(),
                    managers: managers.into_values().collect(),
                });
            }
        }
    }

    /// Asks a worker to take nothing new, and returns it as it was then. It hears of that
    /// within three seconds: [`Member::draining`] says so, and it runs what it has to its
    /// end. A worker that is started again takes work.
    ///
    /// # Errors
    /// [`Error::Refused`](crate::Error::Refused) with `0x80040217` if there is no live
    /// worker with this id.
    pub async fn drain_worker(&self, id: &str) -> Result<Member> {
        let request = self.request(Method::POST, &["v1", "workers", id, "drain"]);
        self.exchange(Repeat::Safe, request).await?.read()
    }

    /// The queues, with the messages that wait in each.
    ///
    /// # Errors
    /// When the service is unavailable.
    pub async fn queues(&self) -> Result<Queues> {
        let request = self.request(Method::GET, &["v1", "queues"]);
        self.exchange(Repeat::Safe, request).await?.read()
    }

    /// Asks the service for the caller of this client, and for what it may do.
    ///
    /// # Errors
    /// When the key is not valid, or the service is unavailable.
    pub async fn whoami(&self) -> Result<WhoAmI> {
        let request = self.request(Method::GET, &["v1", "whoami"]);
        self.exchange(Repeat::Safe, request).await?.read()
    }

    /// The quotas of the organization of this client, and their use.
    ///
    /// # Errors
    /// When the service is unavailable.
    pub async fn quotas(&self) -> Result<Quotas> {
        let request = self.request(Method::GET, &["v1", "quotas"]);
        self.exchange(Repeat::Safe, request).await?.read()
    }

    /// The readiness of the queue manager now; asked once.
    ///
    /// # Errors
    /// [`Error::Unreachable`](crate::Error::Unreachable) when it does not answer.
    pub async fn ready(&self) -> Result<Readiness> {
        self.probe("readyz").await
    }

    /// Asks whether the process is alive: [`Readiness::ready`] says so. Asked once.
    ///
    /// # Errors
    /// [`Error::Unreachable`](crate::Error::Unreachable) when it does not answer.
    pub async fn alive(&self) -> Result<Readiness> {
        self.probe("healthz").await
    }

    async fn probe(&self, address: &str) -> Result<Readiness> {
        let request = self.request(Method::GET, &[address]);
        let response = request.send().await.map_err(Unreachable::error)?;
        let status: StatusCode = response.status();
        Ok(Readiness {
            ready: status.is_success(),
            status: status.as_u16(),
            text: response.text().await.map_err(Unreachable::error)?,
        })
    }
}
