//! Transact: creates and commits of any partitions, all or nothing.
//!
//! Every commit is checked before anything is written. No write can invalidate
//! a check: each operation is in a transaction once, a create enters a chain
//! behind all others, and a head stays the head until it leaves by itself.

use drumline_backend::store::{Commit, Committed, NewOperation, Transacted};
use drumline_protocol::Timestamp;

use super::State;
use super::commit::Verdict;

impl State {
    /// Makes a transaction, or returns the commit that stands against it.
    pub fn transact(
        &mut self,
        creates: Vec<NewOperation>,
        commits: Vec<Commit>,
        now: Timestamp,
    ) -> Transacted {
        for (place, commit) in commits.iter().enumerate() {
            let contents = self.contents_mut(commit.id.partition());
            let answer = match contents.check(commit, now) {
                Verdict::Make | Verdict::Made => continue,
                Verdict::NotHead => {
                    contents.park(commit.id);
                    Committed::NotHead
                }
                Verdict::Held(scope) => {
                    contents.hold(commit.id, scope, now);
                    Committed::Held(scope)
                }
                Verdict::Answer(answer) => answer,
            };
            return Transacted::Refused {
                commit: place,
                answer,
            };
        }
        let mut created = Vec::new();
        for new in creates {
            created.push(self.create(new, now));
        }
        let mut committed = Vec::new();
        for commit in commits {
            match self.commit(commit, now) {
                Committed::Done(done) => committed.push(*done),
                Committed::NotHead
                | Committed::Held(_)
                | Committed::Conflict(_)
                | Committed::Fenced
                | Committed::Missing => {
                    // It was checked a moment ago, and no write since can
                    // invalidate that.
                    debug_assert!(false, "a commit that was checked has failed");
                }
            }
        }
        Transacted::Done { created, committed }
    }
}
