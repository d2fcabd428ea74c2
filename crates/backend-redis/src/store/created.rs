//! The number of operations that were created lately, for a forecast.

use drumline_backend::store::Result;
use drumline_protocol::{State, Timestamp};

use super::RedisStore;
use crate::reply;
use crate::scripts::Script;

const LIB_BUCKETS: &str = include_str!("../scripts/lib_buckets.lua");
const CODE: &str = include_str!("../scripts/created_since.lua");

impl RedisStore {
    /// Returns about how many operations were created at or after a time and are still
    /// stored. Costs some commands per partition, however many there are.
    ///
    /// # Errors
    /// When Redis is unavailable.
    pub async fn created_since(&self, since: Timestamp) -> Result<u64> {
        let code = format!("{LIB_BUCKETS}\n{CODE}");
        let script = Script::new(&code);
        self.link().run_on_each("script", &script.load()).await?;
        // The first 48 bits of an id are its time.
        let ms = u64::try_from(since.as_millis()).unwrap_or(0);
        let [_, _, first @ ..] = ms.to_be_bytes();
        let mut commands = redis::pipe();
        for partition in self.partitions.all() {
            let Some(keys) = self.keys().partition(partition) else {
                continue;
            };
            let ready = keys.index(State::Ready);
            let prefix = ready.get(..ready.len() - 1).unwrap_or_default();
            let mut command = script.call(&[prefix]);
            command.arg(first.as_slice());
            commands.add_command(command);
        }
        let mut count = 0;
        for answer in self.link().run("created since", &commands).await? {
            count += reply::number(answer)?;
        }
        Ok(count)
    }
}
