//! The nodes of a Redis Cluster: each command goes to the node that has its slot.
//!
//! ```text
//!            ┌─ commands of its slots ─→ server of node 1 ─┐
//! commands ──┼─ commands of its slots ─→ server of node 2 ─┼─→ answers, in the order
//!            └─ commands of its slots ─→ server of node 3 ─┘   of the commands
//! ```
//!
//! A node that was asked for a slot that it does not have answers so, and executes nothing.
//! Then, and after each failure, the map of the slots is read again. The commands that were
//! answered are not repeated.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use drumline_backend::Random;
use futures_util::future::join_all;
use parking_lot::Mutex;
use redis::aio::PubSub;
use redis::{Arg, Cmd, Pipeline, RedisResult, Value};
use tokio::time::{Instant, sleep, timeout};

use super::connection::Life;
use super::error_action::{self, ErrorAction, error_action};
use super::server::{Failed, Server, Settings};
use super::topology::{self, Map, Place, Raising, Topology, slot_of};
use crate::clock::{self, Clock};
use crate::connect::Primary;

/// The interval at which a node is asked for its epoch: a primary that is cut off from
/// the others takes writes for as long as `cluster-node-timeout`, which is some seconds.
const LOOK: Duration = Duration::from_secs(1);

/// The servers of a cluster, with the connections of one link.
pub(super) struct Cluster {
    topology: Arc<Topology>,
    settings: Settings,
    // The lock is held for a moment, never across an await.
    servers: Mutex<HashMap<Place, Arc<Server>>>,
}

/// The answers so far, by the place of their command, and the lives of the servers that
/// have given them.
#[derive(Default)]
pub(super) struct Answered {
    values: Vec<Option<Value>>,
    lives: BTreeMap<Place, Life>,
}

impl Answered {
    /// The answers, if there is one.
    pub(super) fn some(self) -> Option<Vec<Option<Value>>> {
        let is_any = self.values.iter().any(Option::is_some);
        is_any.then_some(self.values)
    }
}

/// The commands for one node: their places, and their slots.
#[derive(Default)]
struct Group {
    places: Vec<usize>,
    slots: Vec<u16>,
}

impl Group {
    fn add(&mut self, place: usize, slot: u16) {
        self.places.push(place);
        if self.slots.last() != Some(&slot) {
            self.slots.push(slot);
        }
    }
}

impl Cluster {
    /// Makes a cluster whose nodes are connected to when they are first used.
    pub(super) fn new(topology: Arc<Topology>, settings: Settings) -> Self {
        Self {
            topology,
            settings,
            servers: Mutex::default(),
        }
    }

    pub(super) const fn topology(&self) -> &Arc<Topology> {
        &self.topology
    }

    /// Makes each command that was not answered yet once.
    pub(super) async fn attempt(
        &self,
        commands: &Pipeline,
        answered: &mut Answered,
        timeout: Duration,
    ) -> Result<(Vec<Value>, Life), Failed> {
        let map = self.topology.map().await.map_err(Failed::before)?;
        answered.values.resize_with(commands.len(), || None);
        let mut of_nodes: BTreeMap<usize, Group> = BTreeMap::new();
        let mut failure: Option<Failed> = None;
        for (place, command) in commands.cmd_iter().enumerate() {
            if answered.values.get(place).is_some_and(Option::is_some) {
                continue;
            }
            let slot = slot_of_command(command);
            match map.node_of(slot) {
                Some(node) => of_nodes.entry(node).or_default().add(place, slot),
                None => failure = Some(Failed::before(error_action::uncovered())),
            }
        }
        let asked = of_nodes.iter().map(|(node, group)| {
            let map = &map;
            async move {
                let some = some_of(commands, &group.places);
                let commands = some.as_ref().unwrap_or(commands);
                self.ask(map, *node, commands, &group.slots, timeout).await
            }
        });
        for ((node, group), answer) in of_nodes.iter().zip(join_all(asked).await) {
            match answer {
                Ok((values, life)) => {
                    for (place, value) in group.places.iter().zip(values) {
                        if let Some(answer) = answered.values.get_mut(*place) {
                            *answer = Some(value);
                        }
                    }
                    answered
                        .lives
                        .extend(map.place(*node).map(|it| (it.clone(), life)));
                }
                Err(failed) => failure = Some(worse(failure, failed)),
            }
        }
        match failure {
            None => {
                let values = std::mem::take(&mut answered.values);
                Ok((
                    values.into_iter().flatten().collect(),
                    joined(&answered.lives),
                ))
            }
            Some(failed) => {
                if error_action::may_have_moved(&failed.error) {
                    self.topology.doubt(&map).await;
                }
                Err(failed)
            }
        }
    }

