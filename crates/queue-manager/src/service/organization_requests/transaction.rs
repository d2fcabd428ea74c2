//! `ExecuteTransaction`: all of a list of requests, or nothing.
//!
//! ```text
//! plan creates ─ read what is changed ─┬─ prepare each change ─ one write ─ publish ─ answer
//!                                      └── another caller was faster ◀─┘
//! ```
//!
//! Everything is decided on the state before the transaction: a request does not
//! see the effects of earlier requests, and so each operation may be named once.
//! The store writes all of it in one step. Nothing is offered to a worker before
//! that. Keys that are reserved for a transaction that fails stay reserved, for
//! the same content.

use std::collections::{HashMap, HashSet};

use drumline_api::execute::{KeyedCreate, RequestName, Step, Transaction, Update};
use drumline_api::{Control, FieldError, Invalid, UpdateOperation};
use drumline_backend::apply_event::prepare_without_report;
use drumline_backend::store::{
    self, Commit, Committed, Created, Done, NewOperation, Summary, Transacted,
};
use drumline_protocol::transition::{is_already, legal_actions};
use drumline_protocol::{Author, ErrorCode, Event, Header, OperationId, Refused};

use super::answer::{Answer, Results};
use crate::error::{Error, Result};
use crate::service::control::{event_of, unreachable_by_clients};
use crate::service::create::{KeyedBy, OnFault, PlannedCreate, Publishing, create_span};
use crate::service::idempotency::key_of;
use crate::service::quotas::Share;
use crate::service::read::not_found;
use crate::service::{Actor, QueueManager};

/// The rounds that a transaction may lose to other callers. Each lost round
/// means progress for another caller. A transaction that loses that often
/// competes with a crowd, and may as well come back later.
const ROUNDS: usize = 8;

/// A change that a transaction makes, and the index of its request.
struct Change {
    index: usize,
    operation: Summary,
    event: Event,
}

/// The creates of a transaction.
#[derive(Default)]
struct Creates {
    new: Vec<NewOperation>,
    /// Their shares of the quotas, kept until the store has answered.
    shares: Vec<Share>,
    /// The operation of each create, by the index of its request; true if it
    /// existed: an earlier request with its key has created it, before or in
    /// this list.
    by_index: HashMap<usize, (OperationId, bool)>,
}

impl QueueManager {
    /// Executes all requests of a transaction; answers in their order.
    ///
    /// # Errors
    /// [`Error::InTransaction`] when a request cannot be executed: then none
    /// was. [`Error::Store`] when the store is unavailable: then the
    /// transaction may or may not have been executed.
    pub(super) async fn execute_transaction(
        &self,
        actor: &Actor,
        transaction: Transaction,
    ) -> Result<Vec<Answer>> {
        let Transaction {
            steps,
            return_responses,
        } = transaction;
        let (mut names, mut creates, mut wanted) = (Vec::new(), Vec::new(), Vec::new());
        for (index, step) in steps.into_iter().enumerate() {
            match step {
                Step::Create(wish) => {
                    names.push(RequestName::Create);
                    creates.push((index, *wish));
                }
                Step::ExecuteAsync(wish) => {
                    names.push(RequestName::ExecuteAsync);
                    creates.push((index, *wish));
                }
                Step::Update(Update { id, changes }) => {
                    names.push(RequestName::Update);
                    wanted.push((index, id, Some(changes)));
                }
                Step::Delete(id) => {
                    names.push(RequestName::Delete);
                    wanted.push((index, id, None));
                }
            }
        }
        // Both are examined before either is reported: the error names the
        // first request that cannot be executed.
        let author = actor.author();
        let changed = wanted.first().map(|(_, id, _)| *id);
        let creates = self.plan_creates(actor, creates, changed).await;
        let changes = self.find_changes(actor, wanted).await.and_then(|changes| {
            self.prepare_all(&changes, &author)?;
            Ok(changes)
        });
        let (creates, changes) = match (creates, changes) {
            (Ok(creates), Ok(changes)) => (creates, changes),
            (Err(one), Err(other)) => return Err(first_of(one, other)),
            (Err(error), Ok(_)) | (Ok(_), Err(error)) => return Err(error),
        };
        let mut shares = creates.shares;
        shares.iter_mut().for_each(Share::send);
        self.transact(creates.new, changes, &author).await?;
        drop(shares);
        if !return_responses {
            return Ok(Vec::new());
        }
        let answers = names.into_iter().enumerate().map(|(index, name)| {
            let results = match creates.by_index.get(&index) {
                Some(&(id, existed)) => Results::created(name, id, existed),
                None => Results::Nothing,
            };
            Answer::new(name, results)
        });
        Ok(answers.collect())
    }

