//! A transaction: creates and commits, all or nothing.

use std::collections::BTreeSet;

use super::commit::{Commit, Committed, Done};
use super::create::{Created, NewOperation};
use super::error::{Error, Result};

/// The outcome of a transaction.
#[derive(Clone, Debug)]
pub enum Transacted {
    /// All of it is made (now, or by an earlier try of the same transaction).
    Done {
        /// The creates, in the order given. [`Created::Exists`] refuses
        /// nothing: another create has used the id, and this one wrote nothing.
        created: Vec<Created>,
        /// The commits, in the order given.
        committed: Vec<Done>,
    },
    /// Nothing is written, but that an operation that the answer says is not the head or
    /// held leaves the outbox, as with [`Store::commit`](super::Store::commit).
    Refused {
        /// The place of the first commit that stands against it, from 0.
        commit: usize,
        /// The answer of that commit: anything but [`Committed::Done`].
        answer: Committed,
    },
    /// Nothing is written: it belongs to several partitions, which the store keeps apart
    /// ([`Store::spreads_transactions`](super::Store::spreads_transactions)).
    Spread,
}

/// Checks a requirement of every store: no operation is in a transaction twice,
/// because a commit is decided on the state before the transaction.
///
/// # Errors
/// [`Error::Unfit`] with the first operation that is in it twice.
pub fn check_distinct(creates: &[NewOperation], commits: &[Commit]) -> Result<()> {
    let mut seen = BTreeSet::new();
    let creates = creates.iter().map(|new| new.id);
    for id in creates.chain(commits.iter().map(|commit| commit.id)) {
        if !seen.insert(id) {
            return Err(Error::Unfit(format!("{id} is in one transaction twice")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use drumline_protocol::operation::first_header;
    use drumline_protocol::{Body, CommitId, OperationId, Partition, Rules, Timestamp};

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_795_000_000_000);

    fn new(number: u8) -> NewOperation {
        NewOperation {
            id: OperationId::new(NOW, Partition::new(1), [number; 16]),
            header: first_header(Rules::default(), None, CommitId(1), NOW),
            body: Body::new("DoIt", NOW),
            key: None,
        }
    }

    #[test]
    fn an_operation_is_in_a_transaction_once() {
        assert!(check_distinct(&[new(1), new(2)], &[]).is_ok());
        let twice = [new(1), new(2), new(1)];
        let error = check_distinct(&twice, &[]).unwrap_err();
        let id = new(1).id.to_string();
        assert!(error.to_string().contains(&id), "{error}");
    }
}
