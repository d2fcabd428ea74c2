//! Pauses: all of them in one hash, and a copy of their scopes in each
//! partition, which the scripts read.

use async_trait::async_trait;
use drumline_backend::store::{Error, PauseCopy, PauseStore, Pauses, Released, Result};
use drumline_protocol::{Partition, Pause, ScopeKey, Timestamp, codec};
use redis::Value;

use super::RedisStore;
use crate::reply::{self, Packed, Parts};
use crate::scripts::SCRIPTS;

/// Copies in one round trip: each is a script call of some microseconds a pause.
const COPIES: usize = 16;
/// The field that has the version: no scope is one byte long.
const VERSION: &[u8] = b"v";

#[async_trait]
impl PauseStore for RedisStore {
    async fn pauses(&self) -> Result<Pauses> {
        let mut command = redis::cmd("HGETALL");
        command.arg(self.keys().pauses());
        let mut parts = Parts::of(self.link().run_one("pauses", command).await?)?;
        let mut found = Pauses::default();
        while parts.len() > 0 {
            let (field, value) = (parts.bytes()?, parts.value()?);
            if field == VERSION {
                found.version = number_or_zero(value)?;
            } else {
                let value = reply::bytes(value)?;
                let mut value = Packed::new(&value);
                let end = value.number()?;
                let pause = codec::decode(value.rest()).map_err(Error::from);
                match (self.decoded("a pause", pause)?, field.as_slice().try_into()) {
                    (Some(pause), _) => found.pauses.push(pause),
                    (None, Ok(key)) => {
                        let until = i64::try_from(end).ok().filter(|end| *end > 0);
                        let until = until.map(Timestamp::from_millis);
                        found.unreadable.push((ScopeKey::from_bytes(key), until));
                    }
                    (None, Err(_)) => {}
                }
            }
        }
        found.pauses.sort_by_key(|pause: &Pause| pause.scope.key());
        Ok(found)
    }

    async fn set_pause(&self, pause: &Pause) -> Result<()> {
        let mut value = end_ms(pause.until).to_be_bytes().to_vec();
        value.extend(codec::encode(pause)?);
        self.write_pause(pause.scope.key(), &value).await?;
        Ok(())
    }

    async fn lift_pause(&self, key: ScopeKey) -> Result<bool> {
        self.write_pause(key, b"").await
    }

    async fn lift_ended_pauses(&self) -> Result<usize> {
        let command = SCRIPTS.lift_ended_pauses.call(&[self.keys().pauses()]);
        let count = reply::number(self.link().run_one("pauses", command).await?)?;
        Ok(usize::try_from(count).unwrap_or(usize::MAX))
    }

    async fn copy_pauses(&self, pauses: &Pauses, partitions: &[Partition]) -> Result<()> {
        for some in partitions.chunks(COPIES) {
            let mut commands = redis::pipe();
            for keys in some.iter().filter_map(|one| self.keys().partition(*one)) {
                let names = [keys.pauses().to_owned(), keys.pauses_version()];
                let mut command = SCRIPTS.copy_pauses.call(&names);
                command.arg(pauses.version);
                for (scope, until) in pauses.scopes() {
                    command.arg(scope.as_bytes().as_slice()).arg(end_ms(until));
                }
                commands.add_command(command);
            }
            self.link().run("pauses", &commands).await?;
        }
        Ok(())
    }

    async fn pause_copies(&self, partitions: &[Partition]) -> Result<Vec<PauseCopy>> {
        self.copies_of(partitions).await
    }

    async fn release_held(
        &self,
        partition: Partition,
        after: Option<ScopeKey>,
        limit: usize,
    ) -> Result<Released> {
        let Some(keys) = self.keys().partition(partition) else {
            return Ok(Released::default());
        };
        let mut command = SCRIPTS.release_held.call(&[keys.prefix(), keys.changes()]);
        match after {
            Some(scope) => command.arg(scope.as_bytes().as_slice()),
            None => command.arg(""),
        };
        command.arg(limit);
        let mut answer = Parts::of(self.link().run_one("release_held", command).await?)?;
        let count = usize::try_from(answer.number()?).unwrap_or(usize::MAX);
        let next = answer.bytes()?;
        let next = next.first_chunk().copied().map(ScopeKey::from_bytes);
        Ok(Released { count, next })
    }
}

impl RedisStore {
    /// Writes the value of a pause, or removes the pause if it is empty. Returns
    /// true if it was there before.
    async fn write_pause(&self, key: ScopeKey, value: &[u8]) -> Result<bool> {
        let mut command = SCRIPTS
            .set_pause
            .call(&[self.keys().pauses(), self.keys().changes()]);
        command.arg(key.as_bytes().as_slice()).arg(value);
        let mut commands = redis::pipe();
        commands.add_command(command);
        let answer = self.run_kept("pauses", &commands, 0).await?.pop();
        let was = reply::number(answer.ok_or_else(reply::unexpected)?)?;
        Ok(was == 1)
    }
}

/// The end of a pause in milliseconds; 0 for none.
fn end_ms(until: Option<Timestamp>) -> u64 {
    let until = until.map_or(0, |until| until.as_millis());
    u64::try_from(until).unwrap_or(0)
}

/// A number that is kept as text; 0 where there is none.
fn number_or_zero(value: Value) -> Result<u64> {
    match value {
        Value::Nil => Ok(0),
        value => reply::text(value)?
            .parse()
            .map_err(|_error: std::num::ParseIntError| reply::unexpected()),
    }
}
