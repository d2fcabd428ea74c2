//! Quotas: a create is admitted if its organization has room for it.
//!
//! The store counts what an organization takes, in the step that creates or changes
//! an operation. A manager adds these numbers up when it needs them, and remembers the
//! sum for a while together with what it has admitted since:
//!
//! ```text
//! sum of the store ─ + admitted since ─ + this create ≤ limit ? ─┬─ admitted: a share
//!        ▲                                                       └─ refused: QuotaExceeded
//!        └── added up again: before a refusal, when an eighth of the room is used,
//!            after ten seconds
//! ```
//!
//! The creates that this manager admits never exceed a limit. Other managers are seen with
//! the next sum: together they may exceed it by what they create in a tenth of a second.
//! A create costs a share of a sum, and nothing where nothing is limited.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use drumline_api::CreateOperation;
use drumline_backend::store::{OPERATION_BYTES, Usage};
use drumline_protocol::{ChainKey, Organization};
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::QueueManager;
use crate::error::{Error, QuotaExceeded, Result};
use crate::quotas::{Quota, QuotaLimits};

/// The age at which a sum is added up again, whatever was created: other managers
/// create, too.
const OLD: Duration = Duration::from_secs(10);
/// The age below which a sum is good for a refusal: an organization that is over a
/// limit, and goes on trying, costs ten sums a second at most.
const FRESH: Duration = Duration::from_millis(100);
/// A sum is added up again when this part of the room was used since.
const PART_OF_ROOM: u64 = 8;
/// The organizations whose sums are remembered. The sums of idle ones are dropped.
const REMEMBERED: usize = 4_096;
/// The time after which it is worth trying again where room comes with operations
/// that end or are removed.
const RETRY_AFTER: Duration = Duration::from_secs(30);

/// The use by one create, or by several together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Amounts {
    open: u64,
    series: u64,
    tokens: u64,
    bytes: u64,
    created: u64,
}

impl Amounts {
    /// A bound of what an operation will take. It is counted as if it were the first
    /// of its token.
    fn of(request: &CreateOperation, has_token: bool) -> Self {
        let data = request.data.as_ref().map_or(0, String::len);
        Self {
            open: 1,
            series: u64::from(request.recurrence_pattern.is_some()),
            tokens: u64::from(has_token),
            bytes: OPERATION_BYTES + u64::try_from(data).unwrap_or(u64::MAX),
            created: 1,
        }
    }

    const fn get(&self, quota: Quota) -> u64 {
        match quota {
            Quota::Open => self.open,
            Quota::Series => self.series,
            Quota::Tokens => self.tokens,
            Quota::Bytes => self.bytes,
            Quota::CreatesPerMinute => self.created,
        }
    }

    const fn plus(self, other: Self) -> Self {
        Self {
            open: self.open.saturating_add(other.open),
            series: self.series.saturating_add(other.series),
            tokens: self.tokens.saturating_add(other.tokens),
            bytes: self.bytes.saturating_add(other.bytes),
            created: self.created.saturating_add(other.created),
        }
    }

    const fn minus(self, other: Self) -> Self {
        Self {
            open: self.open.saturating_sub(other.open),
            series: self.series.saturating_sub(other.series),
            tokens: self.tokens.saturating_sub(other.tokens),
            bytes: self.bytes.saturating_sub(other.bytes),
            created: self.created.saturating_sub(other.created),
        }
    }
}

const fn of_usage(usage: &Usage) -> Amounts {
    Amounts {
        open: usage.open,
        series: usage.series,
        tokens: usage.tokens,
        bytes: usage.bytes,
        created: usage.created,
    }
}

/// The knowledge of a manager about an organization.
#[derive(Debug)]
struct Account {
    // The lock is held for a moment, never across an await.
    state: Mutex<AccountState>,
    /// One request adds up, the others wait for it.
    adding_up: Semaphore,
}

impl Default for Account {
    fn default() -> Self {
        Self {
            state: Mutex::default(),
            adding_up: Semaphore::new(1),
        }
    }
}

#[derive(Debug, Default)]
struct AccountState {
    /// The sum, and when it was asked for.
    sum: Option<(Instant, Amounts)>,
    /// Admitted, and on the way to the store.
    pending: Amounts,
    /// Admitted since the sum, and stored or given up.
    since: Amounts,
}