    async fn ask(
        &self,
        map: &Map,
        node: usize,
        commands: &Pipeline,
        slots: &[u16],
        timeout: Duration,
    ) -> Result<(Vec<Value>, Life), Failed> {
        let Some(place) = map.place(node) else {
            return Err(Failed::before(error_action::uncovered()));
        };
        let server = self.server(map, place);
        let raising = Raising {
            topology: &self.topology,
            place,
            epoch: map.epoch(),
            slots,
        };
        server.attempt(commands, timeout, Some(raising)).await
    }

    /// The life of all servers that answer, and the moment of the oldest of their last answers.
    pub(super) async fn life(&self) -> RedisResult<(Life, Instant)> {
        let (mut lives, mut heard) = (BTreeMap::new(), Instant::now());
        let mut failure = None;
        for (place, server) in self.servers().await? {
            match server.life().await {
                Ok((life, answered)) => {
                    lives.insert(place, life);
                    heard = heard.min(answered);
                }
                Err(error) => failure = Some(error),
            }
        }
        match failure {
            Some(failure) if lives.is_empty() => Err(failure),
            _ => Ok((joined(&lives), heard)),
        }
    }

    /// Asks one node after the other for its epoch and its time, for as long as it is polled.
    /// A primary that was cut off does not tell that another one has taken its place.
    pub(super) async fn follow(&self, clock: &Clock, random: &Random) {
        let mut questions = Pipeline::new();
        questions.cmd("CLUSTER").arg("INFO").cmd("TIME");
        for turn in 0_usize.. {
            sleep(LOOK.mul_f64(0.5 + random.f64())).await;
            let Ok(map) = self.topology.map().await else {
                continue;
            };
            let Some(place) = map.place(turn % map.places().len().max(1)) else {
                continue;
            };
            let server = self.server(&map, place);
            let asked = Instant::now();
            let answers = server.attempt(&questions, self.settings.response_timeout, None);
            let is_latest = match answers.await {
                Ok((answers, _life)) => {
                    let took = asked.elapsed();
                    let epoch = topology::epoch_of(answers.first());
                    if let Some(micros) = answers.into_iter().nth(1).and_then(clock::micros) {
                        clock.note_latest(micros, took);
                    }
                    epoch == Some(map.epoch())
                }
                Err(_failed) => false,
            };
            if !is_latest {
                self.topology.doubt(&map).await;
            }
        }
    }

    /// Makes a connection that listens to channels, to the first node that takes one. Names
    /// the node.
    pub(super) async fn listen(&self, random: &Random) -> RedisResult<(PubSub, Option<Primary>)> {
        let map = self.topology.map().await?;
        let places = map.places();
        let count = u64::try_from(places.len().max(1)).unwrap_or(u64::MAX);
        let first = usize::try_from(random.below(count)).unwrap_or(0);
        let mut failure = error_action::uncovered();
        // The caller waits no longer than for one connection.
        let count = u32::try_from(places.len().max(1)).unwrap_or(u32::MAX);
        let share = self.settings.connect_timeout / count;
        for place in places.iter().cycle().skip(first).take(places.len()) {
            let address = self.settings.address.at(&place.host, place.port);
            match timeout(share, address.listen()).await {
                Ok(Ok((listening, _))) => {
                    let node = Primary {
                        host: place.host.clone(),
                        port: place.port,
                        epoch: map.epoch(),
                    };
                    return Ok((listening, Some(node)));
                }
                Ok(Err(error)) => failure = error,
                Err(_elapsed) => failure = error_action::silent(),
            }
        }
        self.topology.doubt(&map).await;
        Err(failure)
    }

