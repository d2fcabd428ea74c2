//! The reason for which a handshake has failed, for people.
//!
//! The libraries say "invalid peer certificate: `UnknownIssuer`". An operator needs
//! to know whose certificate it is, and which file or setting to change.

use std::error::Error as StdError;
use std::fmt;
use std::io;

use rustls::{AlertDescription, CertificateError, OtherError};

/// The reason for which a handshake has failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The server's certificate is self-signed, or its CA is not trusted.
    UnknownIssuer,
    /// The server's certificate has expired.
    Expired,
    /// The server's certificate is not valid yet, or a clock is wrong.
    NotYetValid,
    /// The server's certificate is for other names.
    OtherName {
        /// The name that was connected to.
        wanted: String,
        /// The names in the certificate.
        names: Vec<String>,
    },
    /// The server's certificate cannot be used for another reason.
    Certificate(String),
    /// The server does not speak TLS at this address.
    NotTls,
    /// The server wants a client certificate, and none was shown.
    NoClientCertificate,
    /// The server has refused the client certificate.
    ClientCertificate(String),
    /// The two sides have no version or algorithm in common, or the peer has broken
    /// the protocol.
    Protocol(String),
    /// The files of this side cannot be used.
    Files(String),
}

/// The names of the settings that a way out mentions.
#[derive(Clone, Copy, Debug)]
pub struct Names {
    /// The setting of the file with the CAs.
    pub ca: &'static str,
    /// The setting of the client certificate.
    pub cert: &'static str,
    /// The setting of the address, and the form of an address without TLS.
    pub plain: &'static str,
}

impl Trouble {
    /// Finds the failed handshake among an error and its causes; `None` if it is
    /// something else.
    #[must_use]
    pub fn find(error: &(dyn StdError + 'static)) -> Option<Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(error) = error.downcast_ref::<rustls::Error>() {
                return Some(Self::of(error));
            }
            if let Some(trouble) = error.downcast_ref::<Self>() {
                return Some(trouble.clone());
            }
            if let Some(error) = error.downcast_ref::<crate::FileError>() {
                return Some(Self::Files(error.to_string()));
            }
            // An I/O error hides what it wraps: its source is that of the wrapped one.
            let wrapped = error
                .downcast_ref::<io::Error>()
                .and_then(io::Error::get_ref)
                .and_then(|inner| Self::find(inner));
            if wrapped.is_some() {
                return wrapped;
            }
            next = error.source();
        }
        None
    }

    fn of(error: &rustls::Error) -> Self {
        match error {
            rustls::Error::InvalidCertificate(reason) => Self::of_certificate(reason),
            rustls::Error::InvalidMessage(_) => Self::NotTls,
            rustls::Error::AlertReceived(alert) => match alert {
                AlertDescription::CertificateRequired => Self::NoClientCertificate,
                AlertDescription::BadCertificate
                | AlertDescription::CertificateExpired
                | AlertDescription::CertificateRevoked
                | AlertDescription::CertificateUnknown
                | AlertDescription::DecryptError
                | AlertDescription::UnknownCA
                | AlertDescription::UnsupportedCertificate => {
                    Self::ClientCertificate(format!("{alert:?}"))
                }
                other => Self::Protocol(format!("the server says {other:?}")),
            },
            rustls::Error::NoCertificatesPresented => Self::NoClientCertificate,
            other => Self::Protocol(other.to_string()),
        }
    }

    fn of_certificate(reason: &CertificateError) -> Self {
        match reason {
            // A bad signature: a CA of the same name, with another key.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => Self::UnknownIssuer,
            // A certificate that signs itself as a CA does, and is no known CA.
            CertificateError::Other(OtherError(other))
                if matches!(
                    other.downcast_ref::<webpki::Error>(),
                    Some(webpki::Error::CaUsedAsEndEntity)
                ) =>
            {
                Self::UnknownIssuer
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                Self::NotYetValid
            }
            CertificateError::NotValidForNameContext {
                expected,
                presented,
            } => Self::OtherName {
                wanted: expected.to_str().into_owned(),
                names: presented.clone(),
            },
            CertificateError::NotValidForName => Self::OtherName {
                wanted: String::new(),
                names: Vec::new(),
            },
            other => Self::Certificate(other.to_string()),
        }
    }

    /// Returns true if the same handshake fails again until a person has changed a
    /// certificate, a file or an address.
    #[must_use]
    pub const fn is_lasting(&self) -> bool {
        !matches!(self, Self::Protocol(_))
    }

    /// The change to make, with the names of the settings.
    #[must_use]
    pub fn hint(&self, names: Names) -> String {
        let Names { ca, cert, plain } = names;
        match self {
            Self::UnknownIssuer => format!("name the file with its CA with {ca}"),
            Self::Expired => "renew the server's certificate".to_owned(),
            Self::NotYetValid => "check the clocks of both machines".to_owned(),
            Self::OtherName { .. } => {
                "use an address with a name of the certificate, or a certificate with this name"
                    .to_owned()
            }
            Self::Certificate(_) => "give the server another certificate".to_owned(),
            Self::NotTls => format!("check the port, or use {plain}"),
            Self::NoClientCertificate => format!("name your certificate and its key with {cert}"),
            Self::ClientCertificate(_) => {
                format!("name a certificate of a CA that the server trusts with {cert}")
            }
            Self::Protocol(_) => {
                "check the port, and that both sides have TLS 1.2 or 1.3".to_owned()
            }
            Self::Files(_) => "correct the file".to_owned(),
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownIssuer => {
                f.write_str("its certificate is self-signed, or its CA is not trusted here")
            }
            Self::Expired => f.write_str("its certificate has expired"),
            Self::NotYetValid => f.write_str("its certificate is not valid yet"),
            Self::OtherName { wanted, names } if names.is_empty() => {
                write!(f, "its certificate is not for {wanted:?}")
            }
            Self::OtherName { wanted, names } => {
                let names = names.join(", ");
                write!(f, "its certificate is for {names}, and not for {wanted:?}")
            }
            Self::Certificate(reason) => write!(f, "its certificate is not valid: {reason}"),
            Self::NotTls => f.write_str("it does not speak TLS there"),
            Self::NoClientCertificate => f.write_str("it wants a client certificate"),
            Self::ClientCertificate(reason) => {
                write!(f, "it refuses the client certificate ({reason})")
            }
            Self::Protocol(reason) => write!(f, "the TLS handshake failed: {reason}"),
            Self::Files(reason) => f.write_str(reason),
        }
    }
}

impl StdError for Trouble {}
