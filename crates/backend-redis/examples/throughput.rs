//! The number of creates, claims and completions a second, in batches of 1 and
//! 64, and their costs on the server.
//!
//! ```text
//! cargo run --release --example throughput [redis-url]
//! ```
//!
//! Without an address it starts a private server with `appendfsync always`.
#![expect(clippy::print_stdout, reason = "its output is what it is for")]

use std::sync::Arc;
use std::time::Duration;

use drumline_backend::store::{Commit, Committed, Created, Guard, NewOperation, Stamp};
use drumline_backend::{Ids, Store};
use drumline_backend_redis::{Options, RedisStore};
use drumline_protocol::operation::{TraceContext, first_header};
use drumline_protocol::transition::At;
use drumline_protocol::{
    Body, ChainKey, DependencyToken, Event, Fence, Header, OperationId, OperationType,
    Organization, Partition, QueueName, RetryPolicy, Rules, TokenPolicy, apply,
};
use drumline_test_servers::RedisServer;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Operations per line of the output.
const OPERATIONS: usize = 20_000;
/// Creates that share a partition, as a manager makes them.
const RUN: usize = 64;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let named = std::env::args().nth(1);
    let server = match named {
        Some(_) => None,
        None => Some(RedisServer::start().await?),
    };
    let url = named.or(server.as_ref().map(RedisServer::url));
    let bench = Bench {
        url: url.unwrap_or_default(),
        ids: Arc::new(Ids::random()),
    };
    println!("{OPERATIONS} operations per line; calls at the same time × operations per call\n");
    floor(&bench.url).await?;
    for token in [false, true] {
        for (callers, batch) in [(1, 1), (64, 1), (8, 64)] {
            bench.line(token, callers, batch).await?;
        }
    }
    Ok(())
}

struct Bench {
    url: String,
    ids: Arc<Ids>,
}

/// The state of an operation between two steps.
#[derive(Clone)]
struct Step {
    id: OperationId,
    header: Header,
    stamp: Option<Stamp>,
    fence: Option<Fence>,
}

impl Bench {
    async fn line(
        &self,
        token: bool,
        callers: usize,
        batch: usize,
    ) -> Result<(), Box<dyn std::error::Error>> {
        let options = Options {
            url: self.url.clone(),
            namespace: format!("bench-{}", self.ids.uuid().simple()),
            ..Options::default()
        };
        let store = Arc::new(RedisStore::connect(&options).await?);
        // One caller, one round trip at a time: fewer will do.
        let count = if callers == 1 {
            OPERATIONS / 10
        } else {
            OPERATIONS
        };
        let kind = if token { "chains" } else { "independent" };
        println!("{kind}, {callers} × {batch}");

        let news: Vec<NewOperation> = (0..count).map(|n| self.draft(&store, token, n)).collect();
        let before = store.inspect().await?.used_memory;
        let steps = measure("create", &store, &self.url, callers, batch, news, create).await?;
        let after = store.inspect().await?.used_memory;
        println!(
            "    {} bytes of Redis per operation",
            (after - before) / count as u64
        );
        let offered = steps.iter().filter(|step| step.stamp.is_some());
        let offered: Vec<Step> = offered.cloned().collect();
        measure(
            "dispatched",
            &store,
            &self.url,
            callers,
            batch,
            offered.clone(),
            dispatched,
        )
        .await?;
        let ids = Arc::clone(&self.ids);
        let claim = move |store, steps| claim(store, steps, Arc::clone(&ids));
        let claimed = measure("claim", &store, &self.url, callers, batch, offered, claim).await?;
        let ids = Arc::clone(&self.ids);
        let complete = move |store, steps| complete(store, steps, Arc::clone(&ids));
        measure(
            "complete", &store, &self.url, callers, batch, claimed, complete,
        )
        .await?;
        Ok(())
    }

