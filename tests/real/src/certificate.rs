//! A certificate for 127.0.0.1 that signed itself, so that trusting it is enough.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};

#[derive(Clone)]
pub struct Certificate {
    der: CertificateDer<'static>,
    directory: PathBuf,
}

impl Certificate {
    /// Writes `certificate.pem`, `key.pem`, and `both.pem` for HAProxy.
    pub fn create(directory: &Path) -> io::Result<Self> {
        let params = CertificateParams::new(["127.0.0.1".to_owned()]).map_err(io::Error::other)?;
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let certificate = params.self_signed(&key).map_err(io::Error::other)?;
        let this = Self { der: certificate.der().clone(), directory: directory.to_owned() };
        std::fs::write(this.pem(), certificate.pem())?;
        std::fs::write(this.key(), key.serialize_pem())?;
        std::fs::write(this.both(), certificate.pem() + &key.serialize_pem())?;
        Ok(this)
    }

    #[must_use]
    pub fn pem(&self) -> PathBuf {
        self.directory.join("certificate.pem")
    }

    #[must_use]
    pub fn key(&self) -> PathBuf {
        self.directory.join("key.pem")
    }

    #[must_use]
    pub fn both(&self) -> PathBuf {
        self.directory.join("both.pem")
    }

    /// Trusts this certificate and no other.
    #[must_use]
    pub fn client_config(&self) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).expect("a certificate of our own");
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions that ring has")
            .with_root_certificates(roots)
            .with_no_client_auth()
    }
}
