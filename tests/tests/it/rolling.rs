//! A rolling restart under load: every manager and every worker is replaced, and no
//! client and no operation notices.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use drumline_tests::fleet::{Fleet, Size};
use drumline_tests::load::{request, rest};
use rustix::process::Signal;
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

const SIZE: Size = Size {
    managers: 2,
    workers: 3,
    concurrency: 8,
    // No worker dies here, and on a busy machine none must look as if it had.
    lease: Duration::from_secs(20),
    partitions: 64,
    queues: &[],
    redis_bytes_per_second: None,
    handlers: None,
};
/// The time for which a manager that ends still serves: longer than the gateway needs to
/// look elsewhere.
const DRAIN_DELAY: Duration = Duration::from_secs(5);
const CLIENTS: usize = 8;
const ENDS: Duration = Duration::from_secs(120);

/// The gateway in front: the managers that are ready, as it has last seen them.
#[derive(Clone, Default)]
struct Gateway(Arc<Mutex<Vec<String>>>);

impl Gateway {
    fn set(&self, bases: Vec<String>) {
        *self.0.lock().expect("not poisoned") = bases;
    }

    fn one(&self, number: usize) -> Option<String> {
        let bases = self.0.lock().expect("not poisoned");
        bases.get(number % bases.len().max(1)).cloned()
    }
}

/// Creates operations one after the other until it is told to end. Returns how many were
/// created, and how many requests were answered 503.
async fn client(
    first: usize,
    gateway: Gateway,
    end: watch::Receiver<bool>,
) -> Result<(usize, usize)> {
    let http = reqwest::Client::new();
    let (mut created, mut busy) = (0, 0);
    while !*end.borrow() {
        let base = gateway.one(first + created + busy).context("a manager")?;
        let number = first + created;
        let answer = http
            .post(format!("{base}/v1/operations"))
            .header("Idempotency-Key", format!("rolling/{number}"))
            .json(&request(number, 0, 20, created % 2 == 0))
            .send();
        let answer = answer
            .await
            .with_context(|| format!("a request to {base}"))?;
        match answer.status().as_u16() {
            200 | 201 => created += 1,
            503 if answer.headers().contains_key("retry-after") => busy += 1,
            other => bail!("{other} {}", answer.text().await?),
        }
    }
    Ok((created, busy))
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_replaced_under_load_and_nobody_notices() -> Result<()> {
    let delay = format!("{}s", DRAIN_DELAY.as_secs());
    let environment = vec![("DRUMLINE_DRAIN_DELAY".to_owned(), delay)];
    let mut fleet = Fleet::start_with("rolling", SIZE, environment).await?;
    let gateway = Gateway::default();
    let bases = |fleet: &Fleet| -> Vec<String> {
        let places = 0..SIZE.managers;
        places.map(|at| fleet.base(at).to_owned()).collect()
    };
    gateway.set(bases(&fleet));
    let (end, ended) = watch::channel(false);
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        clients.spawn(client(number * 1_000_000, gateway.clone(), ended.clone()));
    }
    for _ in 0..SIZE.managers {
        let (mut old, base) = fleet.roll_manager(0).await?;
        // The old one says that it is not ready, and is asked no more.
        let ready = format!("{base}/readyz");
        while reqwest::get(&ready).await?.status().is_success() {
            sleep(Duration::from_millis(20)).await;
        }
        gateway.set(bases(&fleet));
        ensure!(old.ended(ENDS).await?.success(), "a manager ended badly");
    }
    for _ in 0..SIZE.workers {
        fleet.add_worker()?;
        fleet.workers_alive(SIZE.workers + 1).await?;
        let mut old = fleet.workers.remove(0);
        old.signal(Signal::TERM)?;
        ensure!(old.ended(ENDS).await?.success(), "a worker ended badly");
    }
    end.send_replace(true);
    let (mut created, mut busy) = (0, 0);
    while let Some(counts) = clients.join_next().await {
        let (more, refused) = counts??;
        created += more;
        busy += refused;
    }
    ensure!(created > 200, "{created} created, {busy} answered 503");
    let operations = rest(&fleet, Duration::from_secs(60), false).await?;
    ensure!(
        operations.len() == created,
        "{} of {created}",
        operations.len()
    );
    for operation in operations {
        let number = |name: &str| operation[name].as_u64().unwrap_or(0);
        let counted = number("retryCount") + number("lostCount");
        ensure!(
            operation["status"] == "Succeeded" && counted == 0,
            "{operation}"
        );
        ensure!(operation["errorCode"] == Value::Null, "{operation}");
    }
    Ok(())
}
