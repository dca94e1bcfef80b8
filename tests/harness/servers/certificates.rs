//! Certificates of private authorities, for servers that speak TLS.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose};

use crate::files::{private_dir, write_private};

/// An authority that signs certificates. Its key exists as long as this value.
pub struct Authority {
    dir: PathBuf,
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// The files of a server with a certificate.
#[derive(Clone, Debug)]
pub struct Certificate {
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// The certificate of the authority that a client must trust.
    pub authority: PathBuf,
}

/// The certificates of a stack's servers.
#[derive(Clone, Debug)]
pub struct Certificates {
    pub databases: Certificate,
    pub broker: Certificate,
    pub redis: Certificate,
    /// The file that services get as `TLS_CA_FILE`.
    pub trusted: PathBuf,
}

impl Authority {
    /// A new authority, whose certificate is in `dir`.
    pub fn new(dir: &Path) -> Result<Self> {
        private_dir(dir)?;
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let name = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
        params.distinguished_name.push(rcgen::DnType::CommonName, format!("authority {name}"));
        let key = KeyPair::generate()?;
        let pem = params.self_signed(&key)?.pem();
        fs::write(dir.join("authority.pem"), &pem)?;
        Ok(Self { dir: dir.into(), issuer: Issuer::new(params, key), pem })
    }

    /// The authority's own certificate.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    pub fn path(&self) -> PathBuf {
        self.dir.join("authority.pem")
    }

    /// A certificate for a server with these names or addresses.
    pub fn certificate(&self, file: &str, names: &[&str]) -> Result<Certificate> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new(names)?.signed_by(&key, &self.issuer)?;
        let files = Certificate {
            certificate: self.dir.join(format!("{file}.pem")),
            key: self.dir.join(format!("{file}.key")),
            authority: self.path(),
        };
        fs::write(&files.certificate, certificate.pem())?;
        write_private(&files.key, key.serialize_pem())?;
        Ok(files)
    }
}
