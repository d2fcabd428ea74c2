//! Everything that a caller can see of a store.

use std::fmt::Debug;

use drumline_backend::store::{Filter, Neighbourhood, Stamp};
use drumline_protocol::transition::EndClass;
use drumline_protocol::{OperationId, Organization, Partition, State};

use super::TOKENS;
use crate::fixtures::{Fixture, chain_key};

/// Everything that a caller of one store can see of these operations, without the numbers
/// of the store itself.
pub(super) async fn look(side: &Fixture, ids: &[OperationId]) -> Vec<(String, String)> {
    let mut seen: Vec<(String, String)> = Vec::new();
    let mut note = |aspect: String, of: &dyn Debug| seen.push((aspect, format!("{of:?}")));
    let store = &side.store;
    let mut order = Vec::new();
    for (id, found) in ids.iter().zip(store.get(ids).await.expect("get")) {
        let parts = found.map(|found| {
            order.push((id.partition(), found.sequence, *id));
            (found.header, found.body, found.report)
        });
        note(format!("{id}"), &parts);
    }
    order.sort_unstable();
    let order: Vec<OperationId> = order.into_iter().map(|(_, _, id)| id).collect();
    note("the order of submission".to_owned(), &order);
    let removed = store.were_removed(ids).await.expect("were_removed");
    note("removed".to_owned(), &removed);
    for id in ids {
        let near = Neighbourhood {
            before: 3,
            behind: 3,
        };
        let place = store.chain_place(*id, near).await.expect("chain_place");
        note(format!("the place of {id}"), &place);
        let offer = store.last_offer(*id).await.expect("last_offer");
        let offer = offer.map(|offer| offer.is_in_outbox);
        note(format!("the offer of {id}"), &offer);
        let history = store.history(*id).await.expect("history");
        let mut entries = history.map(|recorded| recorded.entries).unwrap_or_default();
        entries.sort_by_key(|entry| format!("{entry:?}"));
        note(format!("the history of {id}"), &entries);
    }
    let partitions: Vec<Partition> = store.partitions().all().collect();
    let copies = store.pause_copies(&partitions).await.expect("pause_copies");
    let held: Vec<u64> = copies.iter().map(|copy| copy.held).collect();
    note("held".to_owned(), &held);
    for partition in partitions {
        let at = partition.get();
        let entries: Vec<OperationId> = side
            .outbox_entries(partition)
            .await
            .into_iter()
            .map(|(id, _)| id)
            .collect();
        note(format!("outbox {at}"), &entries);
        let offered = sorted(side.offered(partition).await.into_iter().map(|(id, _)| id));
        note(format!("offered {at}"), &offered);
        let locks = store.locks(partition).await.expect("locks");
        let locks = sorted(locks.iter().map(|lock| (lock.id, lock.owner, lock.lease)));
        note(format!("locks {at}"), &locks);
        let notices = store.notices(partition, 1_000).await.expect("notices");
        let notices = sorted(notices.iter().map(|notice| notice.id));
        note(format!("notices {at}"), &notices);
        let due = sorted(store.due(partition, 1_000).await.expect("due").into_iter());
        note(format!("due {at}"), &due);
        for class in EndClass::ALL {
            let ended = store.ended(partition, class, Stamp(0), Stamp(u64::MAX >> 11), 1_000);
            let ended: Vec<OperationId> = ended
                .await
                .expect("ended")
                .into_iter()
                .map(|(id, _)| id)
                .collect();
            note(format!("ended {at} {class:?}"), &ended);
        }
    }
    let stops = store.stop_requests(side.worker).await;
    let stops = sorted(stops.expect("stop_requests").into_iter().map(|(id, _)| id));
    note("asked to stop".to_owned(), &stops);
    note("counts".to_owned(), &store.counts().await.expect("counts"));
    for filter in filters() {
        let page = store.list_summaries(&filter, None, 100).await;
        let page = page.expect("list_summaries");
        let listed: Vec<OperationId> = page.operations.iter().map(|it| it.id).collect();
        note(format!("{filter:?}"), &listed);
    }
    seen
}

fn filters() -> Vec<Filter> {
    let mut filters: Vec<Filter> = vec![Filter::default()];
    filters.extend(State::ALL.map(|state| Filter {
        state: Some(state),
        ..Filter::default()
    }));
    filters.push(Filter {
        message_name: Some("DoThat".to_owned()),
        ..Filter::default()
    });
    filters.push(Filter {
        chain: Some(chain_key(&Organization::default(), TOKENS[0])),
        ..Filter::default()
    });
    filters.push(Filter {
        holding: Some(true),
        ..Filter::default()
    });
    filters.push(Filter {
        waits_without_time: Some(true),
        ..Filter::default()
    });
    filters
}

fn sorted<T: Ord>(items: impl Iterator<Item = T>) -> Vec<T> {
    let mut items: Vec<T> = items.collect();
    items.sort_unstable();
    items
}