    fn draft(&self, store: &RedisStore, token: bool, number: usize) -> NewOperation {
        let now = store.now();
        let organization = Organization::default();
        // Two of each token: half of the completions promote.
        let token: Option<DependencyToken> = token
            .then(|| format!("token {}", number / 2))
            .and_then(|text| text.try_into().ok());
        let chain = token
            .as_ref()
            .map(|token| ChainKey::new(&organization, token));
        let run = u16::try_from(number / RUN).unwrap_or(0) % store.partitions().get();
        let partition = chain.map_or(Partition::new(run), |chain| {
            chain.partition(store.partitions())
        });
        let rules = Rules {
            operation_type: OperationType::DEFAULT,
            chain,
            token_policy: TokenPolicy::Continue,
            transient: false,
            webhook: false,
            at_most_once: false,
            retry: RetryPolicy::default(),
        };
        NewOperation {
            id: self.ids.operation(now, partition),
            header: first_header(rules, None, self.ids.commit(), now),
            body: Body {
                name: "bench".to_owned(),
                message_name: "Bench".to_owned(),
                queue: QueueName::default(),
                dependency_token: token,
                data: Some("{\"some\":\"data of a usual length\"}".to_owned()),
                correlation_id: self.ids.uuid(),
                request_id: None,
                parent_id: None,
                depth: 0,
                primary_entity_type: None,
                regarding_object_id: None,
                organization,
                owner: "bench".to_owned(),
                created_on: now,
                retain_job_history: true,
                webhook_url: None,
                trace: TraceContext::default(),
            },
        }
    }
}

/// The machine's time for a script that writes one value, from 64 callers: the
/// baseline for the other lines.
async fn floor(url: &str) -> Result<(), Box<dyn std::error::Error>> {
    const CALLERS: usize = 64;
    let connection = redis::Client::open(url)?
        .get_multiplexed_async_connection()
        .await?;
    let script = redis::Script::new("redis.call('SET', KEYS[1], ARGV[1]) return 1");
    let cpu = cpu(url).await?;
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    for caller in 0..CALLERS {
        let (mut connection, script) = (connection.clone(), script.clone());
        tasks.spawn(async move {
            for _ in 0..OPERATIONS / CALLERS {
                let mut call = script.key(format!("bench-floor:{caller}"));
                let _: i64 = call.arg("value").invoke_async(&mut connection).await?;
            }
            redis::RedisResult::Ok(())
        });
    }
    for done in tasks.join_all().await {
        done?;
    }
    let count = OPERATIONS / CALLERS * CALLERS;
    let rate = count as f64 / started.elapsed().as_secs_f64();
    let cost = self::cpu(url).await?.saturating_sub(cpu) / u32::try_from(count)?;
    println!(
        "one write, {CALLERS} × 1\n    floor      {rate:>8.0}/s   {cost:>8.1?} of the server each"
    );
    Ok(())
}

/// Runs `step` over all items and prints its costs.
async fn measure<T, F, R>(
    name: &str,
    store: &Arc<RedisStore>,
    url: &str,
    callers: usize,
    batch: usize,
    items: Vec<T>,
    step: F,
) -> Result<Vec<Step>, Box<dyn std::error::Error>>
where
    T: Clone + Send + 'static,
    F: Fn(Arc<RedisStore>, Vec<T>) -> R + Clone + Send + 'static,
    R: Future<Output = Vec<Step>> + Send,
{
    let count = items.len();
    // Each caller has every n-th batch, so that all move through time together.
    let mut shares: Vec<Vec<Vec<T>>> = vec![Vec::new(); callers];
    for (number, batch) in items.chunks(batch).enumerate() {
        if let Some(share) = shares.get_mut(number % callers) {
            share.push(batch.to_vec());
        }
    }
    let cpu = cpu(url).await?;
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    for share in shares {
        let (store, step) = (Arc::clone(store), step.clone());
        tasks.spawn(async move {
            let mut done = Vec::new();
            for batch in share {
                done.extend(step(Arc::clone(&store), batch).await);
            }
            done
        });
    }
    let done: Vec<Step> = tasks.join_all().await.into_iter().flatten().collect();
    let took = started.elapsed();
    let cost = (self::cpu(url).await?).saturating_sub(cpu) / u32::try_from(count)?;
    let rate = count as f64 / took.as_secs_f64();
    println!("    {name:<10} {rate:>8.0}/s   {cost:>8.1?} of the server each");
    Ok(done)
}

