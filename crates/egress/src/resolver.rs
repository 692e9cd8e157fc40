//! From names to addresses.
//!
//! Own resolver rather than the system's: `getaddrinfo` blocks a thread for as long as a name server is silent,
//! and the threads it would block are those that write files.

use std::net::{IpAddr, Ipv4Addr};

use domain::BoxFuture;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::Name;

/// Why a name gave no address.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// The name servers say that there is no such host.
    #[error("the name does not exist: {0}")]
    NotFound(String),
    /// No usable answer was had.
    #[error("the name servers gave no answer: {0}")]
    Unanswered(String),
}

/// Finds the addresses of a name. The guard judges them afterwards; a resolver need not.
pub trait Resolve: Send + Sync {
    /// All addresses of `name`, at least one.
    fn resolve<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<IpAddr>, ResolveError>>;
}

/// Asks the name servers of `/etc/resolv.conf`, after `/etc/hosts`; answers are cached for as long as they say.
pub struct SystemResolver {
    resolver: TokioResolver,
}

impl SystemResolver {
    /// Reads the system's configuration. Without one, the name server on this machine is asked, as libc does.
    pub fn new() -> Result<Self, ResolveError> {
        let mut builder = TokioResolver::builder_tokio().unwrap_or_else(|cause| {
            tracing::warn!(%cause, "no usable /etc/resolv.conf; asking the name server on this machine");
            let local = NameServerConfig::udp_and_tcp(IpAddr::V4(Ipv4Addr::LOCALHOST));
            let config = ResolverConfig::from_name_servers(vec![local]);
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        });
        let options = builder.options_mut();
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        options.use_hosts_file = ResolveHosts::Always;
        let resolver = builder.build().map_err(|cause| ResolveError::Unanswered(cause.to_string()))?;
        Ok(Self { resolver })
    }
}

impl Resolve for SystemResolver {
    fn resolve<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<IpAddr>, ResolveError>> {
        Box::pin(async move {
            let parsed = Name::from_utf8(name).map_err(|cause| ResolveError::NotFound(cause.to_string()))?;
            let found = self.resolver.lookup_ip(parsed).await;
            match found {
                Ok(found) => {
                    let addresses: Vec<IpAddr> = found.iter().collect();
                    if addresses.is_empty() {
                        return Err(ResolveError::NotFound("it has no addresses".to_owned()));
                    }
                    Ok(addresses)
                }
                Err(cause) if cause.is_no_records_found() => Err(ResolveError::NotFound(cause.to_string())),
                Err(cause) => Err(ResolveError::Unanswered(cause.to_string())),
            }
        })
    }
}
