//! The certificate of a server, which may change while the process runs.

use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::RwLock;
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use rustls::server::WebPkiClientVerifier;
use sha2::{Digest as _, Sha256};

use crate::client::pair_error;
use crate::error::FileError;
use crate::{pem, provider};

/// The protocol that a client may ask for in the handshake.
const HTTP: &[u8] = b"http/1.1";

/// The files of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerFiles {
    /// The server's certificate with the CAs between it and a root, in PEM.
    pub cert: PathBuf,
    /// The key of that certificate, in PEM.
    pub key: PathBuf,
    /// The CAs of clients, in PEM. With it, every client has to show a certificate
    /// that one of them has signed.
    pub client_ca: Option<PathBuf>,
}

/// The certificate in force.
#[derive(Debug)]
pub struct ServerTls {
    files: ServerFiles,
    // The lock is held for a moment, never across an await.
    state: RwLock<State>,
}

#[derive(Debug)]
struct State {
    config: Arc<ServerConfig>,
    /// The hash of the files that were read last, good or not.
    seen: [u8; 32],
    /// The reason why those files cannot be used.
    broken: Option<FileError>,
}

/// The result of a look at the files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reload {
    /// They are as they were.
    Unchanged,
    /// They have changed, and new connections use them.
    Changed,
    /// They have changed, and cannot be used. What was in force stays.
    Broken(FileError),
}

impl ServerTls {
    /// Reads the files. Blocks for as long as the disk takes.
    ///
    /// # Errors
    /// When they cannot be used. At the start there is nothing to fall back to.
    pub fn open(files: ServerFiles) -> Result<Self, FileError> {
        let contents = Contents::read(&files)?;
        let config = contents.config(&files)?;
        Ok(Self {
            state: RwLock::new(State {
                config: Arc::new(config),
                seen: contents.hash(),
                broken: None,
            }),
            files,
        })
    }

    /// Reads the files again, and puts them in force if they are good. Blocks for
    /// as long as the disk takes.
    pub fn reload(&self) -> Reload {
        let contents = match Contents::read(&self.files) {
            Ok(contents) => contents,
            Err(error) => return self.keep(error, None),
        };
        let seen = contents.hash();
        {
            let state = self.state.read();
            let was_readable = !matches!(state.broken, Some(FileError::Read { .. }));
            if state.seen == seen && was_readable {
                return Reload::Unchanged;
            }
        }
        match contents.config(&self.files) {
            Ok(config) => {
                *self.state.write() = State {
                    config: Arc::new(config),
                    seen,
                    broken: None,
                };
                Reload::Changed
            }
            Err(error) => self.keep(error, Some(seen)),
        }
    }

    /// Notes an error, which is reported once.
    fn keep(&self, error: FileError, seen: Option<[u8; 32]>) -> Reload {
        let mut state = self.state.write();
        state.seen = seen.unwrap_or(state.seen);
        if state.broken.as_ref() == Some(&error) {
            return Reload::Unchanged;
        }
        state.broken = Some(error.clone());
        Reload::Broken(error)
    }

    /// The reason why the files as they are now are not in force; `None` if they
    /// are.
    #[must_use]
    pub fn broken(&self) -> Option<FileError> {
        self.state.read().broken.clone()
    }

    /// The configuration for the next connection.
    #[must_use]
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.state.read().config)
    }
}

/// The contents of the files at one moment.
struct Contents {
    cert: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

impl Contents {
    fn read(files: &ServerFiles) -> Result<Self, FileError> {
        Ok(Self {
            cert: pem::read(&files.cert)?,
            key: pem::read(&files.key)?,
            client_ca: files.client_ca.as_deref().map(pem::read).transpose()?,
        })
    }

    fn hash(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        let client_ca = self.client_ca.as_deref().unwrap_or_default();
        for part in [&self.cert, &self.key, client_ca] {
            hash.update(part.len().to_le_bytes());
            hash.update(part);
        }
        hash.finalize().into()
    }

    fn config(&self, files: &ServerFiles) -> Result<ServerConfig, FileError> {
        let chain = pem::certificates(&files.cert, &self.cert)?;
        let key = pem::key(&files.key, &self.key)?;
        let builder = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| FileError::unusable(&files.key, error))?;
        let builder = match (&files.client_ca, &self.client_ca) {
            (Some(path), Some(text)) => {
                let roots = Arc::new(pem::roots(path, text)?);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider())
                    .build()
                    .map_err(|error| FileError::unusable(path, error))?;
                builder.with_client_cert_verifier(verifier)
            }
            (Some(_) | None, _) => builder.with_no_client_auth(),
        };
        let mut config = builder
            .with_single_cert(chain, key)
            .map_err(|error| pair_error(&files.cert, &files.key, &error))?;
        config.alpn_protocols = vec![HTTP.to_vec()];
        Ok(config)
    }
}

/// The name of a verified client: the first URI among the names of its certificate,
/// else the first DNS name; `None` if it has neither.
#[must_use]
pub fn certificate_name(certificate: &CertificateDer<'_>) -> Option<String> {
    let parsed = webpki::EndEntityCert::try_from(certificate).ok()?;
    let uri = parsed.valid_uri_names().next();
    uri.or_else(|| parsed.valid_dns_names().next())
        .map(str::to_owned)
}