    /// Plans the creates of a transaction that also changes this operation. A store that
    /// keeps partitions apart needs all in one: an operation without a token is put where
    /// the others are.
    async fn plan_creates(
        &self,
        actor: &Actor,
        list: Vec<(usize, KeyedCreate)>,
        changed: Option<OperationId>,
    ) -> Result<Creates> {
        let beside = (!self.store().spreads_transactions()).then(|| {
            let mut creates = list.iter().map(|(_, create)| create);
            let chain = creates.find_map(|create| self.chain(actor, &create.request));
            let mut keys = list.iter().filter_map(|(_, create)| create.key.as_deref());
            match (chain, changed, keys.next()) {
                (None, Some(changed), _) => changed.partition(),
                // The same in each try: the first may have reserved some of the keys.
                (None, None, Some(key)) => {
                    key_of(&actor.organization, key).partition(self.store().partitions())
                }
                (chain, ..) => self.shared.partitions.choose(chain, self.store().now()),
            }
        });
        let (indexes, list): (Vec<usize>, Vec<KeyedCreate>) = list.into_iter().unzip();
        let planned = self
            .plan(
                actor,
                list,
                OnFault::Stop,
                KeyedBy::Plan,
                beside,
                create_span,
            )
            .await;
        let mut creates = Creates::default();
        let mut ids = HashSet::new();
        for (index, create) in indexes.into_iter().zip(planned) {
            let (id, existed) = match create.map_err(|error| in_request(index, error))? {
                PlannedCreate::Known(operation) => (operation.id, true),
                // The same key twice is one operation.
                PlannedCreate::New { new, .. } if !ids.insert(new.id) => (new.id, true),
                PlannedCreate::New { new, share, .. } => {
                    let id = new.id;
                    creates.shares.extend(share);
                    creates.new.push(*new);
                    (id, false)
                }
            };
            creates.by_index.insert(index, (id, existed));
        }
        Ok(creates)
    }

    /// Reads the operations that are changed, and finds the event of each.
    async fn find_changes(
        &self,
        actor: &Actor,
        wanted: Vec<(usize, OperationId, Option<UpdateOperation>)>,
    ) -> Result<Vec<Change>> {
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Vec<OperationId> = wanted.iter().map(|(_, id, _)| *id).collect();
        let found = self.store().summaries(&ids).await?;
        let mut changes = Vec::with_capacity(wanted.len());
        let mut named = HashSet::new();
        for ((index, id, wanted), operation) in wanted.into_iter().zip(found) {
            let operation = operation.filter(|found| found.body.organization == actor.organization);
            let operation = operation.ok_or_else(|| in_request(index, not_found(id)))?;
            if !named.insert(id) {
                let why = "is named twice: a transaction changes an operation once";
                let wrong = FieldError::new("parameters.id", why);
                return Err(in_request(index, Invalid::arguments(vec![wrong]).into()));
            }
            let event = match wanted {
                None => Event::Delete,
                Some(UpdateOperation::Control(Control::Resume)) => self
                    .resumption(&operation.header)
                    .map_err(|error| in_request(index, error))?,
                Some(UpdateOperation::Control(act)) => event_of(act),
                Some(UpdateOperation::Rule(rule)) => self
                    .rescheduling(&operation.header, &rule)
                    .map_err(|error| in_request(index, error))?,
                Some(UpdateOperation::Unreachable(status)) => {
                    let refused = unreachable_by_clients(&operation.header, status);
                    return Err(in_request(index, refused.into()));
                }
            };
            if is_already(&operation.header, &event) {
                let waits = self.waits_for_worker(&operation.header, operation.id);
                if !waits.await.map_err(|error| in_request(index, error))? {
                    continue;
                }
            }
            changes.push(Change {
                index,
                operation,
                event,
            });
        }
        Ok(changes)
    }

