//! The step of a create that decides: the store.

use std::collections::BTreeMap;

use drumline_backend::store::{self, Created, NewOperation, Stamp};
use drumline_protocol::message::Offer;
use drumline_protocol::{Operation, Partition, Report};
use futures_util::future::join_all;

use super::publish::Offers;
use super::{Creation, OnFault, PlannedCreate, no_answer, store_unavailable};
use crate::error::{Error, Result};
use crate::service::QueueManager;

impl QueueManager {
    /// Stores what is new in a chunk. Returns an answer to each create, and the
    /// offers that are to be published.
    pub(super) async fn store_planned(
        &self,
        mut planned: Vec<Result<PlannedCreate>>,
        on_fault: OnFault,
    ) -> (Vec<Result<Creation>>, Offers) {
        for create in planned.iter_mut().flatten() {
            if let PlannedCreate::New {
                share: Some(share), ..
            } = create
            {
                share.send();
            }
        }
        let new = planned.iter().flatten().filter_map(|create| match create {
            PlannedCreate::New { new, .. } => Some(&**new),
            PlannedCreate::Known(_) => None,
        });
        let mut stored = self.store_each(new.collect(), on_fault).await.into_iter();
        let mut offers = Offers::new();
        let answers = planned.into_iter().map(|create| match create? {
            PlannedCreate::Known(operation) => Ok(self.repeated(*operation)),
            PlannedCreate::New {
                new,
                is_keyed,
                share,
            } => {
                match stored.next().ok_or_else(no_answer)?? {
                    Created::New {
                        id,
                        sequence,
                        offer,
                    } => {
                        let new = NewOperation { id, ..*new };
                        Ok(self.created(new, sequence, offer, &mut offers))
                    }
                    // Only the key can have led two requests to one id: in one
                    // list, or at another manager meanwhile.
                    Created::Exists(operation) if is_keyed => {
                        if let Some(share) = share {
                            share.give_back();
                        }
                        Ok(self.repeated(*operation))
                    }
                    Created::Unreadable(error) => Err(error.into()),
                    Created::KeyReused => Err(Error::KeyReused),
                    Created::KeySpent(id) => Err(Error::KeySpent { id: id.to_string() }),
                    Created::Exists(operation) => {
                        let id = operation.id;
                        Err(Error::Internal(format!("the id {id} came twice")))
                    }
                }
            }
        });
        (answers.collect(), offers)
    }

    /// Stores new operations in one call. If that fails, it has failed for all, unless
    /// they have nothing to do with one another: then each is tried alone, because one of
    /// them may be the cause, or some of the partitions unavailable. The first of each
    /// partition shows whether it is: an outage is asked little.
    async fn store_each(
        &self,
        new: Vec<&NewOperation>,
        on_fault: OnFault,
    ) -> Vec<store::Result<Created>> {
        match self.store_new(new.clone()).await {
            Ok(created) => created.into_iter().map(Ok).collect(),
            Err(_) if on_fault == OnFault::Ignore && new.len() > 1 => {
                let mut partitions: BTreeMap<Partition, Vec<(usize, &NewOperation)>> =
                    BTreeMap::new();
                for (place, new) in new.into_iter().enumerate() {
                    let partition = partitions.entry(new.id.partition()).or_default();
                    partition.push((place, new));
                }
                let alone = partitions.into_values().map(|new| self.store_alone(new));
                let mut stored: Vec<_> = join_all(alone).await.into_iter().flatten().collect();
                stored.sort_unstable_by_key(|(place, _)| *place);
                stored.into_iter().map(|(_, stored)| stored).collect()
            }
            Err(error) => new.iter().map(|_| Err(error.clone())).collect(),
        }
    }

    /// Stores new operations of one partition, each in a call of its own, unless the first
    /// finds the store unavailable. Returns each with its place.
    async fn store_alone(
        &self,
        mut new: Vec<(usize, &NewOperation)>,
    ) -> Vec<(usize, store::Result<Created>)> {
        let store = async |(place, new)| {
            let no_answer = || store_unavailable("the store did not answer");
            let stored = self.store_new(vec![new]).await;
            let stored = stored.and_then(|mut created| created.pop().ok_or_else(no_answer));
            (place, stored)
        };
        let first = store(new.remove(0)).await;
        let rest: Vec<_> = match &first {
            (_, Err(error @ store::Error::Unavailable { .. })) => new
                .into_iter()
                .map(|(place, _)| (place, Err(error.clone())))
                .collect(),
            (_, Ok(_) | Err(_)) => join_all(new.into_iter().map(store)).await,
        };
        std::iter::once(first).chain(rest).collect()
    }

    /// Stores new operations. A lone one goes together with those that other
    /// callers create now.
    async fn store_new(&self, new: Vec<&NewOperation>) -> store::Result<Vec<Created>> {
        if new.is_empty() {
            return Ok(Vec::new());
        }
        self.metrics()
            .of_store("create", async {
                if let [lone] = new.as_slice()
                    && let Some(created) = self.shared.creates.create((*lone).clone()).await
                {
                    return created.map(|created| vec![created]);
                }
                // Many; or the manager is closed, or the store is slow or unavailable.
                // Whatever came of the first try, a repetition recognises it.
                self.store()
                    .create(new.into_iter().cloned().collect())
                    .await
            })
            .await
    }

    /// Notes that an operation is new, and adds its offer to those that are to
    /// be published.
    pub(in crate::service) fn created(
        &self,
        new: NewOperation,
        sequence: u64,
        offer: Option<Stamp>,
        offers: &mut Offers,
    ) -> Creation {
        self.metrics().created.inc();
        self.tally().created(&new.body);
        let operation = stored_as(new, sequence);
        offers.extend(offer.map(|stamp| (Offer::of(&operation), stamp)));
        let is_new = true;
        Creation { operation, is_new }
    }

    /// The answer for a key that was used before.
    pub(in crate::service) fn repeated(&self, operation: Operation) -> Creation {
        self.metrics().creates_repeated.inc();
        let is_new = false;
        Creation { operation, is_new }
    }
}

/// A new operation as it is in the store.
pub(crate) fn stored_as(new: NewOperation, sequence: u64) -> Operation {
    Operation {
        id: new.id,
        header: new.header,
        body: new.body,
        report: Report::default(),
        sequence,
    }
}