impl AccountState {
    /// The sum with everything that was admitted since; `None` before the first one.
    fn used(&self) -> Option<Amounts> {
        let (_, sum) = self.sum?;
        Some(sum.plus(self.pending).plus(self.since))
    }

    fn age(&self) -> Duration {
        self.sum.map_or(Duration::MAX, |(at, _)| at.elapsed())
    }

    /// Returns true if the sum is too old to admit this.
    fn is_stale(&self, limits: &QuotaLimits, wanted: Amounts) -> bool {
        let age = self.age();
        let Some((_, sum)) = self.sum else {
            return true;
        };
        let more = self.pending.plus(self.since).plus(wanted);
        let uses_the_room = |quota: Quota| {
            let limit = limits.of(quota);
            limit.is_some_and(|limit| {
                more.get(quota) > limit.saturating_sub(sum.get(quota)) / PART_OF_ROOM
            })
        };
        age >= OLD || age >= FRESH && Quota::ALL.into_iter().any(uses_the_room)
    }
}

/// The accounts of the organizations that create.
#[derive(Debug, Default)]
pub(super) struct Accounts(Mutex<HashMap<Organization, Arc<Account>>>);

impl Accounts {
    fn of(&self, organization: &Organization) -> Arc<Account> {
        let mut accounts = self.0.lock();
        if let Some(account) = accounts.get(organization) {
            return Arc::clone(account);
        }
        if accounts.len() >= REMEMBERED {
            // An account that is in use would be forgotten with its shares.
            accounts.retain(|_, account| Arc::strong_count(account) > 1);
        }
        let account = Arc::<Account>::default();
        accounts.insert(organization.clone(), Arc::clone(&account));
        account
    }
}

/// The share of an admitted create. Keep it until the store has answered. Until it is
/// [sent](Self::send) its end gives the room back.
#[derive(Debug)]
pub(in crate::service) struct Share {
    account: Arc<Account>,
    amounts: Amounts,
    is_sent: bool,
}

impl Share {
    /// Notes that the create is sent to the store: from now on it may be stored.
    pub(in crate::service) const fn send(&mut self) {
        self.is_sent = true;
    }

    /// Ends the share of a create that has stored nothing.
    pub(in crate::service) fn give_back(mut self) {
        self.is_sent = false;
    }

    /// Ends the share of a create that asks once more, with its whole list.
    pub(in crate::service) fn withdraw(mut self) {
        let amounts = std::mem::take(&mut self.amounts);
        let mut state = self.account.state.lock();
        state.pending = state.pending.minus(amounts);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut state = self.account.state.lock();
        state.pending = state.pending.minus(self.amounts);
        let used = if self.is_sent {
            self.amounts
        } else {
            // Later creates of the token, in the same list, have asked for none.
            Amounts {
                tokens: self.amounts.tokens,
                ..Amounts::default()
            }
        };
        state.since = state.since.plus(used);
    }
}

/// A create that asks for room.
pub(in crate::service) struct Applicant<'a> {
    pub(in crate::service) request: &'a CreateOperation,
    pub(in crate::service) chain: Option<ChainKey>,
}

/// The use of one quota, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct QuotaUse {
    pub(crate) quota: Quota,
    pub(crate) used: u64,
    pub(crate) limit: Option<u64>,
}

