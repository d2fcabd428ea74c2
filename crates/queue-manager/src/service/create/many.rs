//! Creating many operations, in the order of a list.
//!
//! ```text
//! chunk:  check ─ lineages ─ keys ─ known already? ─ plan ─ store ─┬─ next chunk …
//!                                                                └─ publish ─┐
//! answers ───────────────────────────────────────────────── when all are through
//! ```
//!
//! Every step looks at a whole chunk, so that a thousand creates cost the store
//! some round trips and not some thousand. While one chunk is published, the
//! next is stored. Chunks are stored one after the other, and so each token
//! keeps the order of the list.
//!
//! No create may overtake one that found the store or the broker unavailable,
//! so the list is cut behind the first such create. A caller that wants to stop
//! at the first fault of any kind has the list cut there before the chunk is
//! stored, and so nothing behind the fault is ever created.

use std::collections::HashMap;

use drumline_api::CreateOperation;
use drumline_api::execute::KeyedCreate;
use drumline_backend::store::{Created, NewOperation, Stamp};
use drumline_protocol::message::Offer;
use drumline_protocol::{Operation, OperationId};
use futures_util::future::join_all;
use tokio::task::JoinHandle;

use super::{Creation, Lineage, create_span, no_answer, parent_of, stored_as, unavailable};
use crate::error::{Error, Result};
use crate::service::{Actor, QueueManager};

/// Operations that go to the store in one call. Larger chunks keep other
/// callers waiting; in smaller ones the round trips would show.
const CHUNK: usize = 256;

/// The meaning of a fault for the creates behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::service) enum OnFault {
    /// Nothing: each create stands for itself, as long as the store and the
    /// broker are available.
    GoOn,
    /// They are not created, and there is no answer for them.
    Stop,
}

/// The decision about one create of a chunk.
pub(in crate::service) enum Plan {
    /// Create this.
    New {
        new: Box<NewOperation>,
        is_keyed: bool,
        /// Its key was reserved by an earlier request.
        is_late: bool,
    },
    /// Its key was used before: there is nothing to create.
    Known(Box<Operation>),
}

/// A create of a chunk, on its way to a [`Plan`].
struct Draft {
    create: KeyedCreate,
    lineage: Lineage,
    id: OperationId,
    /// True if the id is that of an earlier request with the same key.
    is_reserved: bool,
}

impl QueueManager {
    /// Creates operations in the order of the list, so that those with one
    /// token run in that order; the answers are in that order too.
    ///
    /// Each create stands for itself, up to the first that finds the store or
    /// the broker unavailable: the creates behind it are not tried, or they
    /// would overtake it.
    ///
    /// If the future is dropped, some of them may or may not have been created.
    pub async fn create_many(
        &self,
        actor: &Actor,
        requests: Vec<CreateOperation>,
    ) -> Vec<Result<Operation>> {
        let creates = requests
            .into_iter()
            .map(|request| KeyedCreate { request, key: None });
        let created = self
            .create_in_order(actor, creates.collect(), OnFault::GoOn)
            .await;
        let operation = |creation: Creation| creation.operation;
        created.into_iter().map(|one| one.map(operation)).collect()
    }

    /// [`Self::create_many`], with idempotency keys. With [`OnFault::Stop`] the
    /// answers end with the first fault, and so do the creates.
    pub(in crate::service) async fn create_in_order(
        &self,
        actor: &Actor,
        creates: Vec<KeyedCreate>,
        on_fault: OnFault,
    ) -> Vec<Result<Creation>> {
        let count = creates.len();
        let mut answers = Vec::with_capacity(count);
        let mut creates = creates.into_iter();
        let mut publishing = Vec::new();
        while answers.len() < count {
            let chunk: Vec<KeyedCreate> = creates.by_ref().take(CHUNK).collect();
            let plans = self.plan_chunk(actor, chunk, on_fault).await;
            let mut stored = self.store_chunk(plans, &mut publishing).await;
            // Cut once more: the store may have been unavailable for all that
            // was new.
            cut(&mut stored, on_fault);
            answers.extend(stored);
            match answers.last() {
                Some(Err(error)) if on_fault == OnFault::GoOn && is_away(error) => {
                    let message = error.to_string();
                    let untried = || Err(Error::Store(unavailable(&message)));
                    answers.resize_with(count, untried);
                }
                Some(Err(_)) if on_fault == OnFault::Stop => break,
                // Every plan has its answer; this is no endless loop.
                Some(_) | None => {}
            }
        }
        for published in publishing {
            if let Err(error) = published.await {
                tracing::warn!(%error, "some operations are left to the relay");
            }
        }
        answers
    }

