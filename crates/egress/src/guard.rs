//! The address guard: which addresses, names and ports may be reached at all.
//!
//! It is asked three times: by the API about the URL that a customer wrote (what can be refused at once is), by
//! whoever is about to make a request, for each redirect too, and by the dialer about every address that a
//! name resolved to. The dialer's check is the one that protects; the others make good error messages.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use domain::{AddressPolicy, AddressRefused};
use ipnet::IpNet;
use url::{Host, Url};

use crate::address::special_purpose;

/// Ports that browsers refuse to speak HTTP to (the WHATWG fetch standard's "bad ports"), so that nobody can make
/// the service talk to a mail server or a terminal, and those of databases that stand on public addresses.
const REFUSED_PORTS: &[u16] = &[
    0, 1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103,
    104, 109, 110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 445, 465, 512, 513,
    514, 515, 526, 530, 531, 532, 540, 548, 554, 556, 563, 587, 601, 636, 989, 990, 993, 995, 1433, 1521,
    1719, 1720, 1723, 2049, 3306, 3389, 3659, 4045, 4190, 5060, 5061, 5432, 5900, 6000, 6379, 6566, 6665,
    6666, 6667, 6668, 6669, 6679, 6697, 10080, 11211, 27017,
];

/// Names of cloud metadata services: they hand out credentials, so no allowed network opens them by name.
const METADATA_NAMES: &[&str] = &[
    "metadata",
    "metadata.google.internal",
    "metadata.goog",
    "instance-data",
    "instance-data.ec2.internal",
    "metadata.azure.internal",
    "metadata.tencentyun.com",
];

/// Top-level names that never mean a public host: RFC 6762, RFC 8375, RFC 9476, and ICANN's `internal`.
const PRIVATE_SUFFIXES: &[&str] = &["local", "internal", "home.arpa", "lan", "localdomain", "onion", "alt"];

/// What the operator opens and closes.
#[derive(Debug, Clone)]
pub struct GuardConfig {
    /// Networks that may be reached although they are not public. Default: none.
    pub allow_networks: Vec<IpNet>,
    /// Ports that may not be reached. Default: those that browsers refuse, and those of common databases.
    pub refused_ports: Vec<u16>,
}

impl Default for GuardConfig {
    fn default() -> Self {
        Self { allow_networks: Vec::new(), refused_ports: REFUSED_PORTS.to_vec() }
    }
}

/// Decides what may be reached.
#[derive(Debug)]
pub struct Guard {
    config: GuardConfig,
}

impl Guard {
    /// A guard with these rules.
    pub fn new(config: GuardConfig) -> Self {
        Self { config }
    }

    /// Whether this address may be dialled. An IPv4-mapped address counts as allowed if its IPv4 was opened.
    pub fn check_address(&self, address: IpAddr) -> Result<(), AddressRefused> {
        let Some(purpose) = special_purpose(address) else { return Ok(()) };
        if self.is_opened(address) || self.is_opened(address.to_canonical()) {
            return Ok(());
        }
        Err(refused(format!("the address may not be reached: it is {purpose}, not public")))
    }

    /// Whether this host and port may be reached, as far as can be known before a name is resolved.
    pub fn check_host<S: AsRef<str>>(&self, host: &Host<S>, port: u16) -> Result<(), AddressRefused> {
        if self.config.refused_ports.contains(&port) {
            return Err(refused(format!("port {port} belongs to another protocol than HTTP")));
        }
        match host {
            Host::Ipv4(address) => self.check_address(IpAddr::V4(*address)),
            Host::Ipv6(address) => self.check_address(IpAddr::V6(*address)),
            Host::Domain(name) => self.check_name(name.as_ref()),
        }
    }

    /// What `localhost` stands for here: the loopback addresses that the operator opened. RFC 6761 has it that
    /// the name is not looked up, so no resolver can make it mean something else.
    pub(crate) fn opened_loopback(&self) -> Vec<IpAddr> {
        let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
        loopback.into_iter().filter(|address| self.is_opened(*address)).collect()
    }

    fn is_opened(&self, address: IpAddr) -> bool {
        self.config.allow_networks.iter().any(|network| network.contains(&address))
    }

    fn check_name(&self, name: &str) -> Result<(), AddressRefused> {
        let name = without_root(name).to_ascii_lowercase();
        if name.is_empty() {
            return Err(refused("the URL names no host"));
        }
        if METADATA_NAMES.contains(&name.as_str()) {
            return Err(refused("the name belongs to a cloud's metadata service"));
        }
        if is_localhost(&name) {
            return match self.opened_loopback().as_slice() {
                [] => Err(refused("the name means the service's own machine")),
                _ => Ok(()),
            };
        }
        // An operator who opened a network may name its hosts; where the names lead is checked at the dial.
        if is_private(&name) && self.config.allow_networks.is_empty() {
            return Err(refused("the name is that of a private network"));
        }
        Ok(())
    }
}

impl AddressPolicy for Guard {
    fn check(&self, url: &Url) -> Result<(), AddressRefused> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(refused(format!(
                "the scheme is `{}`; only http and https are reached",
                url.scheme()
            )));
        }
        let host = url.host().ok_or_else(|| refused("the URL names no host"))?;
        self.check_host(&host, url.port_or_known_default().unwrap_or(0))
    }
}

fn refused(reason: impl Into<String>) -> AddressRefused {
    AddressRefused(reason.into())
}

/// A name without the dot that stands for the root.
fn without_root(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

/// `localhost` and everything below it (RFC 6761, 6.3).
pub(crate) fn is_localhost(name: &str) -> bool {
    let name = without_root(name).to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

/// Names of one label are found through search domains and hosts files only, so they are private as well.
fn is_private(name: &str) -> bool {
    !name.contains('.')
        || PRIVATE_SUFFIXES.iter().any(|suffix| {
            name.strip_suffix(suffix).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        })
}
