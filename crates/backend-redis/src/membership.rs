//! Membership: the roster of the live members, as this process knows it, and the
//! scripts that keep it up to date.
//!
//! ```text
//! beat: "I know version 7" ─→ script ─┬─ "it is 7": the roster of before
//!                                     └─ "it is 9": entries since 7 ─→ mirror
//!                                        profiles that are new here ←─┘
//! ```
//!
//! So a beat costs the server the same whatever the number of members is, and a
//! change costs each member some 32 bytes.
//!
//! The server's clock judges silence, in the script. Safety does not depend on
//! membership, so a step of that clock forward may show all members as gone until
//! their next beat.

mod mirror;

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use drumline_backend::membership::{MEMBER_TIMEOUT, MemberPage, MemberPlace};
use drumline_backend::store::Result;
use drumline_backend::{Member, MemberId, Membership, Profile, Roster};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use uuid::Uuid;

use self::mirror::{Answer, Digest, Mirror};
use crate::clock::Clock;
use crate::link::Link;
use crate::reply::{self, Parts};
use crate::scripts::SCRIPTS;
use crate::store::RedisStore;

/// The most entries of the roster in one answer: 32 KB, which take the server
/// some 200 µs.
const ENTRIES: usize = 1_000;
/// The most profiles in one answer.
const PROFILES: usize = 200;

/// The seconds for which requests to drain are kept after the last one. A member that was
/// asked hears of it with its next beat; the rest is for members of another release, which
/// remove no request when they remove a member.
const KEEP_ASKED_S: u64 = 7 * 24 * 60 * 60;

/// Membership on the connection of a store.
#[derive(Debug)]
pub struct RedisMembership {
    link: Link,
    clock: Arc<Clock>,
    keys: [String; 8],
    // The locks are held for a moment, never across an await.
    mirror: Mutex<Mirror>,
    /// The members of this process that were asked to drain, by their last beats.
    asked: Mutex<BTreeSet<MemberId>>,
}

/// The part of a report that is for people alone, as it is stored.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Details {
    host: String,
    started_on_ms: i64,
}

impl RedisMembership {
    /// Makes the membership of a store's namespace.
    #[must_use]
    pub fn new(store: &RedisStore) -> Self {
        Self {
            link: store.link().clone(),
            clock: Arc::clone(store.clock()),
            keys: store.keys().members(),
            mirror: Mutex::default(),
            asked: Mutex::default(),
        }
    }

    /// Beats for a member, or for none, and reads the changes of the roster.
    async fn up_to_date(&self, mut member: Option<&Member>) -> Result<Arc<Roster>> {
        loop {
            let known = self.mirror.lock().known();
            let beats = member.take();
            let answer = self.ask(beats, known).await?;
            if let Some(Member { id, .. }) = beats {
                let mut asked = self.asked.lock();
                if answer.is_asked_to_drain {
                    asked.insert(*id);
                } else {
                    asked.remove(id);
                }
            }
            let mut mirror = self.mirror.lock();
            // If another caller was faster, its changes are there, and this answer
            // may lack some of them.
            if mirror.known() == known && mirror.apply(answer) {
                break;
            }
        }
        self.learn_profiles().await?;
        Ok(self.mirror.lock().roster())
    }

    async fn ask(&self, member: Option<&Member>, known: (u64, u64)) -> Result<Answer> {
        let (version, left_until) = known;
        let mut command = SCRIPTS.beat.call(&self.keys);
        command.arg(timeout_ms()).arg(version).arg(left_until);
        command.arg(ENTRIES);
        match member {
            Some(member) => {
                let profile = text(&member.profile);
                let digest = Digest::of(&profile);
                let details = Details {
                    host: member.host.clone(),
                    started_on_ms: member.started_on_ms,
                };
                let report = [digest.0.as_slice(), text(&details).as_bytes()].concat();
                command
                    .arg(member.id.0.as_bytes().as_slice())
                    .arg(report)
                    .arg(member.running)
                    .arg(&profile)
                    .arg(u8::from(
                        self.mirror.lock().looks_for_silent(&member.profile),
                    ));
                self.mirror.lock().learn(digest, profile.as_bytes());
            }
            None => drop(command.arg("").arg("").arg(0).arg("").arg(0)),
        };
        let asked = Instant::now();
        let parts = Parts::of(self.link.run_one("members", command).await?)?;
        let answer = Answer::read(parts)?;
        self.clock.heard(answer.time_us, asked.elapsed());
        Ok(answer)
    }

