//! Three Redis scripts with about the work of Drumline's create, claim and
//! completion: a record of half a kilobyte, a place in an index, an entry in an
//! outbox, a lock.

use anyhow::Context as _;
use redis::aio::MultiplexedConnection;
use redis::{Pipeline, Script};

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

/// The scripts, and the names of their keys.
pub(super) struct Scripts {
    create: Script,
    claim: Script,
    complete: Script,
    prefix: String,
}

impl Scripts {
    pub(super) fn new(namespace: &str) -> Self {
        Self {
            create: Script::new(CREATE),
            claim: Script::new(CLAIM),
            complete: Script::new(COMPLETE),
            prefix: format!("{namespace}:{{floor}}:"),
        }
    }

    pub(super) async fn load(&self, redis: &mut MultiplexedConnection) -> anyhow::Result<()> {
        for script in [&self.create, &self.claim, &self.complete] {
            script.load_async(redis).await.context("SCRIPT LOAD")?;
        }
        Ok(())
    }

    pub(super) async fn create(
        &self,
        redis: &mut MultiplexedConnection,
        ids: &[u64],
    ) -> anyhow::Result<()> {
        let keys = ["ready", "outbox", "tick"];
        self.run(redis, &self.create, &keys, ids, &[&HEADER, &BODY])
            .await
    }

    pub(super) async fn claim(
        &self,
        redis: &mut MultiplexedConnection,
        ids: &[u64],
    ) -> anyhow::Result<()> {
        let keys = ["ready", "locked", "outbox", "locks", "tick"];
        self.run(redis, &self.claim, &keys, ids, &[&HEADER]).await
    }

    pub(super) async fn complete(
        &self,
        redis: &mut MultiplexedConnection,
        ids: &[u64],
    ) -> anyhow::Result<()> {
        let keys = ["locked", "completed", "locks"];
        self.run(redis, &self.complete, &keys, ids, &[&HEADER])
            .await
    }

    /// One EVALSHA per operation, in one pipeline.
    async fn run(
        &self,
        redis: &mut MultiplexedConnection,
        script: &Script,
        keys: &[&str],
        ids: &[u64],
        values: &[&[u8]],
    ) -> anyhow::Result<()> {
        let keys: Vec<String> = keys
            .iter()
            .map(|key| format!("{}{key}", self.prefix))
            .collect();
        let mut pipeline = Pipeline::with_capacity(ids.len());
        for id in ids {
            let command = pipeline.cmd("EVALSHA").arg(script.get_hash());
            command
                .arg(keys.len() + 1)
                .arg(format!("{}op:{id}", self.prefix));
            for key in &keys {
                command.arg(key);
            }
            command.arg(*id);
            for value in values {
                command.arg(*value);
            }
        }
        let answers: Vec<redis::Value> = pipeline.query_async(redis).await?;
        let refused = answers
            .iter()
            .filter(|answer| matches!(answer, redis::Value::Int(0)))
            .count();
        anyhow::ensure!(
            refused == 0,
            "{refused} scripts of the baseline were refused"
        );
        Ok(())
    }
}
