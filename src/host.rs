//! A host: a DNS name or an IP address. One rule for the hosts to listen on, advertise, register and
//! connect to.
//!
//! Parsing is as strict as the strictest client. Resolvers still accept `127.1`,
//! `0127.0.0.1` and `2130706433` as addresses, each in its own way. A name with a
//! number as the last label is therefore neither a name nor an address.
//!
//! **Invariant:** a [`Host`] can stand in a URL without any escape: a host has no slash, `@` or space.
//!
//! Read next: `http/admission.rs`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// The longest host name, in bytes: the limit of DNS.
const MAX_NAME_BYTES: usize = 253;
/// The longest label of a host name, in bytes: the limit of DNS.
const MAX_LABEL_BYTES: usize = 63;

/// A host name or an IP address, including addresses to listen on alone, for example `0.0.0.0`:
/// [`Host::for_clients`] refuses them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// A DNS name in the letters that were given, without a final dot.
    Name(String),
    /// An address. An IPv6 address has no zone.
    Address(IpAddr),
}

/// The error for a text that is not a [`Host`], or for a host that no client can connect to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidHost;

/// The rule, for error messages.
pub const RULE: &str = "must be a host name or an IP address that clients can connect to, without a port";

impl FromStr for Host {
    type Err = InvalidHost;

    /// Reads a name, an IPv4 address of four decimal numbers, or an IPv6 address with or without
    /// brackets.
    fn from_str(text: &str) -> Result<Self, InvalidHost> {
        if let Some(rest) = text.strip_prefix('[') {
            return address::<Ipv6Addr>(rest.strip_suffix(']').ok_or(InvalidHost)?);
        }
        // An IPv6 address needs no brackets here, since no port follows.
        if text.contains(':') {
            return address::<Ipv6Addr>(text);
        }
        if text.rsplit('.').next().is_some_and(is_number) {
            return address::<Ipv4Addr>(text);
        }
        let is_name = text.len() <= MAX_NAME_BYTES && text.split('.').all(is_label);
        if is_name { Ok(Self::Name(text.to_owned())) } else { Err(InvalidHost) }
    }
}

fn address<A: FromStr + Into<IpAddr>>(text: &str) -> Result<Host, InvalidHost> {
    text.parse().map(|address: A| Host::Address(address.into())).map_err(|_| InvalidHost)
}

/// Whether URLs and resolvers read a name with this last label as an IPv4 address.
fn is_number(label: &str) -> bool {
    let hexadecimal = label.strip_prefix("0x").or_else(|| label.strip_prefix("0X"));
    match hexadecimal {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

/// Whether the text is a label. DNS has no underscore in host names, but container names have.
fn is_label(label: &str) -> bool {
    (1..=MAX_LABEL_BYTES).contains(&label.len())
        && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

impl Host {
    /// Returns the host if a client on some machine can connect to it: not an unspecified, multicast
    /// or broadcast address, nor one that needs an IPv6 zone.
    ///
    /// # Errors
    /// [`InvalidHost`] otherwise.
    pub fn for_clients(self) -> Result<Self, InvalidHost> {
        match &self {
            Self::Name(_) => Ok(self),
            // `::ffff:0.0.0.0` is an IPv4 address in the form of IPv6.
            Self::Address(address) if is_connectable(address.to_canonical()) => Ok(self),
            Self::Address(_) => Err(InvalidHost),
        }
    }

    /// Returns the host as it stands in a URL: an IPv6 address in brackets.
    pub fn in_url(&self) -> String {
        match self {
            Self::Address(IpAddr::V6(address)) => format!("[{address}]"),
            Self::Address(IpAddr::V4(_)) | Self::Name(_) => self.to_string(),
        }
    }
}

fn is_connectable(address: IpAddr) -> bool {
    match address {
        // All of 0.0.0.0/8 means "this network", which has no machine.
        IpAddr::V4(ip) => ip.octets()[0] != 0 && !ip.is_multicast() && !ip.is_broadcast(),
        IpAddr::V6(ip) => !ip.is_unspecified() && !ip.is_multicast() && !ip.is_unicast_link_local(),
    }
}

/// Writes an IPv6 address without brackets.
impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(address) => address.fmt(f),
        }
    }
}

