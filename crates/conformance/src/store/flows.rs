//! Flows: the operations of one organization in one queue. They share every look at
//! the outbox, and the load of a queue is read from its own.

use std::collections::BTreeMap;
use std::time::Duration;

use drumline_backend::store::{OutboxLook, OutboxPage, Runnable};
use drumline_protocol::{Event, FlowKey, OperationId, Organization, Partition, QueueName};

use crate::StoreHarness;
use crate::fixtures::{Draft, Fixture, independent, of_token};

/// A backlog that takes several looks.
const BACKLOG: usize = 2_000;
/// The entries of a look.
const LOOK: usize = 256;

fn of_organization(name: &str) -> Draft {
    Draft {
        organization: Organization(name.to_owned()),
        ..independent()
    }
}

fn in_queue(name: &str) -> Draft {
    Draft {
        queue: queue(name),
        ..independent()
    }
}

fn queue(name: &str) -> QueueName {
    name.parse().expect("a name")
}

fn flow(draft: &Draft) -> FlowKey {
    FlowKey::new(&draft.organization, &draft.queue)
}

impl Fixture {
    async fn create_many(&self, draft: &Draft, count: usize) -> Vec<OperationId> {
        let drafts = (0..count).map(|_| self.prepare(draft.clone()));
        let created = self.store_all(drafts.collect()).await;
        created.into_iter().map(|fresh| fresh.id).collect()
    }

    async fn look(&self, look: &OutboxLook) -> OutboxPage {
        let page = self.store.outbox_entries(Partition::new(0), look).await;
        page.expect("the outbox")
    }

    async fn load(&self, name: &str, most: usize, sample: usize) -> Runnable {
        let partition = Partition::new(0);
        let queue = queue(name);
        let load = self.store.runnable(partition, &queue, most, sample);
        load.await.expect("runnable")
    }
}

/// Each flow of a page, and the ids of its entries.
fn ids(page: OutboxPage) -> BTreeMap<FlowKey, Vec<OperationId>> {
    let flows = page.flows.into_iter();
    let with_ids = flows.map(|flow| {
        let entries = flow.entries.iter();
        (flow.flow, entries.map(|entry| entry.operation.id).collect())
    });
    with_ids.collect()
}

/// One organization has a long backlog, and another one creates an operation later:
/// it is in the first look.
pub async fn a_backlog_delays_no_other_organization(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let (busy, quiet) = (of_organization("busy"), of_organization("quiet"));
    let backlog = fixture.create_many(&busy, BACKLOG).await;
    let late = fixture.create(quiet.clone()).await.id;
    let page = fixture
        .look(&OutboxLook::oldest(Duration::ZERO, LOOK))
        .await;
    assert_eq!(page.next, None, "both flows were looked at");
    for found in &page.flows {
        assert_eq!(found.has_more, found.flow == flow(&busy));
    }
    let found = ids(page);
    assert_eq!(found[&flow(&quiet)], [late]);
    assert_eq!(found[&flow(&busy)], backlog[..LOOK / 2], "the oldest first");

    // Alone, it has the whole look.
    let stamp = fixture.entry(late).await.expect("an entry");
    fixture.confirm(late, stamp).await;
    let page = fixture
        .look(&OutboxLook::oldest(Duration::ZERO, LOOK))
        .await;
    assert_eq!(ids(page)[&flow(&busy)], backlog[..LOOK]);
}

/// With more flows than a look has entries, a caller that goes on behind the last
/// flow sees the first entry of each once.
pub async fn more_flows_than_a_look_has_entries_come_in_turn(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let mut expected = BTreeMap::new();
    for number in 0..10 {
        let draft = of_organization(&format!("organization {number}"));
        let created = fixture.create_many(&draft, 3).await;
        expected.insert(flow(&draft), created[0]);
    }
    let mut look = OutboxLook::oldest(Duration::ZERO, 4);
    let mut found = BTreeMap::new();
    for round in 1..=3 {
        let page = fixture.look(&look).await;
        look.after = page.next;
        assert!(page.flows.iter().all(|flow| flow.has_more));
        assert_eq!(page.next.is_none(), round == 3, "4, 4 and 2 flows");
        found.extend(ids(page));
    }
    assert_eq!(found.len(), expected.len());
    for (flow, first) in &expected {
        assert_eq!(found[flow].first(), Some(first));
    }
}

