//! Measures the processor time of Redis for a beat of a member, in fleets of several
//! sizes, and from that the share of a core that an idle fleet takes.
//!
//! ```sh
//! cargo run --release -p drumline-backend-redis --example beats -- redis://127.0.0.1:6379
//! ```
//!
//! It is the server's own count (`INFO cpu`), so that the client is not in it. The server
//! must be empty, and no other client may use it.
#![expect(clippy::print_stdout, reason = "a measurement prints its result")]

use std::error::Error;
use std::time::Duration;

use drumline_backend::membership::heartbeat_interval;
use drumline_backend::{Ids, Member, Membership as _, Profile, Role};
use drumline_backend_redis::{Options, RedisMembership, RedisStore};
use drumline_protocol::QueueName;
use redis::aio::MultiplexedConnection;

/// The sizes of the fleets; ten members of each are queue managers.
const FLEETS: [usize; 3] = [10, 1_000, 3_000];
const MANAGERS: usize = 10;
/// Beats that are measured of each fleet.
const BEATS: usize = 20_000;

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

#[tokio::main]
async fn main() -> Result<()> {
    let url = std::env::args()
        .nth(1)
        .ok_or("expected the URL of a Redis")?;
    println!("members  µs of Redis per beat  share of a core, idle");
    for size in FLEETS {
        let beat_ns = measure(&url, size).await?;
        let interval_ns = u64::try_from(heartbeat_interval(size).as_nanos())?;
        let hundredths = beat_ns * u64::try_from(size)? * 10_000 / interval_ns;
        println!(
            "{size:>7}  {:>20}  {:>19} %",
            tenths(beat_ns / 100),
            format!("{}.{:02}", hundredths / 100, hundredths % 100)
        );
    }
    Ok(())
}

fn tenths(count: u64) -> String {
    format!("{}.{}", count / 10, count % 10)
}

/// The nanoseconds of the server for one beat in a fleet of this size.
async fn measure(url: &str, size: usize) -> Result<u64> {
    let ids = Ids::random();
    let options = Options {
        url: url.to_owned(),
        namespace: format!("beats-{}", ids.uuid().simple()),
        ..Options::default()
    };
    let store = RedisStore::connect(&options).await?;
    let membership = RedisMembership::new(&store);
    let client = redis::Client::open(url)?;
    let mut raw = client.get_multiplexed_async_connection().await?;
    let fleet: Vec<Member> = (0..size).map(|number| member(&ids, number)).collect();
    // All have joined, and are known, before the measurement.
    for _ in 0..2 {
        for member in &fleet {
            membership.beat(member).await?;
        }
    }
    let before = micros(&mut raw).await?;
    for member in fleet.iter().cycle().take(BEATS) {
        membership.beat(member).await?;
    }
    let spent = Duration::from_micros(micros(&mut raw).await? - before);
    Ok(u64::try_from(spent.as_nanos())? / u64::try_from(BEATS)?)
}

fn member(ids: &Ids, number: usize) -> Member {
    let role = if number < MANAGERS {
        Role::Manager
    } else {
        Role::Worker
    };
    Member {
        id: ids.member(),
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

/// The processor time of the thread of the server that runs commands.
async fn micros(raw: &mut MultiplexedConnection) -> Result<u64> {
    let asked = redis::cmd("INFO").arg("cpu").query_async(raw).await;
    let info: redis::InfoDict = asked?;
    let seconds = |name: &str| info.get::<f64>(name).unwrap_or(0.0);
    let all = seconds("used_cpu_user_main_thread") + seconds("used_cpu_sys_main_thread");
    Ok(Duration::from_secs_f64(all).as_micros().try_into()?)
}
