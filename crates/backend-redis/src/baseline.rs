//! The baseline on Redis: the bare client library, and three scripts with about
//! the work of Drumline's create, claim and completion. A record has half a
//! kilobyte, a place in an index, an entry in an outbox, and a lock.

use std::sync::Arc;

use async_trait::async_trait;
use drumline_backend::baseline::BaselineStore;
use drumline_backend::store::{Error, Result};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Pipeline, RedisError, RedisResult, Script, Value};

use crate::connect::{Address, Connected, Driver};
use crate::options::Options;

/// KEYS 1 record, 2 ready, 3 outbox, 4 tick; ARGV 1 id, 2 header, 3 body.
const CREATE: &str = "
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
local stamp = redis.call('INCR', KEYS[4])
redis.call('HSET', KEYS[1], 'h', ARGV[2], 'b', ARGV[3])
redis.call('ZADD', KEYS[2], stamp, ARGV[1])
redis.call('ZADD', KEYS[3], stamp, ARGV[1])
return stamp";

/// KEYS 1 record, 2 ready, 3 locked, 4 outbox, 5 locks, 6 tick; ARGV 1 id,
/// 2 header.
const CLAIM: &str = "
local record = redis.call('HMGET', KEYS[1], 'h', 'b')
if not record[1] then return 0 end
local fence = redis.call('INCR', KEYS[6])
redis.call('HSET', KEYS[1], 'h', ARGV[2])
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('ZADD', KEYS[3], 0, ARGV[1])
redis.call('ZREM', KEYS[4], ARGV[1])
redis.call('HSET', KEYS[5], ARGV[1], fence)
return {fence, record[2]}";

/// KEYS 1 record, 2 locked, 3 completed, 4 locks; ARGV 1 id, 2 header.
const COMPLETE: &str = "
if not redis.call('HGET', KEYS[4], ARGV[1]) then return 0 end
redis.call('HSET', KEYS[1], 'h', ARGV[2])
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('ZADD', KEYS[3], 0, ARGV[1])
redis.call('HDEL', KEYS[4], ARGV[1])
return 1";

const HEADER: [u8; 160] = [b'h'; 160];
const BODY: [u8; 256] = [b'b'; 256];

/// A connection of the bare library, the scripts, and the names of their keys.
///
/// The keys are in the namespace; [`remove_store`](crate::remove_store) and
/// [`remove_operations`](crate::remove_operations) remove them, too.
pub struct RedisBaseline {
    redis: MultiplexedConnection,
    _driver: Driver,
    create: Script,
    claim: Script,
    complete: Script,
    prefix: String,
}

impl RedisBaseline {
    /// Connects, and loads the scripts.
    ///
    /// # Errors
    /// When the server is unavailable, or refuses a script.
    pub async fn connect(options: &Options) -> Result<Self> {
        // The usual half second is over soon on a busy machine, and the baseline
        // is measured, not defended.
        let config = AsyncConnectionConfig::new().set_response_timeout(None);
        let address = Address::of(options).map_err(Error::Unfit)?;
        let connecting = address.connect(&config).await;
        let Connected {
            connection: mut redis,
            driver,
            primary: _,
        } = connecting.map_err(failed("connecting"))?;
        let [create, claim, complete] = [CREATE, CLAIM, COMPLETE].map(Script::new);
        for script in [&create, &claim, &complete] {
            let loaded = script.load_async(&mut redis).await;
            loaded.map_err(failed("loading a script"))?;
        }
        Ok(Self {
            redis,
            _driver: driver,
            create,
            claim,
            complete,
            prefix: format!("{}:{{floor}}:", options.checked_namespace()?),
        })
    }

    /// Runs one EVALSHA for each number, in one pipeline.
    async fn run(
        &self,
        script: &Script,
        keys: &[&str],
        numbers: &[u64],
        values: &[&[u8]],
    ) -> Result<()> {
        let keys: Vec<String> = keys
            .iter()
            .map(|key| format!("{}{key}", self.prefix))
            .collect();
        let mut pipeline = Pipeline::with_capacity(numbers.len());
        for number in numbers {
            let command = pipeline.cmd("EVALSHA").arg(script.get_hash());
            command
                .arg(keys.len() + 1)
                .arg(format!("{}op:{number}", self.prefix));
            for key in &keys {
                command.arg(key);
            }
            command.arg(*number);
            for value in values {
                command.arg(*value);
            }
        }
        let answers: RedisResult<Vec<Value>> = pipeline.query_async(&mut self.redis.clone()).await;
        let answers = answers.map_err(failed("a script"))?;
        let refused = answers
            .iter()
            .filter(|answer| matches!(answer, Value::Int(0)))
            .count();
        if refused == 0 {
            Ok(())
        } else {
            Err(Error::Unfit(format!(
                "{refused} of the baseline's scripts were refused"
            )))
        }
    }
}

impl std::fmt::Debug for RedisBaseline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisBaseline")
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl BaselineStore for RedisBaseline {
    async fn create(&self, numbers: &[u64]) -> Result<()> {
        let keys = ["ready", "outbox", "tick"];
        self.run(&self.create, &keys, numbers, &[&HEADER, &BODY])
            .await
    }

    async fn claim(&self, numbers: &[u64]) -> Result<()> {
        let keys = ["ready", "locked", "outbox", "locks", "tick"];
        self.run(&self.claim, &keys, numbers, &[&HEADER]).await
    }

    async fn complete(&self, numbers: &[u64]) -> Result<()> {
        let keys = ["locked", "completed", "locks"];
        self.run(&self.complete, &keys, numbers, &[&HEADER]).await
    }
}

fn failed(doing: &str) -> impl FnOnce(RedisError) -> Error {
    let doing = doing.to_owned();
    move |error| Error::Unavailable {
        message: format!("the baseline, {doing}: {error}"),
        source: Some(Arc::new(error)),
    }
}
