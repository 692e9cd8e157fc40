//! Which IP addresses are somebody's ordinary place on the public internet.
//!
//! Allowed is global unicast; everything with another purpose in the IANA special-purpose registries is named here
//! and refused. Where an address carries another one inside (mapped, translated, tunnelled), it is refused
//! whatever is inside: no public host is reachable by such an address alone.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Why an address is not an ordinary public one, or `None` if it is.
pub(crate) fn special_purpose(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => special_purpose_v4(address),
        IpAddr::V6(address) => special_purpose_v6(address),
    }
}

/// IANA IPv4 Special-Purpose Address Registry, and the one metadata service that lives outside of it.
fn special_purpose_v4(address: Ipv4Addr) -> Option<&'static str> {
    match address.octets() {
        [0, 0, 0, 0] => Some("unspecified"),
        [0, ..] => Some("this network (0.0.0.0/8)"),
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => Some("private"),
        [100, 64..=127, ..] => Some("carrier-grade NAT (100.64.0.0/10)"),
        [127, ..] => Some("loopback"),
        // Azure's wire server: a public number that every virtual machine there reaches as its own host.
        [168, 63, 129, 16] => Some("cloud metadata"),
        [169, 254, ..] => Some("link-local"),
        [192, 0, 0, _] => Some("protocol assignments (192.0.0.0/24)"),
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => Some("documentation"),
        [192, 88, 99, _] => Some("6to4 relay"),
        [198, 18..=19, ..] => Some("benchmarking"),
        [224..=239, ..] => Some("multicast"),
        [255, 255, 255, 255] => Some("broadcast"),
        [240..=255, ..] => Some("reserved"),
        _ => None,
    }
}

/// IANA IPv6 Special-Purpose Address Registry. Global unicast is 2000::/3 and nothing else (RFC 4291, 2.4).
fn special_purpose_v6(address: Ipv6Addr) -> Option<&'static str> {
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => Some("unspecified"),
        [0, 0, 0, 0, 0, 0, 0, 1] => Some("loopback"),
        [0, 0, 0, 0, 0, 0, _, _] => Some("IPv4-compatible"),
        [0, 0, 0, 0, 0, 0xffff, _, _] => Some("IPv4-mapped"),
        [0, 0, 0, 0, 0xffff, 0, _, _] => Some("IPv4-translated"),
        [0x64, 0xff9b, ..] => Some("NAT64"),
        [0x100, 0, 0, 0, ..] => Some("discard"),
        // 2001::/23 holds Teredo, ORCHID, benchmarking and anycast helpers; no ordinary host is numbered from it.
        [0x2001, 0, ..] => Some("Teredo"),
        [0x2001, 0x10..=0x2f, ..] => Some("ORCHID"),
        [0x2001, 0..=0x1ff, ..] => Some("protocol assignments (2001::/23)"),
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Some("documentation"),
        [0x2002, ..] => Some("6to4"),
        [0x2000..=0x3fff, ..] => None,
        [0xfc00..=0xfdff, ..] => Some("unique local"),
        [0xfe80..=0xfebf, ..] => Some("link-local"),
        [0xfec0..=0xfeff, ..] => Some("site-local"),
        [0xff00..=0xffff, ..] => Some("multicast"),
        _ => Some("not global unicast"),
    }
}
