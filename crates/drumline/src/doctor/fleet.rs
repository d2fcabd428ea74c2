//! The namespace: the store, the live members, and operations that stand still.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use drumline_backend::membership::all_members;
use drumline_backend::store::{self, Counts, Filter, ImportStore as _, OutboxLook};
use drumline_backend::{Member, Role, Roster, Store};
use drumline_protocol::text::counted;
use drumline_protocol::{State, Timestamp, limits};

use super::{Finding, builds};
use crate::cli::service::Servers;
use crate::output::reasons;
use crate::run::backend::servers::{existing_redis_store, existing_store, redis_options};
use crate::transfer::unfinished;

const SUBJECT: &str = "namespace";
const RECORDS: &str = "records";
const QUEUES: &str = "queues";
const WORKERS: &str = "workers";
const MANAGERS: &str = "managers";
/// Ready operations that are examined for queues without workers.
const SAMPLE: usize = 500;
const DAY_MS: i64 = 24 * 3_600_000;
/// Days before Redis is full in which an operator should act.
const SOON: u64 = 7;
/// Entries of the outbox that are older should have been relayed.
const STALE: Duration = Duration::from_secs(10);

pub(super) async fn check(servers: &Servers) -> Vec<Finding> {
    match examine(servers).await {
        Ok(findings) => findings,
        Err(error) => vec![Finding::bad(SUBJECT, reasons(&error))],
    }
}

async fn examine(servers: &Servers) -> anyhow::Result<Vec<Finding>> {
    let namespace = &servers.namespace;
    let Some((store, membership)) = existing_store(servers).await? else {
        let text = format!("{namespace} is unused: the first process creates the store");
        return Ok(vec![Finding::ok(SUBJECT, text)]);
    };
    let counts = store.counts().await?;
    let members = all_members(&*membership).await?;
    let roster = Roster::of_members(&members);
    let mut findings = vec![Finding::ok(
        SUBJECT,
        format!(
            "{namespace}: {}; {} Ready, {} Suspended, {} Locked, {} Completed",
            counted(store.partitions().get().into(), "partition", "partitions"),
            counts.ready,
            counts.suspended,
            counts.locked,
            counts.completed
        ),
    )];
    findings.extend(imports(servers).await?);
    findings.extend(growth(servers, &counts).await?);
    findings.push(dispatch(store.as_ref(), &counts).await?);
    findings.push(managers(&roster, &counts));
    findings.extend(builds::check(&roster, store.note_minor(0).await?));
    findings.push(queues(&members));
    findings.extend(workers(store.as_ref(), &members, &roster).await?);
    // Behind all other readers, which leave records out, too.
    findings.push(records(store.as_ref()).await?);
    Ok(findings)
}

/// Tells when Redis is full at the rate of the last day; a cluster by its nodes together.
async fn growth(servers: &Servers, counts: &Counts) -> anyhow::Result<Option<Finding>> {
    let Some(store) = existing_redis_store(servers).await? else {
        return Ok(None);
    };
    let options = redis_options(servers, 1).map_err(|failure| failure.error)?;
    let (mut used, mut most) = (0, 0);
    for (_node, info) in drumline_backend_redis::inspect_each(&options).await? {
        let info = info?;
        used += info.used_memory;
        most += info.max_memory;
    }
    let day_ago = store.now().as_millis().saturating_sub(DAY_MS);
    let lately = store.created_since(Timestamp::from_millis(day_ago)).await?;
    let all = counts.ready + counts.suspended + counts.locked + counts.completed;
    Ok(forecast(lately, all, used, most))
}

/// The forecast of a store with so many operations of the last day among all.
fn forecast(lately: u64, all: u64, used: u64, most: u64) -> Option<Finding> {
    let share = u128::from(lately) * u128::from(used) / u128::from(all.max(1));
    let daily = u64::try_from(share).unwrap_or(u64::MAX);
    if daily == 0 || most == 0 {
        return None;
    }
    let days = most.saturating_sub(used) / daily;
    let text = format!(
        "{} of the last day take about {} MiB: at this rate Redis is full in {}, if nothing is removed meanwhile",
        counted(lately, "operation", "operations"),
        daily >> 20,
        counted(days, "day", "days")
    );
    Some(if days >= SOON {
        Finding::ok(SUBJECT, text)
    } else {
        Finding::warn(
            SUBJECT,
            format!(
                "{text}; keep Completed operations for less time (--remove-succeeded-after) or bytes (--max-completed-bytes), \
                 or raise maxmemory"
            ),
        )
    })
}

