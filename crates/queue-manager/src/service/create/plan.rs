//! The steps before a create is stored: the lineage of the new operation, the id
//! of its key, and the question whether there is anything to create at all.
//!
//! Each step looks at all creates of a chunk, and the chunk is cut behind the
//! first fault that decides about the creates behind it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use drumline_api::CreateOperation;
use drumline_api::execute::KeyedCreate;
use drumline_backend::store::{self, NewOperation, Reservation};
use drumline_protocol::{Operation, OperationId, Partition, QueueName};
use tracing::Span;

use super::lineage::{Lineage, parent_of};
use super::new_operation::KeyOfCreate;
use super::{OnFault, cut, no_answer};
use crate::error::{Error, Result};
use crate::service::quotas::{Applicant, Share};
use crate::service::{Actor, QueueManager};

/// The decision about one create.
pub(in crate::service) enum PlannedCreate {
    /// Create this.
    New {
        new: Box<NewOperation>,
        is_keyed: bool,
        /// Its share of the quotas: to be kept until the store has answered.
        share: Option<Share>,
    },
    /// Its key was used before: there is nothing to create.
    Known(Box<Operation>),
}

/// The step that reserves the keys of creates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::service) enum KeyedBy {
    /// The plan: for a transaction and a list that ends with its first fault,
    /// which must know beforehand what will be created.
    Plan,
    /// The create itself, wherever key and operation are of one partition.
    Create,
}

/// A create on its way to a [`PlannedCreate`].
struct Draft {
    create: KeyedCreate,
    id: OperationId,
    lineage: Lineage,
    /// The reservation of its key, while the create is to make it.
    reservation: Option<Reservation>,
    /// The reason why nothing can be created now; it is no matter where the
    /// operation exists already.
    objection: Option<Error>,
    /// True if the id is that of an earlier request with the same key.
    is_reserved: bool,
    /// The operation of the earlier request.
    known: Option<Operation>,
    /// Its share of the quotas, if its organization has any.
    share: Option<Share>,
}

/// The creates of a chunk.
struct Drafts<'a> {
    manager: &'a QueueManager,
    actor: &'a Actor,
    on_fault: OnFault,
    list: Vec<Result<Draft>>,
}

impl QueueManager {
    /// Decides about each create of a chunk, up to the first that cuts it. New operations
    /// without a token are put into the partition `beside`, if it is given. The
    /// trace of a new operation goes on from the span that `span_of` returns.
    pub(in crate::service) async fn plan(
        &self,
        actor: &Actor,
        chunk: Vec<KeyedCreate>,
        on_fault: OnFault,
        keyed_by: KeyedBy,
        beside: Option<Partition>,
        span_of: fn(&CreateOperation) -> Span,
    ) -> Vec<Result<PlannedCreate>> {
        let drafts = chunk.into_iter().map(|create| {
            self.check(&create.request)?;
            let KeyedCreate { request, key } = &create;
            let id = self.fresh_id(actor, request, key.as_deref(), beside);
            let reservation = key.as_deref();
            let reservation = reservation.map(|key| self.reservation(actor, key, request, id));
            Ok(Draft {
                id,
                lineage: Lineage::TOP,
                reservation: reservation.transpose()?,
                objection: None,
                is_reserved: false,
                known: None,
                share: None,
                create,
            })
        });
        let mut drafts = Drafts {
            manager: self,
            actor,
            on_fault,
            list: drafts.collect(),
        };
        cut(&mut drafts.list, on_fault);
        drafts.find_lineages().await;
        drafts.each(|draft| {
            draft.objection = self.check_circumstances(&draft.create.request).err();
            Ok(())
        });
        let has_room = drafts.ask_for_room().await;
        drafts.enter_queues().await;
        // Operations that exist take no room: they are found first where that is needed. Where
        // partitions are kept apart, a transaction may have put the operation of a key into
        // another partition than that of the key, and a create looks into one.
        let may_be_elsewhere = !self.store().spreads_transactions();
        let keyed_by = if has_room && !may_be_elsewhere {
            keyed_by
        } else {
            KeyedBy::Plan
        };
        drafts.reserve_keys(keyed_by).await;
        drafts.find_known().await;
        drafts.refuse_removed().await;
        if !has_room && drafts.any_is_reserved() {
            drafts.ask_for_room().await;
            drafts.enter_queues().await;
        }
        drafts.each(|draft| match (&draft.known, draft.objection.take()) {
            (Some(_), _) | (None, None) => Ok(()),
            (None, Some(objection)) => {
                if let Error::QuotaExceeded(exceeded) = &objection {
                    self.metrics().quota_exceeded(exceeded.quota);
                }
                Err(objection)
            }
        });
        let planned = drafts.list.into_iter().map(|draft| {
            let draft = draft?;
            if let Some(operation) = draft.known {
                return Ok(PlannedCreate::Known(Box::new(operation)));
            }
            let KeyedCreate { request, key } = draft.create;
            let span = span_of(&request);
            let is_keyed = key.is_some();
            let key = KeyOfCreate {
                is_given: is_keyed,
                to_reserve: draft.reservation,
            };
            let new =
                span.in_scope(|| self.new_operation(actor, request, draft.id, draft.lineage, key));
            Ok(PlannedCreate::New {
                new: Box::new(new),
                is_keyed,
                share: draft.share,
            })
        });
        planned.collect()
    }
}

