//! PEM: certificates, keys, and sets of CAs.

use std::fs;
use std::path::Path;

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::error::FileError;

/// The content of a file. Blocks for as long as the disk takes.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    fs::read(path).map_err(|error| FileError::Read {
        path: path.display().to_string(),
        why: error.to_string(),
    })
}

/// All certificates in a text, in its order: a server's own comes first.
pub(crate) fn certificates(
    path: &Path,
    text: &[u8],
) -> Result<Vec<CertificateDer<'static>>, FileError> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    let all = all.map_err(|error| FileError::unusable(path, format!("not PEM: {error}")))?;
    if all.is_empty() {
        return Err(FileError::NoCertificate {
            path: path.display().to_string(),
        });
    }
    Ok(all)
}

/// The first private key in a text.
pub(crate) fn key(path: &Path, text: &[u8]) -> Result<PrivateKeyDer<'static>, FileError> {
    // The reason could repeat a line of the file.
    PrivateKeyDer::from_pem_slice(text).map_err(|_reason| FileError::NoKey {
        path: path.display().to_string(),
    })
}

/// The CAs in a text, as trust anchors.
pub(crate) fn roots(path: &Path, text: &[u8]) -> Result<RootCertStore, FileError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path, text)? {
        roots
            .add(certificate)
            .map_err(|error| FileError::unusable(path, error))?;
    }
    Ok(roots)
}
