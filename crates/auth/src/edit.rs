//! Changes of `auth.toml` by the command line, which keep the comments and the
//! order that people gave the file.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use drumline_protocol::Timestamp;
use toml_edit::{Array, ArrayOfTables, DocumentMut, Item, Table, Value, value};

use crate::file::{FileError, Policy};
use crate::key::ApiKey;
use crate::permission::Role;

/// The key that is to be made.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// The organizations; `*` alone: all.
    pub organizations: Vec<String>,
    /// The roles.
    pub roles: Vec<Role>,
    /// The name that its operations are owned by.
    pub caller: String,
    /// The time after which it is refused.
    pub expires: Option<Timestamp>,
    /// True for a gateway.
    pub may_act_for: bool,
}

/// The file cannot be changed.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// The file, as it is or as it would be, cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// There is no such key.
    #[error("there is no key {0}; `drumline key list` shows all")]
    NoKey(String),
    /// The file cannot be written.
    #[error("{path} cannot be written: {source}")]
    Write {
        /// The path.
        path: String,
        /// The words of the operating system.
        source: std::io::Error,
    },
    /// The operating system has no random numbers.
    #[error("the operating system gives no random numbers")]
    NoRandom,
}

/// The file, to be changed.
#[derive(Debug)]
pub struct AuthDocument {
    document: DocumentMut,
}

impl AuthDocument {
    /// Reads the file; a file that does not exist is empty.
    ///
    /// # Errors
    /// When the file cannot be used as it is: nothing is changed then.
    pub fn open(path: &Path) -> Result<Self, EditError> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => {
                return Err(EditError::File(FileError::Read {
                    path: path.display().to_string(),
                    why: error.to_string(),
                }));
            }
        };
        Policy::parse(&text)?;
        let document = text
            .parse()
            .map_err(|error: toml_edit::TomlError| FileError::Syntax(error.to_string()))?;
        Ok(Self { document })
    }

    /// Adds a key, and returns it.
    ///
    /// # Errors
    /// When a value breaks a rule of the file.
    pub fn create(&mut self, new: &NewKey) -> Result<ApiKey, EditError> {
        let key = ApiKey::generate().map_err(|_unspecified| EditError::NoRandom)?;
        let mut table = Table::new();
        table.insert("id", value(key.id()));
        table.insert("sha256", list([key.hash().to_hex()]));
        table.insert("organizations", list(new.organizations.iter().cloned()));
        let roles = new.roles.iter().map(|role| role.name().to_owned());
        table.insert("roles", list(roles));
        table.insert("caller", value(new.caller.as_str()));
        if let Some(at) = new.expires {
            let at = at
                .to_string()
                .parse()
                .map_err(|error: toml_edit::DatetimeParseError| {
                    FileError::Syntax(error.to_string())
                })?;
            table.insert(
                "expires",
                Item::Value(Value::Datetime(toml_edit::Formatted::new(at))),
            );
        }
        if new.may_act_for {
            table.insert("may_act_for", value(true));
        }
        let keys = self
            .document
            .entry("key")
            .or_insert_with(|| Item::ArrayOfTables(ArrayOfTables::new()));
        let keys = keys
            .as_array_of_tables_mut()
            .ok_or_else(|| FileError::Syntax("key must be written as [[key]]".to_owned()))?;
        keys.push(table);
        Policy::parse(&self.document.to_string())?;
        Ok(key)
    }

    /// Gives a key a second secret, and returns it. The first one stays valid until
    /// [`Self::finish_rotation`], or the next rotation.
    ///
    /// # Errors
    /// When there is no such key.
    pub fn rotate(&mut self, id: &str) -> Result<ApiKey, EditError> {
        let key = ApiKey::with_id(id).map_err(|_unspecified| EditError::NoRandom)?;
        let table = self.find(id)?;
        let mut hashes = hashes(table);
        // The newest is the last.
        let newest = hashes.pop();
        let both = newest.into_iter().chain([key.hash().to_hex()]);
        table.insert("sha256", list(both));
        Ok(key)
    }

    /// Forgets all but the newest secret of a key. Returns false if it has only one.
    ///
    /// # Errors
    /// When there is no such key.
    pub fn finish_rotation(&mut self, id: &str) -> Result<bool, EditError> {
        let table = self.find(id)?;
        let mut hashes = hashes(table);
        let newest = hashes.pop();
        table.insert("sha256", list(newest));
        Ok(!hashes.is_empty())
    }

    /// Removes a key.
    ///
    /// # Errors
    /// When there is no such key.
    pub fn revoke(&mut self, id: &str) -> Result<(), EditError> {
        self.find(id)?;
        if let Some(keys) = self.keys() {
            keys.retain(|table| id_of(table) != Some(id));
        }
        Ok(())
    }

    /// Writes the file whole, readable by its owner alone if it is new. A reader
    /// sees the old or the new text, nothing in between.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), EditError> {
        let failed = |source| EditError::Write {
            path: path.display().to_string(),
            source,
        };
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let beside = folder
            .unwrap_or(Path::new("."))
            .join(format!(".{name}.{}", std::process::id()));
        let written = write_new(&beside, &self.document.to_string(), path)
            .and_then(|()| fs::rename(&beside, path));
        if written.is_err() {
            // Nothing that anyone would look for.
            let _absent = fs::remove_file(&beside);
        }
        written.map_err(failed)
    }

    fn keys(&mut self) -> Option<&mut ArrayOfTables> {
        self.document.get_mut("key")?.as_array_of_tables_mut()
    }

    fn find(&mut self, id: &str) -> Result<&mut Table, EditError> {
        let no_key = || EditError::NoKey(id.to_owned());
        let keys = self.keys().ok_or_else(no_key)?;
        let mut tables = keys.iter_mut();
        tables
            .find(|table| id_of(table) == Some(id))
            .ok_or_else(no_key)
    }
}

