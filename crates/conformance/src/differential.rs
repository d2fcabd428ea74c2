//! Two stores that are given the same calls, and cannot be told apart.
//!
//! A walk is a list of words, each of which stands for a part of a call or for a call.
//! So a tool that generates walks can also shorten one that has found a difference. The
//! calls have several creates and commits each, refill chains, are stale or made twice
//! now and then. After each call everything that a caller can see is compared.

mod guards;
mod look;
mod show;

use std::time::Duration;

use drumline_backend::store::{
    Commit, Committed, Guard, IdempotencyKey, NewOperation, ReportParts, Reservation, Reserved,
    Stamp, Transacted,
};
use drumline_protocol::pause::scope_keys_of;
use drumline_protocol::transition::{At, apply};
use drumline_protocol::{
    Author, Event, Fence, Header, OperationId, Organization, Partition, Pause, PauseKind,
    PauseScope, Progress, Report, Timestamp,
};

use self::guards::{guard_of, wanted};
use self::look::look;
use self::show::{show, show_created};
use crate::StoreHarness;
use crate::check_all;
use crate::fixtures::{Draft, Fixture, author_of, claim_event, fault, independent};
use crate::store::locks::lock_of;

/// The most operations of a walk: few, so that they meet.
const OPERATIONS: usize = 24;
/// The tokens.
const TOKENS: [&str; 3] = ["a", "b", "c"];
/// The keys in a step of a check: the server may have those of other tests.
const CHECK_LIMIT: usize = 5_000;
/// Longer than any walk.
const LONG: Duration = Duration::from_secs(3_600);

/// A part of a walk.
pub type Word = [u8; 4];

/// Takes a walk on two empty stores with the same number of partitions.
///
/// # Errors
/// With the first difference.
pub async fn walk(
    one: &dyn StoreHarness,
    other: &dyn StoreHarness,
    words: &[Word],
) -> Result<(), String> {
    let one = Fixture::new(one).await;
    let other = Fixture {
        store: other.connect().await,
        ..one.clone()
    };
    let now = one.store.now();
    let mut walk = Walk {
        sides: [one, other],
        now,
        operations: Vec::new(),
        creates: Vec::new(),
        events: Vec::new(),
        last: Default::default(),
    };
    for word in words {
        walk.step(*word).await?;
    }
    walk.make_calls(false).await?;
    for (side, name) in walk.sides.iter().zip(["the first", "the other"]) {
        let all = side.store.partitions().all().collect();
        let page = check_all(&*side.store, all, CHECK_LIMIT, false).await;
        if let Some(fault) = page.faults.first() {
            return Err(format!("a check of {name} store finds {fault:?}"));
        }
    }
    Ok(())
}

struct Walk {
    sides: [Fixture; 2],
    now: Timestamp,
    operations: Vec<Known>,
    /// The creates of the next call.
    creates: Vec<NewOperation>,
    /// The events of the next call.
    events: Vec<Planned>,
    /// The commits of the last call, for each side.
    last: [Vec<Commit>; 2],
}

struct Known {
    new: NewOperation,
    /// The header before the last change.
    before: Header,
    /// The header after all changes that are planned; none after a removal.
    header: Option<Header>,
}

struct Planned {
    place: usize,
    /// Without a guard.
    commit: Commit,
    event: Event,
    /// True for a holder that has lost its lock.
    is_stale: bool,
}

impl Walk {
    async fn step(&mut self, word: Word) -> Result<(), String> {
        let [kind, a, b, c] = word;
        self.now = self.now.saturating_add(Duration::from_millis(1));
        match kind % 20 {
            0..=7 => self.plan_event(a, b, c),
            8..=10 => self.plan_create(a, b, c),
            11 | 12 => self.make_calls(false).await?,
            13 => self.make_calls(true).await?,
            14 => {
                self.make_calls(false).await?;
                self.repeat_last().await?;
            }
            15 => {
                self.make_calls(false).await?;
                self.confirm(a).await?;
            }
            16 => {
                self.make_calls(false).await?;
                self.offer_again(a).await?;
            }
            17 => {
                self.make_calls(false).await?;
                self.pause(a, b).await?;
            }
            18 => {
                self.make_calls(false).await?;
                self.release(a, b).await?;
            }
            _ => {
                self.make_calls(false).await?;
                self.report(a, b).await?;
            }
        }
        Ok(())
    }

