//! TLS on a second port of a server.

use std::path::PathBuf;

use crate::authority::Certificate;

/// TLS on a second port of a server.
#[derive(Clone, Debug)]
pub struct TlsPort {
    /// The server's certificate. Its files may be replaced while the server is down.
    pub certificate: Certificate,
    /// The CAs of clients.
    pub client_ca: PathBuf,
    /// True if every client has to show a certificate of these CAs.
    pub wants_certificates: bool,
}
