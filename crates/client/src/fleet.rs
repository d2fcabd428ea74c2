//! Who works, what waits, and whether the service takes requests.

use reqwest::{Method, StatusCode};
use serde::{Deserialize, Serialize};

use crate::client::Client;
use crate::error::{Away, Result};
use crate::retry::Repeat;

/// The live processes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fleet {
    /// Those who run handlers.
    pub workers: Vec<Member>,
    /// Those who take requests.
    pub managers: Vec<Member>,
}

/// One live process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// Which life of which process.
    pub id: String,
    /// Its name for people.
    pub host: String,
    /// The queues that it serves.
    pub queues: Vec<String>,
    /// The message names that it has handlers for; `*` for all.
    pub message_names: Vec<String>,
    /// How many operations it runs at once.
    pub concurrency: u32,
    /// How many it runs now.
    pub running: u32,
    /// It takes nothing new.
    pub draining: bool,
    /// When it started, RFC 3339.
    pub started_on: String,
}

/// The queues, and how many operations there are.
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
    /// How many workers serve it.
    pub workers: u32,
    /// How many operations they run at once, all together.
    pub concurrency: u32,
    /// How many they run now, of whichever of their queues.
    pub running: u32,
    /// Messages that no worker has been given yet; `None` where the broker does
    /// not answer.
    pub waiting_messages: Option<u64>,
}

/// How many operations there are.
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
    /// Ready ones that are not known to be with the broker yet.
    pub undispatched: u64,
}

/// Whether a queue manager takes requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// It does.
    pub ready: bool,
    /// The HTTP status of the answer.
    pub status: u16,
    /// What it says, for people.
    pub text: String,
}

impl Client {
    /// Who is alive.
    ///
    /// # Errors
    /// When the service is away.
    pub async fn workers(&self) -> Result<Fleet> {
        let request = self.request(Method::GET, &["v1", "workers"]);
        self.exchange(Repeat::Safe, request).await?.read()
    }

    /// What waits where.
    ///
    /// # Errors
    /// When the service is away.
    pub async fn queues(&self) -> Result<Queues> {
        let request = self.request(Method::GET, &["v1", "queues"]);
        self.exchange(Repeat::Safe, request).await?.read()
    }

    /// Whether the queue manager takes requests now; asked once.
    ///
    /// # Errors
    /// [`Error::Away`](crate::Error::Away) when it does not answer.
    pub async fn ready(&self) -> Result<Readiness> {
        let request = self.request(Method::GET, &["readyz"]);
        let response = request.send().await.map_err(Away::error)?;
        let status: StatusCode = response.status();
        Ok(Readiness {
            ready: status.is_success(),
            status: status.as_u16(),
            text: response.text().await.map_err(Away::error)?,
        })
    }
}
