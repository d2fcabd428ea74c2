//! The file in force, which may change while the process runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use drumline_protocol::Timestamp;
use parking_lot::RwLock;
use sha2::{Digest as _, Sha256};

use crate::file::{FileError, Policy};
use crate::oidc::{self, KeySet, Oidc};
use crate::principal::{Denied, Principal};
use crate::run_token::RunSecrets;
use crate::session::Session;

/// The keys in force.
#[derive(Debug)]
pub struct Authenticator {
    path: PathBuf,
    /// The secrets of run tokens; `None`: no run token is known.
    runs: Option<RunSecrets>,
    // The locks are held for a moment, never across an await.
    state: RwLock<State>,
    published: RwLock<Option<Published>>,
}

/// The keys that an issuer has published.
#[derive(Debug)]
struct Published {
    issuer: String,
    keys: Arc<KeySet>,
}

#[derive(Debug)]
struct State {
    policy: Arc<Policy>,
    /// The hash of the text and of the files with secrets that the policy was made of.
    seen: [u8; 32],
    /// The reason why the file as it is now cannot be used.
    broken: Option<FileError>,
}

/// The result of a look at the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reload {
    /// It is as it was.
    Unchanged,
    /// It has changed, and this number of keys is in force now.
    Changed {
        /// The number of keys.
        keys: usize,
    },
    /// It has changed, and cannot be used. What was in force stays.
    Broken(FileError),
}

impl Authenticator {
    /// Reads the file.
    ///
    /// # Errors
    /// When it cannot be used. At the start there is nothing to fall back to.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, FileError> {
        let path = path.into();
        let text = read(&path)?;
        let policy = Policy::load(&text, |name| read(&beside(&path, name)))?;
        Ok(Self {
            state: RwLock::new(State {
                seen: hash(&text, &path, &policy),
                policy: Arc::new(policy),
                broken: None,
            }),
            published: RwLock::new(None),
            runs: None,
            path,
        })
    }

    /// Knows run tokens that these secrets have signed.
    #[must_use]
    pub fn with_runs(self, secrets: RunSecrets) -> Self {
        Self {
            runs: Some(secrets),
            ..self
        }
    }

    /// Reads the file again, and puts it in force if it is good. Blocks for as long
    /// as the disk takes.
    pub fn reload(&self) -> Reload {
        let text = match read(&self.path) {
            Ok(text) => text,
            Err(error) => return self.keep(error),
        };
        let seen = hash(&text, &self.path, &self.policy());
        {
            let state = self.state.read();
            // A mistake may have been corrected in a file that the text names.
            if state.seen == seen && state.broken.is_none() {
                return Reload::Unchanged;
            }
        }
        match Policy::load(&text, |name| read(&beside(&self.path, name))) {
            Ok(policy) => {
                let keys = policy.keys();
                *self.state.write() = State {
                    seen: hash(&text, &self.path, &policy),
                    policy: Arc::new(policy),
                    broken: None,
                };
                Reload::Changed { keys }
            }
            Err(error) => self.keep(error),
        }
    }

    /// Notes an error, which is told once.
    fn keep(&self, error: FileError) -> Reload {
        let mut state = self.state.write();
        if state.broken.as_ref() == Some(&error) {
            return Reload::Unchanged;
        }
        state.broken = Some(error.clone());
        Reload::Broken(error)
    }

    /// The reason why the file as it is now is not in force; `None` if it is.
    #[must_use]
    pub fn broken(&self) -> Option<FileError> {
        self.state.read().broken.clone()
    }

    /// The issuer whose tokens count, if the file names one.
    #[must_use]
    pub fn oidc(&self) -> Option<Arc<Oidc>> {
        self.policy().oidc().cloned()
    }

    /// Verifies tokens of an issuer with these keys from now on. They stay until there are
    /// others, or the file names another issuer.
    pub fn publish(&self, issuer: &Oidc, keys: KeySet) {
        *self.published.write() = Some(Published {
            issuer: issuer.issuer().to_owned(),
            keys: Arc::new(keys),
        });
    }

    /// The keys of an issuer; `None` until they were published.
    #[must_use]
    pub fn keys_of(&self, issuer: &Oidc) -> Option<Arc<KeySet>> {
        let published = self.published.read();
        let own = published.as_ref();
        let own = own.filter(|published| published.issuer == issuer.issuer());
        own.map(|published| Arc::clone(&published.keys))
    }

    /// Returns true for a token of an issuer that cannot be verified with the keys that
    /// were published, and might be with those that the issuer publishes now.
    #[must_use]
    pub fn lacks_keys_for(&self, text: &str) -> bool {
        let Some(issuer) = self.oidc().filter(|_| oidc::is_token(text)) else {
            return false;
        };
        match self.keys_of(&issuer) {
            Some(keys) => !keys.suffices(text),
            // Not even an issuer that answers helps a token that is none.
            None => !KeySet::default().suffices(text),
        }
    }

    /// Finds the principal of a key, of a token of an issuer, or of a run token. The
    /// caller has to find out whether the run of a token has ended.
    ///
    /// # Errors
    /// As [`Policy::authenticate`], [`Oidc::principal`] and [`RunSecrets::read`].
    pub fn authenticate(&self, key: &str, now: Timestamp) -> Result<Arc<Principal>, Denied> {
        if RunSecrets::is_token(key) {
            let runs = self.runs.as_ref().ok_or(Denied::RunToken)?;
            return Ok(Arc::new(Principal::of_run(runs.read(key)?)));
        }
        let policy = self.policy();
        if let Some(issuer) = policy.oidc().filter(|_| oidc::is_token(key)) {
            // A token that no key would help is refused for good.
            oidc::check_form(key)?;
            let keys = self.keys_of(issuer).ok_or(Denied::IssuerUnavailable)?;
            return Ok(Arc::new(issuer.principal(key, &keys, now)?));
        }
        policy.authenticate(key, now)
    }

    /// Opens a session of a browser.
    ///
    /// # Errors
    /// As [`Policy::open`].
    pub fn open_session(&self, session: &str, now: Timestamp) -> Result<Session, Denied> {
        self.policy().open(session, now)
    }

    /// The principal of a user that the broker has authenticated.
    #[must_use]
    pub fn user(&self, name: &str) -> Option<Arc<Principal>> {
        self.policy().user(name)
    }

    fn policy(&self) -> Arc<Policy> {
        Arc::clone(&self.state.read().policy)
    }
}

fn read(path: &Path) -> Result<String, FileError> {
    fs::read_to_string(path).map_err(|error| FileError::Read {
        path: path.display().to_string(),
        why: error.to_string(),
    })
}

/// A file that is named in another one, in whose folder it is unless its name says more.
fn beside(path: &Path, name: &str) -> PathBuf {
    path.parent().unwrap_or(Path::new("")).join(name)
}

/// The hash of the text, and of the files with secrets that a policy was made of.
fn hash(text: &str, path: &Path, policy: &Policy) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(text.as_bytes());
    for name in policy.secret_files() {
        // A file that is gone changes the hash, and is complained of when it is read.
        let content = read(&beside(path, name)).unwrap_or_default();
        hash.update(Sha256::digest(content.as_bytes()));
    }
    hash.finalize().into()
}
