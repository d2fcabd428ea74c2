//! Quotas: how much an organization may have in the store, and how fast it may create.
//!
//! They stand in a file, which is looked at again and again. A file that cannot be
//! used changes nothing.
//!
//! ```toml
//! [default]
//! open = 100000
//! creates-per-minute = 6000
//!
//! [organization.contoso]
//! open = 1000000
//! ```

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use drumline_protocol::Organization;
use parking_lot::RwLock;
use serde::Deserialize;
use tokio::time::sleep;

/// The interval at which the file is looked at.
const LOOK: Duration = Duration::from_secs(2);
/// The most characters of the name of an organization.
const NAME_CHARS: usize = 256;

/// A thing that is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Quota {
    /// Operations that are not Completed.
    Open,
    /// Series that are not Completed.
    Series,
    /// Dependency tokens that have operations which are not Completed.
    Tokens,
    /// Bytes of all operations, Completed ones included.
    Bytes,
    /// Operations created within a minute.
    CreatesPerMinute,
}

impl Quota {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Open,
        Self::Series,
        Self::Tokens,
        Self::Bytes,
        Self::CreatesPerMinute,
    ];

    /// The word in the file, in metrics and in answers.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Series => "series",
            Self::Tokens => "tokens",
            Self::Bytes => "bytes",
            Self::CreatesPerMinute => "creates-per-minute",
        }
    }

    /// The words for people.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Open => "operations that are not Completed",
            Self::Series => "series that are not Completed",
            Self::Tokens => "dependency tokens in use",
            Self::Bytes => "bytes of operations",
            Self::CreatesPerMinute => "creates in a minute",
        }
    }
}

/// The limits of one organization. 0 sets no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QuotaLimits {
    /// See [`Quota::Open`].
    pub open: u64,
    /// See [`Quota::Series`].
    pub series: u64,
    /// See [`Quota::Tokens`].
    pub tokens: u64,
    /// See [`Quota::Bytes`].
    pub bytes: u64,
    /// See [`Quota::CreatesPerMinute`].
    pub creates_per_minute: u64,
}

impl QuotaLimits {
    /// The limit of a thing; `None` if it has none.
    #[must_use]
    pub const fn of(&self, quota: Quota) -> Option<u64> {
        let limit = match quota {
            Quota::Open => self.open,
            Quota::Series => self.series,
            Quota::Tokens => self.tokens,
            Quota::Bytes => self.bytes,
            Quota::CreatesPerMinute => self.creates_per_minute,
        };
        if limit == 0 { None } else { Some(limit) }
    }

    /// Returns true if nothing is limited.
    #[must_use]
    pub fn limit_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// The limits of all organizations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QuotaTable {
    default: QuotaLimits,
    organizations: HashMap<Organization, QuotaLimits>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    default: Entry,
    #[serde(default)]
    organization: HashMap<String, Entry>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Entry {
    open: Option<u64>,
    series: Option<u64>,
    tokens: Option<u64>,
    bytes: Option<u64>,
    creates_per_minute: Option<u64>,
}

impl Entry {
    fn over(self, default: QuotaLimits) -> QuotaLimits {
        QuotaLimits {
            open: self.open.unwrap_or(default.open),
            series: self.series.unwrap_or(default.series),
            tokens: self.tokens.unwrap_or(default.tokens),
            bytes: self.bytes.unwrap_or(default.bytes),
            creates_per_minute: self
                .creates_per_minute
                .unwrap_or(default.creates_per_minute),
        }
    }
}

impl QuotaTable {
    /// The same limits for all organizations.
    #[must_use]
    pub fn for_all(limits: QuotaLimits) -> Self {
        Self {
            default: limits,
            organizations: HashMap::new(),
        }
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    /// With the first mistake and its line.
    pub fn parse(text: &str) -> Result<Self, QuotaFileError> {
        let file: File = toml::from_str(text)
            .map_err(|error| QuotaFileError::Content(error.to_string().trim().to_owned()))?;
        let default = file.default.over(QuotaLimits::default());
        let mut organizations = HashMap::new();
        for (name, entry) in file.organization {
            let is_name = (1..=NAME_CHARS).contains(&name.len())
                && name.bytes().all(|byte| byte.is_ascii_graphic());
            if !is_name {
                return Err(QuotaFileError::Content(format!(
                    "[organization.{name:?}]: the name of an organization is 1 to {NAME_CHARS} visible ASCII characters"
                )));
            }
            organizations.insert(Organization(name), entry.over(default));
        }
        Ok(Self {
            default,
            organizations,
        })
    }

    /// The limits of an organization.
    #[must_use]
    pub fn of(&self, organization: &Organization) -> QuotaLimits {
        let own = self.organizations.get(organization);
        *own.unwrap_or(&self.default)
    }
}

/// The file cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuotaFileError {
    /// It cannot be read.
    #[error("{path} cannot be read: {why}")]
    Read {
        /// The path.
        path: String,
        /// The words of the operating system.
        why: String,
    },
    /// It is no TOML, or has names or values that no such file has.
    #[error("{0}")]
    Content(String),
}

/// The quotas in force.
#[derive(Debug, Default)]
pub struct Quotas {
    path: Option<PathBuf>,
    // The lock is held for a moment, never across an await.
    state: RwLock<State>,
}

#[derive(Debug, Default)]
struct State {
    table: QuotaTable,
    text: String,
    broken: Option<QuotaFileError>,
}

impl Quotas {
    /// Quotas that do not change.
    #[must_use]
    pub fn fixed(table: QuotaTable) -> Self {
        Self {
            path: None,
            state: RwLock::new(State {
                table,
                ..State::default()
            }),
        }
    }

