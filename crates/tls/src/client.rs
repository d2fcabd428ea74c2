//! The files of a client.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};

use crate::error::FileError;
use crate::{pem, provider};

/// The files that a client trusts and shows. Default: it trusts the CAs of the
/// system, and shows no certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientFiles {
    /// The CAs that may have signed the server's certificate, in PEM. With it, the
    /// CAs of the system are not trusted.
    pub ca: Option<PathBuf>,
    /// The client's certificate with the CAs between it and a root, in PEM.
    pub cert: Option<PathBuf>,
    /// The key of that certificate, in PEM.
    pub key: Option<PathBuf>,
}

impl ClientFiles {
    /// Returns true if no file is named.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.ca.is_none() && self.cert.is_none() && self.key.is_none()
    }

    /// Reads the files. Blocks for as long as the disk takes.
    ///
    /// # Errors
    /// When a file cannot be used, or the system has no CAs and no file is named.
    pub fn config(&self) -> Result<Arc<ClientConfig>, FileError> {
        let roots = match &self.ca {
            Some(path) => pem::roots(path, &pem::read(path)?)?,
            None => system_roots()?,
        };
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| FileError::Unusable {
                path: "TLS".to_owned(),
                why: error.to_string(),
            })?
            .with_root_certificates(roots);
        let config = match (&self.cert, &self.key) {
            (None, None) => builder.with_no_client_auth(),
            (Some(cert), Some(key)) => {
                let chain = pem::certificates(cert, &pem::read(cert)?)?;
                let private = pem::key(key, &pem::read(key)?)?;
                builder
                    .with_client_auth_cert(chain, private)
                    .map_err(|error| pair_error(cert, key, &error))?
            }
            (Some(_), None) | (None, Some(_)) => return Err(FileError::Half),
        };
        Ok(Arc::new(config))
    }
}

/// The reason why a certificate and a key cannot be used together.
pub(crate) fn pair_error(cert: &Path, key: &Path, error: &rustls::Error) -> FileError {
    match error {
        rustls::Error::InconsistentKeys(_) => FileError::OtherKey {
            cert: cert.display().to_string(),
            key: key.display().to_string(),
        },
        rustls::Error::InvalidCertificate(_) => FileError::unusable(cert, error),
        _ => FileError::unusable(key, error),
    }
}

fn system_roots() -> Result<RootCertStore, FileError> {
    let mut roots = RootCertStore::empty();
    // Systems carry certificates that cannot be read. The others count.
    let (added, _ignored) =
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if added == 0 {
        return Err(FileError::NoSystemRoots);
    }
    Ok(roots)
}
