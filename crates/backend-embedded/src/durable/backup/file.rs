//! The file that a backup is written to.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use drumline_backend::Random;
use drumline_protocol::PartitionCount;
use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::{END, MAGIC, ROW};
use crate::durable::database::{Database, FORMAT};
use crate::durable::error::Error;
use crate::state::rows::{Row, STATE};

/// The longest key and value: longer ones are no rows.
const LONGEST_KEY: usize = 64 << 10;
const LONGEST_VALUE: usize = 256 << 20;
/// The bytes of rows that are written with one transaction.
const AT_ONCE: usize = 8 << 20;
/// The length of the end: its kind, the number of rows, and the checksum.
const END_LENGTH: usize = 1 + 8 + 4;

/// The facts about a backup that is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackupSummary {
    /// The operations in it.
    pub operations: u64,
    /// The bytes of the file.
    pub bytes: u64,
}

/// A file that a backup is written to. It gets its name when it is complete and was
/// verified. Before that it has another one in the same folder, and dropping this removes
/// it.
#[derive(Debug)]
pub struct BackupFile {
    file: PathBuf,
    part: Option<Part>,
    rest: Vec<u8>,
    sum: crc32fast::Hasher,
    batch: Vec<Row>,
    batch_bytes: usize,
    rows: u64,
    operations: u64,
    is_over: bool,
}

/// The file under its first name.
#[derive(Debug)]
struct Part {
    path: PathBuf,
    /// `None` once it is closed.
    database: Option<Database>,
}

impl Drop for Part {
    fn drop(&mut self) {
        self.database = None;
        // It has its own name by now, or it is left behind: nothing takes it for a backup.
        drop(std::fs::remove_file(&self.path));
    }
}

impl BackupFile {
    /// Begins a file, which must not be there. Nothing is made before the first bytes.
    ///
    /// # Errors
    /// When it is there, or its folder cannot be looked at.
    pub fn new(file: &Path) -> Result<Self, Error> {
        match file.try_exists() {
            Ok(false) => {}
            Ok(true) => return Err(unusable(file, io::ErrorKind::AlreadyExists.into())),
            Err(error) => return Err(unusable(file, error)),
        }
        Ok(Self {
            file: file.to_owned(),
            part: None,
            rest: Vec::new(),
            sum: crc32fast::Hasher::new(),
            batch: Vec::new(),
            batch_bytes: 0,
            rows: 0,
            operations: 0,
            is_over: false,
        })
    }

    /// Takes some more bytes of a backup. Blocks for the time of a write now and then.
    ///
    /// # Errors
    /// When they are not of a backup that this release reads, or cannot be written.
    pub fn take(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.rest.extend(bytes);
        let mut rest = std::mem::take(&mut self.rest);
        let mut used = 0;
        while let Some(length) = self.take_one(rest.get(used..).unwrap_or_default())? {
            used += length;
        }
        rest.drain(..used);
        self.rest = rest;
        Ok(())
    }

    /// Takes the first thing in some bytes; returns its length, or `None` if more bytes are
    /// needed.
    fn take_one(&mut self, bytes: &[u8]) -> Result<Option<usize>, Error> {
        let mut reader = Pieces { bytes, at: 0 };
        if self.part.is_none() {
            return self.begin(reader);
        }
        let Some(kind) = reader.part(1) else {
            return Ok(None);
        };
        if self.is_over {
            return Err(self.no_backup("something stands behind its end"));
        }
        match kind {
            [ROW] => {
                let Some(key) = reader.row_part(LONGEST_KEY).map_err(|()| self.too_long())? else {
                    return Ok(None);
                };
                let value = reader.row_part(LONGEST_VALUE);
                let Some(value) = value.map_err(|()| self.too_long())? else {
                    return Ok(None);
                };
                self.rows += 1;
                self.operations += u64::from(key.first() == Some(&STATE));
                self.batch_bytes += key.len() + value.len();
                self.batch.push((key.to_vec(), Some(value.to_vec())));
                if self.batch_bytes >= AT_ONCE {
                    self.write()?;
                }
                self.sum.update(bytes.get(..reader.at).unwrap_or_default());
            }
            [END] => {
                let (Some(count), Some(sum)) = (reader.number(), reader.part(4)) else {
                    return Ok(None);
                };
                self.sum
                    .update(bytes.get(..END_LENGTH - 4).unwrap_or_default());
                let is_sum = self.sum.clone().finalize().to_be_bytes().as_slice() == sum;
                if count != self.rows || !is_sum {
                    return Err(self.no_backup("bytes of it are missing, or have changed"));
                }
                self.is_over = true;
            }
            _ => return Err(self.no_backup("it has bytes that are no row")),
        }
        Ok(Some(reader.at))
    }

