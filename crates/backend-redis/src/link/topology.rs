//! The topology of a Redis Cluster: which node has which slots.
//!
//! Nodes disagree for a moment after a promotion or a move, and for long where a network
//! is cut in two. Each promotion has a greater epoch than the one before. So all nodes are
//! asked, and the answer with the greatest epoch counts; of several with one epoch, that of
//! most nodes.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use drumline_backend::Random;
use futures_util::future::{BoxFuture, FutureExt as _, Shared};
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use parking_lot::Mutex;
use redis::{Pipeline, RedisResult, Value};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::connection::Life;
use super::error_action;
use super::growth::AHEAD;
use super::server::Settings;
use crate::clock::Clock;
use crate::connect::Primary;
use crate::scripts::SCRIPTS;
use crate::server_info;

/// The slots of every cluster: <https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/>.
const SLOTS: usize = 16_384;
/// The shortest pause between two questions for the map; doubled with each further one: a
/// promotion takes seconds, and thousands of processes may ask.
const PAUSE: Duration = Duration::from_millis(100);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// The time that further nodes have for their answer, once one has answered.
const OTHERS: Duration = Duration::from_millis(300);

/// The slot of a key: that of its hash tag, if it has one.
pub(super) fn slot_of(key: &[u8]) -> u16 {
    let tag = key.iter().position(|byte| *byte == b'{').and_then(|open| {
        let rest = key.get(open + 1..)?;
        let close = rest.iter().position(|byte| *byte == b'}')?;
        rest.get(..close).filter(|tag| !tag.is_empty())
    });
    // The number of slots is a power of two below the sums.
    crc16::State::<crc16::XMODEM>::calculate(tag.unwrap_or(key)) % 16_384
}

/// The place of a node.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// The nodes that have slots, as known at one time.
#[derive(Clone, Debug, Default)]
pub(super) struct Map {
    epoch: u64,
    /// By slot, the number of its node from 1; 0 for a slot that no node has.
    owners: Vec<u16>,
    places: Vec<Place>,
}

impl Map {
    /// The node that has a slot.
    pub(super) fn node_of(&self, slot: u16) -> Option<usize> {
        let owner = self.owners.get(usize::from(slot))?;
        usize::from(*owner).checked_sub(1)
    }

    pub(super) const fn epoch(&self) -> u64 {
        self.epoch
    }

    pub(super) fn place(&self, node: usize) -> Option<&Place> {
        self.places.get(node)
    }

    pub(super) fn places(&self) -> &[Place] {
        &self.places
    }

    /// Reads an answer to CLUSTER INFO and one to CLUSTER SLOTS. A node that does not know
    /// its own address gives none: then it is the one that was asked.
    fn read(asked: &Place, info: &str, slots: &Value) -> Option<Self> {
        let mut map = Self {
            epoch: epoch_in(info)?,
            owners: vec![0; SLOTS],
            ..Self::default()
        };
        let Value::Array(ranges) = slots else {
            return None;
        };
        for range in ranges {
            let Value::Array(range) = range else {
                return None;
            };
            let [
                Value::Int(first),
                Value::Int(last),
                Value::Array(primary),
                ..,
            ] = range.as_slice()
            else {
                return None;
            };
            let [host, Value::Int(port), ..] = primary.as_slice() else {
                return None;
            };
            let host = match host {
                Value::BulkString(host) => String::from_utf8_lossy(host).into_owned(),
                Value::SimpleString(host) => host.clone(),
                _ => String::new(),
            };
            let host = match host.as_str() {
                "" | "?" => asked.host.clone(),
                _ => host,
            };
            let port = u16::try_from(*port).ok()?;
            let place = Place { host, port };
            let node = map.places.iter().position(|known| *known == place);
            let node = node.unwrap_or_else(|| {
                map.places.push(place);
                map.places.len() - 1
            });
            let owner = u16::try_from(node + 1).ok()?;
            let slots = usize::try_from(*first).ok()?..=usize::try_from(*last).ok()?;
            map.owners.get_mut(slots)?.fill(owner);
        }
        Some(map)
    }
}

/// The epoch of an answer to CLUSTER INFO.
pub(super) fn epoch_of(info: Option<&Value>) -> Option<u64> {
    match info? {
        Value::BulkString(info) => epoch_in(&String::from_utf8_lossy(info)),
        Value::VerbatimString { text, .. } => epoch_in(text),
        _ => None,
    }
}

