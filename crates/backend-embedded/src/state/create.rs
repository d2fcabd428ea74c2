//! Create: the reservation of its key, record, place in the chain, index, due
//! set, outbox (or the held set, if a pause holds it), in one step.

use std::sync::Arc;

use drumline_backend::store::{Created, NewOperation, Stamp};
use drumline_protocol::pause::scope_keys_of;
use drumline_protocol::{State as StateCode, Timestamp};

use super::data::KeptBody;
use super::kept::{KeptHeader, Places};
use super::record::Record;
use super::touched::Parts;
use super::{Contents, State};

impl State {
    /// Stores an operation. A repetition (same id, same first commit) gives the
    /// answer of the first try, as far as that still holds.
    pub fn create(&mut self, mut new: NewOperation, now: Timestamp) -> Created {
        let contents = self.contents_mut(new.id.partition());
        if let Some(wanted) = new.key {
            let held = contents.reserve(wanted, now);
            if held.content != wanted.reserved.content {
                return Created::KeyReused;
            }
            new.id = held.id;
        }
        let Some(earlier) = contents.records.get(&new.id) else {
            if new.key.is_some() && contents.removed.get(new.id, now).is_some() {
                return Created::KeySpent(new.id);
            }
            return contents.insert(new, now);
        };
        if earlier.created_by != new.header.commit {
            return Created::Exists(Box::new(earlier.operation(new.id)));
        }
        Created::New {
            id: new.id,
            sequence: earlier.sequence,
            offer: contents.outbox.stamp(new.id),
        }
    }
}

impl Contents {
    fn insert(&mut self, new: NewOperation, now: Timestamp) -> Created {
        let NewOperation {
            id, header, body, ..
        } = new;
        let sequence = self.tick(now);
        let state = header.status.state();
        let begins_chain = header.rules.chain.is_some_and(|key| {
            let begins = self.chains.head(key).is_none();
            self.chains.enter(key, sequence, id);
            begins
        });
        if let Some(on) = header.due_on() {
            self.due.set(id, on);
        }
        let offered = state == StateCode::Ready && self.travels(id, header.rules.chain);
        let scopes = scope_keys_of(&header, &body);
        let scope = self.paused.in_force(&scopes, now).filter(|_| offered);
        self.index(state).insert(id);
        let Places { flow, usage, keys } = self.shared.places(id, &header, &body);
        self.indexes.enter(id, &keys, header.status);
        let record = Record {
            created_by: header.commit,
            header: KeptHeader::new(header, &mut self.shared),
            flow,
            usage,
            body: KeptBody::new(body),
            past: None,
            keys,
            sequence,
            last_offer: Stamp(0),
        };
        self.usage.create(&record, begins_chain, now);
        self.records.insert(id, Arc::new(record));
        self.touched.operation(id, Parts::ALL);
        if let Some(scope) = scope {
            self.hold(id, scope, now);
        }
        Created::New {
            id,
            sequence,
            offer: (offered && scope.is_none()).then(|| self.offer(id, now, now)),
        }
    }
}
