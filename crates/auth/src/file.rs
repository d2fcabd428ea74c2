//! `auth.toml`: keys and users at the broker, and what they may do.

use std::collections::HashMap;
use std::sync::Arc;

use drumline_protocol::{Organization, Timestamp};
use serde::Deserialize;
use toml::value::Datetime;

use crate::key::{ApiKey, KeyHash, is_id};
use crate::oidc::{self, Oidc, OidcEntry, Secrets};
use crate::permission::Role;
use crate::principal::{Denied, Organizations, Principal, Proof};
use crate::session::{self, Session};

/// The most characters that the name of an organization or caller may have.
const NAME_CHARS: usize = 256;
/// The hashes that a key may have at the same time: the old one and the new one
/// while it is replaced.
const HASHES: usize = 2;

/// The file cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("{path} cannot be read: {why}")]
    Read {
        /// The path.
        path: String,
        /// The words of the operating system.
        why: String,
    },
    /// It is no TOML, or has fields that no such file has.
    #[error("{0}")]
    Syntax(String),
    /// A value breaks a rule.
    #[error("{entry}: {why}")]
    Value {
        /// The entry.
        entry: String,
        /// The rule.
        why: String,
    },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    key: Vec<KeyEntry>,
    #[serde(default)]
    amqp: Vec<AmqpEntry>,
    oidc: Option<OidcEntry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyEntry {
    id: String,
    sha256: Vec<String>,
    organizations: Vec<String>,
    roles: Vec<Role>,
    caller: String,
    expires: Option<Datetime>,
    #[serde(default)]
    may_act_for: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AmqpEntry {
    user: String,
    organizations: Vec<String>,
    roles: Vec<Role>,
    caller: Option<String>,
    #[serde(default)]
    may_act_for: bool,
    #[serde(default)]
    reply_to: Vec<String>,
}

/// The content of the file, checked.
#[derive(Debug, Default)]
pub struct Policy {
    keys: HashMap<String, Key>,
    users: HashMap<String, Arc<Principal>>,
    oidc: Option<Arc<Oidc>>,
    secret_files: Vec<String>,
}

#[derive(Debug)]
struct Key {
    hashes: Vec<KeyHash>,
    principal: Arc<Principal>,
}

impl Policy {
    /// Reads the text of a file.
    ///
    /// # Errors
    /// With the first mistake, and its line where the text is no such file.
    pub fn parse(text: &str) -> Result<Self, FileError> {
        Self::of(read(text)?, None)
    }

    /// Reads the text of a file, and the files with secrets that it names.
    ///
    /// # Errors
    /// As [`Self::parse`], and when one of these files cannot be used.
    pub(crate) fn load(
        text: &str,
        mut secret: impl FnMut(&str) -> Result<String, FileError>,
    ) -> Result<Self, FileError> {
        let file = read(text)?;
        let mut secrets = Secrets::new();
        for name in file.oidc.iter().flat_map(OidcEntry::files) {
            let content = secret(&name)?;
            secrets.insert(name, content);
        }
        let policy = Self::of(file, Some(&secrets))?;
        Ok(Self {
            secret_files: secrets.into_keys().collect(),
            ..policy
        })
    }

    /// The files with secrets that it was made of.
    pub(crate) fn secret_files(&self) -> &[String] {
        &self.secret_files
    }

    fn of(file: File, secrets: Option<&Secrets>) -> Result<Self, FileError> {
        let mut policy = Self::default();
        for entry in file.key {
            let name = format!("[[key]] {}", entry.id);
            let wrong = |why: String| FileError::Value {
                entry: name.clone(),
                why,
            };
            let id = entry.id.clone();
            let key = key(entry).map_err(wrong)?;
            if policy.keys.insert(id, key).is_some() {
                return Err(wrong("the id is used twice".to_owned()));
            }
        }
        for entry in file.amqp {
            let name = format!("[[amqp]] {}", entry.user);
            let wrong = |why: String| FileError::Value {
                entry: name.clone(),
                why,
            };
            let user = entry.user.clone();
            let principal = user_of(entry).map_err(wrong)?;
            if policy.users.insert(user, Arc::new(principal)).is_some() {
                return Err(wrong("the user is there twice".to_owned()));
            }
        }
        if let Some(entry) = file.oidc {
            let oidc = entry.checked(secrets).map_err(|why| FileError::Value {
                entry: "[oidc]".to_owned(),
                why,
            })?;
            policy.oidc = Some(Arc::new(oidc));
        }
        Ok(policy)
    }

    /// The issuer whose tokens count, if there is one.
    #[must_use]
    pub fn oidc(&self) -> Option<&Arc<Oidc>> {
        self.oidc.as_ref()
    }

    /// The number of keys.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.keys.len()
    }

    /// The principals of all keys, in no order.
    pub fn principals(&self) -> impl Iterator<Item = &Principal> {
        self.keys.values().map(|key| &*key.principal)
    }

    /// Finds the principal of a key.
    ///
    /// # Errors
    /// When the text is no key, or the key is not known or has expired.
    pub fn authenticate(&self, text: &str, now: Timestamp) -> Result<Arc<Principal>, Denied> {
        let key = ApiKey::parse(text)?;
        let hash = key.hash();
        let unknown = || Denied::Unknown {
            id: key.id().to_owned(),
        };
        let known = self.keys.get(key.id()).ok_or_else(unknown)?;
        if !known.hashes.iter().any(|one| one.is(&hash)) {
            return Err(unknown());
        }
        match known.principal.expires {
            Some(at) if at <= now => Err(Denied::Expired {
                id: key.id().to_owned(),
                at,
            }),
            Some(_) | None => Ok(Arc::clone(&known.principal)),
        }
    }

    /// Opens a session of a browser, and finds the principal of its key, or the person who
    /// has signed in.
    ///
    /// # Errors
    /// When the session is over, or its principal would be refused.
    pub fn open(&self, session: &str, now: Timestamp) -> Result<Session, Denied> {
        if oidc::is_session(session) {
            let oidc = self.oidc.as_ref().ok_or(Denied::Session)?;
            return oidc.open_session(session, now);
        }
        let (id, sealed) = session::split(session).ok_or(Denied::Session)?;
        let hashes = self.keys.get(id).map(|key| key.hashes.as_slice());
        let mut hashes = hashes.unwrap_or_default().iter();
        let content = hashes.find_map(|hash| session::open(id, &sealed, hash));
        let content = content.filter(|content| content.until > now);
        let content = content.ok_or(Denied::Session)?;
        Ok(Session {
            principal: self.authenticate(&content.key, now)?,
            organization: content.organization,
        })
    }

    /// The principal of a user that the broker has authenticated.
    #[must_use]
    pub fn user(&self, name: &str) -> Option<Arc<Principal>> {
        self.users.get(name).cloned()
    }
}

