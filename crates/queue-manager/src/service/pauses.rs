//! Persistent pauses: of a queue, a message name, a token, or everything in an
//! organization.
//!
//! A pause is written once, then brought to every partition, where the claims
//! look. An answer comes when all partitions have it. A manager that dies in
//! between leaves copies behind, which maintenance brings up to date.
//!
//! Callers see and set the pauses of their own organization, and see a freeze.

use drumline_api::pause::SetPause;
use drumline_api::{FieldError, Invalid};
use drumline_backend::store::Summary;
use drumline_protocol::pause::scope_keys_of;
use drumline_protocol::{Pause, PauseKind, PauseScope, ScopeKey, Timestamp, limits};

use super::{Actor, QueueManager};
use crate::error::{Error, Result};

impl QueueManager {
    /// The pauses in force in the caller's organization, by kind and value.
    ///
    /// # Errors
    /// When the store is unavailable.
    pub async fn pauses(&self, actor: &Actor) -> Result<Vec<Pause>> {
        let now = self.store().now();
        let mut pauses = self.store().pauses().await?.pauses;
        pauses.retain(|pause| {
            let is_ours = pause.scope.organization == actor.organization;
            (is_ours || pause.scope.is_everything()) && pause.is_in_force(now)
        });
        pauses.sort_by(|one, other| {
            let key = |pause: &Pause| (pause.scope.kind, pause.scope.value.clone());
            key(one).cmp(&key(other))
        });
        Ok(pauses)
    }

    /// Sets a pause, in place of the one with the same scope. Returns it, and
    /// true if there was none. It is in force everywhere when this returns.
    ///
    /// If the future is dropped, or the store fails, the pause may be in force in
    /// some partitions or in all; maintenance completes it. May be repeated.
    ///
    /// # Errors
    /// - [`Error::Invalid`] when the time is over, the organization is not the
    ///   caller's, or there are too many pauses.
    /// - When the store is unavailable.
    pub async fn set_pause(&self, actor: &Actor, request: SetPause) -> Result<(Pause, bool)> {
        let scope = scope(actor, &request)?;
        let SetPause { reason, until, .. } = request;
        self.put_pause(actor, scope, reason, until).await
    }

    /// Sets the pause of a scope and brings it to every partition.
    pub(super) async fn put_pause(
        &self,
        actor: &Actor,
        scope: PauseScope,
        reason: String,
        until: Option<Timestamp>,
    ) -> Result<(Pause, bool)> {
        let now = self.store().now();
        if until.is_some_and(|until| until <= now) {
            return Err(invalid("until", "must be in the future"));
        }
        let present = self.store().pauses().await?.pauses;
        let is_there = |pause: &&Pause| pause.scope == scope && pause.is_in_force(now);
        let before = present.iter().find(is_there);
        // A freeze has room in any case.
        let is_full = present.len() >= limits::PAUSES && !scope.is_everything();
        if before.is_none() && is_full {
            let why = format!(
                "cannot be paused, because {} pauses are in force already; lift one",
                limits::PAUSES
            );
            return Err(invalid("scope", why));
        }
        let is_new = before.is_none();
        let pause = Pause {
            scope,
            reason,
            until,
            author: actor.author(),
            since: now,
        };
        // A request that is repeated as it was keeps its time and its author.
        let pause = match before {
            Some(same) if (&same.reason, same.until) == (&pause.reason, pause.until) => {
                same.clone()
            }
            Some(_) | None => {
                self.store().set_pause(&pause).await?;
                pause
            }
        };
        self.spread_pauses().await?;
        tracing::info!(scope = %pause.scope, id = %pause.scope.key(), "a pause is in force");
        Ok((pause, is_new))
    }

    /// Lifts a pause. Operations that it holds are offered again, step by step.
    ///
    /// # Errors
    /// - [`Error::NoPause`] when the caller's organization has none with this id.
    /// - When the store is unavailable: the pause may be lifted already.
    pub async fn lift_pause(&self, actor: &Actor, key: ScopeKey) -> Result<()> {
        let present = self.store().pauses().await?.pauses.into_iter();
        // A freeze is the pause of all organizations, and is not lifted with their name.
        let mut ours = present.filter(|pause| {
            pause.scope.organization == actor.organization && !pause.scope.is_everything()
        });
        let found = ours.find(|pause| pause.scope.key() == key);
        let pause = found.ok_or_else(|| Error::NoPause {
            id: key.to_string(),
        })?;
        self.store().lift_pause(key).await?;
        self.spread_pauses().await?;
        tracing::info!(scope = %pause.scope, id = %key, "a pause is lifted");
        Ok(())
    }

    /// The pause that stops an operation, if there is one.
    pub(super) async fn pause_of(&self, operation: &Summary) -> Result<Option<Pause>> {
        let now = self.store().now();
        let scopes = scope_keys_of(&operation.header, &operation.body);
        let pauses = self.store().pauses().await?.pauses.into_iter();
        let holding =
            pauses.filter(|pause| pause.is_in_force(now) && scopes.contains(&pause.scope.key()));
        // Nothing else helps while the service is frozen.
        Ok(holding.min_by_key(|pause| !pause.scope.is_everything()))
    }

    /// Brings all pauses to every partition.
    pub(super) async fn spread_pauses(&self) -> Result<()> {
        let pauses = self.store().pauses().await?;
        let all: Vec<_> = self.store().partitions().all().collect();
        self.store().copy_pauses(&pauses, &all).await?;
        Ok(())
    }
}

fn scope(actor: &Actor, request: &SetPause) -> Result<PauseScope> {
    let organization = actor.organization.clone();
    match (request.kind, &request.name) {
        (PauseKind::Organization, name) => {
            if name.as_ref().is_some_and(|name| *name != organization.0) {
                return Err(invalid("name", "must be the organization of the caller"));
            }
            let scope = PauseScope::organization(organization);
            if scope.is_everything() {
                return Err(invalid(
                    "name",
                    "stands for all organizations: freeze the service",
                ));
            }
            Ok(scope)
        }
        (kind, Some(value)) => Ok(PauseScope {
            kind,
            organization,
            value: value.clone(),
        }),
        (_, None) => Err(invalid("name", "is required")),
    }
}

fn invalid(name: &str, why: impl Into<String>) -> Error {
    Error::Invalid(Invalid::from(FieldError::new(name, why)))
}
