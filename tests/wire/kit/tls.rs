//! Certificates made on the spot, and who trusts them.

use std::sync::Arc;

use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rcgen::{CertificateParams, KeyPair};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
#[cfg(feature = "rustls")]
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, ServerConfig, WantsVerifier};
use tokio_rustls::TlsAcceptor;

use super::client::Body;

/// A certificate that signed itself, so that trusting it is enough.
pub(crate) struct Certificate {
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

impl Certificate {
    /// For the name that the kit's servers are called by.
    pub(crate) fn valid() -> Self {
        Self::new(|_| {})
    }

    pub(crate) fn expired() -> Self {
        Self::new(|params| params.not_after = rcgen::date_time_ymd(2001, 1, 1))
    }

    pub(crate) fn of_another() -> Self {
        Self::made(CertificateParams::new(["elsewhere.example".to_owned()]).unwrap())
    }

    fn new(change: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        change(&mut params);
        Self::made(params)
    }

    fn made(params: CertificateParams) -> Self {
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().der().clone();
        Self { certificate, key: PrivateKeyDer::Pkcs8(key.serialize_der().into()) }
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        roots
    }

    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        let config =
            server().with_no_client_auth().with_single_cert(vec![self.certificate.clone()], self.key.clone_key());
        TlsAcceptor::from(Arc::new(config.unwrap()))
    }

    /// Wants to see a certificate of the client, too.
    #[cfg(feature = "rustls")]
    pub(crate) fn acceptor_for_known_clients(&self) -> TlsAcceptor {
        let roots = Arc::new(self.roots());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(roots, ring::default_provider().into()).build().unwrap();
        let config = server()
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![self.certificate.clone()], self.key.clone_key());
        TlsAcceptor::from(Arc::new(config.unwrap()))
    }

    /// A client that trusts this certificate alone, and has none to show.
    pub(crate) fn trusting_client(&self) -> Client<HttpsConnector<HttpConnector>, Body> {
        let config = ClientConfig::builder_with_provider(ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(self.roots())
            .with_no_client_auth();
        let connector = HttpsConnectorBuilder::new().with_tls_config(config).https_only().enable_http1().build();
        Client::builder(TokioExecutor::new()).build(connector)
    }
}

fn server() -> ConfigBuilder<ServerConfig, WantsVerifier> {
    ServerConfig::builder_with_provider(ring::default_provider().into()).with_safe_default_protocol_versions().unwrap()
}