impl QueueManager {
    /// Admits creates of an organization, in their order; answers in that order.
    ///
    /// # Errors
    /// `QuotaExceeded` for a create that an organization has no room for, and `Store` when
    /// its use cannot be added up.
    pub(in crate::service) async fn admit_creates(
        &self,
        organization: &Organization,
        applicants: &[Applicant<'_>],
    ) -> Vec<Result<Share>> {
        let limits = self.options().quotas.of(organization);
        let account = self.shared.accounts.of(organization);
        let mut known = HashSet::new();
        let mut answers = Vec::with_capacity(applicants.len());
        for applicant in applicants {
            let admitted = self.admit_one(organization, &account, &limits, applicant, &mut known);
            let admitted = admitted.await;
            if let Err(Error::Store(error)) = &admitted {
                // Each further question would wait as long again.
                let error = error.clone();
                answers.resize_with(applicants.len(), || Err(error.clone().into()));
                break;
            }
            answers.push(admitted);
        }
        answers
    }

    async fn admit_one(
        &self,
        organization: &Organization,
        account: &Arc<Account>,
        limits: &QuotaLimits,
        applicant: &Applicant<'_>,
        known: &mut HashSet<ChainKey>,
    ) -> Result<Share> {
        // A later create of a token takes no further one.
        let new_chain = applicant.chain.filter(|chain| !known.contains(chain));
        let wanted = Amounts::of(applicant.request, new_chain.is_some());
        if account.state.lock().is_stale(limits, wanted) {
            self.add_up(organization, account, Some((limits, wanted)))
                .await?;
        }
        let mut found = try_to_admit(account, limits, wanted);
        if found.is_err() && account.state.lock().age() >= FRESH {
            self.add_up(organization, account, None).await?;
            found = try_to_admit(account, limits, wanted);
        }
        if let Err((Quota::Tokens, _)) = found
            && let Some(chain) = new_chain
            && self.has_operations(chain).await?
        {
            let wanted = Amounts {
                tokens: 0,
                ..wanted
            };
            found = try_to_admit(account, limits, wanted);
        }
        match found {
            Ok(share) => {
                known.extend(applicant.chain);
                Ok(share)
            }
            Err((quota, limit)) => Err(QuotaExceeded {
                quota,
                limit,
                retry_after: self.room_after(quota),
            }
            .into()),
        }
    }

    /// Adds up what an organization takes, unless another request has done so
    /// meanwhile.
    async fn add_up(
        &self,
        organization: &Organization,
        account: &Account,
        for_admission: Option<(&QuotaLimits, Amounts)>,
    ) -> Result<()> {
        // The semaphore is never closed.
        let _turn = account.adding_up.acquire().await.ok();
        let before = {
            let state = account.state.lock();
            let is_needed = match for_admission {
                Some((limits, wanted)) => state.is_stale(limits, wanted),
                None => state.age() >= FRESH,
            };
            if !is_needed {
                return Ok(());
            }
            state.since
        };
        let at = Instant::now();
        let usage = self.store().usage(organization).await?;
        let mut state = account.state.lock();
        state.sum = Some((at, of_usage(&usage)));
        // Creates that were stored before the store was asked are in the sum.
        state.since = state.since.minus(before);
        Ok(())
    }

    async fn has_operations(&self, chain: ChainKey) -> Result<bool> {
        let lengths = self.store().chain_lengths(&[chain]).await?;
        Ok(lengths.into_iter().any(|length| length > 0))
    }

    /// The time after which there may be room.
    fn room_after(&self, quota: Quota) -> Duration {
        match quota {
            Quota::Open | Quota::Series | Quota::Tokens | Quota::Bytes => RETRY_AFTER,
            Quota::CreatesPerMinute => {
                // Creates are counted by the minutes of the store's clock.
                let now = u64::try_from(self.store().now().as_millis()).unwrap_or(0);
                Duration::from_millis(60_000 - now % 60_000)
            }
        }
    }

    /// The use of every quota by an organization.
    ///
    /// # Errors
    /// When the store is unavailable.
    pub(crate) async fn quotas(&self, organization: &Organization) -> Result<Vec<QuotaUse>> {
        let limits = self.options().quotas.of(organization);
        let used = of_usage(&self.store().usage(organization).await?);
        let uses = Quota::ALL.into_iter().map(|quota| QuotaUse {
            quota,
            used: used.get(quota),
            limit: limits.of(quota),
        });
        Ok(uses.collect())
    }
}

/// Admits a create, or returns the quota that it would exceed, and its limit.
fn try_to_admit(
    account: &Arc<Account>,
    limits: &QuotaLimits,
    wanted: Amounts,
) -> Result<Share, (Quota, u64)> {
    let mut state = account.state.lock();
    let used = state.used().unwrap_or_default().plus(wanted);
    for quota in Quota::ALL {
        match limits.of(quota) {
            Some(limit) if wanted.get(quota) > 0 && used.get(quota) > limit => {
                return Err((quota, limit));
            }
            Some(_) | None => {}
        }
    }
    state.pending = state.pending.plus(wanted);
    Ok(Share {
        account: Arc::clone(account),
        amounts: wanted,
        is_sent: false,
    })
}
