//! Mistakes in files of certificates and keys.

use std::path::Path;

/// The reason why a file of certificates or keys cannot be used. Nothing of a key
/// is in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// The file cannot be read.
    #[error("{path}: {why}")]
    Read {
        /// The file.
        path: String,
        /// The error of the system.
        why: String,
    },
    /// The file has no certificate in PEM.
    #[error("{path}: no certificate in PEM (-----BEGIN CERTIFICATE-----)")]
    NoCertificate {
        /// The file.
        path: String,
    },
    /// The file has no private key in PEM.
    #[error(
        "{path}: no private key in PEM (-----BEGIN PRIVATE KEY-----), or one with a passphrase"
    )]
    NoKey {
        /// The file.
        path: String,
    },
    /// The file is PEM, and its content cannot be used.
    #[error("{path}: {why}")]
    Unusable {
        /// The file.
        path: String,
        /// The complaint of the cryptography library.
        why: String,
    },
    /// A certificate came with the key of another one.
    #[error("the key in {key} is not that of the first certificate in {cert}")]
    OtherKey {
        /// The file with the certificate.
        cert: String,
        /// The file with the key.
        key: String,
    },
    /// A client certificate without its key, or the other way round.
    #[error("a client certificate needs both its certificate and its key")]
    Half,
    /// The name of a server cannot be in a certificate.
    #[error("{name:?} is no name of a server: expected a DNS name or an IP address")]
    Name {
        /// The name.
        name: String,
    },
    /// The system has no CA certificates.
    #[error("this system has no CA certificates: name a file with the CA")]
    NoSystemRoots,
}

impl FileError {
    pub(crate) fn unusable(path: &Path, why: impl ToString) -> Self {
        Self::Unusable {
            path: path.display().to_string(),
            why: why.to_string(),
        }
    }
}
