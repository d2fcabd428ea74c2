//! Fleets of thousands of members: what a beat costs the server, and what members
//! leave behind.

use std::collections::BTreeMap;
use std::sync::Arc;

use drumline_backend::membership::all_members;
use drumline_backend::{Ids, Member, MemberId, Membership, Profile, Role, Roster, rendezvous};
use drumline_backend_redis::{Options, RedisMembership, RedisStore};
use drumline_protocol::{PartitionCount, QueueName};
use drumline_test_servers::RedisServer;
use redis::aio::MultiplexedConnection;
use tokio::task::JoinSet;

use crate::common;

const MANAGERS: usize = 20;
const WORKERS: usize = 2_980;

fn member(role: Role) -> Member {
    Member {
        id: Ids::random().member(),
        host: "host.example.org:4711".to_owned(),
        running: 0,
        started_on_ms: 1_795_000_000_123,
        profile: Profile {
            queues: vec![QueueName::default()],
            messages: vec!["ImportSolution".to_owned(), "SendMail".to_owned()],
            concurrency: 16,
            ..Profile::new(role)
        },
    }
}

/// A fleet: each manager is a process, and all workers are one.
struct Fleet {
    raw: MultiplexedConnection,
    options: Options,
    managers: Vec<(Member, RedisMembership)>,
    workers: Arc<RedisMembership>,
    // The memberships use their connections.
    _stores: Vec<RedisStore>,
}

impl Fleet {
    async fn start(server: &RedisServer) -> Self {
        let options = common::options_on(&server.url());
        let mut stores = Vec::new();
        for _ in 0..=MANAGERS {
            stores.push(common::connect(&options).await);
        }
        let managers = stores[1..].iter();
        Self {
            raw: common::raw(&server.url()).await,
            managers: managers
                .map(|store| (member(Role::Manager), RedisMembership::new(store)))
                .collect(),
            workers: Arc::new(RedisMembership::new(&stores[0])),
            options,
            _stores: stores,
        }
    }

    /// Each manager beats; returns what each sees.
    async fn managers_beat(&self) -> Vec<(MemberId, Arc<Roster>)> {
        let mut seen = Vec::new();
        for (manager, membership) in &self.managers {
            seen.push((manager.id, membership.beat(manager).await.expect("beat")));
        }
        seen
    }

    async fn workers_beat(&self, workers: &[Member]) {
        for some in workers.chunks(100) {
            let mut tasks = JoinSet::new();
            for worker in some {
                let (membership, worker) = (Arc::clone(&self.workers), worker.clone());
                tasks.spawn(async move { membership.beat(&worker).await.expect("beat") });
            }
            tasks.join_all().await;
        }
    }

    /// One value of `INFO`.
    async fn info(&self, section: &str, name: &str) -> u64 {
        let mut raw = self.raw.clone();
        let mut info = redis::cmd("INFO");
        let text: String = info.arg(section).query_async(&mut raw).await.expect("INFO");
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let value = line.expect("the name is listed").trim_start_matches(':');
        let digits = value.trim_start_matches("calls=").split(',').next();
        digits.expect("a value").parse().expect("a number")
    }

    /// The bytes that the server sends for one more beat of a manager, and the
    /// commands that it executes.
    async fn cost_of_a_beat(&self) -> (u64, u64) {
        const BEATS: u64 = 50;
        let (manager, membership) = &self.managers[0];
        membership.beat(manager).await.expect("beat");
        let bytes = async || self.info("stats", "total_net_output_bytes").await;
        let calls = async || self.info("stats", "total_commands_processed").await;
        // The measurement has its own cost.
        let (one, two) = (bytes().await, bytes().await);
        let (before, calls_before) = (bytes().await, calls().await);
        for _ in 0..BEATS {
            membership.beat(manager).await.expect("beat");
        }
        let calls_after = calls().await;
        let after = bytes().await;
        let own = 4 * (two - one);
        let sent = (after - before).saturating_sub(own);
        (sent / BEATS, (calls_after - calls_before - 1) / BEATS)
    }

    fn key(&self, name: &str) -> String {
        format!("{}:{{m}}:{name}", self.options.namespace)
    }

    async fn count(&self, command: &str, name: &str) -> usize {
        let mut raw = self.raw.clone();
        let mut count = redis::cmd(command);
        let counted = count.arg(self.key(name)).query_async(&mut raw).await;
        counted.expect("a number")
    }
}

