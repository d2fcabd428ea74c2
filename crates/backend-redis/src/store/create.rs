//! Create: few script calls, all in one round trip.

use drumline_backend::store::{Created, Error, NewOperation, Result, Stamp, check_keys};
use drumline_protocol::{OperationId, State, codec};
use redis::{Cmd, Value};

use super::RedisStore;
use super::batches::{batches, calls};
use super::reservations::keep_ms;
use crate::record;
use crate::reply::{self, Packed, Parts};
use crate::scripts::SCRIPTS;

/// Creates from which on a call takes no further partition: it blocks the server
/// for some milliseconds.
const MOST: usize = 128;

impl RedisStore {
    pub(super) async fn create_all(&self, operations: &[NewOperation]) -> Result<Vec<Created>> {
        self.check_partitions(operations)?;
        // All of a partition in one script. The server goes on after a script
        // that it has refused (for lack of room for its arguments, for
        // example), and the rest of a chain must not be stored where its
        // beginning was not.
        let ids = operations.iter().map(|new| new.id);
        let calls = calls(batches(&self.keys, ids, operations.len().max(1)), MOST);
        let mut commands = redis::pipe();
        for call in &calls {
            let mut command = call.command(&SCRIPTS.create);
            for (partition, at) in call.items() {
                if let Some(new) = operations.get(at) {
                    command.arg(partition);
                    add(&mut command, new)?;
                }
            }
            commands.add_command(command);
        }
        let answers = self.link.run("create", &commands).await?;

        let mut created: Vec<Option<Created>> = vec![None; operations.len()];
        for (call, answer) in calls.iter().zip(answers) {
            let mut parts = Parts::of(answer)?;
            for (_, at) in call.items() {
                let Some(place) = created.get_mut(at) else {
                    continue;
                };
                *place = Some(read(parts.value()?)?);
            }
        }
        let all: Option<Vec<Created>> = created.into_iter().collect();
        all.ok_or_else(reply::unexpected)
    }

    /// Fails if an operation is of a partition that does not exist, or of
    /// another one than its key.
    pub(super) fn check_partitions(&self, operations: &[NewOperation]) -> Result<()> {
        let is_stray = |new: &&NewOperation| self.keys.partition(new.id.partition()).is_none();
        match operations.iter().find(is_stray) {
            None => check_keys(operations, self.partitions),
            Some(stray) => Err(Error::Unfit(format!(
                "{} belongs to a partition that the store does not have: it has {}",
                stray.id,
                self.partitions.get()
            ))),
        }
    }
}

/// The arguments of one create.
pub(super) fn add(command: &mut Cmd, new: &NewOperation) -> Result<()> {
    let header = &new.header;
    command
        .arg(new.id.as_bytes().as_slice())
        .arg(record::start(header))
        .arg(record::rest(new)?)
        .arg(codec::encode(&new.body)?);
    match header.due_on() {
        Some(on) => command.arg(on.as_millis()),
        None => command.arg(""),
    };
    let offer = match header.status.state() {
        State::Ready => "a",
        State::Suspended | State::Locked | State::Completed => "-",
    };
    command.arg(offer);
    match &new.key {
        Some(wanted) => command
            .arg([wanted.key.0, wanted.reserved.content].concat())
            .arg(keep_ms(wanted.keep)),
        None => command.arg("").arg(""),
    };
    Ok(())
}

/// Reads the answer to one create.
pub(super) fn read(answer: Value) -> Result<Created> {
    let answer = reply::bytes(answer)?;
    let mut answer = Packed::new(&answer);
    let letter = answer.letter()?;
    if letter == b'K' {
        return Ok(Created::KeyReused);
    }
    let id = OperationId::from_bytes(*answer.take()?).ok_or_else(reply::unexpected)?;
    match letter {
        b'N' => {
            let (sequence, stamp) = (answer.number()?, answer.number()?);
            Ok(Created::New {
                id,
                sequence,
                offer: (stamp != 0).then_some(Stamp(stamp)),
            })
        }
        b'E' => Ok(Created::Exists(Box::new(record::packed(id, &mut answer)?))),
        b'S' => Ok(Created::KeySpent(id)),
        _ => Err(reply::unexpected()),
    }
}
