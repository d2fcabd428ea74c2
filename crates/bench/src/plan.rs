//! The measurements to take, and their sizes.

use std::fmt;
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use clap::ValueEnum;

/// The measurements to take, and their sizes.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Only these measurements; empty: all.
    pub only: Vec<Measurement>,
    /// The length of each round of a measurement, in seconds.
    pub seconds: u32,
    /// Rounds of each measurement.
    pub rounds: NonZeroUsize,
    /// Callers that create at the same time.
    pub callers: NonZeroUsize,
    /// Operations per batch where batches are measured.
    pub batch: NonZeroUsize,
    /// Operations that a worker runs at the same time.
    pub concurrency: NonZeroU32,
    /// Different tokens where order is measured.
    pub tokens: NonZeroUsize,
    /// Operations that a pause holds, where that is measured.
    pub held: NonZeroUsize,
    /// Worker processes beside this one; 0: worker and manager in this process.
    pub processes: usize,
}

impl Plan {
    /// The measurements that were requested and make sense on such a target.
    pub(crate) fn measurements(&self, has_servers: bool) -> Vec<Measurement> {
        Measurement::value_variants()
            .iter()
            .copied()
            // It takes minutes, and is measured by name only.
            .filter(|measurement| match measurement {
                Measurement::Held => self.only.contains(measurement),
                _ => self.only.is_empty() || self.only.contains(measurement),
            })
            .filter(|measurement| match measurement {
                // Without servers there is nothing to compare with or to fill.
                Measurement::Floor | Measurement::Memory => has_servers,
                Measurement::Create
                | Measurement::CreateBatch
                | Measurement::Single
                | Measurement::Batch
                | Measurement::Ordered
                | Measurement::Latency
                | Measurement::Held => true,
            })
            .collect()
    }

    /// The length of a round.
    pub(crate) fn length(&self) -> Duration {
        Duration::from_secs(u64::from(self.seconds))
    }
}

/// For people.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Figures of the two builds do not compare.
        if cfg!(debug_assertions) {
            f.write_str("debug build; ")?;
        }
        match self.processes {
            0 => f.write_str("manager and worker in one process")?,
            1 => f.write_str("a separate worker process")?,
            count => write!(f, "{count} separate worker processes")?,
        }
        write!(
            f,
            "; {} callers, batches of {}, {} operations at the same time, {} tokens; rounds of {} s",
            self.callers, self.batch, self.concurrency, self.tokens, self.seconds
        )
    }
}

/// A measurement. The comments are the help of `drumline bench`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Measurement {
    /// The baseline: bare libraries on the same servers
    Floor,
    /// Creates per second, without a worker
    Create,
    /// Creates per second in batches
    CreateBatch,
    /// Operations per second from create to Completed, created one by one
    Single,
    /// Operations per second from create to Completed, created in batches
    Batch,
    /// Operations per second from create to Completed, in order per token
    Ordered,
    /// Milliseconds from submit to start, at 200 per second
    Latency,
    /// Bytes of Redis per operation, waiting, chained and Completed, by kind of key
    Memory,
    /// Milliseconds from submit to start beside operations that a pause holds, and their end when it is lifted; only if it is named
    Held,
}

impl Measurement {
    /// The name of the measurement, for people.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Floor => "floor: the bare libraries",
            Self::Create => "create, one by one",
            Self::CreateBatch => "create, in batches",
            Self::Single => "end to end, created one by one",
            Self::Batch => "end to end, created in batches",
            Self::Ordered => "end to end, in order per token",
            Self::Latency => "submit to start",
            Self::Memory => "Redis per operation",
            Self::Held => "beside operations that a pause holds",
        }
    }
}
