//! The data of operations, apart from all else.
//!
//! Nothing in the state is decided by the data of an operation, and they are most of its
//! bytes. So answers of the state lack them: its caller asks with
//! [`State::source_of_data`] where they are, and puts them in with nothing locked. A state
//! whose rows are on a disk keeps those of the latest operations, which are about to be
//! started, and of all others a checksum. What reads the disk is the caller's, too.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::sync::Arc;

use drumline_protocol::{Body, OperationId, codec};

use super::State;
use super::kept::Encoded;
use super::rows::{BODY, Row};

/// The bytes of written bodies that are kept: those of some seconds of creates at the
/// highest rate. More of them save reads, if operations wait no longer than that.
/// Those of a few in tests, whose operations are small.
const KEPT_BYTES: usize = if cfg!(test) { 512 } else { 16 << 20 };
/// Data of fewer bytes stay in the encoded body: a place of their own, or a checksum and a
/// read, cost more than they.
const LEAST_BYTES: usize = if cfg!(test) { 4 } else { 128 };

/// A body, and its data.
#[derive(Clone)]
pub(super) struct KeptBody {
    /// Without the data, unless these are few.
    encoded: Encoded<Body>,
    data: KeptData,
}

/// The data of a body.
#[derive(Clone)]
enum KeptData {
    /// In memory. Readers share them.
    Here(Arc<str>),
    Elsewhere(Elsewhere),
}

// Each operation has one.
const _: () = assert!(size_of::<KeptData>() == size_of::<Arc<str>>());

#[derive(Clone, Copy)]
enum Elsewhere {
    /// In the encoded body, if there are some.
    InBody { bytes: u8 },
    /// On the disk alone, in the row with this checksum.
    OnDisk { bytes: NonZeroU32, sum: u32 },
}

/// The place where the data are that an answer of the state lacks.
#[derive(Clone, Debug)]
pub(crate) enum DataSource {
    /// These are the data.
    Memory(Arc<str>),
    /// In the row with this checksum.
    Disk {
        /// The checksum.
        sum: u32,
    },
}

/// Prints the same with the data and without: a checksum of them.
impl std::fmt::Debug for KeptBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sum = self.row().map(|row| crc32fast::hash(&row));
        f.debug_struct("KeptBody")
            .field("body", &self.read().without_data())
            .field("data_bytes", &self.data_bytes())
            .field("sum", &sum.or(self.sum()))
            .finish()
    }
}

impl KeptBody {
    pub(super) fn new(mut body: Body) -> Self {
        let data = match apart(&mut body) {
            Some(data) => KeptData::Here(data.into()),
            None => KeptData::in_body(&body),
        };
        Self {
            encoded: Encoded::of(&body),
            data,
        }
    }

    /// The body in this row on the disk. Its data stay there.
    pub(super) fn in_row(row: &[u8], mut body: Body) -> Self {
        match apart(&mut body) {
            Some(data) => Self {
                encoded: Encoded::of(&body),
                data: KeptData::on_disk(data.len(), crc32fast::hash(row)),
            },
            None => Self {
                encoded: Encoded::from_bytes(row),
                data: KeptData::in_body(&body),
            },
        }
    }

    /// The row; none if it is on the disk.
    pub(super) fn row(&self) -> Option<Vec<u8>> {
        match &self.data {
            KeptData::Here(data) => {
                let mut body = self.encoded.read();
                body.data = Some(str::to_owned(data));
                let row = codec::encode(&body);
                Some(row.expect("a value without a wire format is refused before"))
            }
            KeptData::Elsewhere(Elsewhere::InBody { .. }) => Some(self.encoded.bytes().to_vec()),
            KeptData::Elsewhere(Elsewhere::OnDisk { .. }) => None,
        }
    }

    /// The body, without data that are kept apart.
    pub(super) fn read(&self) -> Body {
        self.encoded.read()
    }

    /// The bytes of the data, wherever they are.
    pub(super) fn data_bytes(&self) -> usize {
        match &self.data {
            KeptData::Here(data) => data.len(),
            KeptData::Elsewhere(Elsewhere::InBody { bytes }) => usize::from(*bytes),
            KeptData::Elsewhere(Elsewhere::OnDisk { bytes, .. }) => {
                usize::try_from(bytes.get()).unwrap_or(usize::MAX)
            }
        }
    }

    /// The place of the data that [`Self::read`] leaves out.
    fn source(&self) -> Option<DataSource> {
        match &self.data {
            KeptData::Here(data) => Some(DataSource::Memory(Arc::clone(data))),
            KeptData::Elsewhere(Elsewhere::InBody { .. }) => None,
            KeptData::Elsewhere(Elsewhere::OnDisk { sum, .. }) => {
                Some(DataSource::Disk { sum: *sum })
            }
        }
    }

    fn sum(&self) -> Option<u32> {
        match self.source() {
            Some(DataSource::Disk { sum }) => Some(sum),
            Some(DataSource::Memory(_)) | None => None,
        }
    }

    /// Leaves the data to the disk, which has the row.
    fn let_go(&mut self) {
        if let KeptData::Here(data) = &self.data
            && let Some(row) = self.row()
        {
            self.data = KeptData::on_disk(data.len(), crc32fast::hash(&row));
        }
    }
}

impl KeptData {
    /// The data that [`apart`] has left in a body.
    fn in_body(body: &Body) -> Self {
        let bytes = u8::try_from(body.data_bytes()).unwrap_or(u8::MAX);
        Self::Elsewhere(Elsewhere::InBody { bytes })
    }

    fn on_disk(bytes: usize, sum: u32) -> Self {
        let bytes = u32::try_from(bytes).ok().and_then(NonZeroU32::new);
        let bytes = bytes.unwrap_or(NonZeroU32::MAX);
        Self::Elsewhere(Elsewhere::OnDisk { bytes, sum })
    }
}

/// Takes the data out of a body, unless they are few.
fn apart(body: &mut Body) -> Option<String> {
    body.data.take_if(|data| data.len() >= LEAST_BYTES)
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

    /// The place of the data that answers of the state lack of an operation.
    pub(crate) fn source_of_data(&self, id: OperationId) -> Option<DataSource> {
        self.record(id)?.body.source()
    }

    /// The checksum of the row with the body of an operation, if its data are on the disk
    /// alone.
    pub(crate) fn sum_of_data(&self, id: OperationId) -> Option<u32> {
        self.record(id)?.body.sum()
    }

    /// Returns true if there is an operation with this id.
    pub(crate) fn has(&self, id: OperationId) -> bool {
        self.record(id).is_some()
    }
}