/// Names imports that have not come to their end.
async fn imports(servers: &Servers) -> anyhow::Result<Vec<Finding>> {
    let Some(store) = existing_redis_store(servers).await? else {
        return Ok(Vec::new());
    };
    let imports = store.imports().await?.into_iter();
    let open = imports.filter(|import| !import.is_done);
    let open = open.map(|import| Finding::bad(SUBJECT, unfinished(&import)));
    Ok(open.collect())
}

/// Checks that the relay keeps up.
async fn dispatch(store: &dyn Store, counts: &Counts) -> store::Result<Finding> {
    let mut stale = 0_u64;
    for partition in store.partitions().all() {
        let look = OutboxLook::oldest(STALE, SAMPLE);
        let entries = store.outbox_entries(partition, &look).await?;
        stale += entries.into_entries().len() as u64;
    }
    Ok(if stale == 0 {
        let text = format!(
            "{} way to the broker, none is late",
            counted(
                counts.undispatched,
                "operation is on its",
                "operations are on their"
            )
        );
        Finding::ok(SUBJECT, text)
    } else {
        Finding::warn(
            SUBJECT,
            format!(
                "{} should have reached the broker {STALE:?} ago: check that a queue manager is alive and that RabbitMQ takes messages; `drumline check` finds entries that lead to no operation",
                counted(stale, "operation", "operations")
            ),
        )
    })
}

/// Looks whether this release can decode what is stored: the newest operations in each
/// state, the pauses, and the actions that run.
async fn records(store: &dyn Store) -> store::Result<Finding> {
    let mut looked_at = 0;
    for state in State::ALL {
        let filter = Filter {
            state: Some(state),
            ..Filter::default()
        };
        let page = store.list_summaries(&filter, None, SAMPLE).await?;
        looked_at += page.operations.len();
    }
    let pauses = store.pauses().await?;
    looked_at += pauses.pauses.len();
    looked_at += store.open_actions(limits::ACTIONS).await?.len();
    Ok(unreadable(looked_at, &store.unreadable()))
}

fn unreadable(looked_at: usize, named: &[String]) -> Finding {
    if named.is_empty() {
        let text = format!("the newest can be decoded, {looked_at} of them");
        return Finding::ok(RECORDS, text);
    }
    let text = format!(
        "this release cannot decode {}: no process of it acts on them, and lists leave them out; they are as they were. If a later release has written them, upgrade the rest. If they were damaged, restore them from a backup or a replica, and look at the rest of the store with `drumline check`. `drumline_maintenance_unreadable_total` counts each reading",
        named.join(", ")
    );
    Finding::warn(RECORDS, text)
}

/// Names the queues of the broker that members go round.
fn queues(members: &[Member]) -> Finding {
    let mut reported: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    let mut needs_operator = false;
    for member in members {
        for bypassed in &member.profile.bypassed {
            needs_operator |= bypassed.trouble.needs_operator();
            let hosts = reported.entry(bypassed.to_string()).or_default();
            hosts.insert(&member.host);
        }
    }
    if reported.is_empty() {
        return Finding::ok(QUEUES, "all used queues work");
    }
    let told = reported.into_iter().map(|(text, hosts)| {
        let hosts = hosts.into_iter().collect::<Vec<_>>().join(", ");
        format!("{text} (seen by {hosts})")
    });
    let told = told.collect::<Vec<_>>().join("; ");
    let remedy = if needs_operator {
        "delete the queue in RabbitMQ so that it can be declared, or give the user the missing right"
    } else {
        "Drumline tries them again by itself, and recreates silent queues after half a minute"
    };
    let text = format!("{told}: offers go round them; {remedy}");
    Finding::warn(QUEUES, text)
}