    /// Writes everything in one step, and publishes the offers of what may run
    /// then.
    async fn transact(
        &self,
        new: Vec<NewOperation>,
        mut changes: Vec<Change>,
        author: &Author,
    ) -> Result<()> {
        if new.is_empty() && changes.is_empty() {
            return Ok(());
        }
        for _ in 0..ROUNDS {
            let (headers, commits) = self.prepare_all(&changes, author)?;
            let (commit, answer) = match self.store().transact(new.clone(), commits).await? {
                Transacted::Done { created, committed } => {
                    self.publish_changes(new, created, changes, headers, committed)
                        .await;
                    return Ok(());
                }
                Transacted::Refused { commit, answer } => (commit, answer),
                Transacted::Spread => return Err(Error::TransactionSpread),
            };
            // This comes first: the store may have repeated its write after an
            // unclear answer, and found what another caller changed since.
            if self.is_stored(&new).await? {
                return Ok(());
            }
            let Some(change) = changes.get_mut(commit) else {
                let what = format!("the store refused commit {commit}, which is not there");
                return Err(Error::Internal(what));
            };
            match answer {
                // The next time of a series was computed for an older version.
                Committed::Conflict(header) if matches!(change.event, Event::Reschedule { .. }) => {
                    return Err(in_request(change.index, changed_meanwhile(&header).into()));
                }
                Committed::Conflict(header) => change.operation.header = *header,
                // The operation is not the head, and so its end does not hold
                // the token.
                Committed::NotHead if change.event == Event::Cancel => {
                    change.event = Event::Discard;
                }
                Committed::Missing => {
                    return Err(in_request(change.index, not_found(change.operation.id)));
                }
                Committed::NotHead
                | Committed::Held(_)
                | Committed::Fenced
                | Committed::Done(_) => {
                    let what = format!("{} met a guard", change.operation.id);
                    return Err(Error::Internal(what));
                }
            }
        }
        Err(Error::Store(store::Error::Unavailable {
            message: format!("its operations changed {ROUNDS} times while it was tried"),
            source: None,
        }))
    }

    /// The headers after every change, and the commits that write them.
    fn prepare_all(
        &self,
        changes: &[Change],
        author: &Author,
    ) -> Result<(Vec<Header>, Vec<Commit>)> {
        let (mut headers, mut commits) = (Vec::new(), Vec::new());
        let (store, by) = (self.store(), self.signature(author));
        for change in changes {
            // Events of clients have no fault.
            let event = change.event.clone();
            let commit = prepare_without_report(store, by, &change.operation, event);
            let mut commit = commit.map_err(|refused| in_request(change.index, refused.into()))?;
            commit.remember = self.remembered(&change.operation.body);
            headers.push(commit.header.clone());
            commits.push(commit);
        }
        Ok((headers, commits))
    }

    /// Returns true if the creates of a transaction are stored: then all of it
    /// is.
    async fn is_stored(&self, new: &[NewOperation]) -> Result<bool> {
        let Some(first) = new.first() else {
            return Ok(false);
        };
        let found = self.find(first.id).await?;
        Ok(found.is_some_and(|found| found.body == first.body))
    }

    /// Publishes the offers of what a transaction has made ready.
    async fn publish_changes(
        &self,
        new: Vec<NewOperation>,
        created: Vec<Created>,
        changes: Vec<Change>,
        headers: Vec<Header>,
        committed: Vec<Done>,
    ) {
        let mut offers = Vec::new();
        for (new, created) in new.into_iter().zip(created) {
            match created {
                Created::New {
                    sequence, offer, ..
                } => {
                    self.created(new, sequence, offer, &mut offers);
                }
                // Created by another manager, with the same key, meanwhile.
                Created::Exists(operation) => {
                    self.repeated(*operation);
                }
                // The keys were reserved before.
                Created::Unreadable(_) | Created::KeyReused | Created::KeySpent(_) => {}
            }
        }
        for ((change, header), done) in changes.into_iter().zip(headers).zip(committed) {
            self.metrics().acted(change.event.name(), true);
            let Summary { id, body, .. } = &change.operation;
            let before = &change.operation.header;
            self.tally().changed(*id, body, before, &header, None);
            let operation = Summary {
                header,
                ..change.operation
            };
            self.dispatcher().enqueue_summary(&operation, &done);
        }
        let mut publishing = Publishing::default();
        publishing.start(self, offers);
        publishing.finished().await;
    }
}

/// The fault of one request of a transaction. An unavailable store is the fault
/// of no request.
fn in_request(index: usize, error: Error) -> Error {
    let is_ours = matches!(
        error,
        Error::Store(_) | Error::Broker(_) | Error::Stopping | Error::Internal(_)
    );
    if is_ours {
        return error;
    }
    let source = Box::new(error);
    Error::InTransaction { index, source }
}

/// Returns the fault that comes first in the list.
fn first_of(one: Error, other: Error) -> Error {
    match (&one, &other) {
        (Error::InTransaction { index, .. }, Error::InTransaction { index: earlier, .. })
            if earlier < index =>
        {
            other
        }
        _ => one,
    }
}

/// The refusal of a change that was decided on an older version of a series.
fn changed_meanwhile(header: &Header) -> Refused {
    Refused {
        event: "reschedule",
        status: header.status,
        code: ErrorCode::STATE_CHANGED,
        why: Some("it was changed meanwhile: try again"),
        legal: legal_actions(header),
    }
}