    /// Reads the file.
    ///
    /// # Errors
    /// When it cannot be used. At the start there is nothing to fall back to.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, QuotaFileError> {
        let path = path.into();
        let text = read(&path)?;
        let table = QuotaTable::parse(&text)?;
        Ok(Self {
            path: Some(path),
            state: RwLock::new(State {
                table,
                text,
                broken: None,
            }),
        })
    }

    /// Returns true if the quotas stand in a file.
    #[must_use]
    pub const fn may_change(&self) -> bool {
        self.path.is_some()
    }

    /// The limits of an organization now.
    #[must_use]
    pub fn of(&self, organization: &Organization) -> QuotaLimits {
        self.state.read().table.of(organization)
    }

    /// The reason why the file as it is now is not in force; `None` if it is.
    #[must_use]
    pub fn broken(&self) -> Option<QuotaFileError> {
        self.state.read().broken.clone()
    }

    /// Reads the file again, and puts it in force if it is good. Returns true if
    /// something has changed. Blocks for as long as the disk takes.
    ///
    /// # Errors
    /// When it cannot be used; reported once.
    pub fn reload(&self) -> Result<bool, QuotaFileError> {
        let Some(path) = &self.path else {
            return Ok(false);
        };
        let looked = read(path).and_then(|text| {
            let state = self.state.read();
            if state.text == text && state.broken.is_none() {
                return Ok(None);
            }
            Ok(Some((QuotaTable::parse(&text)?, text)))
        });
        match looked {
            Ok(None) => Ok(false),
            Ok(Some((table, text))) => {
                *self.state.write() = State {
                    table,
                    text,
                    broken: None,
                };
                Ok(true)
            }
            Err(error) => {
                let mut state = self.state.write();
                if state.broken.as_ref() == Some(&error) {
                    return Ok(false);
                }
                state.broken = Some(error.clone());
                Err(error)
            }
        }
    }
}

fn read(path: &Path) -> Result<String, QuotaFileError> {
    fs::read_to_string(path).map_err(|error| QuotaFileError::Read {
        path: path.display().to_string(),
        why: error.to_string(),
    })
}

/// Looks at the file again and again, and says what it has found. Never ends.
pub(crate) async fn follow(quotas: Arc<Quotas>) {
    loop {
        sleep(LOOK).await;
        let file = Arc::clone(&quotas);
        match tokio::task::spawn_blocking(move || file.reload()).await {
            Ok(Ok(false)) => {}
            Ok(Ok(true)) => tracing::info!("the quotas have changed"),
            Ok(Err(error)) => {
                tracing::error!(%error, "the file with the quotas cannot be used; the quotas of before stay in force");
            }
            Err(error) => tracing::error!(%error, "the file with the quotas was not read"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> Organization {
        Organization(name.to_owned())
    }

    #[test]
    fn an_organization_has_its_own_limits_over_those_of_all() {
        let text = "[default]\nopen = 5\nbytes = 1000\n\n[organization.contoso]\nopen = 0\n\
                    creates-per-minute = 7\n\n[organization.\"a.b\"]\n";
        let table = QuotaTable::parse(text).unwrap();
        let default = QuotaLimits {
            open: 5,
            bytes: 1_000,
            ..QuotaLimits::default()
        };
        assert_eq!(table.of(&named("any")), default);
        assert_eq!(table.of(&named("a.b")), default);
        let contoso = table.of(&named("contoso"));
        assert_eq!(contoso.of(Quota::Open), None);
        assert_eq!(contoso.of(Quota::Bytes), Some(1_000));
        assert_eq!(contoso.of(Quota::CreatesPerMinute), Some(7));
        assert_eq!(contoso.of(Quota::Tokens), None);
        assert!(
            QuotaTable::parse("")
                .unwrap()
                .of(&named("x"))
                .limit_nothing()
        );
    }

    #[test]
    fn a_mistake_is_named() {
        for (text, part) in [
            ("[default]\nopne = 5", "opne"),
            ("[default]\nopen = -5", "invalid value"),
            ("[organization.\"a b\"]\nopen = 5", "visible ASCII"),
            ("open = 5", "open"),
        ] {
            let error = QuotaTable::parse(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_used_changes_nothing() {
        let folder = std::env::temp_dir().join(format!("drumline-quotas-{}", std::process::id()));
        // A test of the same process id may have left it behind.
        drop(fs::remove_dir_all(&folder));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("quotas.toml");
        let missing = Quotas::open(&path).unwrap_err();
        assert!(
            matches!(missing, QuotaFileError::Read { .. }),
            "{missing:?}"
        );
        let open = |limit: u64| fs::write(&path, format!("[default]\nopen = {limit}\n")).unwrap();
        let any = named("any");
        open(5);
        let quotas = Quotas::open(&path).unwrap();
        assert_eq!(quotas.reload(), Ok(false));
        open(6);
        assert_eq!(quotas.reload(), Ok(true));
        fs::write(&path, "open").unwrap();
        assert!(quotas.reload().is_err());
        assert_eq!(quotas.reload(), Ok(false), "reported once");
        assert!(quotas.broken().is_some());
        assert_eq!(quotas.of(&any).open, 6);
        open(6);
        assert_eq!(quotas.reload(), Ok(true));
        assert_eq!(quotas.broken(), None);
        fs::remove_dir_all(&folder).unwrap();
    }
}