fn epoch_in(info: &str) -> Option<u64> {
    server_info::field(info, "cluster_current_epoch")
        .parse()
        .ok()
}

/// The ticks of a store by their slot, each behind a key that is never there.
struct Numbers {
    clock: Arc<Clock>,
    ticks: HashMap<u16, Vec<[String; 2]>>,
}

/// The slots of nodes whose numbers were moved, since the cluster has its epoch. A node may be
/// replaced and come back over the same connection, in the same life, and miss numbers that the
/// other one has issued: each promotion has another epoch.
#[derive(Default)]
struct Raised {
    epoch: u64,
    nodes: HashMap<Place, (Life, HashSet<u16>)>,
}

impl Raised {
    fn has(&self, epoch: u64, place: &Place, life: &Life, slot: u16) -> bool {
        let node = self.nodes.get(place);
        let is_there =
            |(known, slots): &(Life, HashSet<u16>)| known == life && slots.contains(&slot);
        self.epoch == epoch && node.is_some_and(is_there)
    }

    fn note(&mut self, epoch: u64, place: &Place, life: &Life, slots: &[u16]) {
        if self.epoch != epoch {
            self.nodes.clear();
            self.epoch = epoch;
        }
        let (known, raised) = self
            .nodes
            .entry(place.clone())
            .or_insert_with(|| (Arc::clone(life), HashSet::new()));
        if known != life {
            *known = Arc::clone(life);
            raised.clear();
        }
        raised.extend(slots);
    }
}

/// The slots that commands for a node name. A node that has taken the place of another one may
/// miss the last numbers, so a process moves those of a partition before it first changes
/// anything there: growth.rs says why.
#[derive(Clone, Copy)]
pub(super) struct Raising<'a> {
    pub(super) topology: &'a Topology,
    pub(super) place: &'a Place,
    pub(super) epoch: u64,
    pub(super) slots: &'a [u16],
}

impl Raising<'_> {
    /// The commands that move the numbers that were not moved in this life of the node, and in
    /// this epoch.
    pub(super) fn due(&self, life: &Life) -> Pipeline {
        let mut raises = Pipeline::new();
        let Some(Numbers { clock, ticks }) = self.topology.numbers.get() else {
            return raises;
        };
        let floor = clock.latest().saturating_add(AHEAD);
        let raised = self.topology.raised.lock();
        let is_due = |slot: &&u16| !raised.has(self.epoch, self.place, life, **slot);
        for slot in self.slots.iter().filter(is_due) {
            for keys in ticks.get(slot).into_iter().flatten() {
                let mut raise = SCRIPTS.raise_ticks.call(keys);
                raise.arg(floor);
                raises.add_command(raise);
            }
        }
        raises
    }

    /// Notes that they were moved.
    pub(super) fn note(&self, life: &Life) {
        let mut raised = self.topology.raised.lock();
        raised.note(self.epoch, self.place, life, self.slots);
    }
}

impl PartialEq for Map {
    fn eq(&self, other: &Self) -> bool {
        let is_same = self.epoch == other.epoch && self.places == other.places;
        is_same && self.owners == other.owners
    }
}

/// A question for the map, which all wait for who doubt the one that they have. Each of them
/// takes the answer over.
type Question = Shared<BoxFuture<'static, RedisResult<Arc<Found>>>>;

/// The knowledge about a cluster; shared by all links of a store.
pub(super) struct Topology {
    settings: Settings,
    seeds: Vec<Place>,
    numbers: OnceLock<Numbers>,
    // The lock is held for a moment, never across an await.
    raised: Mutex<Raised>,
    known: watch::Sender<Arc<Map>>,
    /// The last question for the map, the time when it was asked, and the pause before it.
    // The lock is held for a moment, never across an await.
    asked: Mutex<Option<(Question, Instant, Duration)>>,
    random: Random,
}

impl Topology {
    pub(super) fn new(settings: Settings, seeds: Vec<Place>) -> Self {
        Self {
            settings,
            seeds,
            numbers: OnceLock::new(),
            raised: Mutex::default(),
            random: Random::from_entropy(),
            known: watch::Sender::default(),
            asked: Mutex::default(),
        }
    }

    /// The map; asks for it, if there is none yet.
    pub(super) async fn map(&self) -> RedisResult<Arc<Map>> {
        let map = self.current();
        if !map.places.is_empty() {
            return Ok(map);
        }
        self.ask_again(&map).await?;
        Ok(self.current())
    }