/// Reads `HOST` or `HOST:PORT`, where an IPv6 address stands in brackets.
pub fn host_and_port(text: &str) -> Option<(Host, Option<u16>)> {
    // An IPv6 address stands in brackets here, so the next colon begins the port.
    let end = if text.starts_with('[') { text.find(']')? + 1 } else { text.find(':').unwrap_or(text.len()) };
    let host = text[..end].parse().ok()?;
    match text[end..].strip_prefix(':') {
        None if end == text.len() => Some((host, None)),
        None => None,
        Some(port) => Some((host, Some(self::port(port)?))),
    }
}

/// Reads a port: digits alone, where the number parser would also take "+80".
pub fn port(text: &str) -> Option<u16> {
    // `parse` alone also accepts a plus sign.
    text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn for_clients(text: &str) -> Option<String> {
        Some(text.parse::<Host>().ok()?.for_clients().ok()?.to_string())
    }

    #[test]
    fn names_and_addresses_are_hosts() {
        let long = format!("{}.{0}.{0}.{}", "a".repeat(63), "b".repeat(61));
        for text in [
            "localhost",
            "write",
            "Write.Example",
            "my-host.example",
            "tally_write_1",
            "xn--bcher-kva.example",
            "3com.example",
            "1.2.3.a",
            "0xg",
            "127.0.0.1",
            "255.255.255.254",
            "::1",
            "2001:db8::1",
            "::ffff:10.1.2.3",
            &long,
        ] {
            assert_eq!(for_clients(text).as_deref(), Some(text));
        }
        assert_eq!(for_clients("[2001:DB8:0::1]").as_deref(), Some("2001:db8::1"));
    }

    #[test]
    fn what_no_client_can_connect_to_is_not_for_clients() {
        for text in [
            "0.0.0.0",
            "0.1.2.3",
            "255.255.255.255",
            "224.0.0.1",
            "239.255.255.255",
            "::",
            "[::]",
            "ff02::1",
            "::ffff:0.0.0.0",
            "::ffff:224.0.0.1",
            "fe80::1",
        ] {
            assert!(text.parse::<Host>().is_ok(), "{text}");
            assert_eq!(for_clients(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_neither_a_name_nor_an_address_is_no_host() {
        let (label, name) = ("a".repeat(64), ["a"; 128].join("."));
        for text in [
            "",
            ".",
            "..",
            "a.",
            "a..b",
            ".a",
            "-a",
            "a-",
            "a.-b",
            "a-.b",
            "[",
            "]",
            "[]",
            "[::1",
            "::1]",
            "[127.0.0.1]",
            "[a]",
            "a b",
            " a",
            "a/b",
            "u@a",
            "a?b",
            "a#b",
            "a%41",
            "é",
            "127.0.0.1:80",
            "a:80",
            "[::1]:80",
            "127.1",
            "0127.0.0.1",
            "127.0.0.01",
            "1.2.3.4.5",
            "256.1.1.1",
            "1.2.3.4.",
            "2130706433",
            "0x7f.0.0.1",
            "0x7f000001",
            "0x",
            "a.1",
            "a.0x1",
            "1:2",
            ":::",
            "fe80::1%eth0",
            "::1%1",
            "a\nb",
            "a\0",
            &label,
            &name,
        ] {
            assert_eq!(text.parse::<Host>(), Err(InvalidHost), "{text:?}");
        }
    }

    #[test]
    fn an_ipv6_host_gets_its_brackets_in_a_url() {
        for (text, in_url) in
            [("::1", "[::1]"), ("[::1]", "[::1]"), ("host", "host"), ("10.0.0.1", "10.0.0.1")]
        {
            assert_eq!(text.parse::<Host>().unwrap().in_url(), in_url);
        }
    }

    #[test]
    fn a_port_is_a_number_behind_the_host() {
        let read = |text| host_and_port(text).map(|(host, port)| format!("{host} {port:?}"));
        assert_eq!(read("a").as_deref(), Some("a None"));
        assert_eq!(read("a:65535").as_deref(), Some("a Some(65535)"));
        assert_eq!(read("[::1]:80").as_deref(), Some("::1 Some(80)"));
        for text in
            ["a:", "a:+1", "a:65536", "a:b", ":1", "::1", "::1:80", "[::1]80", "[::1", "a:1:2", "[a]:1"]
        {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