async fn create(store: Arc<RedisStore>, news: Vec<NewOperation>) -> Vec<Step> {
    let answers = store.create(news.clone()).await.unwrap_or_default();
    let mut steps = Vec::new();
    for (new, answer) in news.into_iter().zip(answers) {
        let (Created::New { offer: stamp, .. }, fence) = (answer, None) else {
            continue;
        };
        steps.push(Step {
            id: new.id,
            header: new.header,
            stamp,
            fence,
        });
    }
    steps
}

async fn dispatched(store: Arc<RedisStore>, steps: Vec<Step>) -> Vec<Step> {
    let entries: Vec<_> = steps
        .iter()
        .filter_map(|step| Some((step.id, step.stamp?)))
        .collect();
    drop(store.remove_from_outbox(&entries).await);
    steps
}

async fn claim(store: Arc<RedisStore>, steps: Vec<Step>, ids: Arc<Ids>) -> Vec<Step> {
    let guard = Guard::Acquire {
        owner: ids.member(),
        lease: Duration::from_secs(10),
    };
    let event = Event::Claim {
        host: "bench".to_owned(),
    };
    let commits = steps.iter().filter_map(|step| {
        let mut commit = commit(&store, &ids, step, event.clone(), guard)?;
        commit.want_record = true;
        Some(commit)
    });
    make(&store, commits.collect()).await
}

async fn complete(store: Arc<RedisStore>, steps: Vec<Step>, ids: Arc<Ids>) -> Vec<Step> {
    let commits = steps.iter().filter_map(|step| {
        commit(
            &store,
            &ids,
            step,
            Event::Succeed,
            Guard::Holder(step.fence?),
        )
    });
    make(&store, commits.collect()).await
}

fn commit(
    store: &RedisStore,
    ids: &Ids,
    step: &Step,
    event: Event,
    guard: Guard,
) -> Option<Commit> {
    let at = At {
        now: store.now(),
        commit: ids.commit(),
    };
    let transition = apply(&step.header, event, at).ok()?;
    Some(Commit::new(step.id, &step.header, &transition, guard))
}

async fn make(store: &RedisStore, commits: Vec<Commit>) -> Vec<Step> {
    let answers = store.commit(commits.clone()).await.unwrap_or_default();
    let mut steps = Vec::new();
    for (commit, answer) in commits.into_iter().zip(answers) {
        let Committed::Done(done) = answer else {
            continue;
        };
        steps.push(Step {
            id: commit.id,
            header: commit.header,
            stamp: done.offer,
            fence: done.fence,
        });
    }
    steps
}

/// The processor time that the server has used.
async fn cpu(url: &str) -> Result<Duration, Box<dyn std::error::Error>> {
    let mut connection = redis::Client::open(url)?
        .get_multiplexed_async_connection()
        .await?;
    let info: String = redis::cmd("INFO")
        .arg("cpu")
        .query_async(&mut connection)
        .await?;
    let used = |name: &str| {
        let mut lines = info.lines().filter_map(|line| line.split_once(':'));
        let (_, seconds) = lines.find(|(found, _)| *found == name)?;
        seconds.parse().ok().map(Duration::from_secs_f64)
    };
    let (user, system) = (used("used_cpu_user"), used("used_cpu_sys"));
    Ok(user.unwrap_or_default() + system.unwrap_or_default())
}
