//! The file of the audit log, opened again when its name stands for another file.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// A file that lines are added to.
#[derive(Debug)]
pub(super) struct Writer {
    path: PathBuf,
    open: Option<Open>,
    /// True if the last line in the file may have no end.
    is_torn: bool,
}

#[derive(Debug)]
struct Open {
    file: File,
    /// Device and number of the file.
    identity: (u64, u64),
}

/// Opens the file of an audit log, which only its owner may read if it is new.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    File::options()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
}

impl Writer {
    pub(super) const fn new(path: PathBuf) -> Self {
        Self {
            path,
            open: None,
            is_torn: false,
        }
    }

    /// Adds whole lines. Blocks for as long as the disk takes.
    ///
    /// # Errors
    /// When they were not written, or not all of them.
    pub(super) fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        let identity = fs::metadata(&self.path).ok();
        let identity = identity.map(|data| (data.dev(), data.ino()));
        let open = match self.open.take() {
            Some(open) if Some(open.identity) == identity => self.open.insert(open),
            Some(_) | None => {
                let file = open(&self.path)?;
                let data = file.metadata()?;
                self.is_torn &= data.len() > 0;
                self.open.insert(Open {
                    identity: (data.dev(), data.ino()),
                    file,
                })
            }
        };
        if self.is_torn {
            open.file.write_all(b"\n")?;
        }
        self.is_torn = true;
        open.file.write_all(lines)?;
        self.is_torn = false;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(name: &str) -> PathBuf {
        let name = format!("drumline-audit-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _none_yet = fs::remove_file(&path);
        path
    }

    #[test]
    fn a_file_that_was_renamed_is_left_and_a_new_one_begun() {
        let path = path("rotated");
        let old = path.with_extension("1");
        let mut writer = Writer::new(path.clone());
        writer.write(b"1\n").unwrap();
        fs::rename(&path, &old).unwrap();
        writer.write(b"2\n").unwrap();
        writer.write(b"3\n").unwrap();
        fs::remove_file(&path).unwrap();
        writer.write(b"4\n").unwrap();
        assert_eq!(fs::read_to_string(&old).unwrap(), "1\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "4\n");
        let mode = fs::metadata(&path).unwrap().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_line_that_was_cut_off_does_not_spoil_the_next() {
        let path = path("torn");
        fs::write(&path, "{\"cut").unwrap();
        let mut writer = Writer::new(path.clone());
        writer.is_torn = true;
        writer.write(b"{}\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "{\"cut\n{}\n");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_an_error() {
        let mut writer = Writer::new(PathBuf::from("/dev/full"));
        let error = writer.write(b"{}\n").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }
}
