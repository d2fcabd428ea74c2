//! The settings of a worker: the variable, else `drumline.toml`, else the
//! default. Names, values and precedence are those of `drumline worker`, which
//! adds flags in front.
//!
//! One table ([`keys::KEYS`]) has all settings; a test holds it to
//! docs/configuration.md, which in turn is made from the flags of `drumline`.
//! Nothing else in the crate reads the environment.

mod file;
mod keys;
#[cfg(test)]
mod tests;
pub(crate) mod values;

use std::ffi::OsString;
use std::fmt;
use std::path::Path;

use drumline_process::host_id;
use drumline_process::settings::{DEFAULT_FILE, FILE_VARIABLE, environment, file_to_read};
use drumline_telemetry::Telemetry;
use drumline_worker::{Builder, Options, Worker};

use crate::connection::Connection;
use crate::error::{Error, Result};
use file::File;
use keys::{KEYS, UNUSED, variable_of};

/// The settings of a worker, as [`run`](crate::run) uses them.
///
/// | variable | key in `drumline.toml` | is |
/// |---|---|---|
/// | `DRUMLINE_REDIS_URL`, `DRUMLINE_AMQP_URL`, `DRUMLINE_NAMESPACE`, `DRUMLINE_PARTITIONS`, `DRUMLINE_START_PATIENCE` | `redis-url`, `amqp-url`, `namespace`, `partitions`, `start-patience` | [`Self::connection`] |
/// | `DRUMLINE_REDIS_CA_FILE`, `DRUMLINE_REDIS_CERT`, `DRUMLINE_REDIS_KEY`, `DRUMLINE_REDIS_SERVER_NAME`, and the same with `AMQP` | `redis-ca-file`, … | [`Self::connection`] |
/// | `DRUMLINE_QUEUE`, `DRUMLINE_CONCURRENCY`, `DRUMLINE_LEASE`, `DRUMLINE_STOP_GRACE`, `DRUMLINE_DRAIN_TIMEOUT`, `DRUMLINE_MAX_OUTPUT`, `DRUMLINE_MAX_OUTPUT_SUCCEEDED`, `DRUMLINE_UNHANDLED_AFTER`, `DRUMLINE_HOST_ID`, `DRUMLINE_RUN_KEY_FILE` | `queue`, `concurrency`, `lease`, `stop-grace`, `drain-timeout`, `max-output`, `max-output-succeeded`, `unhandled-after`, `host-id`, `run-key-file` | [`Self::worker`] |
/// | `DRUMLINE_LOG`, `DRUMLINE_LOG_FORMAT` | `log`, `log-format` | [`Self::telemetry`] |
///
/// docs/configuration.md explains each of them. The file is the one that
/// `DRUMLINE_CONFIG` names, else `drumline.toml` in the working directory, if it
/// exists. It may be shared with `drumline`: a key in `[worker]` wins over the
/// same key outside of any table, and settings of other commands are skipped.
///
/// `handlers` and `health-listen` have no effect; [`run`](crate::run) warns
/// about them.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The servers.
    pub connection: Connection,
    /// The worker: queues, concurrency, lease, ….
    pub worker: Options,
    /// The log and the export of traces. The export is on where the `OTEL_*`
    /// variables ask for it.
    pub telemetry: drumline_telemetry::Options,
    /// The settings that are set and have no effect.
    unused: Vec<&'static str>,
}

impl Default for Settings {
    /// The defaults of every setting, as without variables and file.
    fn default() -> Self {
        Self {
            connection: Connection::default(),
            worker: Options {
                host: host_id(),
                ..Options::default()
            },
            telemetry: drumline_telemetry::Options {
                service_name: "drumline-worker".to_owned(),
                ..drumline_telemetry::Options::default()
            },
            unused: Vec::new(),
        }
    }
}

impl Settings {
    /// Reads the environment and the file.
    ///
    /// # Errors
    /// [`Error::Settings`] with every mistake: a value that cannot be used, a
    /// key that no command has, a file that was named and cannot be read. A
    /// value in the file is checked also where a variable wins over it.
    pub fn load() -> Result<Self> {
        Self::resolve(&environment, Path::new(DEFAULT_FILE))
    }

    /// Returns a worker without handlers, with [`Self::worker`] applied.
    pub fn builder(&self) -> Builder {
        Worker::builder().options(self.worker.clone())
    }

    /// Reads the settings, with the environment and the default file given.
    fn resolve(variable: &dyn Fn(&str) -> Option<OsString>, default_file: &Path) -> Result<Self> {
        let mut settings = Self::default();
        let mut mistakes = Vec::new();
        let file = match file_to_read(variable(FILE_VARIABLE), default_file) {
            Some(path) => File::read(&path, &mut mistakes),
            None => File::default(),
        };
        for key in KEYS {
            // In ascending precedence: the last one wins, all are checked.
            for entry in file.entries(key.name) {
                if let Err(reason) = (key.set)(&mut settings, &entry.value) {
                    mistakes.push(Mistake::new(&entry.place, reason));
                }
            }
            let name = variable_of(key.name);
            if let Some(value) = variable(&name) {
                let set = match value.to_str() {
                    Some(value) => (key.set)(&mut settings, value),
                    None => Err("not UTF-8".to_owned()),
                };
                if let Err(reason) = set {
                    mistakes.push(Mistake::new(&name, reason));
                }
            }
        }
        settings.unused = UNUSED
            .iter()
            .copied()
            .filter(|key| {
                variable(&variable_of(key)).is_some() || file.entries(key).next().is_some()
            })
            .collect();
        settings.telemetry.export =
            drumline_telemetry::export::is_wanted(|name| variable(name)?.into_string().ok());
        if mistakes.is_empty() {
            Ok(settings)
        } else {
            Err(Error::Settings(mistakes))
        }
    }

    /// Sets up the log and the export of traces. Returns `None` where the
    /// program has set up a subscriber before, which is kept.
    ///
    /// # Errors
    /// [`Error::Settings`] for a log filter that does not parse,
    /// [`Error::Telemetry`] for `OTEL_*` variables that the exporter refuses.
    pub(crate) fn start_telemetry(&self) -> Result<Option<Telemetry>> {
        match drumline_telemetry::init(&self.telemetry) {
            Ok(telemetry) => Ok(Some(telemetry)),
            Err(drumline_telemetry::Error::Twice(_)) => Ok(None),
            Err(drumline_telemetry::Error::Directives(error)) => {
                let mistake = Mistake::new("log (DRUMLINE_LOG)", error.to_string());
                Err(Error::Settings(vec![mistake]))
            }
            Err(error @ drumline_telemetry::Error::Exporter(_)) => Err(Error::Telemetry(error)),
        }
    }

    /// Logs a warning for each setting that is set and has no effect.
    pub(crate) fn warn_of_unused(&self) {
        for setting in &self.unused {
            tracing::warn!(setting, "only `drumline worker` has this setting; ignored");
        }
    }
}

/// A setting that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The variable (`DRUMLINE_LEASE`), or the file, line and key
    /// (`drumline.toml:5: [worker] lease`), or the key alone (`redis-url`) for
    /// a value that the program has set.
    pub place: String,
    /// The reason. It repeats no URL: a URL may hold a password.
    pub reason: String,
}

impl Mistake {
    pub(crate) fn new(place: &str, reason: String) -> Self {
        Self {
            place: place.to_owned(),
            reason,
        }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.reason)
    }
}
