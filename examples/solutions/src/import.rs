//! The handler: imports one package into the target folder.
//!
//! The steps are checked or repeated without harm, so that a start after a
//! kill at any point ends where an undisturbed one would have: components are
//! replaced one by one, then the version is committed, then leftovers go.
//!
//! It trusts Drumline with nothing: that the predecessor is installed is
//! checked, and a package that comes out of order fails.

use std::io::Read;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, channel};
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;
use signal_hook::consts::SIGTERM;
use signal_hook::iterator::Signals;

use crate::error::{Error, Result};
use crate::installed::{Folder, Import, Installed};
use crate::manifest::Manifest;
use crate::package::Package;
use crate::speech;
use crate::version::Version;

/// The parts of an operation that the handler needs.
#[derive(Debug, Deserialize)]
pub(crate) struct Order {
    id: String,
    data: Data,
}

#[derive(Debug, Deserialize)]
struct Data {
    package: PathBuf,
    target: PathBuf,
}

impl Order {
    /// Reads the operation that the worker writes to stdin.
    pub(crate) fn read(input: impl Read) -> Result<Self> {
        serde_json::from_reader(input).map_err(Error::Operation)
    }
}

/// Hears SIGTERM, by which a worker asks a handler to stop.
#[derive(Debug)]
pub(crate) struct Stop {
    asked: Receiver<()>,
    pace: Duration,
}

impl Stop {
    /// Starts to listen. `pace` is how long a [`rest`](Self::rest) takes.
    pub(crate) fn listen(pace: Duration) -> Result<Self> {
        let mut signals =
            Signals::new([SIGTERM]).map_err(Error::io("cannot listen to", "SIGTERM".as_ref()))?;
        let (ask, asked) = channel();
        thread::spawn(move || {
            for _ in signals.forever() {
                if ask.send(()).is_err() {
                    return;
                }
            }
        });
        Ok(Self { asked, pace })
    }

    /// Waits for as long as the pace says, or until it was asked to stop;
    /// whether it was.
    fn rest(&self) -> bool {
        if self.pace.is_zero() {
            return !matches!(self.asked.try_recv(), Err(TryRecvError::Empty));
        }
        !matches!(
            self.asked.recv_timeout(self.pace),
            Err(RecvTimeoutError::Timeout)
        )
    }
}

/// The place at which a stopped import goes on. What it skips is in place already; a
/// checkpoint that is lost or unreadable costs time, nothing else.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Checkpoint {
    version: Version,
    next: usize,
}

/// Imports a package.
pub(crate) fn import(order: &Order, checkpoint: Option<&str>, stop: &Stop) -> Result<()> {
    let mut package = Package::open(&order.data.package)?;
    let folder = Folder::new(&order.data.target, &package.manifest.solution);
    let before = folder.installed()?;
    if already_there(&package, before.as_ref())? {
        if let Some(installed) = &before {
            folder.tidy(installed)?;
        }
        announce(&package.manifest, 0);
        return Ok(());
    }
    check_dependencies(order, &package.manifest)?;
    let first = start_at(checkpoint, &package);
    let written = place_components(&mut package, &folder, first, stop)?;

    let mut history = before.map(|before| before.history).unwrap_or_default();
    history.push(Import {
        version: package.manifest.version,
        operation: order.id.clone(),
    });
    let installed = Installed {
        version: package.manifest.version,
        components: package.components.clone(),
        history,
    };
    folder.commit(&installed)?;
    folder.tidy(&installed)?;
    announce(&package.manifest, written);
    Ok(())
}

/// Returns true if this package was imported before (a start that was killed after
/// its commit). Otherwise the package must be the very next one.
fn already_there(package: &Package, installed: Option<&Installed>) -> Result<bool> {
    let Manifest {
        solution,
        version,
        upgrades,
        ..
    } = &package.manifest;
    if let Some(installed) = installed
        && installed.version == *version
    {
        return if installed.components == package.components {
            Ok(true)
        } else {
            Err(Error::OtherContent {
                solution: solution.clone(),
                version: *version,
            })
        };
    }
    let installed = installed.map(|installed| installed.version);
    if installed == *upgrades {
        return Ok(false);
    }
    Err(Error::OutOfOrder {
        solution: solution.clone(),
        version: *version,
        upgrades: *upgrades,
        installed,
    })
}

fn check_dependencies(order: &Order, manifest: &Manifest) -> Result<()> {
    for dependency in &manifest.dependencies {
        let found = Folder::new(&order.data.target, &dependency.solution).installed()?;
        let found = found.map(|installed| installed.version);
        if found.is_none_or(|version| version < dependency.at_least) {
            return Err(Error::MissingDependency {
                solution: manifest.solution.clone(),
                needs: dependency.solution.clone(),
                at_least: dependency.at_least,
                installed: found,
            });
        }
    }
    Ok(())
}

/// The first component that an earlier start did not put into its place.
fn start_at(checkpoint: Option<&str>, package: &Package) -> usize {
    checkpoint
        .and_then(|text| serde_json::from_str::<Checkpoint>(text).ok())
        .filter(|checkpoint| checkpoint.version == package.manifest.version)
        .map_or(0, |checkpoint| {
            checkpoint.next.min(package.components.len())
        })
}

/// Puts the components from `first` on into their places; how many those were.
fn place_components(
    package: &mut Package,
    folder: &Folder,
    first: usize,
    stop: &Stop,
) -> Result<usize> {
    let components = package.components.clone();
    let all = components.len();
    for (number, component) in components.iter().enumerate().skip(first) {
        if stop.rest() {
            let checkpoint = Checkpoint {
                version: package.manifest.version,
                next: number,
            };
            speech::checkpoint(&json!(checkpoint));
            return Err(Error::Stopped { next: number, all });
        }
        let content = package.read(component)?;
        folder.place(&component.path, &content)?;
        speech::progress(number + 1, all, &component.path);
    }
    Ok(all.saturating_sub(first))
}

fn announce(manifest: &Manifest, written: usize) {
    speech::result(&json!({
        "solution": manifest.solution,
        "version": manifest.version,
        "componentsWritten": written,
    }));
}

#[cfg(test)]
pub(crate) mod tests;
