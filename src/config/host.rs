//! The hosts of URLs and of Host headers.

use std::net::{IpAddr, Ipv6Addr};

/// Normalises the host of a Host header: lower case, no dot at the end, an IPv6 address without brackets and
/// in its shortest form. `None` if the text cannot be a host.
pub(crate) fn host_name(text: &str) -> Option<String> {
    if let Some(address) = text.strip_prefix('[') {
        return Some(address.strip_suffix(']')?.parse::<Ipv6Addr>().ok()?.to_string());
    }
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    let name = text.strip_suffix('.').unwrap_or(text);
    (!name.is_empty() && name.bytes().all(fits)).then(|| name.to_ascii_lowercase())
}

/// The normalised host of a Host header: `name`, `name:port`, `1.2.3.4:port` or `[::1]:port`. `None` if the header
/// cannot be one.
pub(crate) fn host_of_header(header: &str) -> Option<String> {
    let end = header.rfind(']').map_or_else(|| header.find(':'), |bracket| Some(bracket + 1));
    let (name, port) = header.split_at(end.unwrap_or(header.len()));
    let is_port = |port: &str| port.strip_prefix(':').is_some_and(|n| n.parse::<u16>().is_ok());
    host_name(name).filter(|_| port.is_empty() || is_port(port))
}

/// Whether a normalised host is this machine: localhost, an address of 127.0.0.0/8, or ::1.
pub(crate) fn is_loopback(host: &str) -> bool {
    host.parse::<IpAddr>().map_or(host == "localhost", |address| address.is_loopback())
}