/// Writes a file that no one else sees yet, with the access of the one that it
/// replaces.
fn write_new(path: &Path, text: &str, replaced: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    if let Ok(old) = fs::metadata(replaced) {
        file.set_permissions(old.permissions())?;
    }
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn id_of(table: &Table) -> Option<&str> {
    table.get("id")?.as_str()
}

fn hashes(table: &Table) -> Vec<String> {
    let list = table.get("sha256").and_then(Item::as_array);
    let texts = list.into_iter().flatten().filter_map(Value::as_str);
    texts.map(str::to_owned).collect()
}

fn list(items: impl IntoIterator<Item = String>) -> Item {
    value(items.into_iter().collect::<Array>())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    fn new() -> NewKey {
        NewKey {
            organizations: vec!["contoso".to_owned()],
            roles: vec![Role::Producer, Role::Reader],
            caller: "orders".to_owned(),
            expires: Some(Timestamp::from_millis(1_900_000_000_000)),
            may_act_for: false,
        }
    }

    fn empty() -> AuthDocument {
        AuthDocument {
            document: DocumentMut::new(),
        }
    }

    fn policy(document: &AuthDocument) -> Policy {
        Policy::parse(&document.document.to_string()).unwrap()
    }

    #[test]
    fn a_key_is_created_rotated_and_revoked() {
        let mut document = empty();
        let first = document.create(&new()).unwrap();
        let other = document.create(&new()).unwrap();
        let second = document.rotate(first.id()).unwrap();
        for key in [&first, &second, &other] {
            assert!(policy(&document).authenticate(key.reveal(), NOW).is_ok());
        }
        let third = document.rotate(first.id()).unwrap();
        assert!(policy(&document).authenticate(first.reveal(), NOW).is_err());
        assert!(policy(&document).authenticate(second.reveal(), NOW).is_ok());
        assert!(document.finish_rotation(first.id()).unwrap());
        assert!(!document.finish_rotation(first.id()).unwrap());
        assert!(
            policy(&document)
                .authenticate(second.reveal(), NOW)
                .is_err()
        );
        assert!(policy(&document).authenticate(third.reveal(), NOW).is_ok());
        document.revoke(first.id()).unwrap();
        assert!(policy(&document).authenticate(third.reveal(), NOW).is_err());
        assert!(policy(&document).authenticate(other.reveal(), NOW).is_ok());
        assert!(matches!(
            document.revoke(first.id()),
            Err(EditError::NoKey(_))
        ));
    }

    #[test]
    fn the_words_of_people_stay() {
        let mut document = empty();
        let key = document.create(&new()).unwrap();
        let text = format!("# The orders team.\n{}", document.document);
        let mut document = AuthDocument {
            document: text.parse().unwrap(),
        };
        document.rotate(key.id()).unwrap();
        assert!(document.document.to_string().contains("# The orders team."));
    }

    #[test]
    fn a_value_that_breaks_a_rule_adds_no_key() {
        let mut document = empty();
        let none = NewKey {
            organizations: Vec::new(),
            ..new()
        };
        assert!(matches!(document.create(&none), Err(EditError::File(_))));
    }
}
