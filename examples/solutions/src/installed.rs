//! The target folder: what is installed, and how files get there.
//!
//! ```text
//! target/sales/installed.json     the version, its components, its history
//! target/sales/components/…       the components
//! ```
//!
//! Every file is written beside its place and renamed into it, so that a reader
//! sees the old one or the new one, and a kill in between leaves nothing but a
//! temporary file that the next start overwrites. `installed.json` is
//! the commit: a solution has the version that stands there.

use std::collections::BTreeSet;
use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::package::Component;
use crate::version::Version;

/// The state of one installed solution.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Installed {
    /// The version.
    pub(crate) version: Version,
    /// Its components.
    pub(crate) components: Vec<Component>,
    /// Every version that was ever imported, in order, this one last.
    pub(crate) history: Vec<Import>,
}

/// One import.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Import {
    /// The version that was imported.
    pub(crate) version: Version,
    /// The operation that did it.
    pub(crate) operation: String,
}

/// The folder of one solution in the target folder.
#[derive(Debug)]
pub(crate) struct Folder {
    root: PathBuf,
}

impl Folder {
    /// The folder of a solution; it need not exist.
    pub(crate) fn new(target: &Path, solution: &str) -> Self {
        Self {
            root: target.join(solution),
        }
    }

    /// The installed version; `None` before the first import.
    pub(crate) fn installed(&self) -> Result<Option<Installed>> {
        let path = self.record();
        let json = match fs::read(&path) {
            Ok(json) => json,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io("cannot read", &path)(error)),
        };
        serde_json::from_slice(&json)
            .map(Some)
            .map_err(|error| Error::io("cannot read", &path)(error.into()))
    }

    /// Puts a component into its place.
    pub(crate) fn place(&self, component: &str, content: &[u8]) -> Result<()> {
        replace(&self.component(component), content)
    }

    /// Makes a version the installed one.
    pub(crate) fn commit(&self, installed: &Installed) -> Result<()> {
        let path = self.record();
        let json = serde_json::to_vec_pretty(installed)
            .map_err(|error| Error::io("cannot write", &path)(error.into()))?;
        replace(&path, &json)
    }

    /// Removes what does not belong to the installed version: components that
    /// it no longer has, and temporary files of a start that was killed.
    pub(crate) fn tidy(&self, installed: &Installed) -> Result<()> {
        let wanted: BTreeSet<_> = installed
            .components
            .iter()
            .map(|component| self.component(&component.path))
            .collect();
        for path in self.files()? {
            if !wanted.contains(&path) {
                fs::remove_file(&path).map_err(Error::io("cannot remove", &path))?;
            }
        }
        Ok(())
    }

    /// Every file among the components, whatever it is.
    pub(crate) fn files(&self) -> Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        let mut folders = vec![self.root.join("components")];
        while let Some(folder) = folders.pop() {
            let entries = match fs::read_dir(&folder) {
                Ok(entries) => entries,
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(Error::io("cannot list", &folder)(error)),
            };
            for entry in entries {
                let path = entry.map_err(Error::io("cannot list", &folder))?.path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    files.push(path);
                }
            }
        }
        files.sort_unstable();
        Ok(files)
    }

    /// The path of a component.
    pub(crate) fn component(&self, path: &str) -> PathBuf {
        self.root.join("components").join(path)
    }

    fn record(&self) -> PathBuf {
        self.root.join("installed.json")
    }
}

/// Writes a file beside its place, and renames it into it.
fn replace(path: &Path, content: &[u8]) -> Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(Error::io("cannot create", folder))?;
    }
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    let written = fs::File::create(&beside).and_then(|mut file| {
        file.write_all(content)?;
        // Before the rename: a power cut must not leave an empty file under
        // the final name.
        file.sync_all()
    });
    written.map_err(Error::io("cannot write", &beside))?;
    fs::rename(&beside, path).map_err(Error::io("cannot rename to", path))
}
