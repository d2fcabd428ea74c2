//! The encryption of connections to a server that is not ours: Redis, RabbitMQ.

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use crate::client::ClientFiles;
use crate::error::FileError;
use crate::trouble::{Names, Trouble};

/// The way in which connections to a server are encrypted. The files are read for
/// each connection, so a renewed certificate is used from the next one on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Encryption {
    /// The files with CAs and the client certificate.
    pub files: ClientFiles,
    /// The name that the server's certificate must be for. Default: the host of the
    /// URL. It is needed where an address leads to the server by another name.
    pub server_name: Option<String>,
}

/// A failed handshake, with the server's name and a way out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("TLS with {server}: {trouble}; {hint}")]
pub struct HandshakeError {
    /// The host of the server.
    pub server: String,
    /// The reason.
    #[source]
    pub trouble: Trouble,
    /// The change to make.
    pub hint: String,
}

impl Encryption {
    /// Returns true if no setting is made.
    #[must_use]
    pub const fn is_default(&self) -> bool {
        self.files.is_empty() && self.server_name.is_none()
    }

    /// Reads the files, and returns the configuration of a connection with the name
    /// to verify. Blocks for as long as the disk takes.
    ///
    /// # Errors
    /// When a file cannot be used, or the name cannot be in a certificate.
    pub fn connector(
        &self,
        host: &str,
    ) -> Result<(Arc<ClientConfig>, ServerName<'static>), FileError> {
        let name = self.server_name.as_deref().unwrap_or(host);
        // A URL has IPv6 addresses in brackets.
        let name = name.trim_start_matches('[').trim_end_matches(']');
        let verified =
            ServerName::try_from(name.to_owned()).map_err(|_invalid| FileError::Name {
                name: name.to_owned(),
            })?;
        Ok((self.files.config()?, verified))
    }
}

impl HandshakeError {
    /// Returns the error of a handshake that failed because of a certificate, a file or
    /// a protocol, with the names of the settings; `None` for other errors, such as a
    /// broken connection.
    #[must_use]
    pub fn of(
        error: &(dyn std::error::Error + 'static),
        server: &str,
        names: Names,
    ) -> Option<Self> {
        let trouble = Trouble::find(error)?;
        let hint = trouble.hint(names);
        Some(Self {
            server: server.to_owned(),
            hint,
            trouble,
        })
    }
}
