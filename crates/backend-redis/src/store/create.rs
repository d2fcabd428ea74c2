//! Create: few script calls, all in one round trip.

use drumline_backend::store::{
    ANSWER_BYTES, Created, Error, NewOperation, Result, Stamp, check_keys,
};
use drumline_protocol::pause::scope_keys_of;
use drumline_protocol::{OperationId, State};
use redis::Cmd;

use super::RedisStore;
use super::batches::{batches, by_weight, calls};
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
        let mut answers = Vec::with_capacity(operations.len());
        // One after the other: the rest of a chain must not be stored where its
        // beginning was not. A repetition stores what is missing.
        for some in by_weight(operations, |new| new.body.data_bytes(), ANSWER_BYTES) {
            answers.extend(self.create_some(some).await?);
        }
        self.with_existing(answers).await
    }

    async fn create_some(&self, operations: &[NewOperation]) -> Result<Vec<Answer>> {
        // All of a partition in one script. The server goes on after a script
        // that it has refused (for lack of room for its arguments, for
        // example), and the rest of a chain must not be stored where its
        // beginning was not.
        let ids = operations.iter().map(|new| new.id);
        let batches = batches(&self.keys, ids, operations.len().max(1));
        let calls = calls(&self.keys, batches, MOST);
        let mut commands = redis::pipe();
        for call in &calls {
            let mut command = call.counted(&SCRIPTS.create);
            for (partition, at) in call.items() {
                if let Some(new) = operations.get(at) {
                    command.arg(partition);
                    add(&mut command, new)?;
                }
            }
            commands.add_command(command);
        }
        let bytes = operations.iter().map(|new| new.body.data_bytes()).sum();
        let answers = self.run_kept("create", &commands, bytes).await?;

        let mut created: Vec<Option<Answer>> = Vec::new();
        created.resize_with(operations.len(), || None);
        for (call, answer) in calls.iter().zip(answers) {
            let mut parts = Parts::of(answer)?;
            for (_, at) in call.items() {
                let answer = read(&mut parts)?;
                if let Some(place) = created.get_mut(at) {
                    *place = Some(answer);
                }
            }
        }
        let all: Option<Vec<Answer>> = created.into_iter().collect();
        let all = all.ok_or_else(reply::unexpected)?;
        self.note_new(operations, &all);
        Ok(all)
    }

    /// Remembers those that were created, to look for them on the next server.
    pub(super) fn note_new(&self, operations: &[NewOperation], answers: &[Answer]) {
        let news = answers.iter().zip(operations).filter_map(|(answer, new)| {
            matches!(answer, Answer::Created(Created::New { .. })).then_some(new.id)
        });
        self.accepted.note(news);
    }

    /// Puts the operations that exist into the answers.
    pub(super) async fn with_existing(&self, answers: Vec<Answer>) -> Result<Vec<Created>> {
        let mut records = Vec::new();
        let answers: Vec<Result<Created, OperationId>> = answers
            .into_iter()
            .map(|answer| match answer {
                Answer::Created(created) => Ok(created),
                Answer::Exists(id, record) => {
                    records.push((id, record));
                    Err(id)
                }
            })
            .collect();
        let mut operations = self.operations_or_errors(records).await?.into_iter();
        let mut created = Vec::with_capacity(answers.len());
        for answer in answers {
            created.push(match answer {
                Ok(answer) => answer,
                Err(id) => match operations.next().ok_or_else(reply::unexpected)? {
                    Ok(operation) => {
                        let operation = operation.ok_or_else(|| Self::removed_meanwhile(id))?;
                        Created::Exists(Box::new(operation))
                    }
                    Err(error) => Created::Unreadable(error),
                },
            });
        }
        Ok(created)
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
    let (record, data) = record::new(new)?;
    command
        .arg(new.id.as_bytes().as_slice())
        .arg(record)
        .arg(data);
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
    command.arg(record::scopes(&scope_keys_of(header, &new.body)));
    Ok(())
}

/// The answer to one create as the script gives it.
#[derive(Debug)]
pub(super) enum Answer {
    /// The whole answer.
    Created(Created),
    /// The operation exists; its record, or nothing if that is to be read.
    Exists(OperationId, Vec<u8>),
}

/// Reads the answer to one create.
pub(super) fn read(parts: &mut Parts) -> Result<Answer> {
    let bytes = parts.bytes()?;
    let mut answer = Packed::new(&bytes);
    let letter = answer.letter()?;
    if letter == b'K' {
        return Ok(Answer::Created(Created::KeyReused));
    }
    let id = OperationId::from_bytes(*answer.take()?).ok_or_else(reply::unexpected)?;
    match letter {
        b'N' => {
            let (sequence, stamp) = (answer.number()?, answer.number()?);
            Ok(Answer::Created(Created::New {
                id,
                sequence,
                offer: (stamp != 0).then_some(Stamp(stamp)),
            }))
        }
        b'E' => Ok(Answer::Exists(id, parts.bytes()?)),
        b'S' => Ok(Answer::Created(Created::KeySpent(id))),
        _ => Err(reply::unexpected()),
    }
}