fn managers(roster: &Roster, counts: &Counts) -> Finding {
    let alive = roster.count(Role::Manager);
    let open = counts.ready + counts.suspended + counts.locked;
    match (alive, open) {
        (0, 0) => Finding::warn(MANAGERS, "none is alive: start `drumline queue-manager`"),
        (0, _) => Finding::bad(
            MANAGERS,
            format!(
                "none is alive: {} will not wake, be relayed or be taken over; start `drumline queue-manager`",
                counted(open, "operation", "operations")
            ),
        ),
        _ => Finding::ok(MANAGERS, format!("{alive} alive")),
    }
}

async fn workers(
    store: &dyn Store,
    members: &[Member],
    roster: &Roster,
) -> store::Result<Vec<Finding>> {
    let is_worker = |member: &&Member| member.profile.role == Role::Worker;
    let workers: Vec<&Member> = members.iter().filter(is_worker).collect();
    let sum = |of: fn(&Member) -> u32| workers.iter().map(|one| u64::from(of(one))).sum::<u64>();
    let running = sum(|worker| worker.running);
    let places = sum(|worker| worker.profile.concurrency);
    let profiles = roster.groups().iter().map(|group| &group.profile);
    let queues: BTreeSet<&str> = profiles
        .flat_map(|profile| profile.queues.iter().map(|queue| queue.as_str()))
        .collect();
    let mut findings = vec![if workers.is_empty() {
        Finding::warn(WORKERS, "none is alive: start `drumline worker`")
    } else {
        let queues = queues.into_iter().collect::<Vec<_>>().join(", ");
        let count = workers.len();
        Finding::ok(
            WORKERS,
            format!(
                "{count} alive, {running} of {} taken, on {queues}",
                counted(places, "slot", "slots")
            ),
        )
    }];
    let filter = Filter {
        state: Some(State::Ready),
        ..Filter::default()
    };
    let mut unserved: BTreeMap<(String, String), u64> = BTreeMap::new();
    let sample = store.list_summaries(&filter, None, SAMPLE).await?;
    for operation in sample.operations {
        let body = operation.body;
        let mut groups = roster.groups().iter();
        let served = groups.any(|group| group.profile.serves(&body.queue, &body.message_name));
        if !served {
            let key = (body.queue.to_string(), body.message_name);
            *unserved.entry(key).or_default() += 1;
        }
    }
    findings.extend(unserved.into_iter().map(|((queue, message), count)| {
        Finding::warn(
            WORKERS,
            format!("no worker of queue {queue:?} has a handler for {message:?}, and {}: start a worker with such a handler and --queue {queue}", counted(count, "operation waits", "operations wait")),
        )
    }));
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    #[test]
    fn a_store_that_is_full_within_a_week_is_told() {
        const MB: u64 = 1 << 20;
        let told = |lately, all, used, most| {
            let found = forecast(lately, all, used * MB, most * MB);
            found.map(|finding| (finding.level, finding.text))
        };
        assert_eq!(told(0, 10, 100, 1_000), None, "nothing comes");
        assert_eq!(told(5, 10, 100, 0), None, "there is no limit");
        let (level, text) = told(5, 10, 100, 1_000).unwrap();
        assert_eq!(level, Level::Ok);
        assert!(
            text.contains("about 50 MiB") && text.contains("in 18 days"),
            "{text}"
        );
        let (level, text) = told(10, 10, 300, 1_000).unwrap();
        assert_eq!(level, Level::Warn);
        assert!(text.contains("in 2 days"), "{text}");
        assert!(text.contains("--max-completed-bytes"), "{text}");
        let (_, text) = told(10, 10, 2_000, 1_000).unwrap();
        assert!(text.contains("in 0 days"), "{text}");
    }

    #[test]
    fn records_that_cannot_be_decoded_are_named() {
        let none = unreadable(7, &[]);
        assert_eq!(
            none,
            Finding::ok(RECORDS, "the newest can be decoded, 7 of them")
        );
        let two = unreadable(7, &["one".to_owned(), "the action two".to_owned()]);
        assert_eq!(two.level, Level::Warn);
        assert!(
            two.text.contains("cannot decode one, the action two:"),
            "{two:?}"
        );
    }
}