    /// The servers that have slots.
    pub(super) async fn servers(&self) -> RedisResult<Vec<(Place, Arc<Server>)>> {
        let map = self.topology.map().await?;
        let places = map.places().iter().cloned();
        Ok(places
            .map(|place| {
                let server = self.server(&map, &place);
                (place, server)
            })
            .collect())
    }

    /// The server at a place of a map. Those at places that have no slots any more go when
    /// another one comes.
    fn server(&self, map: &Map, place: &Place) -> Arc<Server> {
        let mut servers = self.servers.lock();
        if let Some(server) = servers.get(place) {
            return Arc::clone(server);
        }
        let mut settings = self.settings.clone();
        settings.address = settings.address.at(&place.host, place.port);
        let server = Arc::new(Server::new(settings));
        servers.retain(|place, _server| map.places().contains(place));
        servers.insert(place.clone(), Arc::clone(&server));
        server
    }
}

/// The life of several servers together.
fn joined(lives: &BTreeMap<Place, Life>) -> Life {
    let lives: Vec<&str> = lives.values().map(AsRef::as_ref).collect();
    Life::from(lives.join(", "))
}

/// The commands at these places; `None` if these are all.
fn some_of(commands: &Pipeline, places: &[usize]) -> Option<Pipeline> {
    if places.len() == commands.len() {
        return None;
    }
    let mut some = Pipeline::with_capacity(places.len());
    let mut wanted = places.iter().peekable();
    for (place, command) in commands.cmd_iter().enumerate() {
        if wanted.next_if_eq(&&place).is_some() {
            some.add_command(command.clone());
        }
    }
    Some(some)
}

/// The failure that decides: one that waiting does not change before one that passes.
fn worse(before: Option<Failed>, failed: Failed) -> Failed {
    let is_final = |failed: &Failed| {
        matches!(
            error_action(&failed.error),
            ErrorAction::GiveUp | ErrorAction::Refuse
        )
    };
    match before {
        Some(before) if is_final(&before) || !is_final(&failed) => Failed {
            is_uncertain: before.is_uncertain || failed.is_uncertain,
            ..before
        },
        _ => failed,
    }
}

/// The slot of the keys of a command, which all have the same; that of the store's own
/// keys for a command without keys.
fn slot_of_command(command: &Cmd) -> u16 {
    let word = |at: usize| match command.args_iter().nth(at) {
        Some(Arg::Simple(word)) => word,
        _ => b"",
    };
    let key = match word(0) {
        b"EVALSHA" if word(2) != b"0" => word(3),
        b"MEMORY" => word(2),
        b"EVALSHA" | b"ACL" | b"CLUSTER" | b"CONFIG" | b"INFO" | b"PING" | b"SCAN" | b"SCRIPT"
        | b"TIME" | b"WAIT" => b"{meta}",
        _ => word(1),
    };
    slot_of(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_goes_where_its_keys_are() {
        let slot = |words: &[&str]| {
            let mut command = redis::cmd(words[0]);
            for word in &words[1..] {
                command.arg(*word);
            }
            slot_of_command(&command)
        };
        let of_key = slot_of(b"a:{17}:locks");
        assert_eq!(slot(&["GET", "a:{17}:locks"]), of_key);
        assert_eq!(slot(&["EVALSHA", "hash", "2", "b:{17}:", "x"]), of_key);
        assert_eq!(slot(&["MEMORY", "USAGE", "c:{17}:locks"]), of_key);
        let of_store = slot_of(b"a:{meta}:changes");
        assert_eq!(slot(&["TIME"]), of_store);
        assert_eq!(slot(&["EVALSHA", "hash", "0", "b:{17}:"]), of_store);
        assert_ne!(of_key, of_store);
    }
}