fn read(text: &str) -> Result<File, FileError> {
    toml::from_str(text).map_err(|error| FileError::Syntax(error.to_string()))
}

fn key(entry: KeyEntry) -> Result<Key, String> {
    if !is_id(&entry.id) {
        return Err("the id must be 8 lower-case letters or digits".to_owned());
    }
    if entry.sha256.is_empty() || entry.sha256.len() > HASHES {
        return Err(format!("sha256 must have 1 to {HASHES} hashes"));
    }
    let hashes: Option<Vec<KeyHash>> = entry
        .sha256
        .iter()
        .map(|text| KeyHash::from_hex(text))
        .collect();
    let hashes = hashes.ok_or("sha256 must be 64 hexadecimal digits, not the key itself")?;
    let expires = entry.expires.map(|at| {
        Timestamp::parse_rfc3339(&at.to_string())
            .map_err(|_invalid| "expires must be a time with a zone, such as 2027-06-01T00:00:00Z")
    });
    let principal = Principal {
        proof: Proof::Key,
        id: entry.id,
        caller: name("caller", entry.caller)?,
        organizations: organizations(entry.organizations)?,
        roles: roles(entry.roles)?,
        may_act_for: entry.may_act_for,
        expires: expires.transpose()?,
        reply_to: Vec::new(),
    };
    Ok(Key {
        hashes,
        principal: Arc::new(principal),
    })
}

fn user_of(entry: AmqpEntry) -> Result<Principal, String> {
    let user = name("user", entry.user)?;
    // An empty beginning is that of every queue.
    let reply_to = entry.reply_to.into_iter();
    let reply_to = reply_to.map(|prefix| name("reply_to", prefix));
    Ok(Principal {
        proof: Proof::BrokerUser,
        caller: name("caller", entry.caller.unwrap_or_else(|| user.clone()))?,
        id: user,
        organizations: organizations(entry.organizations)?,
        roles: roles(entry.roles)?,
        may_act_for: entry.may_act_for,
        expires: None,
        reply_to: reply_to.collect::<Result<_, _>>()?,
    })
}

fn roles(roles: Vec<Role>) -> Result<Vec<Role>, String> {
    if roles.is_empty() {
        return Err("roles must have at least one".to_owned());
    }
    Ok(roles)
}

pub(crate) fn organizations(names: Vec<String>) -> Result<Organizations, String> {
    match names.as_slice() {
        [] => Err("organizations must have at least one, or \"*\" for all".to_owned()),
        [any] if any == "*" => Ok(Organizations::All),
        _ if names.iter().any(|name| name == "*") => {
            Err("\"*\" means all organizations: leave the others out".to_owned())
        }
        _ => {
            let some = names.into_iter();
            let some = some.map(|text| name("organizations", text).map(Organization));
            Ok(Organizations::Only(some.collect::<Result<_, _>>()?))
        }
    }
}

