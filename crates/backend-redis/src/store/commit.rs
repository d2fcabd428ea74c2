//! Commit: few script calls, all in one round trip.

use drumline_backend::store::{Commit, Committed, Done, Promoted, Record, Result, Stamp};
use drumline_protocol::transition::DueEffect;
use drumline_protocol::{Fence, OperationId, codec};
use redis::{Cmd, Value};

use super::RedisStore;
use super::batches::{batches, calls};
use super::{effect_codes, history};
use crate::record;
use crate::reply::{self, Packed, Parts};
use crate::scripts::SCRIPTS;

/// The most commits in one script: it blocks the server for about a
/// millisecond.
const MOST: usize = 64;

/// A hundred years: Redis refuses an expiry beyond the end of its time.
const MOST_SECONDS: u64 = 100 * 365 * 24 * 3_600;

impl RedisStore {
    pub(super) async fn commit_all(&self, commits: &[Commit]) -> Result<Vec<Committed>> {
        let ids = commits.iter().map(|commit| commit.id);
        let calls = calls(batches(&self.keys, ids, MOST), MOST);
        let channel = self.keys.completions();
        let mut commands = redis::pipe();
        for call in &calls {
            let mut command = call.command(&SCRIPTS.commit);
            command.arg(&channel);
            for (partition, at) in call.items() {
                if let Some(commit) = commits.get(at) {
                    command.arg(partition);
                    add(&mut command, commit)?;
                }
            }
            commands.add_command(command);
        }
        let answers = self.link.run("commit", &commands).await?;

        // An operation that is in no batch does not exist.
        let mut committed = vec![Committed::Missing; commits.len()];
        for (call, answer) in calls.iter().zip(answers) {
            let mut parts = Parts::of(answer)?;
            for (_, at) in call.items() {
                let answer = read(parts.value()?)?;
                let (Some(place), Some(commit)) = (committed.get_mut(at), commits.get(at)) else {
                    continue;
                };
                if commit.effects.end.is_some() && matches!(answer, Committed::Done(_)) {
                    self.completions.tell(commit.id);
                }
                *place = answer;
            }
        }
        Ok(committed)
    }
}

/// The arguments of one commit.
pub(super) fn add(command: &mut Cmd, commit: &Commit) -> Result<()> {
    let header = &commit.header;
    command
        .arg(commit.id.as_bytes().as_slice())
        .arg(effect_codes::letters(commit).as_slice())
        .arg(record::name(commit.expected, commit.after))
        .arg(record::name(header.version, header.commit))
        .arg(codec::encode(header)?)
        .arg(effect_codes::guard(commit.guard));
    match commit.effects.due {
        DueEffect::Set(until) => command.arg(until.as_millis()),
        DueEffect::Keep | DueEffect::Clear => command.arg(""),
    };
    match &commit.report {
        Some(report) => command.arg(codec::encode(report)?),
        None => command.arg(""),
    };
    command.arg(history::packed(&commit.entries)?);
    match commit.effects.remove {
        true => command.arg(
            commit
                .remember
                .as_secs()
                .saturating_add(1)
                .min(MOST_SECONDS),
        ),
        false => command.arg(""),
    };
    Ok(())
}

/// Reads the answer to one commit.
pub(super) fn read(answer: Value) -> Result<Committed> {
    let answer = reply::bytes(answer)?;
    let mut answer = Packed::new(&answer);
    match answer.letter()? {
        b'D' => Ok(Committed::Done(Box::new(done(answer)?))),
        b'N' => Ok(Committed::NotHead),
        b'C' => {
            let (header, _) = record::read_h(answer.rest())?;
            Ok(Committed::Conflict(Box::new(header)))
        }
        b'F' => Ok(Committed::Fenced),
        b'M' => Ok(Committed::Missing),
        _ => Err(reply::unexpected()),
    }
}

fn done(mut answer: Packed<'_>) -> Result<Done> {
    let (fence, offer) = (answer.number()?, answer.number()?);
    let record = match answer.letter()? {
        b'r' => Some(wanted(&mut answer)?),
        b'-' => None,
        _ => return Err(reply::unexpected()),
    };
    let promoted = match answer.letter()? {
        b'p' => Some(promoted(&mut answer)?),
        b'-' => None,
        _ => return Err(reply::unexpected()),
    };
    Ok(Done {
        fence: (fence != 0).then_some(Fence(fence)),
        offer: (offer != 0).then_some(Stamp(offer)),
        record,
        promoted,
    })
}

fn wanted(answer: &mut Packed<'_>) -> Result<Record> {
    let sequence = answer.number()?;
    Ok(Record {
        body: codec::decode(answer.sized()?)?,
        report: record::read_report(answer.sized()?)?,
        sequence,
    })
}

/// Reads id, stamp and record of an operation that is to be offered.
pub(super) fn promoted(answer: &mut Packed<'_>) -> Result<Promoted> {
    let id = OperationId::from_bytes(*answer.take()?).ok_or_else(reply::unexpected)?;
    let stamp = Stamp(answer.number()?);
    let operation = record::packed(id, answer)?;
    Ok(Promoted { operation, stamp })
}
