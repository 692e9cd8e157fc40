//! Every outbound connection: the source that a customer names is read here, and webhooks are sent from here.
//!
//! Never in here: SQL, libav, decisions over time (when to try a delivery again is the engine's).
//!
//! Start with [`Egress`], which holds the three parts. [`guard`] says what may be reached, `dial` is the one place
//! that connects, `client` is HTTP over it for sources. [`source`] makes random access out of answers, [`notify`] makes one
//! signed POST, [`sign`] is the signature.

mod address;
mod client;
mod dial;
pub mod file;
pub mod guard;
pub mod notify;
mod one_task;
pub mod resolver;
mod retry_after;
pub mod sign;
pub mod source;
pub mod tls;
mod transport;

use std::sync::Arc;

use domain::Clock;
use http::HeaderValue;

pub use self::file::FileSource;
pub use self::guard::{Guard, GuardConfig};
pub use self::notify::{NotifyConfig, Webhooks};
pub use self::resolver::{Resolve, ResolveError, SystemResolver};
pub use self::source::{HttpSources, SourceConfig, open_pipe};
pub use self::tls::{TlsConfig, TlsError};

use self::dial::Dialer;

/// All settings of this room.
#[derive(Debug, Clone, Default)]
pub struct EgressConfig {
    /// What may be reached.
    pub guard: GuardConfig,
    /// Whom TLS trusts.
    pub tls: TlsConfig,
    /// What a source may cost.
    pub source: SourceConfig,
    /// What a webhook may cost.
    pub notify: NotifyConfig,
}

/// Why outbound connections cannot be made at all.
#[derive(Debug, thiserror::Error)]
pub enum EgressError {
    /// Nobody can be trusted.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// No name can be resolved.
    #[error(transparent)]
    Resolver(#[from] ResolveError),
}

/// The parts, as the engine and the server take them.
pub struct Egress {
    /// Judges addresses.
    pub guard: Arc<Guard>,
    /// Opens sources.
    pub sources: Arc<HttpSources>,
    /// Sends webhooks.
    pub webhooks: Arc<Webhooks>,
}

impl Egress {
    /// The parts, over the system's resolver. Needs a tokio runtime around it.
    pub fn new(config: EgressConfig, clock: Arc<dyn Clock>) -> Result<Self, EgressError> {
        let resolver = Arc::new(SystemResolver::new()?);
        Ok(Self::with_resolver(config, clock, resolver)?)
    }

    /// The parts, over another resolver.
    pub fn with_resolver(
        config: EgressConfig,
        clock: Arc<dyn Clock>,
        resolver: Arc<dyn Resolve>,
    ) -> Result<Self, TlsError> {
        let guard = Arc::new(Guard::new(config.guard));
        let tls = tls::client_config(&config.tls)?;
        let dialer = |timeout, protocols| {
            let (guard, resolver) = (Arc::clone(&guard), Arc::clone(&resolver));
            Dialer { guard, resolver, tls: tls::speaking(&tls, protocols), timeout }
        };
        // Own pools: a webhook never waits behind a source, nor meets a connection that one has used.
        let webhooks = dialer(config.notify.total_timeout, &[tls::HTTP_1]);
        let webhooks = Arc::new(Webhooks::new(webhooks, config.notify));
        let dialer = dialer(config.source.connect_timeout, &[tls::HTTP_2, tls::HTTP_1]);
        let sources = Arc::new(HttpSources::new(dialer, Arc::clone(&guard), clock, config.source));
        Ok(Self { guard, sources, webhooks })
    }
}

/// `audio-extract/VERSION`.
fn user_agent() -> HeaderValue {
    HeaderValue::from_static(concat!("audio-extract/", env!("CARGO_PKG_VERSION")))
}