/// A name, held to the rule of the header that carries it.
pub(crate) fn name(field: &str, text: String) -> Result<String, String> {
    if is_name(&text) {
        Ok(text)
    } else {
        Err(format!(
            "{field} must be 1 to {NAME_CHARS} visible ASCII characters"
        ))
    }
}

/// Returns true for 1 to 256 visible ASCII characters without blanks around them.
pub(crate) fn is_name(text: &str) -> bool {
    let is_visible = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    is_visible && text.trim() == text && (1..=NAME_CHARS).contains(&text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(key: &ApiKey, more: &str) -> String {
        format!(
            "[[key]]\nid = \"{}\"\nsha256 = [\"{}\"]\norganizations = [\"contoso\"]\n\
             roles = [\"producer\"]\ncaller = \"orders\"\n{more}",
            key.id(),
            key.hash().to_hex()
        )
    }

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    #[test]
    fn a_key_stands_for_what_the_file_says() {
        let key = ApiKey::generate().unwrap();
        let policy = Policy::parse(&file(&key, "")).unwrap();
        let principal = policy.authenticate(key.reveal(), NOW).unwrap();
        assert_eq!(principal.caller, "orders");
        assert_eq!(principal.roles, [Role::Producer]);
        let stranger = ApiKey::with_id(key.id()).unwrap();
        let unknown = Denied::Unknown {
            id: key.id().to_owned(),
        };
        assert_eq!(
            policy.authenticate(stranger.reveal(), NOW),
            Err(unknown),
            "the same id with another secret"
        );
    }

    #[test]
    fn two_keys_are_valid_while_one_is_replaced() {
        let old = ApiKey::generate().unwrap();
        let new = ApiKey::with_id(old.id()).unwrap();
        let text = file(&old, "").replace(
            "sha256 = [",
            &format!("sha256 = [\"{}\", ", new.hash().to_hex()),
        );
        let policy = Policy::parse(&text).unwrap();
        for key in [old, new] {
            assert!(policy.authenticate(key.reveal(), NOW).is_ok(), "{key:?}");
        }
    }

    #[test]
    fn a_key_is_refused_from_its_last_day_on() {
        let key = ApiKey::generate().unwrap();
        let policy = Policy::parse(&file(&key, "expires = 2027-01-15T08:00:00Z\n")).unwrap();
        let end = Timestamp::parse_rfc3339("2027-01-15T08:00:00Z").unwrap();
        let before = Timestamp::from_millis(end.as_millis() - 1);
        assert!(policy.authenticate(key.reveal(), before).is_ok());
        assert!(matches!(
            policy.authenticate(key.reveal(), end),
            Err(Denied::Expired { .. })
        ));
    }

    #[test]
    fn a_user_of_the_broker_is_its_own_caller() {
        let text =
            "[[amqp]]\nuser = \"orders-svc\"\norganizations = [\"*\"]\nroles = [\"producer\"]\n";
        let policy = Policy::parse(text).unwrap();
        assert_eq!(policy.user("orders-svc").unwrap().caller, "orders-svc");
        assert!(policy.user("guest").is_none());
        let any = format!("{text}reply_to = [\"\"]\n");
        let error = Policy::parse(&any).unwrap_err().to_string();
        assert!(error.contains("reply_to must be"), "{error}");
    }

    #[test]
    fn each_mistake_is_named_and_no_secret_is_shown() {
        let key = ApiKey::generate().unwrap();
        let good = file(&key, "");
        let twice = format!("{good}{good}");
        for (text, expected) in [
            (good.replace("caller", "colour"), "unknown field"),
            (good.replace("producer", "boss"), "unknown variant"),
            (good.replace("[\"producer\"]", "[]"), "at least one"),
            (good.replace("[\"contoso\"]", "[]"), "organizations"),
            (
                good.replace("[\"contoso\"]", "[\"*\", \"contoso\"]"),
                "leave the others out",
            ),
            (good.replace("\"orders\"", "\"a\\tb\""), "visible ASCII"),
            (
                good.replace(&key.hash().to_hex(), key.reveal()),
                "not the key itself",
            ),
            (good.replace(key.id(), "K"), "8 lower-case"),
            (file(&key, "expires = 2027-01-15\n"), "with a zone"),
            (twice, "used twice"),
        ] {
            let error = Policy::parse(&text).unwrap_err().to_string();
            assert!(error.contains(expected), "{expected}: {error}");
            let secret = key.reveal().get(13..56).unwrap();
            assert!(!error.contains(secret), "{error}");
        }
    }
}
