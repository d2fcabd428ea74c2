//! A solution package: a `.zip` with a `solution.xml` and the components that
//! it lists, under `components/`.
//!
//! Opening one checks all of it but the components' bytes, which are checked
//! against the archive's CRC while they are read.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use zip::read::ZipArchive;
use zip::write::{SimpleFileOptions, ZipWriter};

use crate::error::{Error, Result};
use crate::manifest::{self, Manifest};

/// The folder of the components inside the archive.
const COMPONENTS: &str = "components/";
/// The largest file that is unpacked, in bytes: a damaged or hostile archive
/// fails instead of filling the disk.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// A package that is open for reading.
pub(crate) struct Package {
    path: PathBuf,
    archive: ZipArchive<BufReader<File>>,
    /// Its description of itself.
    pub(crate) manifest: Manifest,
    /// Its components, in the manifest's order.
    pub(crate) components: Vec<Component>,
}

/// One component, as the archive's directory describes it. Two with the same
/// path, size and checksum are taken to be the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Component {
    /// The path inside the solution.
    pub(crate) path: String,
    /// Bytes.
    pub(crate) size: u64,
    /// CRC-32 of the content.
    pub(crate) crc: u32,
}

impl Package {
    /// Opens a package and checks that it is one.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|source| match source.kind() {
            // A package that is not there does not come by waiting.
            std::io::ErrorKind::NotFound => invalid(path, "there is no such file"),
            _ => Error::io("cannot open", path)(source),
        })?;
        let mut archive =
            ZipArchive::new(BufReader::new(file)).map_err(|source| damaged(path, source))?;
        let xml = read(path, &mut archive, manifest::FILE)?;
        let xml = String::from_utf8(xml)
            .map_err(|error| invalid(path, &format!("{} is not UTF-8: {error}", manifest::FILE)))?;
        let manifest = Manifest::parse(&xml)
            .map_err(|why| invalid(path, &format!("{}: {why}", manifest::FILE)))?;
        let mut components = Vec::new();
        for name in &manifest.components {
            let entry = archive
                .by_name(&format!("{COMPONENTS}{name}"))
                .map_err(|source| damaged(path, source))?;
            components.push(Component {
                path: name.clone(),
                size: entry.size(),
                crc: entry.crc32(),
            });
        }
        Ok(Self {
            path: path.to_path_buf(),
            archive,
            manifest,
            components,
        })
    }

    /// The content of a component.
    pub(crate) fn read(&mut self, component: &Component) -> Result<Vec<u8>> {
        let name = format!("{COMPONENTS}{}", component.path);
        read(&self.path, &mut self.archive, &name)
    }

    /// Every package in a folder, ordered by solution and version.
    pub(crate) fn all_in(dir: &Path) -> Result<Vec<(PathBuf, Self)>> {
        let mut packages = Vec::new();
        for entry in std::fs::read_dir(dir).map_err(Error::io("cannot list", dir))? {
            let path = entry.map_err(Error::io("cannot list", dir))?.path();
            if path.extension().is_some_and(|extension| extension == "zip") {
                let package = Self::open(&path)?;
                packages.push((path, package));
            }
        }
        packages.sort_by(|(_, a), (_, b)| {
            let key =
                |package: &Self| (package.manifest.solution.clone(), package.manifest.version);
            key(a).cmp(&key(b))
        });
        Ok(packages)
    }
}

/// Writes a package; the same input gives the same bytes.
pub(crate) fn write(path: &Path, manifest: &Manifest, contents: &[String]) -> Result<()> {
    let file = File::create(path).map_err(Error::io("cannot create", path))?;
    let mut archive = ZipWriter::new(BufWriter::new(file));
    // Without a time of its own an entry gets 1980-01-01, which is what makes
    // the bytes the same each time.
    let options = SimpleFileOptions::default().last_modified_time(zip::DateTime::default());
    let mut add = |name: &str, content: &[u8]| -> zip::result::ZipResult<()> {
        archive.start_file(name, options)?;
        archive.write_all(content)?;
        Ok(())
    };
    let failed = |source| damaged(path, source);
    add(manifest::FILE, manifest.to_xml().as_bytes()).map_err(failed)?;
    for (name, content) in manifest.components.iter().zip(contents) {
        add(&format!("{COMPONENTS}{name}"), content.as_bytes()).map_err(failed)?;
    }
    let mut file = archive.finish().map_err(failed)?;
    file.flush().map_err(Error::io("cannot write", path))
}

fn read(path: &Path, archive: &mut ZipArchive<BufReader<File>>, name: &str) -> Result<Vec<u8>> {
    let entry = archive
        .by_name(name)
        .map_err(|_missing| invalid(path, &format!("it has no {name}")))?;
    let mut content = Vec::new();
    let read = entry
        .take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut content)
        .map_err(|source| damaged(path, source.into()))?;
    if u64::try_from(read).unwrap_or(u64::MAX) > FILE_BYTES_MAX {
        return Err(invalid(
            path,
            &format!("{name} is larger than {FILE_BYTES_MAX} bytes"),
        ));
    }
    Ok(content)
}

fn damaged(path: &Path, source: zip::result::ZipError) -> Error {
    Error::Archive {
        package: path.to_path_buf(),
        source,
    }
}

fn invalid(path: &Path, why: &str) -> Error {
    Error::Invalid {
        package: path.to_path_buf(),
        why: why.to_owned(),
    }
}
