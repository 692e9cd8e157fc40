//! From a URL's host and port to a connection: resolve, guard, connect, TLS.
//!
//! This is the only place of the program that opens a connection to an address which a user named. The addresses
//! that the guard saw are the ones that are connected to: there is no second look-up in between (no rebinding).

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::AddressRefused;
use futures_util::stream::{FuturesUnordered, StreamExt};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use url::Host;

use crate::guard::{Guard, is_localhost};
use crate::resolver::{Resolve, ResolveError};
use crate::transport::Transport;

/// How long an address is waited for before the next one is tried beside it (RFC 8305, 5: 250 ms).
const NEXT_ADDRESS_AFTER: Duration = Duration::from_millis(250);

/// How many of a name's addresses are tried: enough for every honest host, few for one that lists hundreds.
const MAX_ADDRESSES_TRIED: usize = 6;

/// Why there is no connection. Private: texts may hold internal addresses.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    #[error("refused by the guard: {}{}", .reason.0, .address.map(|a| format!(" ({a})")).unwrap_or_default())]
    Refused { reason: AddressRefused, address: Option<IpAddr> },
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    #[error("no connection to any of its addresses: {0}")]
    Connect(#[source] io::Error),
    #[error("no trusted TLS session: {0}")]
    Tls(#[source] io::Error),
    #[error("{0} took too long")]
    Timeout(Phase),
}

/// The parts of a dial, so that a failure says where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Resolve,
    Connect,
    Tls,
}

impl std::fmt::Display for Phase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Resolve => "resolving the name",
            Self::Connect => "connecting",
            Self::Tls => "the TLS handshake",
        })
    }
}

/// Opens connections.
#[derive(Clone)]
pub(crate) struct Dialer {
    pub(crate) guard: Arc<Guard>,
    pub(crate) resolver: Arc<dyn Resolve>,
    pub(crate) tls: Arc<rustls::ClientConfig>,
    /// For all phases together.
    pub(crate) timeout: Duration,
}

impl Dialer {
    /// A connection to a host that the guard allows, within the timeout. `entering` hears of each phase as it
    /// begins; one that is not needed is left out.
    pub(crate) async fn dial(
        &self,
        host: Host,
        port: u16,
        secure: bool,
        entering: &mut (dyn FnMut(Phase) + Send),
    ) -> Result<Transport, DialError> {
        let started = Instant::now();
        let deadline = tokio::time::Instant::now() + self.timeout;
        self.guard.check_host(&host, port).map_err(|reason| DialError::Refused { reason, address: None })?;

        if matches!(&host, Host::Domain(name) if !is_localhost(name)) {
            entering(Phase::Resolve);
        }
        let addresses = within(deadline, Phase::Resolve, self.addresses(&host)).await??;
        self.check_all(&addresses)?;
        let resolved = started.elapsed();

        entering(Phase::Connect);
        let stream = within(deadline, Phase::Connect, connect_any(&addresses, port)).await?;
        let stream = stream.map_err(DialError::Connect)?;
        let connected = started.elapsed();

        let transport = if secure {
            entering(Phase::Tls);
            let handshake = TlsConnector::from(Arc::clone(&self.tls)).connect(server_name(&host)?, stream);
            let session = within(deadline, Phase::Tls, handshake).await?.map_err(DialError::Tls)?;
            Transport::secure(session)
        } else {
            Transport::plain(stream)
        };
        tracing::debug!(%host, port, ?resolved, ?connected, ready = ?started.elapsed(), "dialled");
        Ok(transport)
    }

    async fn addresses(&self, host: &Host) -> Result<Vec<IpAddr>, ResolveError> {
        match host {
            Host::Ipv4(address) => Ok(vec![IpAddr::V4(*address)]),
            Host::Ipv6(address) => Ok(vec![IpAddr::V6(*address)]),
            Host::Domain(name) if is_localhost(name) => Ok(self.guard.opened_loopback()),
            Host::Domain(name) => self.resolver.resolve(name).await,
        }
    }

    /// All must be allowed: a name that mixes public and private addresses is an attack or a mistake, and picking
    /// the good one would make the outcome depend on order.
    fn check_all(&self, addresses: &[IpAddr]) -> Result<(), DialError> {
        for address in addresses {
            self.guard.check_address(*address).map_err(|_| DialError::Refused {
                reason: AddressRefused("the name leads to an address that may not be reached".to_owned()),
                address: Some(*address),
            })?;
        }
        Ok(())
    }
}

async fn within<F: Future>(
    deadline: tokio::time::Instant,
    phase: Phase,
    work: F,
) -> Result<F::Output, DialError> {
    tokio::time::timeout_at(deadline, work).await.map_err(|_| DialError::Timeout(phase))
}

/// The first connection among the addresses, each tried beside the ones before it after a short wait or at once
/// when one of them fails.
async fn connect_any(addresses: &[IpAddr], port: u16) -> Result<TcpStream, io::Error> {
    let mut waiting = addresses.iter().take(MAX_ADDRESSES_TRIED).map(|ip| SocketAddr::new(*ip, port));
    let mut trying = FuturesUnordered::new();
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no addresses");
    trying.extend(waiting.next().map(TcpStream::connect));
    while !trying.is_empty() {
        match tokio::time::timeout(NEXT_ADDRESS_AFTER, trying.next()).await {
            Ok(Some(Ok(stream))) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Ok(Some(Err(cause))) => last = cause,
            Ok(None) | Err(_) => {}
        }
        trying.extend(waiting.next().map(TcpStream::connect));
    }
    Err(last)
}

fn server_name(host: &Host) -> Result<ServerName<'static>, DialError> {
    match host {
        Host::Ipv4(address) => Ok(ServerName::from(IpAddr::V4(*address))),
        Host::Ipv6(address) => Ok(ServerName::from(IpAddr::V6(*address))),
        // Certificates name hosts without the root's dot.
        Host::Domain(name) => ServerName::try_from(name.trim_end_matches('.').to_owned())
            .map_err(|cause| DialError::Tls(io::Error::new(io::ErrorKind::InvalidInput, cause))),
    }
}
