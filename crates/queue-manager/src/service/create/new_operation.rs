//! The record of a new operation, made from its request.

use drumline_api::{CreateOperation, Origin};
use drumline_backend::store::{NewOperation, Reservation};
use drumline_protocol::operation::{first_header, series_header};
use drumline_protocol::{ChainKey, OperationId, Partition, TokenPolicy};
use drumline_telemetry::current_context;
use tracing::{Span, field};
use uuid::Uuid;

use super::lineage::Lineage;
use crate::recurrence;
use crate::service::idempotency::key_of;
use crate::service::{Actor, QueueManager};

/// The idempotency key of a create.
pub(super) struct KeyOfCreate {
    /// True if the request has one.
    pub(super) is_given: bool,
    /// Its reservation, unless that is made already.
    pub(super) to_reserve: Option<Reservation>,
}

impl QueueManager {
    /// A fresh id for an operation; in the partition `beside`, if it is given and the operation
    /// has no token.
    pub(super) fn fresh_id(
        &self,
        actor: &Actor,
        request: &CreateOperation,
        key: Option<&str>,
        beside: Option<Partition>,
    ) -> OperationId {
        let now = self.store().now();
        let partition = match (self.chain(actor, request), key) {
            (None, _) if let Some(beside) = beside => beside,
            (None, Some(key)) => {
                key_of(&actor.organization, key).partition(self.store().partitions())
            }
            (chain, _) => self.shared.partitions.choose(chain, now),
        };
        self.ids().operation(now, partition)
    }

    /// The operation to store. Its trace goes on from the current span.
    pub(super) fn new_operation(
        &self,
        actor: &Actor,
        request: CreateOperation,
        id: OperationId,
        lineage: Lineage,
        key: KeyOfCreate,
    ) -> NewOperation {
        Span::current().record("messaging.message.id", field::display(id));
        let now = self.store().now();
        let chain = self.own_chain(actor, &request);
        let rules = request.rules(chain, self.token_policy(&request));
        let commit = self.ids().commit();
        let header = match &request.recurrence_pattern {
            None => first_header(rules, request.postpone_until, commit, now),
            Some(pattern) => {
                let start = request.recurrence_start_time;
                let zone = request.recurrence_time_zone.as_deref();
                let (recurrence, first) = recurrence::begin(pattern, zone, start, now);
                // The rule still had a time a moment ago, when the request was
                // accepted.
                let first = first.unwrap_or(now);
                series_header(rules, recurrence, Some(first), commit, now)
            }
        };
        let origin = Origin {
            organization: actor.organization.clone(),
            owner: actor.caller.clone(),
            correlation_id: request
                .correlation_id
                .or(lineage.correlation_id)
                // The first of those that belong together names the group: it is
                // found by its own id, without an index.
                .unwrap_or_else(|| Uuid::from_bytes(*id.as_bytes())),
            depth: lineage.depth,
            created_on: now,
            trace: current_context(),
        };
        let mut body = request.into_body(origin);
        body.mark_keyed(key.is_given);
        NewOperation {
            id,
            header,
            body,
            key: key.to_reserve,
        }
    }

    /// The token policy of a new operation. The deployment's default is about
    /// tokens: asynchronous requests have none, and a failed one must not stop
    /// all others of its organization.
    fn token_policy(&self, request: &CreateOperation) -> TokenPolicy {
        if self.options().is_in_order_of_requests(request) {
            return TokenPolicy::Continue;
        }
        request.token_policy.unwrap_or(self.options().token_policy)
    }

    /// The chain of a new operation, if it is in one.
    pub(in crate::service) fn chain(
        &self,
        actor: &Actor,
        request: &CreateOperation,
    ) -> Option<ChainKey> {
        if self.options().is_in_order_of_requests(request) {
            return Some(ChainKey::of_requests(&actor.organization));
        }
        let token = request.dependency_token.as_ref()?;
        Some(ChainKey::new(&actor.organization, token))
    }

    /// The chain that a new operation itself waits in. A series waits in none: its
    /// occurrences do.
    pub(super) fn own_chain(&self, actor: &Actor, request: &CreateOperation) -> Option<ChainKey> {
        let chain = self.chain(actor, request);
        chain.filter(|_| request.recurrence_pattern.is_none())
    }
}
