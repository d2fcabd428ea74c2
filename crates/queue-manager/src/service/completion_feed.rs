//! The ends of operations, in their order, for watchers.
//!
//! ```text
//!  store ── ended_since ──▶ one task ──▶ ring of the latest ──▶ watcher, watcher, …
//!    ▲                   (only while                               │
//!    └──────────── ended_since, for watchers older than the ring ──┘
//!                      there are watchers)
//! ```
//!
//! A watcher holds a [`Place`] and asks for the ends behind it. Nothing is sent
//! to a watcher, so a slow or idle one costs no memory and misses nothing.
//! Completions only signal when to look; the store says what has ended. A
//! watcher that is older than the ring caches what it has read until it has
//! reported it, because reading the order of the ends is expensive: the store
//! stands still meanwhile.

use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use drumline_backend::store::{self, Stamp, Store};
use drumline_protocol::{OperationId, Partition};
use tokio::sync::{Notify, broadcast, watch};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// Ends that are kept in memory: some seconds of a busy system, and 100 kB.
const RING: usize = 4096;
/// Ends that are read at once. The store answers no other request for the few
/// milliseconds of a read: more ends keep it for longer, fewer make more round
/// trips.
const READ: usize = 256;
/// The size from which an answer may have been cut, and the next is read at
/// once. Stores may cut well before [`READ`] if the ends lie in few partitions.
const FULL: usize = READ / 8;
/// The interval of looks without a signal. It bounds the delay if the signal
/// was lost, or the end was brought about by another process.
const LOOK: Duration = Duration::from_secs(1);
/// The time to wait for further ends after the first: a burst costs one look at
/// the store per interval.
const GATHER: Duration = Duration::from_millis(25);
/// The rest after the store was unavailable.
const REST: Duration = Duration::from_secs(1);
/// The distance of a new place from now: clocks in milliseconds give the same
/// stamp to everything within one.
const MILLISECOND: u64 = 1000;

/// A place in the order of the ends: the ends behind it have not been reported
/// yet. As text it is `stamp-id`, or `stamp` alone behind all ends of that
/// stamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    stamp: Stamp,
    id: Option<OperationId>,
}

/// A text that is not a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be the id of an event of this service")]
pub struct InvalidPlace;

impl Place {
    const fn behind(stamp: Stamp) -> Self {
        Self { stamp, id: None }
    }

    /// The place right behind one end.
    #[must_use]
    pub const fn of((stamp, id): (Stamp, OperationId)) -> Self {
        Self {
            stamp,
            id: Some(id),
        }
    }

    /// Returns true if an end lies behind the place.
    fn is_before(self, (stamp, id): (Stamp, OperationId)) -> bool {
        stamp > self.stamp || (stamp == self.stamp && self.id.is_some_and(|told| id > told))
    }

    /// The stamp after which the store must be asked.
    const fn asked_after(self) -> Stamp {
        match self.id {
            // Other operations may have ended in the same microsecond.
            Some(_) => Stamp(self.stamp.0.saturating_sub(1)),
            None => self.stamp,
        }
    }

    /// The later of two places, of which this is the last reported one.
    fn moved_to(self, stamp: Stamp) -> Self {
        if stamp > self.stamp {
            Self::behind(stamp)
        } else {
            self
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.id {
            Some(id) => write!(f, "{}-{id}", self.stamp.0),
            None => write!(f, "{}", self.stamp.0),
        }
    }
}

impl FromStr for Place {
    type Err = InvalidPlace;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (stamp, id) = match text.split_once('-') {
            Some((stamp, id)) => (stamp, Some(id)),
            None => (text, None),
        };
        // `+1` is a number to Rust, but not a place that this service gave out.
        if !stamp.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(InvalidPlace);
        }
        let stamp = stamp.parse().map_err(|_not| InvalidPlace)?;
        let id = id.map(str::parse).transpose();
        Ok(Self {
            stamp: Stamp(stamp),
            id: id.map_err(|_not| InvalidPlace)?,
        })
    }
}

/// Some ends in their order, and the place to go on at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) entries: Vec<(Stamp, OperationId)>,
    pub(crate) place: Place,
}

/// The ends that one manager has seen; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Ends {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    ring: Mutex<Option<Ring>>,
    watchers: AtomicUsize,
    arrived: Notify,
    /// UpdateOperation whenever the ring may have more.
    looked: watch::Sender<()>,
}

/// All ends behind `from` up to `until`.
#[derive(Debug)]
struct Ring {
    entries: VecDeque<(Stamp, OperationId)>,
    from: Stamp,
    until: Stamp,
}

/// A watcher of ends. It is unregistered when dropped.
pub(crate) struct Watcher {
    ends: Ends,
    store: Arc<dyn Store>,
    looked: watch::Receiver<()>,
    place: Place,
    /// Ends behind the place that were read from the store and not reported
    /// yet.
    ahead: VecDeque<(Stamp, OperationId)>,
    /// The stamp up to which `ahead` holds everything that has ended.
    ahead_until: Stamp,
}