    fn current(&self) -> Arc<Map> {
        Arc::clone(&self.known.borrow())
    }

    /// The epoch of the map.
    pub(super) fn epoch(&self) -> u64 {
        self.current().epoch
    }

    /// Reads the map again, unless that has happened since this map was made. Cancel-safe.
    pub(super) async fn doubt(&self, map: &Arc<Map>) {
        if let Err(error) = self.ask_again(map).await {
            tracing::debug!(%error, "no node of the cluster tells where the slots are");
        }
    }

    /// Waits until a node has no slots any more. Cancel-safe.
    pub(super) async fn without(&self, node: Option<&Primary>) {
        let is_there = |place: &Place| {
            node.is_some_and(|node| node.host == place.host && node.port == place.port)
        };
        let mut known = self.known.subscribe();
        let gone = known.wait_for(|map| !map.places.iter().any(is_there)).await;
        // The sender lives as long as the topology.
        drop(gone);
    }

    /// Keeps these ticks growing on every node that is used from now on.
    pub(super) fn require_growth(&self, clock: Arc<Clock>, ticks: Vec<[String; 2]>) {
        let mut by_slot: HashMap<u16, Vec<[String; 2]>> = HashMap::new();
        for keys in ticks {
            let [_, tick] = &keys;
            by_slot
                .entry(slot_of(tick.as_bytes()))
                .or_default()
                .push(keys);
        }
        let ticks = by_slot;
        self.numbers.get_or_init(|| Numbers { clock, ticks });
    }

    async fn ask_again(&self, doubted: &Arc<Map>) -> RedisResult<()> {
        let Some(question) = self.question(doubted) else {
            return Ok(());
        };
        let found = question.await?;
        self.known.send_if_modified(|known| {
            // An older answer comes from a node that has missed the last change, unless most
            // give it: the cluster was made again.
            if (found.map.epoch < known.epoch && !found.is_of_most) || found.map == **known {
                return false;
            }
            let (nodes, epoch) = (found.map.places.len(), found.map.epoch);
            tracing::debug!(nodes, epoch, "the slots of the Redis Cluster are known");
            *known = Arc::new(found.map.clone());
            true
        });
        Ok(())
    }

    /// The question for the map that is under way, or another one; `None` if another map than
    /// the doubted one is known.
    fn question(&self, doubted: &Arc<Map>) -> Option<Question> {
        let mut slot = self.asked.lock();
        let known = self.current();
        if !Arc::ptr_eq(&known, doubted) && !known.places.is_empty() {
            return None;
        }
        let mut pause = PAUSE;
        if let Some((question, begun, last)) = &*slot {
            if question.peek().is_none() {
                return Some(question.clone());
            }
            // The answer was the map that is doubted again: the nodes need time.
            if begun.elapsed() < LONGEST_PAUSE * 2 {
                pause = (*last * 2).min(LONGEST_PAUSE);
            }
        }
        let begin = slot
            .as_ref()
            .map(|(_, begun, _)| *begun + pause.mul_f64(0.5 + self.random.f64() / 2.0));
        let seeds = self
            .seeds
            .iter()
            .filter(|seed| !known.places.contains(seed));
        let places: Vec<Place> = known.places.iter().chain(seeds).cloned().collect();
        let settings = self.settings.clone();
        let asking = async move {
            if let Some(begin) = begin {
                sleep_until(begin).await;
            }
            latest(&settings, places).await.map(Arc::new)
        };
        // In a task: a question whose callers have given up goes on.
        let question = async move {
            let mut task = JoinSet::new();
            task.spawn(asking);
            match task.join_next().await {
                Some(Ok(found)) => found,
                Some(Err(_)) | None => Err(error_action::silent()),
            }
        };
        let question = question.boxed().shared();
        *slot = Some((question.clone(), Instant::now(), pause));
        Some(question)
    }
}

/// The map of the greatest epoch, and of those of one epoch the one that most nodes give.
struct Found {
    map: Map,
    /// True if more than half of the nodes that were asked give it.
    is_of_most: bool,
}

