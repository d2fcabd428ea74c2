//! The producer: creates operations over HTTP with the client of the SDK.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use drumline_sdk::client::{Client, NewOperation, Timestamp};
use serde::Deserialize;
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::line::{now, tell};
use crate::payload::{Form, MESSAGE};

/// The operations to create.
#[derive(Debug, Deserialize)]
struct Order {
    how: How,
    count: usize,
    /// Bytes of each payload.
    size: usize,
    /// Callers at the same time. With keys and one by one, each key is a caller instead.
    callers: usize,
    /// Operations per call, in batches.
    batch: usize,
    /// Different dependency tokens; 0: none.
    keys: usize,
    /// Operations per second, at a rate.
    rate: u32,
    /// Milliseconds that each handler sleeps.
    sleep: u64,
    /// True if the driver wants to hear of each run alone.
    note: bool,
    /// True if they are to wait for a time that no measurement reaches.
    #[serde(default)]
    later: bool,
}

const DAY: Duration = Duration::from_secs(24 * 3_600);

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum How {
    OneByOne,
    Batches,
    Rate,
}

/// Serves orders until standard input ends.
pub(crate) fn run(server: &str) -> anyhow::Result<()> {
    let client = Client::builder(server).build()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        client.ready().await?;
        tell(&json!({"ready": true}))?;
        let mut lines = BufReader::new(tokio::io::stdin()).lines();
        while let Some(line) = lines.next_line().await? {
            let order = serde_json::from_str(&line).context("this is no order")?;
            let producer = Producer::new(client.clone(), order)?;
            let start = now();
            Arc::new(producer).serve().await?;
            tell(&json!({"start": start, "end": now()}))?;
        }
        Ok(())
    })
}

/// One order on its way.
#[derive(Debug)]
struct Producer {
    client: Client,
    order: Order,
    form: Form,
    /// Tomorrow.
    later: Timestamp,
    next: AtomicUsize,
}

impl Producer {
    fn new(client: Client, order: Order) -> anyhow::Result<Self> {
        Ok(Self {
            form: Form::new(order.size, order.note, order.sleep)?,
            client,
            order,
            later: Timestamp::from_millis(i64::try_from(now() / 1_000)?).saturating_add(DAY),
            next: AtomicUsize::new(0),
        })
    }

    async fn serve(self: Arc<Self>) -> anyhow::Result<()> {
        let mut callers = JoinSet::new();
        match (self.order.how, self.order.keys) {
            (How::OneByOne, 0) => {
                for _ in 0..self.order.callers {
                    callers.spawn(Arc::clone(&self).one_by_one());
                }
            }
            (How::OneByOne, keys) => {
                for key in 0..keys {
                    callers.spawn(Arc::clone(&self).one_key(key));
                }
            }
            (How::Batches, 0) => {
                for _ in 0..self.order.callers {
                    callers.spawn(Arc::clone(&self).batches());
                }
            }
            // One caller, because two would not keep the order of a key.
            (How::Batches, _) => {
                callers.spawn(Arc::clone(&self).batches());
            }
            (How::Rate, _) => {
                ensure!(self.order.rate > 0, "a rate is above 0");
                let mut ticks = interval(Duration::from_secs(1) / self.order.rate);
                ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
                for _ in 0..self.order.count {
                    ticks.tick().await;
                    // The payload has the time of the submit, so it is made here.
                    let new = self.operation(0)?;
                    let client = self.client.clone();
                    callers.spawn(async move {
                        client.create(&new).await?;
                        Ok(())
                    });
                }
            }
        }
        while let Some(caller) = callers.join_next().await {
            caller??;
        }
        Ok(())
    }

    async fn one_by_one(self: Arc<Self>) -> anyhow::Result<()> {
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= self.order.count {
                return Ok(());
            }
            self.client.create(&self.operation(number)?).await?;
        }
    }

    async fn one_key(self: Arc<Self>, key: usize) -> anyhow::Result<()> {
        for number in (key..self.order.count).step_by(self.order.keys) {
            self.client.create(&self.operation(number)?).await?;
        }
        Ok(())
    }

    async fn batches(self: Arc<Self>) -> anyhow::Result<()> {
        loop {
            let first = self.next.fetch_add(self.order.batch, Ordering::Relaxed);
            if first >= self.order.count {
                return Ok(());
            }
            let last = self.order.count.min(first + self.order.batch);
            let operations = (first..last)
                .map(|number| self.operation(number))
                .collect::<anyhow::Result<Vec<_>>>()?;
            for created in self.client.create_all(operations).await? {
                created?;
            }
        }
    }

    /// The operation of this number. The keys take turns.
    fn operation(&self, number: usize) -> anyhow::Result<NewOperation> {
        let mut new = NewOperation::new(MESSAGE);
        if self.order.later {
            new = new.postpone_until(self.later);
        }
        if self.order.keys == 0 {
            return Ok(new.data(&self.form.payload(0, number))?);
        }
        let (key, seq) = (number % self.order.keys, number / self.order.keys);
        let new = new.data(&self.form.payload(key, seq))?;
        Ok(new.token(format!("key-{key}")))
    }
}