impl Ends {
    pub(crate) fn new() -> Self {
        Self {
            shared: Arc::new(Shared {
                ring: Mutex::default(),
                watchers: AtomicUsize::new(0),
                arrived: Notify::new(),
                looked: watch::Sender::new(()),
            }),
        }
    }

    /// Watches from a place on; from now on if none is given.
    ///
    /// # Errors
    /// When the store is unavailable.
    pub(crate) async fn watch(
        &self,
        store: Arc<dyn Store>,
        place: Option<Place>,
    ) -> store::Result<Watcher> {
        let place = match place {
            Some(place) => place,
            None => Place::behind(now(store.as_ref()).await?),
        };
        self.shared.watchers.fetch_add(1, Ordering::Relaxed);
        self.shared.arrived.notify_one();
        Ok(Watcher {
            ends: self.clone(),
            looked: self.shared.looked.subscribe(),
            store,
            place,
            ahead: VecDeque::new(),
            ahead_until: Stamp(0),
        })
    }

    /// Fills the ring while there is a watcher, until `closing`.
    pub(crate) async fn run(self, store: Arc<dyn Store>, closing: CancellationToken) {
        closing.run_until_cancelled(self.fill(store.as_ref())).await;
    }

    async fn fill(&self, store: &dyn Store) {
        let mut completions = store.completions();
        loop {
            if self.shared.watchers.load(Ordering::Relaxed) == 0 {
                *self.lock() = None;
                self.shared.arrived.notified().await;
                completions = completions.resubscribe();
                continue;
            }
            let read = match self.look(store).await {
                Ok(read) => read,
                Err(error) => {
                    tracing::debug!(%error, "ends are not seen");
                    *self.lock() = None;
                    sleep(REST).await;
                    0
                }
            };
            self.shared.looked.send_replace(());
            if read < FULL {
                wait_for_word(&mut completions).await;
            }
        }
    }

    /// Reads what has ended since the last look, and returns how much that was.
    async fn look(&self, store: &dyn Store) -> store::Result<usize> {
        let until = self.lock().as_ref().map(|ring| ring.until);
        let Some(until) = until else {
            let start = now(store).await?;
            *self.lock() = Some(Ring {
                entries: VecDeque::new(),
                from: start,
                until: start,
            });
            return Ok(0);
        };
        let (entries, until) = read(store, until, READ).await?;
        let count = entries.len();
        if let Some(ring) = self.lock().as_mut() {
            ring.extend(entries, until);
        }
        Ok(count)
    }

