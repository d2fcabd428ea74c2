//! The queues that organizations use: `use_queue.lua` describes the sets.

use async_trait::async_trait;
use drumline_backend::store::{IdleFate, IdleQueue, QueueStore, QueueUse, Result};
use drumline_protocol::{QueueName, ScopeKey, Timestamp};

use super::RedisStore;
use crate::reply::{self, Packed, Parts};
use crate::scripts::SCRIPTS;

/// Members in one answer: several may be of one queue.
const AT_ONCE: usize = 256;

#[async_trait]
impl QueueStore for RedisStore {
    async fn use_queue(&self, wanted: &QueueUse, limit: Option<usize>) -> Result<bool> {
        let mut command = SCRIPTS.use_queue.call(&self.keys().queues());
        command
            .arg(wanted.organization.as_bytes().as_slice())
            .arg(wanted.queue.as_str());
        match limit {
            Some(limit) => command.arg(limit),
            None => command.arg(""),
        };
        let noted = reply::number(self.link().run_one("queues", command).await?)?;
        Ok(noted == 1)
    }

    async fn queues(&self, after: Option<&QueueName>, limit: usize) -> Result<Vec<QueueName>> {
        let [_, places, _] = self.keys().queues();
        let mut found: Vec<QueueName> = Vec::new();
        while found.len() < limit {
            // All users of a queue are behind its name and a zero.
            let start = match found.last().or(after) {
                Some(last) => format!("(q{last}\u{1}"),
                None => "[q".to_owned(),
            };
            let mut command = redis::cmd("ZRANGEBYLEX");
            command.arg(&places).arg(start).arg("(r");
            command.arg("LIMIT").arg(0).arg(AT_ONCE);
            let members = reply::members(self.link().run_one("queues", command).await?)?;
            if members.is_empty() {
                break;
            }
            for member in members {
                let name = member.split(|byte| *byte == 0).next().unwrap_or_default();
                let name = name.get(1..).map(String::from_utf8_lossy);
                let queue = name.and_then(|name| name.parse::<QueueName>().ok());
                let queue = queue.ok_or_else(reply::unexpected)?;
                if found.last() != Some(&queue) {
                    found.push(queue);
                }
            }
        }
        found.truncate(limit);
        Ok(found)
    }

    async fn idle_queues(&self, before: Timestamp, limit: usize) -> Result<Vec<IdleQueue>> {
        let mut command = SCRIPTS.idle_queues.call(&self.keys().queues());
        command.arg(before.as_millis()).arg(limit);
        let mut parts = Parts::of(self.link().run_one("queues", command).await?)?;
        let mut idle = Vec::new();
        while parts.len() > 0 {
            let (use_of_queue, users) = (parts.bytes()?, parts.number()?);
            let mut member = Packed::new(&use_of_queue);
            let organization = ScopeKey::from_bytes(*member.take()?);
            let queue = String::from_utf8_lossy(member.rest()).parse();
            let queue = queue
                .map_err(|_no_name: drumline_protocol::token::InvalidName| reply::unexpected())?;
            idle.push(IdleQueue {
                idle: QueueUse {
                    organization,
                    queue,
                },
                is_last: users == 1,
            });
        }
        Ok(idle)
    }

    async fn settle_queue(&self, idle: &QueueUse, before: Timestamp, fate: IdleFate) -> Result<()> {
        let QueueUse {
            organization,
            queue,
        } = idle;
        let member = [
            organization.as_bytes().as_slice(),
            queue.as_str().as_bytes(),
        ]
        .concat();
        let mut command = SCRIPTS.settle_queue.call(&self.keys().queues());
        command.arg(member).arg(before.as_millis()).arg(match fate {
            IdleFate::Forget => "f",
            IdleFate::Keep => "k",
        });
        self.link().run_one("queues", command).await?;
        Ok(())
    }
}
