//! The lines of an export.

use std::io::{BufRead, Read as _};

use drumline_protocol::history::Entry;
use drumline_protocol::{Body, Header, OperationId, Pause, Report};
use serde::{Deserialize, Serialize};

use crate::exit::{Exit, Failure, Result};

/// The format of the lines. Another one is not read.
pub(super) const FORMAT: u32 = 1;
/// The longest line, in bytes: several parts of a megabyte each, of which every character
/// may be written as six.
const LONGEST: u64 = 64 << 20;

/// One line.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Line {
    /// The first one.
    Export(Head),
    /// A pause.
    Pause(Box<Pause>),
    /// An operation.
    Operation(Box<Carried>),
    /// The last one. A file without it was cut.
    End(Totals),
}

/// The facts about an export.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    pub(super) format: u32,
    /// The partitions of the store: an id is of one of them for ever.
    pub(super) partitions: u16,
    /// The name of this export, by which a repeated import is recognised; absent in
    /// those of earlier builds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<String>,
}

/// The numbers of lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Totals {
    pub(super) operations: u64,
    pub(super) pauses: u64,
    /// Operations and pauses that could not be decoded, and are in no line.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) left_out: u64,
}

const fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// An operation on its way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Carried {
    #[serde(with = "as_text")]
    pub(super) id: OperationId,
    pub(super) header: Header,
    pub(super) body: Body,
    pub(super) report: Report,
    /// The stored entries of its history, if these were asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) history: Vec<Entry>,
}

mod as_text {
    use drumline_protocol::OperationId;
    use serde::{Deserialize as _, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(id: &OperationId, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(id)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<OperationId, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// The lines of a file, one after the other.
#[derive(Debug)]
pub(super) struct Lines<R> {
    from: R,
    number: u64,
    buffer: Vec<u8>,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(from: R) -> Self {
        Self {
            from,
            number: 0,
            buffer: Vec::new(),
        }
    }

    /// The first line.
    ///
    /// # Errors
    /// When it is not the head of an export that this release reads.
    pub(super) fn head(&mut self) -> Result<Head> {
        match self.next()? {
            Some(Line::Export(head)) if head.format == FORMAT => Ok(head),
            Some(Line::Export(head)) => Err(self.wrong(&format!(
                "the export has format {}, and this release reads {FORMAT}",
                head.format
            ))),
            Some(Line::Pause(_) | Line::Operation(_) | Line::End(_)) | None => {
                Err(self.wrong("this is not the beginning of an export"))
            }
        }
    }

    /// The next line; `None` at the end of the file. Blocks until there is one.
    ///
    /// # Errors
    /// When it is no such line.
    pub(super) fn next(&mut self) -> Result<Option<Line>> {
        self.buffer.clear();
        self.number += 1;
        let mut rest = (&mut self.from).take(LONGEST);
        let read = rest.read_until(b'\n', &mut self.buffer);
        let read = read.map_err(|error| Failure::caused(Exit::Data, error))?;
        if read == 0 {
            return Ok(None);
        }
        if self.buffer.last() != Some(&b'\n') {
            return Err(self.wrong("the line is cut"));
        }
        match serde_json::from_slice(&self.buffer) {
            Ok(line) => Ok(Some(line)),
            Err(error) => Err(self.wrong(&format!("this is no line of an export: {error}"))),
        }
    }

    /// The bytes of the line that was read last.
    pub(super) fn bytes(&self) -> usize {
        self.buffer.len()
    }

    /// A mistake in the line that was read last.
    pub(super) fn wrong(&self, why: &str) -> Failure {
        let text = format!(
            "line {} of standard input: {why}\n  what to do: import the whole file of `drumline export`; what was imported \
             stays, and is recognised when the import is repeated",
            self.number
        );
        Failure::new(Exit::Data, text)
    }
}
