//! Measures the processor time of Redis for an operation: its create, its claim
//! and its end.
//!
//! ```sh
//! cargo run --release -p drumline-backend-redis --example cost -- redis://127.0.0.1:6379 20000 16
//! ```
//!
//! It is the server's own count (`INFO cpu`), so that the client is not in it.
//! All operations wait first. They are claimed in groups, of 16 if nothing else is
//! said, as by four workers that share what comes. Small groups show what a call
//! costs, large ones what an operation does. The server must be empty, and no other
//! client may use it.
#![expect(clippy::print_stdout, reason = "a measurement prints its result")]

use std::error::Error;
use std::time::Duration;

use drumline_backend::store::{
    Commit, Committed, Created, Done, Guard, Holding, NewOperation, Stamp,
};
use drumline_backend::{Ids, Store};
use drumline_backend_redis::{Options, RedisStore};
use drumline_protocol::operation::first_header;
use drumline_protocol::transition::At;
use drumline_protocol::{
    Author, Body, ChainKey, DependencyToken, Event, Header, OperationId, Organization, Partition,
    Rules, apply,
};
use redis::aio::MultiplexedConnection;

/// Operations in one call, if nothing else is said.
const GROUP: usize = 16;
/// Workers that share what comes.
const WORKERS: usize = 4;
/// Operations in a row that share a partition, as queue managers do it.
const RUN: usize = 64;
/// Operations in one chain, where they are chained.
const CHAIN: usize = 10;
const PAYLOAD: usize = 512;
const LEASE: Duration = Duration::from_secs(30);

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().ok_or("expected the URL of a Redis")?;
    let count: usize = arguments.next().map_or(Ok(20_000), |text| text.parse())?;
    let size: usize = arguments.next().map_or(Ok(GROUP), |text| text.parse())?;
    println!("µs of Redis per operation, in groups of {size}, {count} operations");
    for chained in [false, true] {
        let ids = Ids::random();
        let options = Options {
            url: url.clone(),
            namespace: format!("cost-{}", ids.uuid().simple()),
            ..Options::default()
        };
        let store = RedisStore::connect(&options).await?;
        let raw = redis::Client::open(url.as_str())?
            .get_multiplexed_async_connection()
            .await?;
        let mut run = Run {
            store,
            ids,
            raw,
            size,
        };
        run.all(count, chained).await?;
    }
    Ok(())
}

struct Run {
    store: RedisStore,
    ids: Ids,
    raw: MultiplexedConnection,
    /// Operations in one call.
    size: usize,
}

impl Run {
    async fn all(&mut self, count: usize, chained: bool) -> Result<()> {
        let start = self.micros().await?;
        let mut heads = self.create(count, chained).await?;
        let created = self.micros().await?;
        let (mut claim, mut end) = (0, 0);
        while !heads.is_empty() {
            heads = self.complete(&heads, &mut claim, &mut end).await?;
        }
        let each = |micros: u64| {
            let count = u64::try_from(count).unwrap_or(u64::MAX);
            let tenths = micros * 10 / count;
            format!("{}.{}", tenths / 10, tenths % 10)
        };
        println!(
            "{}: create {}, claim {}, end {}",
            if chained {
                "chains of 10"
            } else {
                "no token    "
            },
            each(created - start),
            each(claim),
            each(end)
        );
        Ok(())
    }

    /// The processor time of the thread of the server that runs commands.
    async fn micros(&mut self) -> Result<u64> {
        let info: redis::InfoDict = redis::cmd("INFO")
            .arg("cpu")
            .query_async(&mut self.raw)
            .await?;
        let seconds = |name: &str| info.get::<f64>(name).unwrap_or(0.0);
        let all = seconds("used_cpu_user_main_thread") + seconds("used_cpu_sys_main_thread");
        Ok(Duration::from_secs_f64(all).as_micros().try_into()?)
    }

    /// Creates operations, and confirms the offers. Returns those that may run.
    async fn create(&self, count: usize, chained: bool) -> Result<Vec<(OperationId, Header)>> {
        let mut heads = Vec::new();
        let numbers: Vec<usize> = (0..count).collect();
        for group in numbers.chunks(self.size) {
            let drafts = group
                .iter()
                .map(|number| {
                    self.draft(chained.then_some(number % count.div_ceil(CHAIN)), *number)
                })
                .collect::<Result<Vec<_>>>()?;
            let created = self.store.create(drafts.clone()).await?;
            for (new, created) in drafts.into_iter().zip(created) {
                match created {
                    Created::New { offer: Some(_), .. } => heads.push((new.id, new.header)),
                    Created::New { offer: None, .. } => {}
                    other => return Err(format!("not created: {other:?}").into()),
                }
            }
        }
        Ok(heads)
    }