/// Entries that no queue takes hide nothing: neither the entries of their flow
/// behind them, nor other flows.
pub async fn a_flow_goes_on_behind_an_entry(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let (refused, other) = (in_queue("refused"), in_queue("other"));
    let first = fixture.create_many(&refused, 5).await;
    let second = fixture.create_many(&other, 3).await;
    let mut look = OutboxLook::oldest(Duration::ZERO, 4);
    let page = fixture.look(&look).await;
    for found in &page.flows {
        if found.flow == flow(&refused) {
            look.behind.insert(found.flow, found.last);
        }
    }
    let found = ids(page);
    assert_eq!(found[&flow(&refused)], first[..2]);
    assert_eq!(found[&flow(&other)], second[..2]);
    let found = ids(fixture.look(&look).await);
    assert_eq!(found[&flow(&refused)], first[2..4], "behind the others");
    assert_eq!(found[&flow(&other)], second[..2], "as before");
}

/// Entries that are too large for one answer come in several, each once: no flow is
/// passed over where an answer was full.
pub async fn large_entries_come_in_several_answers(harness: &dyn StoreHarness) {
    const FLOWS: usize = 160;
    let fixture = Fixture::new(harness).await;
    let mut expected = BTreeMap::new();
    for number in 0..FLOWS {
        let draft = Draft {
            data: Some(format!("\"{}\"", "d".repeat(7_500))),
            ..of_organization(&format!("organization {number}"))
        };
        expected.insert(flow(&draft), fixture.create_many(&draft, 2).await);
    }
    let mut look = OutboxLook::oldest(Duration::ZERO, 1_000);
    let mut found: BTreeMap<FlowKey, Vec<OperationId>> = BTreeMap::new();
    loop {
        let page = fixture.look(&look).await;
        let was_first = look.after.is_none();
        look.after = page.next;
        if was_first && page.next.is_none() && page.flows.is_empty() {
            break;
        }
        for one in &page.flows {
            look.behind.insert(one.flow, one.last);
        }
        for (flow, ids) in ids(page) {
            found.entry(flow).or_default().extend(ids);
        }
    }
    assert_eq!(found, expected);
}

/// Young entries of a flow take no room from the old ones of others.
pub async fn a_flow_of_young_entries_is_left_out(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let hour = Duration::from_secs(3_600);
    let young = fixture.create(in_queue("young")).await;
    let delayed = fixture
        .store
        .reoffer(young.id, young.offer.expect("offered"), hour)
        .await;
    assert!(delayed.expect("reoffer").is_some());
    let old = fixture.create_many(&in_queue("old"), 6).await;
    let page = fixture.look(&OutboxLook::oldest(Duration::ZERO, 4)).await;
    assert_eq!(page.next, None);
    assert_eq!(ids(page).into_values().collect::<Vec<_>>(), [&old[..4]]);
}

/// The load of a queue: what the broker has and what it has not yet, of all
/// organizations. Other queues, parked, paused and running operations are not in it.
pub async fn the_load_of_a_queue_is_what_could_run(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    fixture.create_many(&in_queue("other"), 300).await;
    assert_eq!(fixture.load("imports", 100, 10).await, Runnable::default());
    let mut expected = Vec::new();
    for organization in ["a", "b"] {
        let draft = Draft {
            organization: Organization(organization.to_owned()),
            ..in_queue("imports")
        };
        for is_confirmed in [false, true] {
            let fresh = fixture.create(draft.clone()).await;
            if is_confirmed {
                let stamp = fresh.offer.expect("offered");
                fixture.confirm(fresh.id, stamp).await;
            }
            expected.push(fresh.id);
        }
        let paused = fixture.create(draft.clone()).await;
        fixture.client(paused.id, Event::Pause).await;
        let running = fixture.create(draft.clone()).await;
        fixture.claim(running.id).await;
    }
    let mut load = fixture.load("imports", 100, 10).await;
    load.first.sort_unstable();
    expected.sort_unstable();
    assert_eq!(load.count, 4);
    assert_eq!(load.first, expected);
    let other = fixture.load("other", 1_000, 1).await;
    assert_eq!((other.count, other.first.len()), (300, 1));
    // Counted no further than the caller wants to know.
    assert!((10..300).contains(&fixture.load("other", 10, 1).await.count));

    // In a chain the head alone could run.
    let draft = Draft {
        queue: queue("chains"),
        ..of_token("a")
    };
    let head = fixture.create_many(&draft, 3).await[0];
    let chains = queue("chains");
    let load = fixture.store.runnable(head.partition(), &chains, 9, 9);
    let load = load.await.expect("runnable");
    assert_eq!((load.count, load.first.as_slice()), (1, &[head][..]));
}
