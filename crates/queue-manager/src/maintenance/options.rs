//! The options of maintenance. Every field has a default that suits one machine
//! as well as a fleet.

use std::num::NonZeroU64;
use std::time::Duration;

use drumline_backend::broker::UNDECIDED_MAX;

/// The intervals of maintenance. Shorter is quicker and busier: each look is one round
/// trip for all partitions, and one for each partition that has something to do.
///
/// The tasks `due`, `relay`, `leases`, `notices` and `pauses` look again after their
/// interval only if the store has changed since a look that found nothing. The shortest
/// of these intervals is the time between two questions whether it has.
#[derive(Clone, Debug)]
pub struct MaintenanceOptions {
    /// Between looks for operations whose time has come. Default 200 ms, which
    /// is their largest delay on an idle system.
    pub due: Duration,
    /// Between looks at the outbox. Default 500 ms.
    pub relay: Duration,
    /// The time that an entry of the outbox is left to the process that
    /// made it. Default 1 s, far longer than a publish takes; a shorter time
    /// publishes twice.
    pub relay_age: Duration,
    /// Between looks at the locks. Default 500 ms, which is the largest delay
    /// of a take-over.
    pub leases: Duration,
    /// Between looks at the handlers of the workers. Default 500 ms, which is the
    /// largest delay before operations go on that no worker took. A look costs
    /// nothing while the handlers stay the same.
    pub handlers: Duration,
    /// Between looks at queues that do not work. Default 500 ms, which is the
    /// largest delay before their operations are offered again. A look costs
    /// nothing while all queues work.
    pub redirect: Duration,
    /// Between looks for operations that the broker has lost. Default 5 s.
    pub reconcile: Duration,
    /// The time that an operation may wait in the broker before it is checked.
    /// Default 10 s.
    pub reconcile_grace: Duration,
    /// The time, after a marker has come back, for which the deliveries before
    /// it may still be in a worker's hands. Default 3 s: half a second more
    /// than workers keep an undecided delivery ([`UNDECIDED_MAX`]), for the
    /// claim that a free slot has just begun. A shorter time publishes twice.
    pub reconcile_settle: Duration,
    /// The time after which a marker that has not come back is looked for, and
    /// sent once more if it may be lost. The time doubles with each. Default 15
    /// s.
    pub marker_patience: Duration,
    /// Between looks for ends that are to be reported by webhook. Default 500
    /// ms, which is the largest delay of a webhook on an idle system.
    pub notices: Duration,
    /// Between looks at pauses and the operations that they hold. Default 500 ms,
    /// which is the largest delay before a lifted pause lets operations go on.
    pub pauses: Duration,
    /// Between looks for actions on many operations, while there is one; ten times as long
    /// while there is none. Default 300 ms. One that this manager starts begins at once.
    pub actions: Duration,
    /// Between looks for operations that ended long ago. Default 5 s.
    pub retention: Duration,
    /// Operations of one partition in one batch. Default 256.
    pub batch: usize,
    /// The time that Completed operations are kept.
    pub keep: Retention,
    /// The time after its last use after which a queue is deleted in the broker.
    /// `None` keeps all. Default 7 days.
    pub forget_queues: Option<Duration>,
}

impl MaintenanceOptions {
    /// The rest of the most frequent task among those that wait for news of the store.
    pub(super) fn shortest_rest(&self) -> Duration {
        let rests = [self.relay, self.leases, self.notices, self.pauses];
        rests.into_iter().fold(self.due, Duration::min)
    }
}

impl Default for MaintenanceOptions {
    fn default() -> Self {
        Self {
            due: Duration::from_millis(200),
            relay: Duration::from_millis(500),
            relay_age: Duration::from_secs(1),
            leases: Duration::from_millis(500),
            handlers: Duration::from_millis(500),
            redirect: Duration::from_millis(500),
            reconcile: Duration::from_secs(5),
            reconcile_grace: Duration::from_secs(10),
            reconcile_settle: UNDECIDED_MAX + Duration::from_millis(500),
            marker_patience: Duration::from_secs(15),
            notices: Duration::from_millis(500),
            pauses: Duration::from_millis(500),
            actions: Duration::from_millis(300),
            retention: Duration::from_secs(5),
            batch: 256,
            keep: Retention::default(),
            forget_queues: Some(7 * DAY),
        }
    }
}

/// The time that Completed operations are kept. `None` keeps them for ever; the
/// store then grows with every operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Succeeded operations. Default 30 days.
    pub succeeded: Option<Duration>,
    /// Failed and Canceled operations. Default 90 days: the reason may still be
    /// wanted.
    pub unsuccessful: Option<Duration>,
    /// Succeeded operations whose creator asked for no history
    /// (`retainJobHistory: false`). Default as long as the other Succeeded
    /// ones. Zero removes them as soon as they have ended, and only a caller
    /// that was waiting sees the result.
    pub transient: Option<Duration>,
    /// The bytes that Completed operations may take, all together; beyond them the
    /// oldest are removed early, Succeeded ones first. Default `None`: any number.
    pub completed_bytes: Option<NonZeroU64>,
    /// Operations that are removed in one step. Default 32: a few milliseconds
    /// of the store. They are read with their payloads.
    pub step: usize,
    /// The pause behind each step. Default 5 ms, so that other callers get
    /// their turn; together with the step it bounds the removals of one manager
    /// to some 5,000 in a second.
    pub pause: Duration,
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl Default for Retention {
    fn default() -> Self {
        Self {
            succeeded: Some(30 * DAY),
            unsuccessful: Some(90 * DAY),
            transient: Some(30 * DAY),
            completed_bytes: None,
            step: 32,
            pause: Duration::from_millis(5),
        }
    }
}
