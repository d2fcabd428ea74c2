//! `/`: the state of the service in one sentence, and what it is made of.

use std::pin::pin;

use axum::extract::State;
use axum::response::Html;
use drumline_backend::membership::{Member, Role};
use drumline_console::{self as console, Counts, Members, Moment, NowPage, Section, Text};
use drumline_protocol::{QueueName, Timestamp};

use super::operations::rows;
use super::viewer::Seen;
use super::{failures, html, pauses, pulse};
use crate::error::Result;
use crate::ingress::http::problem::Answer;
use crate::service::{Finding, NowState, Place, QueueManager};

/// Members that are shown.
const MEMBERS: usize = 20;

/// The page.
pub(super) async fn now(State(manager): State<QueueManager>, seen: Seen) -> Answer<Html<String>> {
    Ok(html(&look(&manager, &seen).await?))
}

/// Looks at everything that the first page shows.
async fn look(manager: &QueueManager, seen: &Seen) -> Result<NowPage> {
    let mut hour = pin!(pulse::last_hour(manager, seen));
    let mut read = None;
    let state = {
        let mut state = pin!(manager.now_state(&seen.actor, seen.sight()));
        loop {
            tokio::select! {
                state = &mut state => break state?,
                hour = &mut hour, if read.is_none() => read = Some(hour),
            }
        }
    };
    let NowState {
        findings,
        counts,
        members,
        own,
    } = state;
    // Without counts the store does not answer, and the page says so at once.
    let hour = match (counts, read) {
        (None, _) => None,
        (Some(_), Some(read)) => read?,
        (Some(_), None) => hour.await?,
    };
    let mut page = NowPage {
        frame: seen.frame("Now", Section::Now),
        findings: findings.iter().map(finding).collect(),
        counts: counts.map(|counts| Counts {
            ready: counts.ready,
            suspended: counts.suspended,
            running: counts.locked,
            completed: counts.completed,
            undispatched: counts.undispatched,
        }),
        hour,
        members: members.map(|members| summary(&members, seen.now)),
        pauses: Vec::new(),
        holding: Vec::new(),
        failures: Vec::new(),
        failing: Vec::new(),
    };
    if let Some(own) = own {
        let pauses = own.pauses.iter();
        page.pauses = pauses.map(|pause| pauses::line(pause, seen.now)).collect();
        page.holding = rows(&own.holding.operations, seen.now);
        page.failures = rows(&own.failures.operations, seen.now);
        let groups = own.heard.groups.iter();
        page.failing = groups
            .map(|one| failures::in_short(one, seen.now))
            .collect();
    }
    Ok(page)
}

fn finding(finding: &Finding) -> console::Finding {
    let place = finding.place.as_ref();
    console::Finding {
        sentence: Text::line(&finding.sentence),
        remedy: finding.remedy.as_deref().map(Text::line),
        link: place.map(|(words, place)| (*words, address_of(place))),
    }
}

/// The address of the page that shows a place.
pub(in crate::ingress::http) fn address_of(place: &Place) -> String {
    match place {
        Place::Operations(conditions) => {
            let pairs = conditions.iter();
            let pairs = pairs.map(|(name, value)| (*name, value.as_str()));
            console::address("/operations", pairs)
        }
        Place::Operation(id) => format!("/operations/{id}"),
        Place::Pauses => "/pauses".to_owned(),
        Place::Failures => "/failures".to_owned(),
    }
}

fn summary(members: &[Member], now: Timestamp) -> Members {
    let workers: Vec<_> = of_role(members, Role::Worker);
    let managers = of_role(members, Role::Manager);
    let sum = |number: fn(&Member) -> u32| workers.iter().map(|one| u64::from(number(one))).sum();
    let shown = workers.iter().chain(&managers).take(MEMBERS);
    Members {
        workers: workers.len(),
        managers: managers.len(),
        running: sum(|worker| worker.running),
        places: sum(|worker| worker.profile.concurrency),
        shown: shown.map(|member| member_line(member, now)).collect(),
    }
}

fn of_role(members: &[Member], role: Role) -> Vec<&Member> {
    members
        .iter()
        .filter(|member| member.profile.role == role)
        .collect()
}

fn member_line(member: &Member, now: Timestamp) -> console::Member {
    let queues: Vec<_> = member
        .profile
        .queues
        .iter()
        .map(QueueName::as_str)
        .collect();
    let is_worker = member.profile.role == Role::Worker;
    console::Member {
        host: Text::line(&member.host),
        role: if is_worker { "worker" } else { "queue manager" },
        places: is_worker.then_some((member.running, member.profile.concurrency)),
        queues: Text::line(&queues.join(", ")),
        release: Text::line(&member.profile.build.release),
        started: Moment {
            at: member.started_on(),
            now,
        },
        is_draining: member.profile.draining,
    }
}
