//! TLS: who is believed. The authority is made anew for each test.

use std::io::Write;
use std::sync::Arc;

use domain::{Retry, SendError, SourceOpener};
use egress::EgressConfig;
use rcgen::{BasicConstraints, Certificate, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tempfile::NamedTempFile;
use testkit::host::{Host, Reply, Step};
use tokio_rustls::TlsAcceptor;

use crate::kit::{Names, config, details, egress, egress_with, open_with, read_all, spec};
use crate::notify::post_with;

/// A private authority, its root in a file as an operator has it.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    root: NamedTempFile,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a root");
        let mut root = NamedTempFile::new().expect("a file");
        root.write_all(certificate.pem().as_bytes()).expect("written");
        Self { issuer: Issuer::new(params, key), root }
    }

    /// A certificate for these names, and its key.
    pub(crate) fn certificate(&self, names: &[&str]) -> (Certificate, KeyPair) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(names).expect("parameters");
        (params.signed_by(&key, &self.issuer).expect("a certificate"), key)
    }

    /// A host's side of TLS, for these names.
    pub(crate) fn acceptor(&self, names: &[&str]) -> TlsAcceptor {
        TlsAcceptor::from(Arc::new(self.server(names)))
    }

    /// The same before it is settled which protocol is spoken in it.
    pub(crate) fn server(&self, names: &[&str]) -> ServerConfig {
        let (certificate, key) = self.certificate(names);
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .expect("a server")
    }

    /// [`config`] that trusts this authority.
    pub(crate) fn trusted(&self) -> EgressConfig {
        let mut config = config();
        config.tls.extra_roots = Some(self.root.path().to_owned());
        config
    }

    pub(crate) async fn host(&self, names: &[&str]) -> Host {
        let script = |seen: &testkit::host::Seen| Reply::file(seen, b"the file", &[]);
        Host::start_at("127.0.0.1:0", Some(self.acceptor(names)), script).await
    }
}

#[tokio::test]
async fn a_host_of_a_trusted_authority_is_read() {
    let authority = Authority::new();
    let host = authority.host(&["127.0.0.1", "video.example"]).await;
    let source = open_with(authority.trusted(), &host.url("/")).await.expect("by address");
    assert_eq!(read_all(&*source).await, Ok(b"the file".to_vec()));
    let names = Names::of(&[("video.example", &[&["127.0.0.1"]])]);
    let url = format!("https://video.example:{}/", host.address.port());
    let source = egress_with(authority.trusted(), names)
        .sources
        .open(&spec(&url), None, Arc::default())
        .await
        .expect("by name");
    assert_eq!(read_all(&*source).await, Ok(b"the file".to_vec()));
}

#[tokio::test]
async fn a_wrong_name_and_an_unknown_authority_are_not_believed() {
    let authority = Authority::new();
    let wrong_name = authority.host(&["other.example"]).await;
    let right_name = authority.host(&["127.0.0.1"]).await;
    for (config, host) in [(authority.trusted(), &wrong_name), (config(), &right_name)] {
        let egress = egress(config);
        let Err(failure) = egress.sources.open(&spec(&host.url("/")), None, Arc::default()).await else {
            panic!("was believed")
        };
        assert_eq!(details(&failure), "no trusted TLS session with the host");
        assert_eq!(failure.retry, Retry::Never);
        assert_eq!(post_with(&egress, &host.url("/hook"), 1).await.error, Some(SendError::Tls));
        assert!(host.seen().is_empty(), "something was sent");
    }
}

#[tokio::test]
async fn a_redirect_from_https_to_http_is_not_followed() {
    let authority = Authority::new();
    let plain = Host::start(|seen| Reply::file(seen, b"the file", &[])).await;
    let location = plain.url("/");
    let script = move |_: &testkit::host::Seen| Reply::new(302, &[("location", &location)], b"");
    let host = Host::start_at("127.0.0.1:0", Some(authority.acceptor(&["127.0.0.1"])), script).await;
    let Err(failure) = open_with(authority.trusted(), &host.url("/")).await else { panic!("was followed") };
    assert_eq!(details(&failure), "a redirect was not followed: it leads from https to http");
    assert!(plain.seen().is_empty());
}

#[tokio::test]
async fn a_host_that_is_silent_within_the_handshake_is_given_up() {
    // It accepts, and never says a word of TLS.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("https://{}/", silent.local_addr().expect("an address"));
    let mut config = config();
    config.source.connect_timeout = std::time::Duration::from_millis(50);
    config.source.retries = 0;
    let Err(failure) = open_with(config, &url).await else { panic!("was opened") };
    assert_eq!(details(&failure), "the connection could not be made in time");
    assert_eq!(failure.retry, Retry::Worthwhile);
}

#[tokio::test]
async fn extra_roots_that_are_none_are_an_error() {
    for text in ["", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        let mut file = NamedTempFile::new().expect("a file");
        file.write_all(text.as_bytes()).expect("written");
        let mut config = config();
        config.tls.extra_roots = Some(file.path().to_owned());
        let made = egress::Egress::with_resolver(config, crate::kit::clock(), Names::of(&[]));
        assert!(made.is_err(), "{text:?} was taken");
    }
}

#[tokio::test]
async fn a_webhook_is_sent_in_tls() {
    let authority = Authority::new();
    let script = |_: &testkit::host::Seen| Reply::new(200, &[], b"ok").then(Step::Close);
    let host = Host::start_at("127.0.0.1:0", Some(authority.acceptor(&["127.0.0.1"])), script).await;
    let outcome = post_with(&egress(authority.trusted()), &host.url("/hook"), 1).await;
    assert!(outcome.is_delivered(), "{outcome:?}");
}
