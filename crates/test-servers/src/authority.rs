//! A private certificate authority.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};

/// A certificate authority whose files are in a folder of the caller's.
#[derive(Debug)]
pub struct Authority {
    folder: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

/// The files of a certificate, in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The certificate.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

impl Authority {
    /// Makes an authority; its certificate is in [`Self::ca`].
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn create(folder: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(folder)?;
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(Vec::new())?;
        params
            .distinguished_name
            .push(DnType::CommonName, "a CA of a test");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key)?;
        fs::write(folder.join("ca.pem"), certificate.pem())
            .with_context(|| format!("cannot write to {}", folder.display()))?;
        Ok(Self {
            folder: folder.to_owned(),
            issuer: Issuer::new(params, key),
        })
    }

    /// The file with the authority's certificate.
    #[must_use]
    pub fn ca(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// Issues a certificate for names (DNS names, IP addresses or URIs), for servers
    /// and clients alike, as `NAME.pem` and `NAME.key`.
    ///
    /// # Errors
    /// When a name cannot be in a certificate, or a file cannot be written.
    pub fn issue(&self, file: &str, names: &[&str]) -> anyhow::Result<Certificate> {
        self.sign(file, params(names)?)
    }

    /// Issues a certificate that has expired.
    ///
    /// # Errors
    /// As [`Self::issue`].
    pub fn issue_expired(&self, file: &str, names: &[&str]) -> anyhow::Result<Certificate> {
        let mut params = params(names)?;
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2020, 2, 1);
        self.sign(file, params)
    }

    /// Makes a certificate that no authority has signed.
    ///
    /// # Errors
    /// As [`Self::issue`].
    pub fn self_signed(&self, file: &str, names: &[&str]) -> anyhow::Result<Certificate> {
        let key = KeyPair::generate()?;
        let certificate = params(names)?.self_signed(&key)?;
        self.write(file, &certificate.pem(), &key)
    }

    fn sign(&self, file: &str, params: CertificateParams) -> anyhow::Result<Certificate> {
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        self.write(file, &certificate.pem(), &key)
    }

    fn write(&self, file: &str, pem: &str, key: &KeyPair) -> anyhow::Result<Certificate> {
        let files = Certificate {
            cert: self.folder.join(format!("{file}.pem")),
            key: self.folder.join(format!("{file}.key")),
        };
        fs::write(&files.cert, pem)?;
        fs::write(&files.key, key.serialize_pem())?;
        Ok(files)
    }
}

fn params(names: &[&str]) -> anyhow::Result<CertificateParams> {
    let (uris, others): (Vec<&str>, Vec<&str>) =
        names.iter().partition(|name| name.contains("://"));
    let others: Vec<String> = others.into_iter().map(str::to_owned).collect();
    let mut params = CertificateParams::new(others)?;
    for uri in uris {
        let name = rcgen::SanType::URI(uri.try_into()?);
        params.subject_alt_names.push(name);
    }
    params
        .distinguished_name
        .push(DnType::CommonName, names.first().copied().unwrap_or("x"));
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    Ok(params)
}