    /// Claims and completes operations. Returns those that may run then.
    async fn complete(
        &mut self,
        heads: &[(OperationId, Header)],
        claim: &mut u64,
        end: &mut u64,
    ) -> Result<Vec<(OperationId, Header)>> {
        let groups = heads.chunks(self.size * WORKERS).flat_map(|share| {
            (0..WORKERS).map(|worker| share.iter().skip(worker).step_by(WORKERS))
        });
        let before = self.micros().await?;
        let mut claimed = Vec::new();
        for group in groups {
            let claims = group
                .map(|(id, header)| self.claim(*id, header))
                .collect::<Result<Vec<_>>>()?;
            let answers = self.store.commit(claims.clone()).await?;
            claimed.extend(claims.into_iter().zip(answers));
        }
        let between = self.micros().await?;
        let mut next = Vec::new();
        let mut promotions: Vec<(OperationId, Stamp)> = Vec::new();
        for group in claimed.chunks(self.size) {
            let ends = group
                .iter()
                .map(|(claim, answer)| {
                    let fence = done(answer)?.fence.ok_or("expected a fence")?;
                    let Guard::Acquire { owner, .. } = claim.guard else {
                        return Err("expected a claim".into());
                    };
                    let guard = Guard::Holder(Holding { owner, fence });
                    self.commit(claim.id, &claim.header, Event::Succeed, guard)
                })
                .collect::<Result<Vec<_>>>()?;
            for answer in self.store.commit(ends).await? {
                if let Some(promoted) = done(&answer)?.promoted.as_ref() {
                    let (id, header) = (promoted.operation.id, &promoted.operation.header);
                    promotions.push((id, promoted.stamp));
                    next.push((id, header.clone()));
                }
            }
        }
        let after = self.micros().await?;
        self.store.remove_from_outbox(&promotions).await?;
        *claim += between - before;
        *end += after - between;
        Ok(next)
    }

    fn draft(&self, chain: Option<usize>, number: usize) -> Result<NewOperation> {
        let now = self.store.now();
        let organization = Organization::default();
        let token: Option<DependencyToken> = chain
            .map(|chain| format!("token {chain}").try_into())
            .transpose()?;
        let chain = token
            .as_ref()
            .map(|token| ChainKey::new(&organization, token));
        let count = self.store.partitions();
        let run = number / RUN % usize::from(count.get());
        let spread = Partition::new(u16::try_from(run)?);
        let rules = Rules {
            chain,
            ..Rules::default()
        };
        Ok(NewOperation {
            id: self
                .ids
                .operation(now, chain.map_or(spread, |chain| chain.partition(count))),
            header: first_header(rules, None, self.ids.commit(), now),
            body: Body {
                name: format!("operation {number}"),
                dependency_token: token,
                data: Some(format!("\"{}\"", "x".repeat(PAYLOAD - 2))),
                correlation_id: self.ids.uuid(),
                organization,
                owner: "somebody".to_owned(),
                ..Body::new("DoIt", now)
            },
            key: None,
        })
    }

    fn claim(&self, id: OperationId, header: &Header) -> Result<Commit> {
        let guard = Guard::Acquire {
            owner: self.ids.member(),
            lease: LEASE,
        };
        let host = "host:1".to_owned();
        self.commit(id, header, Event::Claim { host }, guard)
    }

    fn commit(
        &self,
        id: OperationId,
        header: &Header,
        event: Event,
        guard: Guard,
    ) -> Result<Commit> {
        let at = At {
            now: self.store.now(),
            commit: self.ids.commit(),
        };
        let transition = apply(header, event, at).map_err(|error| format!("{error:?}"))?;
        let author = Author::worker("host:1");
        Ok(Commit::new(id, header, &transition, guard, &author))
    }
}

fn done(answer: &Committed) -> Result<&Done> {
    match answer {
        Committed::Done(done) => Ok(done),
        other => Err(format!("expected a commit: {other:?}").into()),
    }
}
