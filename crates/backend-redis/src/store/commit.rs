//! Commit: few script calls, all in one round trip.

use drumline_backend::store::{ANSWER_BYTES, Commit, Committed, Done, Promoted, Result, Stamp};
use drumline_protocol::transition::DueEffect;
use drumline_protocol::{Fence, OperationId, OutputParts, Report, ScopeKey};
use redis::Cmd;

use super::RedisStore;
use super::batches::{batches, by_weight, calls};
use super::{effect_codes, history, outputs};
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
        let mut committed = Vec::with_capacity(commits.len());
        for some in by_weight(commits, weight, ANSWER_BYTES) {
            committed.extend(self.commit_some(some).await?);
        }
        Ok(committed)
    }

    async fn commit_some(&self, commits: &[Commit]) -> Result<Vec<Committed>> {
        let ids = commits.iter().map(|commit| commit.id);
        let calls = calls(&self.keys, batches(&self.keys, ids, MOST), MOST);
        let channel = self.keys.completions();
        let mut commands = redis::pipe();
        for call in &calls {
            let mut command = call.counted(&SCRIPTS.commit);
            command.arg(&channel).arg(call.stops_prefix());
            for (partition, at) in call.items() {
                if let Some(commit) = commits.get(at) {
                    command.arg(partition);
                    add(&mut command, commit)?;
                }
            }
            commands.add_command(command);
        }
        let bytes = commits.iter().map(weight).sum();
        let replies = self.run_kept("commit", &commands, bytes).await?;

        let (mut places, mut answers) = (Vec::new(), Vec::new());
        for (call, reply) in calls.iter().zip(replies) {
            let mut parts = Parts::of(reply)?;
            for (_, at) in call.items() {
                let Some(commit) = commits.get(at) else {
                    return Err(reply::unexpected());
                };
                let answer = self.read_committed(commit.id, &mut parts)?;
                if commit.effects.end.is_some() && matches!(answer.committed, Committed::Done(_)) {
                    self.completions.tell(commit.id);
                }
                places.push(at);
                answers.push((commit, answer));
            }
        }
        // An operation that is in no batch does not exist.
        let mut committed = vec![Committed::Missing; commits.len()];
        for (at, answer) in places.into_iter().zip(self.with_records(answers)?) {
            if let Some(place) = committed.get_mut(at) {
                *place = answer;
            }
        }
        Ok(committed)
    }

    /// Puts the records that have come along into the answers. Without a record that
    /// cannot be decoded: the commits are made, and the operation's own readers are told.
    pub(super) fn with_records(&self, answers: Vec<(&Commit, Answer)>) -> Result<Vec<Committed>> {
        let mut committed = Vec::with_capacity(answers.len());
        for (commit, answer) in answers {
            let mut whole = answer.committed;
            if let Committed::Done(done) = &mut whole {
                if let Some(bytes) = answer.record {
                    let record = self.decoded(commit.id, record::along(commit.id, &bytes))?;
                    done.record = record.flatten();
                }
                // The record is as it was before.
                if let (Some(record), Some(report)) = (&mut done.record, &commit.report) {
                    record.report = report.clone();
                }
                if let Some((id, stamp, bytes)) = answer.promoted {
                    done.promoted = self.decoded(id, promoted(id, stamp, &bytes))?;
                }
            }
            committed.push(whole);
        }
        Ok(committed)
    }

    /// Reads the answer to one commit. An operation whose header cannot be decoded is
    /// left to the release that has written it, as if it did not exist.
    pub(super) fn read_committed(&self, id: OperationId, parts: &mut Parts) -> Result<Answer> {
        let bytes = parts.bytes()?;
        let mut answer = Packed::new(&bytes);
        let committed = match answer.letter()? {
            b'D' => return done(answer, parts),
            b'N' => Committed::NotHead,
            b'H' => Committed::Held(ScopeKey::from_bytes(*answer.take()?)),
            b'C' => match self.decoded(id, record::read_h(answer.rest()))? {
                Some((header, _)) => Committed::Conflict(Box::new(header)),
                None => Committed::Missing,
            },
            b'F' => Committed::Fenced,
            b'M' => Committed::Missing,
            _ => return Err(reply::unexpected()),
        };
        Ok(Answer {
            committed,
            record: None,
            promoted: None,
        })
    }
}

/// The next head of a chain, from its record.
fn promoted(id: OperationId, stamp: Stamp, bytes: &[u8]) -> Result<Promoted> {
    Ok(Promoted {
        record: record::along(id, bytes)?,
        ..Promoted::new(record::summary(id, bytes)?, stamp)
    })
}

/// The bytes of a commit that may be many.
fn weight(commit: &Commit) -> usize {
    let report = commit.report.as_ref().map_or(0, Report::bytes);
    report + commit.output.as_ref().map_or(0, OutputParts::bytes)
}

/// The arguments of one commit.
pub(super) fn add(command: &mut Cmd, commit: &Commit) -> Result<()> {
    let header = &commit.header;
    command
        .arg(commit.id.as_bytes().as_slice())
        .arg(effect_codes::letters(commit).as_slice())
        .arg(record::name(commit.expected, commit.after))
        .arg(record::name(header.version, header.commit))
        .arg(record::encode_header(header)?)
        .arg(effect_codes::guard(commit.guard));
    match commit.effects.due {
        DueEffect::Set(until) => command.arg(until.as_millis()),
        DueEffect::Keep | DueEffect::Clear => command.arg(""),
    };
    match &commit.report {
        Some(report) => match record::encode_report(report)? {
            (report, checkpoint) if checkpoint.is_empty() => command.arg(report),
            (report, checkpoint) => {
                let length = u32::try_from(report.len()).unwrap_or(u32::MAX);
                command.arg(
                    [
                        &length.to_be_bytes(),
                        report.as_slice(),
                        checkpoint.as_bytes(),
                    ]
                    .concat(),
                )
            }
        },
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
    command.arg(record::scopes(&commit.scopes));
    command.arg(outputs::packed(commit.output.as_ref())?);
    Ok(())
}

/// The answer to one commit as the script gives it.
#[derive(Debug)]
pub(super) struct Answer {
    /// The answer, without the records that belong to it.
    pub(super) committed: Committed,
    record: Option<Vec<u8>>,
    promoted: Option<(OperationId, Stamp, Vec<u8>)>,
}

fn done(mut answer: Packed<'_>, parts: &mut Parts) -> Result<Answer> {
    let (fence, offer) = (answer.number()?, answer.number()?);
    let record = match answer.letter()? {
        b'r' => Some(parts.bytes()?),
        b'-' => None,
        _ => return Err(reply::unexpected()),
    };
    let promoted = match answer.letter()? {
        b'p' => {
            let (id, stamp) = offered(&mut answer)?;
            Some((id, stamp, parts.bytes()?))
        }
        b'-' => None,
        _ => return Err(reply::unexpected()),
    };
    Ok(Answer {
        committed: Committed::Done(Box::new(Done {
            fence: (fence != 0).then_some(Fence(fence)),
            offer: (offer != 0).then_some(Stamp(offer)),
            record: None,
            promoted: None,
        })),
        record,
        promoted,
    })
}

/// Reads id and stamp of an operation that is to be offered.
pub(super) fn offered(answer: &mut Packed<'_>) -> Result<(OperationId, Stamp)> {
    let id = OperationId::from_bytes(*answer.take()?).ok_or_else(reply::unexpected)?;
    Ok((id, Stamp(answer.number()?)))
}
