//! The state of the service as a person asks for it: what needs a person, and the
//! facts behind that. The first page of the console, `/v1/now` and `drumline top` show
//! the same.

mod news;
mod verdict;

use drumline_backend::Broker as _;
use drumline_backend::broker::Bypassed;
use drumline_backend::membership::{Member, Role, all_members};
use drumline_backend::store::{Counts, Filter, Page, Summary};
use drumline_protocol::{Pause, Status};

use super::failures::Heard;
use super::{Actor, Health, Query, QueueManager};
use crate::error::{Error, Result};

pub(crate) use verdict::{Finding, Place};

use verdict::Facts;

/// Operations of a kind that are looked at.
const LOOKED_AT: usize = 5;

/// The parts of the service that a caller may see.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sight {
    /// Servers, members, and counts of all organizations.
    pub(crate) fleet: bool,
    /// The operations of the organization.
    pub(crate) operations: bool,
}

/// The state of the service, as of one moment.
#[derive(Debug)]
pub(crate) struct NowState {
    /// The faults, the worst first.
    pub(crate) findings: Vec<Finding>,
    /// The numbers of operations of all organizations.
    pub(crate) counts: Option<Counts>,
    /// The live processes.
    pub(crate) members: Option<Vec<Member>>,
    /// The part about the caller's organization.
    pub(crate) own: Option<OwnState>,
}

/// The state of an organization.
#[derive(Debug)]
pub(crate) struct OwnState {
    /// The pauses in force.
    pub(crate) pauses: Vec<Pause>,
    /// The first operations that hold their token.
    pub(crate) holding: Page<Summary>,
    /// The latest failures.
    pub(crate) failures: Page<Summary>,
    /// The failure groups that are not muted, the last failure first.
    pub(crate) heard: Heard,
}

impl QueueManager {
    /// Looks at the state of the service, as far as a caller may see it. It costs some
    /// round trips, however many operations there are.
    ///
    /// # Errors
    /// When the store fails after it has answered a first time. A store that does not
    /// answer is a finding.
    pub(crate) async fn now_state(&self, actor: &Actor, sight: Sight) -> Result<NowState> {
        let health = self.health().await;
        let (counts, members, own) = if health.store.is_none() {
            let (fleet, own) = tokio::join!(self.fleet_state(sight), self.own_state(actor, sight));
            let (counts, members) = fleet?.unzip();
            (counts, members, own?)
        } else {
            (None, None, None)
        };
        let findings = verdict::judge(&Facts {
            health: &told(health, sight),
            bypassed: &told_bypasses(&self.bypass().bypassed(), sight),
            throttled: &throttled(members.as_deref().unwrap_or_default()),
            workers: members.as_deref().map(workers),
            ready: counts.map_or(0, |counts| counts.ready),
            own: own.as_ref(),
            now: self.store().now(),
        });
        Ok(NowState {
            findings,
            counts,
            members,
            own,
        })
    }

    async fn fleet_state(&self, sight: Sight) -> Result<Option<(Counts, Vec<Member>)>> {
        if !sight.fleet {
            return Ok(None);
        }
        let members = all_members(&*self.backend().membership);
        let (counts, members) = tokio::join!(self.store().counts(), members);
        Ok(Some((
            counts.map_err(Error::Store)?,
            members.map_err(Error::Store)?,
        )))
    }

    async fn own_state(&self, actor: &Actor, sight: Sight) -> Result<Option<OwnState>> {
        if !sight.operations {
            return Ok(None);
        }
        let query = |filter| Query {
            filter,
            cursor: None,
            limit: LOOKED_AT,
        };
        let holding = query(Filter {
            holding: Some(true),
            ..Filter::default()
        });
        let failures = query(Filter {
            status: Some(Status::Failed),
            ..Filter::default()
        });
        let (pauses, holding, failures, heard) = tokio::join!(
            self.pauses(actor),
            self.glance(actor, &holding),
            self.glance(actor, &failures),
            self.heard(actor, LOOKED_AT),
        );
        Ok(Some(OwnState {
            pauses: pauses?,
            holding: holding?,
            failures: failures?,
            heard: heard?,
        }))
    }
}

/// The health as a caller may see it: errors name servers.
fn told(health: Health, sight: Sight) -> Health {
    let hidden = |fault: Option<String>| fault.map(|_detail| "an operator sees why".to_owned());
    if sight.fleet {
        return health;
    }
    Health {
        store: hidden(health.store),
        broker: hidden(health.broker),
        keys: None,
        issuer: None,
        certificate: None,
        draining: health.draining,
    }
}

/// The queues that are by-passed as a caller may see them: their names may be those of
/// other organizations.
fn told_bypasses(bypassed: &[Bypassed], sight: Sight) -> Vec<String> {
    if sight.fleet || bypassed.is_empty() {
        return bypassed.iter().map(ToString::to_string).collect();
    }
    vec!["a queue of the broker takes no messages".to_owned()]
}

/// The number of workers.
fn workers(members: &[Member]) -> usize {
    let is_worker = |member: &&Member| member.profile.role == Role::Worker;
    members.iter().filter(is_worker).count()
}

/// The message names that some worker does not take for a while.
fn throttled(members: &[Member]) -> Vec<String> {
    let names = members
        .iter()
        .flat_map(|member| member.profile.throttled.iter());
    let mut names: Vec<String> = names.cloned().collect();
    names.sort();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use drumline_backend::broker::Trouble;
    use drumline_protocol::QueueName;
    use drumline_protocol::message::{Route, Source};

    use super::*;

    #[test]
    fn a_queue_that_is_bypassed_is_named_to_those_who_see_the_fleet() {
        let queue = QueueName::try_from("secret".to_owned()).unwrap();
        let source = Source::Work;
        let bypassed = [Bypassed {
            route: Route { queue, source },
            trouble: Trouble::Silent,
        }];
        let told = |fleet| {
            let sight = Sight {
                fleet,
                operations: true,
            };
            told_bypasses(&bypassed, sight)
        };
        assert!(told(true)[0].contains("secret"));
        assert!(!told(false)[0].contains("secret"));
        let sight = Sight {
            fleet: false,
            operations: true,
        };
        assert!(told_bypasses(&[], sight).is_empty());
    }
}
