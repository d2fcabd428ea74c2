//! TLS as all parts of Drumline use it: certificates, keys and CAs from files,
//! and the reason for which a handshake has failed, in one sentence.
//!
//! ```text
//! PEM files ─┬─ ServerTls ───→ rustls::ServerConfig   the HTTP API, read again when files change
//!            └─ ClientFiles ─→ rustls::ClientConfig   the HTTP client
//!                 └─ Encryption ─→ Encrypted          sockets to Redis and RabbitMQ
//! error of a handshake ─→ Trouble ─→ a sentence and a way out
//! ```
//!
//! The cryptography is *ring*, chosen here for each configuration: nothing is
//! installed for the process. The crate opens no socket. There is no way to accept a
//! certificate that was not verified.

mod client;
mod encrypted;
mod encryption;
mod error;
mod pem;
mod server;
mod trouble;

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

pub use client::ClientFiles;
pub use encrypted::Encrypted;
pub use encryption::{Encryption, HandshakeError};
pub use error::FileError;
pub use server::{Reload, ServerFiles, ServerTls, certificate_name};
pub use trouble::{Names, Trouble};

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
