//! Measures the first page of a listing by each indexed value.
//!
//! ```sh
//! cargo run --release -p drumline-backend-redis --example pages -- redis://127.0.0.1:6379 200000 100000
//! ```
//!
//! The second number is that of the operations that are Canceled at once; the others
//! wait.
//!
//! The server must be empty: the operations stay in it, in a namespace of their
//! own.
#![expect(clippy::print_stdout, reason = "a measurement prints its result")]

use std::error::Error;
use std::time::Duration;

use drumline_backend::store::{Commit, Committed, Filter, Guard, NewOperation};
use drumline_backend::{Ids, Store};
use drumline_backend_redis::{Options, RedisStore};
use drumline_protocol::operation::first_header;
use drumline_protocol::transition::At;
use drumline_protocol::{
    Author, Body, ChainKey, DependencyToken, Event, Organization, Partition, QueueName, Rules,
    State, Status, apply,
};
use tokio::time::Instant;
use uuid::Uuid;

/// Operations in one create.
const BATCH: u64 = 1_000;
/// Operations on a page.
const PAGE: usize = 50;
/// Pages of each kind; the median counts.
const ROUNDS: usize = 9;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().ok_or("expected the URL of a Redis")?;
    let count: u64 = arguments.next().map_or(Ok(200_000), |text| text.parse())?;
    let completed: u64 = arguments.next().map_or(Ok(0), |text| text.parse())?;
    let ids = Ids::random();
    let options = Options {
        url,
        namespace: format!("pages-{}", ids.uuid().simple()),
        ..Options::default()
    };
    let store = RedisStore::connect(&options).await?;
    let group = ids.uuid();
    let before = store.inspect().await?.used_memory;
    let start = Instant::now();
    for first in (0..count).step_by(1_000) {
        let batch =
            (first..count.min(first + BATCH)).map(|number| draft(&store, &ids, number, group));
        let batch: Vec<NewOperation> = batch.collect::<Result<_, _>>()?;
        store.create(batch.clone()).await?;
        // Every so-manieth, so that both are in all indexes.
        let ends = (first..).zip(&batch).filter(|(number, _)| {
            (number + 1) * completed / count.max(1) > number * completed / count.max(1)
        });
        let ends: Vec<Commit> = ends
            .map(|(_, new)| cancel(&store, &ids, new))
            .collect::<Result<_, _>>()?;
        for answer in store.commit(ends).await? {
            let Committed::Done(_) = answer else {
                return Err(format!("not Canceled: {answer:?}").into());
            };
        }
    }
    let each = (store.inspect().await?.used_memory - before) / count.max(1);
    println!(
        "{count} operations in {:?}, {each} bytes each",
        start.elapsed()
    );

    let organization = Organization::default();
    let all = Filter {
        organization: Some(organization.clone()),
        ..Filter::default()
    };
    let filters = [
        ("no condition", all.clone()),
        (
            "message name, one in five",
            Filter {
                message_name: Some("Message3".to_owned()),
                ..all.clone()
            },
        ),
        (
            "message name × Ready",
            Filter {
                message_name: Some("Message3".to_owned()),
                state: Some(State::Ready),
                ..all.clone()
            },
        ),
        (
            "message name × Locked",
            Filter {
                message_name: Some("Message3".to_owned()),
                state: Some(State::Locked),
                ..all.clone()
            },
        ),
        (
            "name, one of all",
            Filter {
                name: Some("operation 7".to_owned()),
                ..all.clone()
            },
        ),
        (
            "token, one in a thousand",
            Filter {
                chain: Some(ChainKey::new(
                    &organization,
                    &"token 7".to_owned().try_into()?,
                )),
                ..all.clone()
            },
        ),
        (
            "correlation id, one in a hundred",
            Filter {
                correlation_id: Some(group),
                ..all.clone()
            },
        ),
        (
            "parent, one in a hundred",
            Filter {
                parent_id: Some(group),
                ..all.clone()
            },
        ),
        (
            "record, one in a hundred",
            Filter {
                regarding_object_id: Some(group),
                ..all.clone()
            },
        ),
        (
            "owner, one in ten",
            Filter {
                owner: Some("owner 7".to_owned()),
                ..all.clone()
            },
        ),
        (
            "Canceled",
            Filter {
                status: Some(Status::Canceled),
                ..all.clone()
            },
        ),
        (
            "message name × Completed",
            Filter {
                message_name: Some("Message3".to_owned()),
                state: Some(State::Completed),
                ..all.clone()
            },
        ),
        (
            "owner × Completed",
            Filter {
                owner: Some("owner 7".to_owned()),
                state: Some(State::Completed),
                ..all.clone()
            },
        ),
        (
            "Failed, none",
            Filter {
                status: Some(Status::Failed),
                ..all.clone()
            },
        ),
        (
            "message name and owner, none",
            Filter {
                message_name: Some("Message3".to_owned()),
                owner: Some("owner 7".to_owned()),
                ..all.clone()
            },
        ),
        (
            "message name and queue, none",
            Filter {
                message_name: Some("Message3".to_owned()),
                queue: Some(QueueName::try_from("other".to_owned())?),
                ..all
            },
        ),
    ];
    for (what, filter) in filters {
        let mut times = Vec::new();
        let mut found = (0, false);
        for _ in 0..ROUNDS {
            let start = Instant::now();
            let page = store.list(&filter, None, PAGE).await?;
            times.push(start.elapsed());
            found = (page.operations.len(), page.next.is_some());
        }
        times.sort_unstable();
        let median = times.get(ROUNDS / 2).copied().unwrap_or(Duration::ZERO);
        let slowest = times.last().copied().unwrap_or(Duration::ZERO);
        println!(
            "{median:>10.1?}, {slowest:>10.1?} at most  {what}: {} on the page, more: {}",
            found.0, found.1
        );
    }
    Ok(())
}

