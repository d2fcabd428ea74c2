//! A state without what a restart takes with it, for tests that compare the state before
//! with the one after.

use std::fmt::Write as _;
use std::sync::Arc;

use drumline_backend::store::Stamp;

use super::data::Written;
use super::outbox::Outbox;
use super::pauses::PausedScopes;
use super::sorted::Sorted;
use super::touched::{Touched, TouchedElsewhere};
use super::{Markers, State};

impl State {
    /// Loses sets, as no verb does: for tests of a check.
    pub(crate) fn lose_sets(&mut self) {
        for contents in self.partitions.values_mut() {
            contents.chains = super::Chains::default();
            contents.due = super::Due::default();
            contents.ends = super::Ends::default();
            contents.held = super::HeldSet::default();
            contents.locks = super::Locks::default();
        }
    }

    /// Everything that is to survive a restart, in text: also what follows from the rows.
    pub(crate) fn settled(&self) -> String {
        let mut state = self.clone();
        for contents in state.partitions.values_mut() {
            contents.tick = 0;
            contents.outbox = Outbox::default();
            contents.offered = Sorted::default();
            contents.locks.settle();
            contents.usage.settle();
            contents.paused = PausedScopes::default();
            contents.touched = Touched::default();
            for record in contents.records.values_mut() {
                Arc::make_mut(record).last_offer = Stamp(0);
            }
        }
        state.markers = Markers::default();
        state.audit.batches.clear();
        state.touched = TouchedElsewhere::default();
        state.written = Written::default();
        (state.floor, state.promised) = (0, 0);
        let empty = format!("{:?}", super::Contents::default());
        let mut text = String::new();
        for (partition, contents) in std::mem::take(&mut state.partitions) {
            let contents = format!("{contents:?}");
            if contents != empty {
                writeln!(text, "{partition}: {contents}").expect("a string has room");
            }
        }
        writeln!(text, "{state:?}").expect("a string has room");
        text
    }
}