    /// Reads the head, and makes the file.
    fn begin(&mut self, mut reader: Pieces<'_>) -> Result<Option<usize>, Error> {
        let head = (reader.part(MAGIC.len()), reader.number(), reader.part(2));
        let (Some(magic), Some(format), Some(count)) = head else {
            return Ok(None);
        };
        if magic != MAGIC || format != FORMAT {
            return Err(Error::OtherBackup {
                file: self.file.clone(),
            });
        }
        let count = count.try_into().map(u16::from_be_bytes).unwrap_or_default();
        let Some(partitions) = PartitionCount::new(count) else {
            return Err(self.no_backup("it has no number of partitions"));
        };
        let name = self.file.file_name().unwrap_or_default();
        let mut part = std::ffi::OsString::from(".");
        part.push(name);
        part.push(format!(".{}.part", Random::from_entropy().uuid().simple()));
        let path = self.file.with_file_name(part);
        let database = Database::begin_backup(&path, partitions)?;
        self.part = Some(Part {
            path,
            database: Some(database),
        });
        let head = reader.bytes.get(..reader.at).unwrap_or_default();
        self.sum.update(head);
        Ok(Some(reader.at))
    }

    fn write(&mut self) -> Result<(), Error> {
        self.batch_bytes = 0;
        let batch = std::mem::take(&mut self.batch);
        let database = self.part.as_ref().and_then(|part| part.database.as_ref());
        database.map_or(Ok(()), |database| database.write(&batch))
    }

    /// Ends the file: writes the rest, verifies every checksum and the number of rows, and
    /// gives it its name. Blocks.
    ///
    /// # Errors
    /// When the backup is not complete, or the file cannot be written.
    pub fn finish(mut self) -> Result<BackupSummary, Error> {
        self.write()?;
        let Some(mut part) = self.part.take().filter(|_| self.is_over) else {
            return Err(self.no_backup("it ends before its end"));
        };
        // Closed, and opened as a start would.
        part.database = None;
        if Database::verified_rows(&part.path)? != self.rows {
            return Err(self.no_backup("rows of it were not written"));
        }
        let failed = |error| unusable(&self.file, error);
        let bytes = part.path.metadata().map_err(failed)?.len();
        name(&part.path, &self.file).map_err(failed)?;
        Ok(BackupSummary {
            operations: self.operations,
            bytes,
        })
    }

    fn no_backup(&self, reason: &str) -> Error {
        Error::NoBackup {
            file: self.file.clone(),
            reason: reason.to_owned(),
        }
    }

    fn too_long(&self) -> Error {
        self.no_backup("it has a row that is too long")
    }
}

/// Gives a file its name, unless another process has made a file of that name meanwhile.
fn name(part: &Path, file: &Path) -> io::Result<()> {
    match renameat_with(CWD, part, CWD, file, RenameFlags::NOREPLACE) {
        Ok(()) => {}
        // Some file systems cannot tell.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS | rustix::io::Errno::NOTSUP) => {
            if file.try_exists()? {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            std::fs::rename(part, file)?;
        }
        Err(error) => return Err(error.into()),
    }
    let folder = file.parent().filter(|one| !one.as_os_str().is_empty());
    let synced = File::open(folder.unwrap_or(Path::new("."))).and_then(|it| it.sync_all());
    // The content is on the disk. Some file systems have no sync for the name.
    drop(synced);
    Ok(())
}

fn unusable(file: &Path, source: io::Error) -> Error {
    Error::Folder {
        folder: file.to_owned(),
        source,
    }
}

/// Bytes of a backup, of which the first are read.
struct Pieces<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Pieces<'a> {
    fn part(&mut self, length: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(length)?;
        let part = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(part)
    }

    fn number(&mut self) -> Option<u64> {
        Some(u64::from_be_bytes(self.part(8)?.try_into().ok()?))
    }

    /// A key or a value with its length; an error if it is longer than any.
    fn row_part(&mut self, longest: usize) -> Result<Option<&'a [u8]>, ()> {
        let Some(length) = self.number() else {
            return Ok(None);
        };
        let length = usize::try_from(length).ok().filter(|it| *it <= longest);
        Ok(self.part(length.ok_or(())?))
    }
}