    /// Decides about each create of a chunk, up to the first that cuts it.
    pub(in crate::service) async fn plan_chunk(
        &self,
        actor: &Actor,
        chunk: Vec<KeyedCreate>,
        on_fault: OnFault,
    ) -> Vec<Result<Plan>> {
        let mut accepted: Vec<Result<KeyedCreate>> = Vec::with_capacity(chunk.len());
        for create in chunk {
            accepted.push(self.accept(&create.request).map(|()| create));
        }
        cut(&mut accepted, on_fault);
        let mut drafts = self.find_places(actor, accepted).await;
        cut(&mut drafts, on_fault);
        self.find_ids(actor, &mut drafts).await;
        cut(&mut drafts, on_fault);
        let mut plans = self.find_known(actor, drafts).await;
        cut(&mut plans, on_fault);
        self.refuse_spent(&mut plans).await;
        cut(&mut plans, on_fault);
        plans
    }

    /// The depth and the parent of each create; all parents are read in one
    /// call.
    async fn find_places(
        &self,
        actor: &Actor,
        creates: Vec<Result<KeyedCreate>>,
    ) -> Vec<Result<Draft>> {
        let named = creates
            .iter()
            .flatten()
            .filter_map(|create| parent_of(&create.request));
        let mut parents: HashMap<OperationId, Option<Lineage>> =
            named.map(|id| (id, None)).collect();
        let ids: Vec<OperationId> = parents.keys().copied().collect();
        let mut away = None;
        if !ids.is_empty() {
            match self.store().get(&ids).await {
                Ok(found) => {
                    for parent in found.into_iter().flatten() {
                        parents.insert(parent.id, Lineage::of(&parent, actor));
                    }
                }
                Err(error) => away = Some(error),
            }
        }
        let mut drafts = Vec::with_capacity(creates.len());
        for create in creates {
            drafts.push(create.and_then(|create| {
                let parent = parent_of(&create.request);
                // The first create that needed to know; the list is cut behind
                // it.
                if parent.is_some()
                    && let Some(error) = away.take()
                {
                    return Err(error.into());
                }
                let parent = parent.and_then(|id| parents.get(&id).copied().flatten());
                let lineage = self.lineage_below(parent)?;
                let id = self.fresh_id(actor, &create.request);
                let is_reserved = false;
                Ok(Draft {
                    create,
                    lineage,
                    id,
                    is_reserved,
                })
            }));
        }
        drafts
    }

    /// The ids that belong to keys, all requested at once.
    async fn find_ids(&self, actor: &Actor, drafts: &mut [Result<Draft>]) {
        let reserving = drafts.iter().map(|draft| async {
            let Ok(Draft { create, id, .. }) = draft else {
                return None;
            };
            let key = create.key.as_deref()?;
            Some(self.reserve(actor, key, &create.request, *id).await)
        });
        let reserved = join_all(reserving).await;
        for (draft, reserved) in drafts.iter_mut().zip(reserved) {
            match (&mut *draft, reserved) {
                (Ok(draft), Some(Ok(id))) => {
                    draft.is_reserved = draft.id != id;
                    draft.id = id;
                }
                (Ok(_), Some(Err(error))) => *draft = Err(error),
                (Ok(_) | Err(_), None) | (Err(_), Some(_)) => {}
            }
        }
    }

