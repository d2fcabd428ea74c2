//! The data of operations that are on the disk alone.
//!
//! Nothing in the state is decided by the data of an operation, and they are most of its
//! bytes. So a state whose rows are on a disk keeps those of the latest operations, which
//! are about to be started, and of all others a checksum. What reads the disk is the
//! caller's, who asks with [`State::sum_of_data`] what an answer lacks.

use std::collections::VecDeque;
use std::sync::Arc;

use drumline_protocol::{Body, OperationId};

use super::State;
use super::kept::Encoded;
use super::rows::{BODY, Row};

/// The bytes of written bodies that are kept: those of some seconds of creates at the
/// highest rate. More of them save reads, if operations wait no longer than that.
/// Those of a few in tests, whose operations are small.
const KEPT_BYTES: usize = if cfg!(test) { 512 } else { 16 << 20 };
/// Data of fewer bytes stay: a checksum and a read cost more than they.
const LEAST_BYTES: usize = if cfg!(test) { 4 } else { 128 };

/// A body, with its data or without.
#[derive(Clone)]
pub(super) struct KeptBody {
    encoded: Encoded<Body>,
    /// The bytes of the data, wherever they are.
    data_bytes: usize,
    /// The checksum of the row, if the data are on the disk alone.
    sum: Option<u32>,
}

/// Prints the same with the data and without: a checksum of them.
impl std::fmt::Debug for KeptBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeptBody")
            .field("body", &self.read().without_data())
            .field("data_bytes", &self.data_bytes)
            .field(
                "sum",
                &self
                    .sum
                    .unwrap_or_else(|| crc32fast::hash(self.encoded.bytes())),
            )
            .finish()
    }
}

impl KeptBody {
    pub(super) fn new(body: &Body) -> Self {
        Self {
            encoded: Encoded::of(body),
            data_bytes: body.data_bytes(),
            sum: None,
        }
    }

    /// The body in this row on the disk. Its data stay there.
    pub(super) fn in_row(row: &[u8], body: &mut Body) -> Self {
        let data_bytes = body.data_bytes();
        if data_bytes < LEAST_BYTES {
            return Self {
                encoded: Encoded::from_bytes(row),
                data_bytes,
                sum: None,
            };
        }
        body.data = None;
        Self {
            encoded: Encoded::of(body),
            data_bytes,
            sum: Some(crc32fast::hash(row)),
        }
    }

    /// The row; none if it is on the disk.
    pub(super) fn row(&self) -> Option<&[u8]> {
        match self.sum {
            None => Some(self.encoded.bytes()),
            Some(_) => None,
        }
    }

    /// The body, without data that are on the disk alone.
    pub(super) fn read(&self) -> Body {
        self.encoded.read()
    }

    pub(super) const fn data_bytes(&self) -> usize {
        self.data_bytes
    }

    pub(super) const fn sum(&self) -> Option<u32> {
        self.sum
    }

    /// Leaves the data to the disk, which has the row.
    fn let_go(&mut self) {
        if let Some(row) = self.row() {
            *self = Self::in_row(row, &mut self.read());
        }
    }
}

/// The operations whose bodies are on the disk and in memory, oldest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Written {
    ids: VecDeque<(OperationId, usize)>,
    bytes: usize,
}

impl State {
    /// Notes that the disk has these rows: data of earlier ones need not be kept.
    pub(crate) fn note_written(&mut self, rows: &[Row]) {
        for (key, value) in rows {
            if let ([BODY, id @ ..], Some(value)) = (key.as_slice(), value)
                && let Some(id) = id.try_into().ok().and_then(OperationId::from_bytes)
            {
                self.written.ids.push_back((id, value.len()));
                self.written.bytes += value.len();
            }
        }
        while self.written.bytes > KEPT_BYTES
            && let Some((id, bytes)) = self.written.ids.pop_front()
        {
            self.written.bytes -= bytes;
            self.let_go(id);
        }
    }

    /// Leaves the data of an operation to the disk.
    fn let_go(&mut self, id: OperationId) {
        let Some(contents) = self.partitions.get_mut(&id.partition()) else {
            return;
        };
        let marked = contents.touched.operations.get(&id);
        // A later operation of this id, which is still to be written.
        if marked.is_some_and(|parts| parts.body) {
            return;
        }
        if let Some(record) = contents.records.get_mut(&id) {
            Arc::make_mut(record).body.let_go();
        }
    }

    /// The checksum of the row with the body of an operation, if its data are on the disk
    /// alone. Answers of the state lack them then.
    #[must_use]
    pub(crate) fn sum_of_data(&self, id: OperationId) -> Option<u32> {
        self.record(id)?.body.sum()
    }

    /// Returns true if data may be on the disk alone.
    pub(crate) const fn leaves_data(&self) -> bool {
        self.touched.is_on
    }

    /// Returns true if there is an operation with this id.
    pub(crate) fn has(&self, id: OperationId) -> bool {
        self.record(id).is_some()
    }
}
