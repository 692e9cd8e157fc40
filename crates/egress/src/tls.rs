//! Whom we believe: the system's roots and the operator's own.

use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

/// Where trust comes from beside the system's store.
#[derive(Debug, Clone, Default)]
pub struct TlsConfig {
    /// A PEM file of further roots, for private authorities. Default: none.
    pub extra_roots: Option<PathBuf>,
}

/// Why no trust could be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The operator's file is not what it should be.
    #[error("the file of extra roots {path} cannot be used: {reason}")]
    ExtraRoots {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The TLS library refused our settings.
    #[error("TLS cannot be set up: {0}")]
    Setup(#[from] rustls::Error),
}

pub(crate) const HTTP_1: &[u8] = b"http/1.1";
pub(crate) const HTTP_2: &[u8] = b"h2";

/// Read once: parsing well over a hundred certificates costs more than all else that is set up here.
static SYSTEM_ROOTS: LazyLock<RootCertStore> = LazyLock::new(|| {
    let native = rustls_native_certs::load_native_certs();
    for cause in &native.errors {
        tracing::warn!(%cause, "a root certificate of the system could not be read");
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(native.certs);
    roots
});

/// The versions of HTTP that a client speaks, in order of preference, as a host is told of them (RFC 7301).
pub(crate) fn speaking(config: &Arc<ClientConfig>, protocols: &[&[u8]]) -> Arc<ClientConfig> {
    let mut config = ClientConfig::clone(config);
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Arc::new(config)
}

/// TLS 1.2 and 1.3 by ring. A machine without any root certificate is warned of, not refused: it may speak plain HTTP
/// alone.
pub(crate) fn client_config(config: &TlsConfig) -> Result<Arc<ClientConfig>, TlsError> {
    let mut roots = SYSTEM_ROOTS.clone();
    if let Some(path) = &config.extra_roots {
        let unusable = |reason: String| TlsError::ExtraRoots { path: path.clone(), reason };
        let extra: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(path)
            .and_then(Iterator::collect)
            .map_err(|cause| unusable(cause.to_string()))?;
        let (added, _) = roots.add_parsable_certificates(extra);
        if added == 0 {
            return Err(unusable("it holds no certificate".to_owned()));
        }
    }
    if roots.is_empty() {
        tracing::warn!("no root certificates: every https host will be refused (install ca-certificates)");
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(client))
}