    /// Reads the profiles that the mirror refers to and does not know.
    async fn learn_profiles(&self) -> Result<()> {
        let unknown = self.mirror.lock().unknown();
        let [.., profiles, _version, _drains] = &self.keys;
        for some in unknown.chunks(PROFILES) {
            let mut command = redis::cmd("HMGET");
            command.arg(profiles);
            for digest in some {
                command.arg(digest.0.as_slice());
            }
            let texts = reply::array(self.link.run_one("profiles", command).await?)?;
            for (digest, text) in some.iter().zip(texts) {
                // A profile that is gone meanwhile is not needed: its members have
                // another one, which the next beat shows.
                if let Some(text) = reply::maybe_bytes(text)? {
                    let (_count, text) = text.split_at_checked(4).ok_or_else(reply::unexpected)?;
                    self.mirror.lock().learn(*digest, text);
                }
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Membership for RedisMembership {
    async fn beat(&self, member: &Member) -> Result<Arc<Roster>> {
        self.up_to_date(Some(member)).await
    }

    async fn leave(&self, id: MemberId) -> Result<()> {
        let mut command = SCRIPTS.leave.call(&self.keys);
        command.arg(id.0.as_bytes().as_slice());
        self.link.run_one("leave", command).await?;
        self.asked.lock().remove(&id);
        Ok(())
    }

    async fn ask_to_drain(&self, id: MemberId) -> Result<bool> {
        let [_, reports, .., drains] = &self.keys;
        let mut command = SCRIPTS.ask_to_drain.call(&[reports, drains]);
        command.arg(id.0.as_bytes().as_slice()).arg(KEEP_ASKED_S);
        let answer = self.link.run_one("ask_to_drain", command).await?;
        Ok(reply::number(answer)? == 1)
    }

    fn is_asked_to_drain(&self, id: MemberId) -> bool {
        self.asked.lock().contains(&id)
    }

    async fn roster(&self) -> Result<Arc<Roster>> {
        self.up_to_date(None).await
    }

    async fn members(&self, after: Option<MemberPlace>, limit: usize) -> Result<MemberPage> {
        let [beats, reports, running, roster, ..] = &self.keys;
        let mut command = SCRIPTS.members.call(&[beats, reports, running, roster]);
        command
            .arg(timeout_ms())
            .arg(after.map_or(0, |place| place.0))
            .arg(limit.max(1));
        let mut parts = Parts::of(self.link.run_one("members", command).await?)?;
        let next = match reply::text(parts.value()?)? {
            text if text.is_empty() => None,
            text => Some(MemberPlace(mirror::number(&text)?)),
        };
        let mut found = Vec::new();
        while parts.len() > 0 {
            let id = MemberId(Uuid::from_bytes(reply::sixteen(&parts.bytes()?)?));
            let report = parts.bytes()?;
            let (digest, details) = report.split_first_chunk().ok_or_else(reply::unexpected)?;
            let running = mirror::number(&reply::text(parts.value()?)?)?;
            found.push((id, Digest(*digest), details.to_vec(), running));
        }
        let wanted = found.iter().map(|(_, digest, ..)| *digest);
        self.mirror.lock().want(wanted);
        self.learn_profiles().await?;
        let mirror = self.mirror.lock();
        let members = found
            .into_iter()
            .filter_map(|(id, digest, details, running)| {
                let profile = mirror.profile(digest)?;
                // A report of a later release is listed without what cannot be read.
                let details: Option<Details> = serde_json::from_slice(&details).ok();
                let (host, started_on_ms) =
                    details.map_or_else(Default::default, |one| (one.host, one.started_on_ms));
                Some(Member {
                    id,
                    host,
                    running: u32::try_from(running).unwrap_or(u32::MAX),
                    started_on_ms,
                    profile: Profile::clone(&profile),
                })
            });
        Ok(MemberPage {
            members: members.collect(),
            next,
        })
    }
}

fn timeout_ms() -> u64 {
    u64::try_from(MEMBER_TIMEOUT.as_millis()).unwrap_or(u64::MAX)
}

fn text(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
