//! The steps before a create is stored: the lineage of the new operation, the id
//! of its key, and the question whether there is anything to create at all.
//!
//! Each step looks at all creates of a chunk, and the chunk is cut behind the
//! first fault that decides about the creates behind it.

use std::collections::{BTreeSet, HashMap};

use drumline_api::CreateOperation;
use drumline_api::execute::KeyedCreate;
use drumline_backend::store::{self, NewOperation};
use drumline_protocol::{Operation, OperationId};
use futures_util::future::join_all;
use tracing::Span;

use super::lineage::{Lineage, parent_of};
use super::{OnFault, cut};
use crate::error::Result;
use crate::service::{Actor, QueueManager};

/// The decision about one create.
pub(in crate::service) enum PlannedCreate {
    /// Create this.
    New {
        new: Box<NewOperation>,
        is_keyed: bool,
    },
    /// Its key was used before: there is nothing to create.
    Known(Box<Operation>),
}

/// A create on its way to a [`PlannedCreate`].
struct Draft {
    create: KeyedCreate,
    id: OperationId,
    lineage: Lineage,
    /// True if the id is that of an earlier request with the same key.
    is_reserved: bool,
    /// The operation of the earlier request.
    known: Option<Operation>,
}

/// The creates of a chunk.
struct Drafts<'a> {
    manager: &'a QueueManager,
    actor: &'a Actor,
    on_fault: OnFault,
    list: Vec<Result<Draft>>,
}

impl QueueManager {
    /// Decides about each create of a chunk, up to the first that cuts it. The
    /// trace of a new operation goes on from the span that `span_of` returns.
    pub(in crate::service) async fn plan(
        &self,
        actor: &Actor,
        chunk: Vec<KeyedCreate>,
        on_fault: OnFault,
        span_of: fn(&CreateOperation) -> Span,
    ) -> Vec<Result<PlannedCreate>> {
        let drafts = chunk.into_iter().map(|create| {
            self.check(&create.request)?;
            Ok(Draft {
                id: self.fresh_id(actor, &create.request),
                create,
                lineage: Lineage::TOP,
                is_reserved: false,
                known: None,
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
        drafts.reserve_keys().await;
        drafts.find_known().await;
        drafts.refuse_removed().await;
        drafts.each(|draft| match draft.known {
            Some(_) => Ok(()),
            None => self.check_circumstances(&draft.create.request),
        });
        let planned = drafts.list.into_iter().map(|draft| {
            let draft = draft?;
            if let Some(operation) = draft.known {
                return Ok(PlannedCreate::Known(Box::new(operation)));
            }
            let KeyedCreate { request, key } = draft.create;
            let span = span_of(&request);
            let new = span.in_scope(|| self.new_operation(actor, request, draft.id, draft.lineage));
            Ok(PlannedCreate::New {
                new: Box::new(new),
                is_keyed: key.is_some(),
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

    /// The ids that belong to keys, all requested at once.
    async fn reserve_keys(&mut self) {
        let (manager, actor) = (self.manager, self.actor);
        let reserving = self.list.iter_mut().map(|one| async move {
            if let Ok(draft) = one
                && let Err(error) = draft.reserve_key(manager, actor).await
            {
                *one = Err(error);
            }
        });
        join_all(reserving).await;
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
        let manager = self.manager;
        let looking = self.list.iter_mut().map(|one| async move {
            if let Ok(draft) = one
                && draft.is_reserved
                && draft.known.is_none()
                && let Err(error) = manager.refuse_removed(draft.id).await
            {
                *one = Err(error);
            }
        });
        join_all(looking).await;
        cut(&mut self.list, self.on_fault);
    }

    /// Reads the operations that the creates name, all in one call.
    async fn read(
        &self,
        named: impl Fn(&Draft) -> Option<OperationId>,
    ) -> store::Result<HashMap<OperationId, Operation>> {
        let ids: BTreeSet<OperationId> = self.list.iter().flatten().filter_map(named).collect();
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        let ids = Vec::from_iter(ids);
        let found = self.manager.store().get(&ids).await?;
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

impl Draft {
    async fn reserve_key(&mut self, manager: &QueueManager, actor: &Actor) -> Result<()> {
        if let Some(key) = &self.create.key {
            let request = &self.create.request;
            let id = manager.reserve(actor, key, request, self.id).await?;
            self.is_reserved = id != self.id;
            self.id = id;
        }
        Ok(())
    }
}
