//! Measures the cost of rollups in Redis: the bytes of a key in a slot, and the
//! processor time of a write.
//!
//! ```sh
//! cargo run --release -p drumline-backend-redis --example rollups -- redis://127.0.0.1:6379 20 60
//! ```
//!
//! So many processes write the same 126 keys in each of so many minutes, with eight
//! buckets of each histogram in use. The server must be empty, and no other client may
//! use it.
#![expect(clippy::print_stdout, reason = "a measurement prints its result")]

use std::error::Error;
use std::time::Duration;

use drumline_backend::Ids;
use drumline_backend::store::{
    ROLLUP_KEYS, Rollup, RollupBatch, RollupKey, RollupStore as _, Store as _, minute_of,
};
use drumline_backend_redis::{Options, RedisStore, memory_by_kind};
use drumline_protocol::QueueName;
use redis::aio::MultiplexedConnection;

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().ok_or("expected the URL of a Redis")?;
    let mut number = |usual: u64| arguments.next().map_or(Ok(usual), |text| text.parse());
    let (processes, minutes) = (number(20)?, number(60)?);
    let ids = Ids::random();
    let options = Options {
        url: url.clone(),
        namespace: format!("rollups-{}", ids.uuid().simple()),
        ..Options::default()
    };
    let store = RedisStore::connect(&options).await?;
    let mut raw = redis::Client::open(url.as_str())?
        .get_multiplexed_async_connection()
        .await?;
    let keys = ROLLUP_KEYS - 2;
    let counts: Vec<(RollupKey, Rollup)> = (0..keys)
        .map(|number| (key(number), rollup()))
        .chain([(RollupKey::Total, rollup())])
        .collect();
    let now = minute_of(store.now());
    let before = micros(&mut raw).await?;
    for minute in now.saturating_sub(minutes)..now {
        for _ in 0..processes {
            let batch = RollupBatch {
                id: ids.source().u64(),
                minute,
                counts: counts.clone(),
            };
            store.add_rollup(&batch).await?;
        }
    }
    let spent = micros(&mut raw).await? - before;
    let writes = (minutes * processes).max(1);
    println!(
        "{} µs of Redis for a write of {} keys",
        spent / writes,
        keys + 1
    );
    let memory = memory_by_kind(&options).await?;
    let bytes = memory.get("rollups").copied().unwrap_or_default();
    let slots = minutes + minutes.div_ceil(10) + 1;
    let each = bytes / slots.max(1) / u64::try_from(keys + 1)?;
    println!("{bytes} bytes in {slots} slots: about {each} bytes for a key in a slot");
    Ok(())
}

fn key(number: usize) -> RollupKey {
    RollupKey::Of {
        queue: QueueName::default(),
        message_name: format!("Message{number}"),
    }
}

fn rollup() -> Rollup {
    let mut rollup = Rollup {
        created: 300,
        started: 300,
        succeeded: 290,
        failed: 10,
        ..Rollup::default()
    };
    for doubled in 0..8 {
        for _ in 0..40 {
            rollup.wait.observe(Duration::from_millis(1 << doubled));
            rollup.run.observe(Duration::from_millis(8 << doubled));
        }
    }
    rollup
}

/// The processor time of the thread of the server that runs commands.
async fn micros(raw: &mut MultiplexedConnection) -> Result<u64> {
    let info: redis::InfoDict = redis::cmd("INFO").arg("cpu").query_async(raw).await?;
    let seconds = |name: &str| info.get::<f64>(name).unwrap_or(0.0);
    let all = seconds("used_cpu_user_main_thread") + seconds("used_cpu_sys_main_thread");
    Ok(Duration::from_secs_f64(all).as_micros().try_into()?)
}
