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
use super::record::Record;
use super::rows::{BODY, Row, TakenRows, key_of};

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
        let sum = match &self.data {
            KeptData::Here(data) => crc32fast::hash(&row_with(&self.encoded, data)),
            KeptData::Elsewhere(Elsewhere::InBody { .. }) => crc32fast::hash(self.encoded.bytes()),
            KeptData::Elsewhere(Elsewhere::OnDisk { sum, .. }) => *sum,
        };
        f.debug_struct("KeptBody")
            .field("body", &self.read().without_data())
            .field("data_bytes", &self.data_bytes())
            .field("sum", &sum)
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

    /// Leaves the data to the disk, which has the row with this checksum.
    fn let_go(&mut self, sum: u32) {
        if let KeptData::Here(data) = &self.data {
            self.data = KeptData::on_disk(data.len(), sum);
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

/// The row of a body and its data.
fn row_with(encoded: &Encoded<Body>, data: &str) -> Vec<u8> {
    let mut body = encoded.read();
    body.data = Some(data.to_owned());
    codec::encode(&body).expect("a value without a wire format is refused before")
}

/// A body that is to be written. Its row is made with nothing locked.
pub(super) struct TakenBody {
    id: OperationId,
    sequence: u64,
    encoded: Encoded<Body>,
    data: Arc<str>,
}

impl TakenBody {
    /// The bytes of the row, about.
    pub(super) fn bytes(&self) -> usize {
        self.encoded.bytes().len() + self.data.len()
    }

    /// The row, and the note for [`State::note_written`].
    pub(super) fn encode(self) -> (Row, WrittenBody) {
        let row = row_with(&self.encoded, &self.data);
        let written = WrittenBody {
            id: self.id,
            sequence: self.sequence,
            bytes: row.len(),
            sum: crc32fast::hash(&row),
        };
        ((key_of(BODY, self.id), Some(row)), written)
    }
}

/// A body whose row was written, and whose data are in memory, too.
#[derive(Clone, Debug)]
pub(crate) struct WrittenBody {
    id: OperationId,
    /// The sequence number of its operation. An operation that comes after the removal of
    /// this one has another, and may have the id.
    sequence: u64,
    /// The bytes of the row, and their checksum.
    bytes: usize,
    sum: u32,
}

/// The bodies that are on the disk and in memory, oldest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Written {
    bodies: VecDeque<WrittenBody>,
    bytes: usize,
}

impl TakenRows {
    /// Takes the body of an operation, unless the disk has it.
    pub(super) fn take_body(&mut self, id: OperationId, record: Option<&Record>) {
        let row = match record.map(|record| (record.sequence, &record.body)) {
            None => None,
            Some((sequence, body)) => match &body.data {
                KeptData::Here(data) => {
                    self.bodies.push(TakenBody {
                        id,
                        sequence,
                        encoded: body.encoded.clone(),
                        data: Arc::clone(data),
                    });
                    return;
                }
                KeptData::Elsewhere(Elsewhere::OnDisk { .. }) => return,
                KeptData::Elsewhere(Elsewhere::InBody { .. }) => {
                    Some(body.encoded.bytes().to_vec())
                }
            },
        };
        self.rows.push((key_of(BODY, id), row));
    }
}

impl State {
    /// Notes that the disk has the rows of these bodies: data of earlier ones need not be
    /// kept.
    pub(crate) fn note_written(&mut self, bodies: Vec<WrittenBody>) {
        let bytes: usize = bodies.iter().map(|written| written.bytes).sum();
        self.written.bytes += bytes;
        self.written.bodies.extend(bodies);
        while self.written.bytes > KEPT_BYTES
            && let Some(written) = self.written.bodies.pop_front()
        {
            self.written.bytes -= written.bytes;
            self.let_go(&written);
        }
    }

    /// Leaves the data of an operation to the disk.
    fn let_go(&mut self, written: &WrittenBody) {
        let id = written.id;
        let Some(contents) = self.partitions.get_mut(&id.partition()) else {
            return;
        };
        let record = contents.records.get_mut(&id);
        if let Some(record) = record.filter(|record| record.sequence == written.sequence) {
            Arc::make_mut(record).body.let_go(written.sum);
        }
    }

    /// The place of the data that answers of the state lack of an operation.
    pub(crate) fn source_of_data(&self, id: OperationId) -> Option<DataSource> {
        self.record(id)?.body.source()
    }

    /// The bytes of the data of an operation, wherever they are.
    pub(crate) fn data_bytes(&self, id: OperationId) -> usize {
        let record = self.record(id);
        record.map_or(0, |record| record.body.data_bytes())
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