fn cancel(store: &RedisStore, ids: &Ids, new: &NewOperation) -> Result<Commit, Box<dyn Error>> {
    let at = At {
        now: store.now(),
        commit: ids.commit(),
    };
    let transition = apply(&new.header, Event::Cancel, at).map_err(|error| format!("{error:?}"))?;
    let author = Author::worker("host:1");
    Ok(Commit::new(
        new.id,
        &new.header,
        &transition,
        Guard::None,
        &author,
    ))
}

fn draft(
    store: &RedisStore,
    ids: &Ids,
    number: u64,
    group: Uuid,
) -> Result<NewOperation, Box<dyn Error>> {
    let now = store.now();
    let organization = Organization::default();
    let token: Option<DependencyToken> = match number % 2 {
        0 => Some(format!("token {}", number / 2 % 500).try_into()?),
        _ => None,
    };
    let chain = token
        .as_ref()
        .map(|token| ChainKey::new(&organization, token));
    let count = store.partitions();
    let spread = Partition::new(u16::try_from(number % u64::from(count.get()))?);
    let partition = chain.map_or(spread, |chain| chain.partition(count));
    let rules = Rules {
        chain,
        ..Rules::default()
    };
    let of_group = number.is_multiple_of(100).then_some(group);
    Ok(NewOperation {
        id: ids.operation(now, partition),
        header: first_header(rules, None, ids.commit(), now),
        body: Body {
            name: format!("operation {number}"),
            dependency_token: token,
            data: Some(format!("{{\"text\":\"{}\"}}", "x".repeat(500))),
            correlation_id: of_group.unwrap_or_else(|| ids.uuid()),
            parent_id: of_group,
            regarding_object_id: of_group,
            organization,
            owner: format!("owner {}", number % 10),
            ..Body::new(format!("Message{}", number % 5), now)
        },
        key: None,
    })
}