    fn plan_create(&mut self, a: u8, b: u8, c: u8) {
        if self.operations.len() >= OPERATIONS {
            return;
        }
        let token = TOKENS
            .get(usize::from(a % 5))
            .map(|&token| token.to_owned());
        let draft = Draft {
            token,
            message_name: if b & 1 == 0 { "DoIt" } else { "DoThat" }.to_owned(),
            token_policy: match b & 2 {
                0 => drumline_protocol::TokenPolicy::Continue,
                _ => drumline_protocol::TokenPolicy::Hold,
            },
            postponed_by: (b & 12 == 12).then_some(LONG),
            expires_in: (b & 16 != 0).then_some(LONG),
            transient: b & 96 == 96,
            webhook: b & 128 != 0,
            ..independent()
        };
        let mut new = self.sides[0].prepare(draft);
        // One time for all, so that headers are equal.
        new.body.created_on = self.now;
        if c < 64 {
            let partition = new.id.partition();
            new.key = self.key_of(partition, c % 4, new.id);
        }
        self.operations.push(Known {
            before: new.header.clone(),
            header: Some(new.header.clone()),
            new: new.clone(),
        });
        self.creates.push(new);
    }

    /// One of four keys of a partition; two requests differ in their content.
    fn key_of(&self, partition: Partition, number: u8, id: OperationId) -> Option<Reservation> {
        let partitions = self.sides[0].store.partitions();
        let key = (0..=u8::MAX)
            .map(|salt| {
                IdempotencyKey([salt, number % 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
            })
            .find(|key| key.partition(partitions) == partition)?;
        Some(Reservation {
            key,
            reserved: Reserved {
                id,
                content: [number / 2; 16],
            },
            keep: LONG,
        })
    }

    fn plan_event(&mut self, a: u8, b: u8, c: u8) {
        let count = self.operations.len();
        if count == 0 || self.events.len() >= 12 {
            return;
        }
        let place = usize::from(a) % count;
        let is_pending = |new: &NewOperation| new.id == self.operations[place].new.id;
        if self.creates.iter().any(is_pending) {
            return;
        }
        let at = At {
            now: self.now,
            commit: self.sides[0].ids.commit(),
        };
        let known = &self.operations[place];
        let is_old = c.is_multiple_of(16);
        let header = if is_old {
            Some(&known.before)
        } else {
            known.header.as_ref()
        };
        let Some(header) = header else { return };
        let mut legal = Vec::new();
        for event in self.events_now() {
            if let Ok(transition) = apply(header, event.clone(), at) {
                legal.push((event, transition));
            }
        }
        let Some((event, transition)) = nth(legal, b) else {
            return;
        };
        let author = author_of(wanted(&event, &self.sides[0]));
        let id = known.new.id;
        let mut commit = Commit::new(id, header, &transition, Guard::None, &author);
        if matches!(event, Event::Claim { .. }) {
            commit.want_record = true;
            if c & 32 == 0 {
                commit.scopes = scope_keys_of(header, &known.new.body);
            }
        }
        // A store may remember what it has removed for longer.
        commit.remember = LONG;
        if !is_old {
            let header = commit.header.clone();
            let known = &mut self.operations[place];
            known.before = known.header.take().unwrap_or(header.clone());
            known.header = (event != Event::Delete).then_some(header);
        }
        self.events.push(Planned {
            place,
            commit,
            event,
            is_stale: c % 16 == 1,
        });
    }

    /// Every event, with times that no walk reaches or that are over.
    fn events_now(&self) -> Vec<Event> {
        let hence = self.now.saturating_add(LONG);
        vec![
            claim_event(),
            Event::Succeed,
            Event::Fail(fault()),
            Event::Retry {
                fault: fault(),
                after: Some(LONG),
                jitter: self.sides[0].ids.jitter(),
            },
            Event::Suspend(fault()),
            Event::Stopped,
            Event::Release,
            Event::ReleaseUnstarted,
            Event::LeaseExpired,
            Event::Pause,
            Event::Resume,
            Event::Postpone(hence),
            Event::Postpone(Timestamp::from_millis(1)),
            Event::Cancel,
            Event::Discard,
            Event::Unhandled,
            Event::Throttle,
            Event::Delete,
        ]
    }

    /// Makes what is planned: creates, then commits; or both together.
    async fn make_calls(&mut self, together: bool) -> Result<(), String> {
        let creates = std::mem::take(&mut self.creates);
        let mut events = std::mem::take(&mut self.events);
        if creates.is_empty() && events.is_empty() {
            return Ok(());
        }
        if together {
            let mut seen = Vec::new();
            events.retain(|planned| {
                let is_first = !seen.contains(&planned.place);
                seen.push(planned.place);
                is_first
            });
        }
        let mut told = Vec::new();
        for (side, last) in self.sides.iter().zip(&mut self.last) {
            let mut said = Vec::new();
            if !together && !creates.is_empty() {
                let created = side.store.create(creates.clone()).await;
                said.push(show_created(&created.map_err(|error| error.to_string())?));
            }
            let mut commits = Vec::new();
            for planned in &events {
                let guard = guard_of(side, planned).await;
                commits.push(Commit {
                    guard,
                    ..planned.commit.clone()
                });
            }
            last.clone_from(&commits);
            if together {
                let done = side.store.transact(creates.clone(), commits).await;
                said.push(match done.map_err(|error| error.to_string())? {
                    Transacted::Done { created, committed } => {
                        let committed = committed.into_iter().map(Box::new).map(Committed::Done);
                        let committed: Vec<Committed> = committed.collect();
                        format!("{} {}", show_created(&created), show(&committed))
                    }
                    Transacted::Refused { commit, answer } => {
                        format!("refused at {commit}: {}", show(&[answer]))
                    }
                    Transacted::Spread => "kept apart".to_owned(),
                });
            } else if !commits.is_empty() {
                let answers = side.store.commit(commits).await;
                said.push(show(&answers.map_err(|error| error.to_string())?));
            }
            told.push(said.join("; "));
        }
        let names: Vec<&str> = events.iter().map(|planned| planned.event.name()).collect();
        let what = format!("{} creates and {names:?}", creates.len());
        self.compare(&what, &told).await
    }

    /// Makes the last commits again, as a caller does that has got no answer.
    async fn repeat_last(&mut self) -> Result<(), String> {
        let mut told = Vec::new();
        for (side, commits) in self.sides.iter().zip(&self.last) {
            let answers = side.store.commit(commits.clone()).await;
            told.push(show(&answers.map_err(|error| error.to_string())?));
        }
        self.compare("the same again", &told).await
    }

    /// Confirms one of the entries of the outbox.
    async fn confirm(&mut self, a: u8) -> Result<(), String> {
        let mut told = Vec::new();
        for side in &self.sides {
            let entries = entries(side).await;
            if let Some((id, stamp)) = nth(entries, a) {
                side.confirm(id, stamp).await;
                told.push(id.to_string());
            } else {
                told.push(String::new());
            }
        }
        self.compare("a confirm", &told).await
    }

    /// Offers one again whose message may be lost.
    async fn offer_again(&mut self, a: u8) -> Result<(), String> {
        let Some(place) = self.place(a) else {
            return Ok(());
        };
        let id = self.operations[place].new.id;
        let mut told = Vec::new();
        for side in &self.sides {
            let offer = side.store.last_offer(id).await.expect("last_offer");
            let again = match offer {
                Some(offer) => side.store.reoffer(id, offer.stamp, Duration::ZERO).await,
                None => Ok(None),
            };
            told.push(format!("{}", again.expect("reoffer").is_some()));
        }
        self.compare("a reoffer", &told).await
    }

    /// Sets or lifts a pause, and brings the copies up to date.
    async fn pause(&mut self, a: u8, b: u8) -> Result<(), String> {
        let organization = Organization::default();
        let scope = |kind, value: &str| PauseScope {
            kind,
            organization: organization.clone(),
            value: value.to_owned(),
        };
        let scope = match a % 4 {
            0 => scope(PauseKind::MessageName, "DoIt"),
            1 => scope(PauseKind::DependencyToken, TOKENS[0]),
            2 => scope(PauseKind::Queue, "default"),
            _ => PauseScope::organization(organization.clone()),
        };
        let mut told = Vec::new();
        for side in &self.sides {
            let said = if b.is_multiple_of(2) {
                let pause = Pause {
                    scope: scope.clone(),
                    reason: "a walk".to_owned(),
                    until: None,
                    author: Author::Caller("ann".to_owned()),
                    since: self.now,
                };
                side.store.set_pause(&pause).await.expect("set_pause");
                "set".to_owned()
            } else {
                let lifted = side.store.lift_pause(scope.key()).await;
                format!("{}", lifted.expect("lift_pause"))
            };
            told.push(said);
            let pauses = side.store.pauses().await.expect("pauses");
            let all: Vec<Partition> = side.store.partitions().all().collect();
            let copied = side.store.copy_pauses(&pauses, &all).await;
            copied.expect("copy_pauses");
        }
        self.compare("a pause", &told).await
    }

    async fn release(&mut self, a: u8, b: u8) -> Result<(), String> {
        let mut told = Vec::new();
        for side in &self.sides {
            let all: Vec<Partition> = side.store.partitions().all().collect();
            let mut count = 0;
            for partition in all {
                let limit = usize::from(b % 4) + 1;
                let released = side.store.release_held(partition, None, limit).await;
                count += released.expect("release_held").count;
            }
            told.push(count.to_string());
        }
        self.compare(&format!("a release {a}"), &told).await
    }

    /// Reports and renews as the holder.
    async fn report(&mut self, a: u8, b: u8) -> Result<(), String> {
        let Some(place) = self.place(a) else {
            return Ok(());
        };
        let id = self.operations[place].new.id;
        let report = Report {
            progress: Some(Progress {
                percent: b % 101,
                text: "on its way".to_owned(),
            }),
            ..Report::default()
        };
        let mut told = Vec::new();
        for side in &self.sides {
            let lock = lock_of(side, id).await;
            let holding = lock.map_or(side.holding(Fence(0)), |lock| lock.holding());
            let written = side.store.report(id, holding, &report, ReportParts::All);
            let written = written.await.expect("report");
            let renewed = side.store.renew(&[(id, holding)]).await.expect("renew");
            told.push(format!("{written} {renewed:?}"));
        }
        self.compare("a report", &told).await
    }

    fn place(&self, a: u8) -> Option<usize> {
        usize::from(a).checked_rem(self.operations.len())
    }

    /// Compares the answers, and then everything that can be seen.
    async fn compare(&mut self, what: &str, told: &[String]) -> Result<(), String> {
        if let [one, other] = told
            && one != other
        {
            return Err(format!("{what} is answered\n  {one}\nand\n  {other}"));
        }
        let [one, other] = &self.sides;
        let ids: Vec<OperationId> = self.operations.iter().map(|known| known.new.id).collect();
        let (seen, seen_there) = (look(one, &ids).await, look(other, &ids).await);
        for ((aspect, here), (_, there)) in seen.iter().zip(&seen_there) {
            if here != there {
                return Err(format!(
                    "after {what}, {aspect} is\n  {here}\nand\n  {there}"
                ));
            }
        }
        let found = one.store.get(&ids).await.expect("get");
        for (known, found) in self.operations.iter_mut().zip(found) {
            known.header = found.map(|found| found.header);
        }
        Ok(())
    }
}

/// The entries of all outboxes that can be told apart on both sides.
async fn entries(side: &Fixture) -> Vec<(OperationId, Stamp)> {
    let mut entries = Vec::new();
    for partition in side.store.partitions().all() {
        entries.extend(side.outbox_entries(partition).await);
    }
    entries.sort_unstable_by_key(|(id, _)| *id);
    entries
}

fn nth<T>(mut items: Vec<T>, number: u8) -> Option<T> {
    let place = usize::from(number).checked_rem(items.len())?;
    Some(items.swap_remove(place))
}
