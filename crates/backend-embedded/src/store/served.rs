//! Values as a server would take and give them: through the wire formats, and without
//! the records that an answer has no room for.

use drumline_backend::store::{Commit, Done, Guard, NewOperation, Record, Result, Room};
use drumline_protocol::transition::LockEffect;
use drumline_protocol::{Fence, OperationId, OutputParts};

use crate::roundtrip::through_codec;
use crate::state::State;

/// The operation as it would come back from a server.
pub(super) fn written(new: NewOperation) -> Result<NewOperation> {
    Ok(NewOperation {
        id: new.id,
        header: through_codec(&new.header)?,
        body: through_codec(&new.body)?,
        key: new.key,
    })
}

/// The commit as it would come back from a server.
pub(super) fn written_commit(commit: Commit) -> Result<Commit> {
    Ok(Commit {
        header: through_codec(&commit.header)?,
        report: commit.report.as_ref().map(through_codec).transpose()?,
        entries: commit
            .entries
            .iter()
            .map(through_codec)
            .collect::<Result<_, _>>()?,
        output: commit.output.as_ref().map(written_output).transpose()?,
        ..commit
    })
}

fn written_output(output: &OutputParts) -> Result<OutputParts> {
    Ok(OutputParts {
        end: through_codec(&output.end)?,
        front: output.front.as_ref().map(through_codec).transpose()?,
    })
}

/// The bytes of the data of operations, by which creates differ.
pub(super) fn bytes_of(operations: &[NewOperation]) -> u64 {
    let data = operations.iter().map(|new| new.body.data.as_ref());
    data.map(|data| data.map_or(0, String::len)).sum::<usize>() as u64
}

/// Returns true for a claim.
pub(super) fn starts(commit: &Commit) -> bool {
    commit.effects.lock == LockEffect::Take
}

/// The operation, if the commit ends it.
pub(super) fn ending(commit: &Commit) -> Option<OperationId> {
    commit.effects.end.map(|_| commit.id)
}

/// The lock that its holder releases with the commit.
pub(super) fn released_by(commit: &Commit) -> Option<(OperationId, Fence)> {
    match (commit.effects.lock, commit.guard) {
        (LockEffect::Release, Guard::Holder(holding)) => Some((commit.id, holding.fence)),
        (
            LockEffect::Release | LockEffect::Take | LockEffect::Keep | LockEffect::AskToStop,
            Guard::None | Guard::Acquire { .. } | Guard::Holder(_) | Guard::Unchanged { .. },
        ) => None,
    }
}

/// Leaves out the records that an answer has no room for, as a server would: by the bytes
/// of their data, which are not in the answer yet.
pub(super) fn limit(id: OperationId, done: &mut Done, room: &mut Room, state: &State) {
    let mut has_room =
        |id, record: &Record| room.take(state.data_bytes(id) + record.report.bytes());
    done.record = done.record.take().filter(|record| has_room(id, record));
    if let Some(promoted) = &mut done.promoted {
        let id = promoted.operation.id;
        let record = promoted.record.take();
        promoted.record = record.filter(|record| has_room(id, record));
    }
}