fn share(me: MemberId, roster: &Roster) -> Vec<u16> {
    let managers = roster.ids(|profile| profile.role == Role::Manager);
    let all = PartitionCount::DEFAULT
        .all()
        .map(|partition| partition.get());
    let mine = |partition: &u16| rendezvous::owner(u64::from(*partition), &managers) == Some(me);
    all.filter(mine).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn three_thousand_members_beat_at_the_cost_of_one() {
    let server = RedisServer::start().await.expect("a Redis");
    let fleet = Fleet::start(&server).await;
    fleet.managers_beat().await;
    let alone = fleet.cost_of_a_beat().await;

    let workers: Vec<Member> = (0..WORKERS).map(|_| member(Role::Worker)).collect();
    // The second beat is for a busy machine, on which the first of them would be
    // silent for too long by now.
    for _ in 0..2 {
        fleet.workers_beat(&workers).await;
    }
    // On a busy machine the managers were silent for too long meanwhile, too.
    fleet.managers_beat().await;
    let mut shares: BTreeMap<u16, MemberId> = BTreeMap::new();
    for (me, roster) in fleet.managers_beat().await {
        assert_eq!(roster.count(Role::Worker), WORKERS);
        assert_eq!(roster.count(Role::Manager), MANAGERS);
        for partition in share(me, &roster) {
            assert_eq!(shares.insert(partition, me), None);
        }
    }
    assert_eq!(shares.len(), 64, "each partition has one manager");
    let all = all_members(&*fleet.workers).await.expect("members");
    assert_eq!(all.len(), MANAGERS + WORKERS);

    let (bytes, calls) = fleet.cost_of_a_beat().await;
    assert!(bytes <= 200, "{bytes} bytes");
    assert_eq!(calls, alone.1, "commands of one beat");
    // A worker whose number of running operations changes is no change.
    let mut busy = workers[0].clone();
    busy.running = 7;
    let before = fleet.workers.beat(&workers[0]).await.expect("beat");
    let after = fleet.workers.beat(&busy).await.expect("beat");
    assert!(Arc::ptr_eq(&before, &after));

    // Nor does a worker that leaves make the others read the whole roster again.
    let (manager, membership) = &fleet.managers[0];
    membership.beat(manager).await.expect("beat");
    fleet.workers.leave(workers[0].id).await.expect("leave");
    let before = fleet.info("stats", "total_net_output_bytes").await;
    let roster = membership.beat(manager).await.expect("beat");
    assert_eq!(roster.count(Role::Worker), WORKERS - 1);
    let sent = fleet.info("stats", "total_net_output_bytes").await - before;
    // With the answer to the first question.
    assert!(sent < 20_000, "{sent} bytes");
}

#[tokio::test(flavor = "multi_thread")]
async fn members_that_fall_silent_together_are_removed_in_small_steps() {
    let server = RedisServer::start().await.expect("a Redis");
    let fleet = Fleet::start(&server).await;
    let workers: Vec<Member> = (0..300).map(|_| member(Role::Worker)).collect();
    fleet.workers_beat(&workers).await;
    fleet.managers_beat().await;
    assert_eq!(fleet.count("HLEN", "profiles").await, 2);
    // A minute ago.
    let mut raw = fleet.raw.clone();
    for worker in &workers {
        let mut set = redis::cmd("ZADD");
        set.arg(fleet.key("beats")).arg(1_795_000_000_000_u64);
        set.arg(worker.id.0.as_bytes().as_slice());
        set.exec_async(&mut raw).await.expect("zadd");
    }
    let people = all_members(&*fleet.workers).await.expect("members");
    assert_eq!(people.len(), MANAGERS, "they are not shown from now on");
    let (manager, membership) = &fleet.managers[0];
    let mut listed = membership.roster().await.expect("roster").len();
    assert_eq!(listed, 300 + MANAGERS);
    while listed > MANAGERS {
        let now = membership.beat(manager).await.expect("beat").len();
        assert!((listed - 32..listed).contains(&now), "{listed} → {now}");
        listed = now;
    }
    for (_, roster) in fleet.managers_beat().await {
        assert_eq!(roster.len(), MANAGERS);
    }
    assert_eq!(fleet.count("HLEN", "profiles").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn members_that_have_left_leave_nothing_but_their_last_ids() {
    let server = RedisServer::start().await.expect("a Redis");
    let fleet = Fleet::start(&server).await;
    let mut workers: Vec<Member> = (0..50).map(|_| member(Role::Worker)).collect();
    for (worker, concurrency) in workers.iter_mut().zip(1..) {
        worker.profile.concurrency = concurrency;
    }
    fleet.workers_beat(&workers).await;
    for (worker, concurrency) in workers.iter_mut().zip(2..) {
        worker.profile.concurrency = concurrency;
    }
    fleet.workers_beat(&workers).await;
    for worker in &workers {
        fleet.workers.leave(worker.id).await.expect("leave");
    }
    for (command, name) in [
        ("ZCARD", "beats"),
        ("HLEN", "reports"),
        ("HLEN", "running"),
        ("ZCARD", "roster"),
        ("HLEN", "profiles"),
    ] {
        assert_eq!(fleet.count(command, name).await, 0, "{name}");
    }
    assert_eq!(fleet.count("ZCARD", "left").await, 50);
    // It has not left if it is there again.
    fleet.workers_beat(&workers[..1]).await;
    assert_eq!(fleet.count("ZCARD", "left").await, 49);
    // No more are kept than a reader is told one by one.
    const MOST: usize = 1_000;
    let mut many = redis::cmd("ZADD");
    many.arg(fleet.key("left"));
    for version in 1..=MOST {
        many.arg(version).arg(format!("{version:016}"));
    }
    let mut raw = fleet.raw.clone();
    many.exec_async(&mut raw).await.expect("zadd");
    fleet.workers.leave(workers[0].id).await.expect("leave");
    assert_eq!(fleet.count("ZCARD", "left").await, MOST);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_loses_its_members_does_not_keep_the_dead_alive() {
    let server = RedisServer::start().await.expect("a Redis");
    let fleet = Fleet::start(&server).await;
    let workers: Vec<Member> = (0..3).map(|_| member(Role::Worker)).collect();
    fleet.workers_beat(&workers).await;
    fleet.managers_beat().await;
    // One worker dies in the moment in which the store loses everything.
    server.wipe().expect("wipe");
    server.restart().await.expect("restart");
    fleet.workers_beat(&workers[1..]).await;
    fleet.managers_beat().await;
    for (_, roster) in fleet.managers_beat().await {
        assert_eq!(roster.count(Role::Worker), 2);
        assert_eq!(roster.count(Role::Manager), MANAGERS);
    }
}