    /// The ends that the ring has behind a place; `None`: the ring begins
    /// later.
    fn at_hand(&self, place: Place, limit: usize) -> Option<Ended> {
        self.lock().as_ref()?.after(place, limit)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Ring>> {
        self.shared
            .ring
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ring {
    fn extend(&mut self, entries: Vec<(Stamp, OperationId)>, until: Stamp) {
        self.entries.extend(entries);
        while self.entries.len() > RING {
            // The ring keeps all ends of a stamp, or none.
            if let Some((stamp, _)) = self.entries.pop_front() {
                self.from = stamp;
            }
        }
        self.until = self.until.max(until);
    }

    fn after(&self, place: Place, limit: usize) -> Option<Ended> {
        if place.asked_after() < self.from {
            return None;
        }
        let start = self.entries.partition_point(|end| !place.is_before(*end));
        let found: Vec<_> = self.entries.range(start..).copied().collect();
        Some(cut(place, found, self.until, limit))
    }
}

impl Watcher {
    /// The watcher's place: everything before it has been reported.
    pub(crate) const fn place(&self) -> Place {
        self.place
    }

    /// The next ends, at most `limit`, in their order; none if nothing has
    /// ended for about a second. The same ends are returned again until
    /// [`Self::go_on`]. Cancel-safe.
    ///
    /// # Errors
    /// When the store is unavailable: ask again, after a rest.
    pub(crate) async fn next(&mut self, limit: usize) -> store::Result<Ended> {
        self.looked.mark_unchanged();
        let ended = match self.ends.at_hand(self.place, limit) {
            Some(ended) => {
                self.ahead.clear();
                ended
            }
            None => {
                if self.ahead.is_empty() {
                    self.read_ahead().await?;
                }
                // One end more than the limit shows that the answer was cut.
                let next = self.ahead.iter().take(limit.saturating_add(1));
                cut(self.place, next.copied().collect(), self.ahead_until, limit)
            }
        };
        if ended.entries.is_empty() {
            // An error: the manager has gone, and no task looks any more.
            drop(timeout(LOOK, self.looked.changed()).await);
        }
        Ok(ended)
    }

    /// Asks the store for the ends behind the place.
    async fn read_ahead(&mut self) -> store::Result<()> {
        let after = self.place.asked_after();
        let (entries, until) = read(self.store.as_ref(), after, READ).await?;
        let place = self.place;
        self.ahead.extend(entries);
        self.ahead.retain(|end| place.is_before(*end));
        self.ahead_until = until;
        Ok(())
    }

    /// Notes that everything up to this place has been reported.
    pub(crate) fn go_on(&mut self, place: Place) {
        self.place = place;
        while self.ahead.front().is_some_and(|end| !place.is_before(*end)) {
            self.ahead.pop_front();
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.ends.shared.watchers.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The first of some ends, and the place behind them.
fn cut(place: Place, mut entries: Vec<(Stamp, OperationId)>, until: Stamp, limit: usize) -> Ended {
    let place = if entries.len() > limit {
        entries.truncate(limit);
        entries.last().copied().map_or(place, Place::of)
    } else {
        place.moved_to(until)
    };
    Ended { entries, place }
}

/// Reads the ends behind a stamp, up to another; in order, also if the stamps
/// are the same.
async fn read(
    store: &dyn Store,
    after: Stamp,
    limit: usize,
) -> store::Result<(Vec<(Stamp, OperationId)>, Stamp)> {
    let store::Ended { mut entries, until } = store.ended_since(after, limit).await?;
    entries.sort_unstable();
    Ok((entries, until))
}

/// The place of now, by the store's own clock.
///
/// The store is asked once. One partition may be ahead of the others, by a
/// clock that was set back, and with this stamp no end will be put before the
/// place.
async fn now(store: &dyn Store) -> store::Result<Stamp> {
    let Stamp(now) = store.stamp(Partition::new(0)).await?;
    let place = Stamp(now.saturating_sub(MILLISECOND));
    read(store, place, 1).await?;
    Ok(place)
}

/// Waits until something may have ended.
async fn wait_for_word(completions: &mut broadcast::Receiver<OperationId>) {
    match timeout(LOOK, completions.recv()).await {
        // The store will say which operations ended.
        Ok(Ok(_) | Err(broadcast::error::RecvError::Lagged(_))) => sleep(GATHER).await,
        Ok(Err(broadcast::error::RecvError::Closed)) => sleep(LOOK).await,
        Err(_elapsed) => {}
    }
    *completions = completions.resubscribe();
}

#[cfg(test)]
mod tests {
    use drumline_backend_embedded::{ManualClock, backend_with_clock};
    use drumline_protocol::{PartitionCount, Timestamp};

    use super::*;

    fn end(stamp: u64, number: u8) -> (Stamp, OperationId) {
        let id = OperationId::new(Timestamp::from_millis(1), Partition::new(0), [number; 16]);
        (Stamp(stamp), id)
    }

    #[tokio::test]
    async fn nothing_is_put_before_a_fresh_place_though_one_partition_is_ahead() {
        let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1)));
        let partitions = PartitionCount::new(8).unwrap();
        let store = backend_with_clock(partitions, clock).store;
        // As after a clock that was set back: the numbers lie in the future.
        for _ in 0..20_000 {
            store.stamp(Partition::new(0)).await.unwrap();
        }
        let place = now(store.as_ref()).await.unwrap();
        let next = store.stamp(Partition::new(1)).await.unwrap();
        assert!(next > place, "{next:?} {place:?}");
    }

    #[test]
    fn a_place_is_read_as_it_is_written() {
        for place in [Place::behind(Stamp(17)), Place::of(end(18, 3))] {
            assert_eq!(place.to_string().parse(), Ok(place));
        }
        let id = end(1, 1).1;
        for bad in [
            "",
            "-",
            "x",
            "+1",
            "-1",
            "1-",
            "1-2",
            "99999999999999999999999",
        ] {
            assert_eq!(bad.parse::<Place>(), Err(InvalidPlace), "{bad}");
        }
        assert!(format!("1-{id}-").parse::<Place>().is_err());
    }

    #[test]
    fn ends_of_one_stamp_are_told_once_wherever_the_cut_falls() {
        let all = [end(5, 1), end(5, 2), end(5, 3), end(6, 1)];
        let mut ring = Ring {
            entries: VecDeque::new(),
            from: Stamp(4),
            until: Stamp(4),
        };
        ring.extend(all.to_vec(), Stamp(9));
        let mut place = Place::behind(Stamp(4));
        let mut told = Vec::new();
        for _ in 0..4 {
            let ended = ring.after(place, 1).unwrap();
            told.extend(ended.entries);
            place = ended.place;
        }
        assert_eq!(told, all);
        assert_eq!(ring.after(place, 1).unwrap().entries, []);
        assert_eq!(place, Place::behind(Stamp(9)));
    }

    #[test]
    fn who_is_behind_the_ring_is_sent_to_the_store() {
        let mut ring = Ring {
            entries: VecDeque::new(),
            from: Stamp(0),
            until: Stamp(0),
        };
        let many = (1..=RING as u64 + 10).map(|stamp| end(stamp, 1)).collect();
        ring.extend(many, Stamp(RING as u64 + 10));
        assert!(ring.after(Place::behind(Stamp(9)), 1).is_none());
        let first = ring.after(Place::behind(Stamp(10)), 1).unwrap();
        assert_eq!(first.entries, [end(11, 1)]);
    }

    #[test]
    fn a_place_in_the_future_stays_there() {
        let ring = Ring {
            entries: VecDeque::new(),
            from: Stamp(0),
            until: Stamp(5),
        };
        let place = Place::behind(Stamp(100));
        assert_eq!(ring.after(place, 1).unwrap().place, place);
    }
}