impl Drafts<'_> {
    /// The lineage of each create.
    async fn find_lineages(&mut self) {
        let parent = |draft: &Draft| parent_of(&draft.create.request);
        let parents = self.read(parent).await;
        let (manager, actor) = (self.manager, self.actor);
        self.each(|draft| {
            if let Some(id) = parent(draft) {
                let parents = parents.as_ref().map_err(store::Error::clone)?;
                draft.lineage = manager.lineage_below(parents.get(&id), actor)?;
            }
            Ok(())
        });
    }

    /// Asks for room in the quotas of the organization, for all that is not known to
    /// exist. A refusal is an objection: it is no matter where the operation exists
    /// already. Returns false if there is one. The answers of an earlier question are
    /// forgotten.
    async fn ask_for_room(&mut self) -> bool {
        let organization = &self.actor.organization;
        let quotas = &self.manager.options().quotas;
        if quotas.of(organization).limit_nothing() {
            return true;
        }
        for draft in self.list.iter_mut().flatten() {
            if let Some(share) = draft.share.take() {
                share.withdraw();
            }
            draft
                .objection
                .take_if(|objection| matches!(objection, Error::QuotaExceeded(_)));
        }
        // A key that is twice in the list creates once.
        let mut asking = HashSet::new();
        let drafts = self.list.iter().enumerate();
        let (places, applicants): (Vec<usize>, Vec<Applicant<'_>>) = drafts
            .filter_map(|(place, one)| {
                let draft = one.as_ref().ok()?;
                let request = &draft.create.request;
                let chain = self.manager.own_chain(self.actor, request);
                let applicant = Applicant { request, chain };
                let asks = draft.objection.is_none() && draft.known.is_none();
                (asks && asking.insert(draft.id)).then_some((place, applicant))
            })
            .unzip();
        let admitted = self.manager.admit_creates(organization, &applicants).await;
        let mut has_room = true;
        for (place, admitted) in places.into_iter().zip(admitted) {
            if let Some(Ok(draft)) = self.list.get_mut(place) {
                match admitted {
                    Ok(share) => draft.share = Some(share),
                    Err(error) => {
                        has_room = false;
                        draft.objection = Some(error);
                    }
                }
            }
        }
        has_room
    }

    /// Returns true if one has the key of an earlier request, or of one before it.
    fn any_is_reserved(&self) -> bool {
        self.list.iter().flatten().any(|draft| draft.is_reserved)
    }

    /// Notes which queues the organization uses, or objects.
    async fn enter_queues(&mut self) {
        let mut entered: BTreeSet<QueueName> = BTreeSet::new();
        let mut refused: BTreeMap<QueueName, usize> = BTreeMap::new();
        let mut unavailable: Option<store::Error> = None;
        for draft in self.list.iter_mut().flatten() {
            let queue = &draft.create.request.queue;
            if draft.objection.is_some() || draft.known.is_some() || entered.contains(queue) {
                continue;
            }
            // One question for each queue, however many creates name it.
            let answer = match (refused.get(queue), &unavailable) {
                (Some(limit), _) => Err(Error::TooManyQueues {
                    queue: queue.clone(),
                    limit: *limit,
                }),
                // Each further question would wait as long again.
                (None, Some(error)) => Err(error.clone().into()),
                (None, None) => {
                    let organization = &self.actor.organization;
                    self.manager.enter_queue(organization, queue).await
                }
            };
            match answer {
                Ok(()) => {
                    entered.insert(queue.clone());
                }
                Err(objection) => {
                    if let Error::TooManyQueues { queue, limit } = &objection {
                        refused.insert(queue.clone(), *limit);
                    }
                    if let Error::Store(error) = &objection {
                        unavailable = Some(error.clone());
                    }
                    draft.objection = Some(objection);
                }
            }
        }
    }

    /// Reserves, in one call, the keys that the creates do not reserve
    /// themselves, and finds the ids that belong to them.
    async fn reserve_keys(&mut self, keyed_by: KeyedBy) {
        let count = self.manager.store().partitions();
        let taken = |draft: &mut Draft| {
            let is_of_create = keyed_by == KeyedBy::Create
                && draft.objection.is_none()
                && draft
                    .reservation
                    .is_some_and(|wanted| wanted.key.partition(count) == draft.id.partition());
            if is_of_create {
                None
            } else {
                draft.reservation.take()
            }
        };
        let drafts = self.list.iter_mut().enumerate();
        let (places, wanted): (Vec<usize>, Vec<Reservation>) = drafts
            .filter_map(|(place, one)| Some((place, taken(one.as_mut().ok()?)?)))
            .unzip();
        if wanted.is_empty() {
            return;
        }
        let held = self.manager.store().reserve(&wanted).await;
        for (place, (at, wanted)) in places.into_iter().zip(wanted.iter().enumerate()) {
            let Some(one) = self.list.get_mut(place) else {
                continue;
            };
            let held = match &held {
                Ok(held) => held.get(at).copied().ok_or_else(no_answer),
                Err(error) => Err(error.clone().into()),
            };
            match (held, one.as_mut()) {
                (Ok(held), Ok(_)) if held.content != wanted.reserved.content => {
                    *one = Err(Error::KeyReused);
                }
                (Ok(held), Ok(draft)) => {
                    draft.is_reserved = held.id != draft.id;
                    draft.id = held.id;
                }
                (Err(error), _) => *one = Err(error),
                (Ok(_), Err(_)) => {}
            }
        }
        cut(&mut self.list, self.on_fault);
    }

    /// Finds the operations that earlier requests with the same keys have
    /// created.
    async fn find_known(&mut self) {
        let reserved = |draft: &Draft| draft.is_reserved.then_some(draft.id);
        let known = self.read(reserved).await;
        self.each(|draft| {
            if let Some(id) = reserved(draft) {
                let known = known.as_ref().map_err(store::Error::clone)?;
                draft.known = known.get(&id).cloned();
            }
            Ok(())
        });
    }

    /// Refuses creates whose keys stand for operations that were removed.
    async fn refuse_removed(&mut self) {
        let missing = |draft: &Draft| draft.is_reserved && draft.known.is_none();
        let drafts = self.list.iter().flatten();
        let ids: Vec<OperationId> = drafts.filter(|it| missing(it)).map(|it| it.id).collect();
        if ids.is_empty() {
            return;
        }
        let removed = self
            .manager
            .store()
            .were_removed(&ids)
            .await
            .map(|removed| {
                let removed = ids.into_iter().zip(removed);
                BTreeSet::from_iter(removed.filter_map(|(id, was)| was.then_some(id)))
            });
        self.each(|draft| {
            let id = draft.id;
            match &removed {
                Ok(removed) if missing(draft) && removed.contains(&id) => {
                    Err(Error::KeySpent { id: id.to_string() })
                }
                Err(error) if missing(draft) => Err(error.clone().into()),
                Ok(_) | Err(_) => Ok(()),
            }
        });
    }

    /// Reads the operations that the creates name, all in one call. One that cannot be
    /// decoded is passed over, because the other creates may be of other callers.
    async fn read(
        &self,
        named: impl Fn(&Draft) -> Option<OperationId>,
    ) -> store::Result<HashMap<OperationId, Operation>> {
        let ids: BTreeSet<OperationId> = self.list.iter().flatten().filter_map(named).collect();
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        let ids = Vec::from_iter(ids);
        let found = self.manager.readable(&ids).await?;
        let found = found.into_iter().flatten();
        Ok(found.map(|found| (found.id, found)).collect())
    }

    /// Takes a step with each create that is not refused yet.
    fn each(&mut self, step: impl Fn(&mut Draft) -> Result<()>) {
        for one in &mut self.list {
            if let Ok(draft) = one
                && let Err(error) = step(draft)
            {
                *one = Err(error);
            }
        }
        cut(&mut self.list, self.on_fault);
    }
}