/// The latest of the maps that the nodes at these places know.
async fn latest(settings: &Settings, places: Vec<Place>) -> RedisResult<Found> {
    let count = places.len();
    let asked = places.into_iter().map(|place| ask(settings, place));
    let mut answers: FuturesUnordered<_> = asked.collect();
    let (mut maps, mut failure) = (Vec::<(Map, usize)>::new(), None);
    let mut deadline = Instant::now() + settings.connect_timeout * 2;
    while let Ok(Some(answer)) = timeout_at(deadline, answers.next()).await {
        match answer {
            Ok(map) => {
                deadline = deadline.min(Instant::now() + OTHERS);
                match maps.iter_mut().find(|(other, _)| *other == map) {
                    Some((_, votes)) => *votes += 1,
                    None => maps.push((map, 1)),
                }
            }
            Err(error) => failure = Some(error),
        }
    }
    let best = maps
        .into_iter()
        .max_by_key(|(map, votes)| (map.epoch, *votes));
    let found = best.map(|(map, votes)| Found {
        map,
        is_of_most: votes * 2 > count,
    });
    found.ok_or_else(|| failure.unwrap_or_else(error_action::silent))
}

/// The map that the node at a place knows.
async fn ask(settings: &Settings, place: Place) -> RedisResult<Map> {
    let asking = async {
        let address = settings.address.at(&place.host, place.port);
        let connected = address.connect(&settings.config).await?;
        let mut questions = Pipeline::new();
        questions
            .cmd("CLUSTER")
            .arg("INFO")
            .cmd("CLUSTER")
            .arg("SLOTS");
        let mut connection = connected.connection.clone();
        let (info, slots): (String, Value) = questions.query_async(&mut connection).await?;
        let map = Map::read(&place, &info, &slots);
        map.filter(|map| !map.places.is_empty())
            .ok_or_else(error_action::uncovered)
    };
    match timeout(settings.connect_timeout, asking).await {
        Ok(answer) => answer,
        Err(_elapsed) => Err(error_action::silent()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_that_of_the_hash_tag() {
        // The example of the specification.
        assert_eq!(slot_of(b"123456789"), 12_739);
        assert_eq!(slot_of(b"a:{123456789}:b"), 12_739);
        assert_eq!(
            slot_of(b"{}x"),
            crc16::State::<crc16::XMODEM>::calculate(b"{}x") % 16_384
        );
        assert_ne!(slot_of(b"{1}"), slot_of(b"{2}"));
    }

    #[test]
    fn numbers_are_moved_again_in_another_life_and_in_another_epoch() {
        let place = Place {
            host: "here".to_owned(),
            port: 1,
        };
        let (life, other) = (Life::from("a"), Life::from("b"));
        let mut raised = Raised::default();
        assert!(!raised.has(7, &place, &life, 1));
        raised.note(7, &place, &life, &[1, 2]);
        assert!(raised.has(7, &place, &life, 1) && raised.has(7, &place, &life, 2));
        assert!(!raised.has(7, &place, &life, 3) && !raised.has(7, &place, &other, 1));
        // It was replaced, and is back over the same connection.
        assert!(!raised.has(9, &place, &life, 1));
        raised.note(9, &place, &life, &[3]);
        assert!(raised.has(9, &place, &life, 3) && !raised.has(9, &place, &life, 1));
        raised.note(9, &place, &other, &[1]);
        assert!(raised.has(9, &place, &other, 1) && !raised.has(9, &place, &other, 3));
    }

    #[test]
    fn a_node_without_an_address_is_the_one_that_was_asked() {
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let range = |first, last, host: &str, port| {
            let node = Value::Array(vec![
                text(host),
                Value::Int(port),
                text("id"),
                Value::Array(vec![]),
            ]);
            Value::Array(vec![Value::Int(first), Value::Int(last), node])
        };
        let asked = Place {
            host: "here".to_owned(),
            port: 1,
        };
        let slots = Value::Array(vec![range(0, 99, "", 1), range(200, 16_383, "there", 2)]);
        let map = Map::read(&asked, "cluster_current_epoch:7\r\n", &slots).expect("a map");
        assert_eq!(map.epoch, 7);
        let place = |slot| {
            map.node_of(slot)
                .and_then(|node| map.place(node))
                .map(Place::to_string)
        };
        assert_eq!(place(99).as_deref(), Some("here:1"));
        assert_eq!(place(100), None);
        assert_eq!(place(16_383).as_deref(), Some("there:2"));
        assert!(Map::read(&asked, "", &slots).is_none());
    }
}