    /// Finds the reserved ids that are taken already, and plans the rest.
    async fn find_known(&self, actor: &Actor, drafts: Vec<Result<Draft>>) -> Vec<Result<Plan>> {
        let reserved = drafts.iter().flatten().filter(|draft| draft.is_reserved);
        let ids: Vec<OperationId> = reserved.map(|draft| draft.id).collect();
        let mut known = HashMap::new();
        let mut away = None;
        if !ids.is_empty() {
            match self.store().get(&ids).await {
                Ok(found) => {
                    known.extend(found.into_iter().flatten().map(|found| (found.id, found)));
                }
                Err(error) => away = Some(error),
            }
        }
        let mut plans = Vec::with_capacity(drafts.len());
        for draft in drafts {
            plans.push(draft.and_then(|draft| {
                if draft.is_reserved
                    && let Some(error) = away.take()
                {
                    return Err(error.into());
                }
                if let Some(operation) = known.get(&draft.id) {
                    return Ok(Plan::Known(Box::new(operation.clone())));
                }
                self.comes_due(&draft.create.request)?;
                self.shared.backend.broker.check()?;
                self.check_queue(&draft.create.request.queue)?;
                let Draft {
                    create,
                    lineage,
                    id,
                    is_reserved: is_late,
                } = draft;
                let is_keyed = create.key.is_some();
                let span = create_span(&create.request);
                let new = span.in_scope(|| self.plan(actor, create.request, id, lineage));
                let new = Box::new(new);
                Ok(Plan::New {
                    new,
                    is_keyed,
                    is_late,
                })
            }));
        }
        plans
    }

    /// Refuses creates whose keys stand for operations that were removed.
    async fn refuse_spent(&self, plans: &mut [Result<Plan>]) {
        let looking = plans.iter().map(|plan| async {
            match plan {
                Ok(Plan::New {
                    new, is_late: true, ..
                }) => self.refuse_removed(new.id).await,
                Ok(Plan::New { .. } | Plan::Known(_)) | Err(_) => Ok(()),
            }
        });
        let looked = join_all(looking).await;
        for (plan, looked) in plans.iter_mut().zip(looked) {
            if let Err(error) = looked {
                *plan = Err(error);
            }
        }
    }

    /// Stores what is new in a chunk, and starts to publish it.
    async fn store_chunk(
        &self,
        plans: Vec<Result<Plan>>,
        publishing: &mut Vec<JoinHandle<()>>,
    ) -> Vec<Result<Creation>> {
        let new = plans.iter().flatten().filter_map(|plan| match plan {
            Plan::New { new, .. } => Some(NewOperation::clone(new)),
            Plan::Known(_) => None,
        });
        let new: Vec<NewOperation> = new.collect();
        let mut away = None;
        let mut stored = Vec::new();
        if !new.is_empty() {
            match self.store().create(new).await {
                Ok(created) => stored = created,
                Err(error) => away = Some(error),
            }
        }
        let mut stored = stored.into_iter();
        let mut offers = Vec::new();
        let mut count = 0;
        let mut answers = Vec::with_capacity(plans.len());
        for plan in plans {
            answers.push(plan.and_then(|plan| match plan {
                Plan::Known(operation) => Ok(self.repeated(*operation)),
                Plan::New { new, is_keyed, .. } => {
                    if let Some(error) = &away {
                        return Err(error.clone().into());
                    }
                    let created = stored.next().ok_or_else(no_answer)?;
                    match created {
                        Created::New { sequence, offer } => {
                            count += 1;
                            let operation = stored_as(*new, sequence);
                            offers.extend(offer.map(|stamp| (Offer::of(&operation), stamp)));
                            let is_new = true;
                            Ok(Creation { operation, is_new })
                        }
                        // The same key came twice in one list, or at another
                        // manager meanwhile.
                        Created::Exists(operation) if is_keyed => Ok(self.repeated(*operation)),
                        Created::Exists(operation) => Err(Error::Internal(format!(
                            "the id {} came twice",
                            operation.id
                        ))),
                    }
                }
            }));
        }
        self.metrics().created.inc_by(count);
        publishing.extend(self.publish_soon(offers));
        answers
    }

    /// Publishes in a task of its own: a caller that goes away does not keep it
    /// from being done.
    pub(in crate::service) fn publish_soon(
        &self,
        offers: Vec<(Offer, Stamp)>,
    ) -> Option<JoinHandle<()>> {
        if offers.is_empty() {
            return None;
        }
        let manager = self.clone();
        let task = async move { manager.announce_all(offers).await };
        Some(self.shared.tasks.spawn(task))
    }
}

/// Cuts a list behind the first answer that decides about those behind it.
fn cut<T>(list: &mut Vec<Result<T>>, on_fault: OnFault) {
    let first = list.iter().position(|one| match one {
        Ok(_) => false,
        Err(error) => on_fault == OnFault::Stop || is_away(error),
    });
    if let Some(first) = first {
        list.truncate(first + 1);
    }
}

/// Returns true if the error is not the caller's fault, and may be over soon.
const fn is_away(error: &Error) -> bool {
    matches!(error, Error::Store(_) | Error::Broker(_))
}
