//! The header in which proxies of HTTP say for whom they call.
//!
//! Each proxy appends the address that it was called from. So only what a trusted proxy has written is read, from the
//! right: an entry is believed when whoever stands to its right, at last the connection itself, is trusted. The first
//! address that is not trusted is the client's; what stands to the left of it the client may have invented.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str;

use http::{HeaderMap, HeaderName};

use super::trusted_proxies::TrustedProxies;

/// A header, and from whom it is taken.
#[derive(Clone, Debug)]
pub struct ForwardedHeader {
    /// A list of addresses, such as `x-forwarded-for`, or one, such as `x-real-ip`.
    pub name: HeaderName,
    /// Who is believed.
    pub proxies: TrustedProxies,
}

impl ForwardedHeader {
    /// The address of the client of a call over a connection from a trusted `proxy`. Where an entry is no address, that
    /// of the proxy which wrote it; without the header, `proxy`. O(entries).
    pub(super) fn client(&self, proxy: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut address = proxy;
        for value in headers.get_all(&self.name).iter().rev() {
            for entry in value.as_bytes().rsplit(|byte| *byte == b',') {
                let Some(named) = parse(entry) else {
                    tracing::warn!(proxy = %address, header = %self.name, "a trusted proxy does not name its client");
                    return address;
                };
                address = named;
                if !self.proxies.contains(address) {
                    return address;
                }
            }
        }
        address
    }
}

/// An address as proxies write it: alone, or with a port; of IPv6 perhaps in brackets.
fn parse(entry: &[u8]) -> Option<IpAddr> {
    let entry = str::from_utf8(entry).ok()?.trim_matches([' ', '\t']);
    let bracketed = || entry.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    let address = entry.parse().ok().or_else(|| entry.parse().ok().map(|address: SocketAddr| address.ip()));
    address.or_else(bracketed).map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const PROXY: &str = "10.0.0.1";

    /// The client that these lines name, to a server whose proxies are in 10.0.0.0/8 and fd00::/8.
    fn client(lines: &[&[u8]]) -> String {
        let name = HeaderName::from_static("x-forwarded-for");
        let proxies = ["10.0.0.0/8", "fd00::/8"].map(|network| network.parse().unwrap()).into_iter().collect();
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(&name, HeaderValue::from_bytes(line).unwrap());
        }
        ForwardedHeader { name, proxies }.client(PROXY.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn rightmost_untrusted_address_is_the_client() {
        for (lines, expected) in [
            (&[][..], PROXY),
            (&["192.0.2.1"][..], "192.0.2.1"),
            (&["192.0.2.9, 192.0.2.1"], "192.0.2.1"),
            (&["192.0.2.9,192.0.2.1,10.0.0.2,\t10.9.9.9 "], "192.0.2.1"),
            (&["192.0.2.9", "192.0.2.1", "10.0.0.2"], "192.0.2.1"),
            (&["192.0.2.1, fd00::7"], "192.0.2.1"),
            // All are trusted: it began at the leftmost.
            (&["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ] {
            let lines: Vec<_> = lines.iter().map(|line| line.as_bytes()).collect();
            assert_eq!(client(&lines), expected, "{lines:?}");
        }
    }

    #[test]
    fn addresses_are_read_in_every_form() {
        for (entry, expected) in [
            ("192.0.2.1:4711", "192.0.2.1"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:4711", "2001:db8::1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("[::ffff:192.0.2.1]:4711", "192.0.2.1"),
        ] {
            assert_eq!(client(&[entry.as_bytes()]), expected, "{entry}");
        }
    }

    #[test]
    fn entry_without_an_address_stands_for_its_writer() {
        for entry in
            ["", " ", "unknown", "_hidden", "unix:", "192.0.2", "192.0.2.1:", "192.0.2.1 192.0.2.2", "[192.0.2.1]"]
        {
            assert_eq!(client(&[entry.as_bytes()]), PROXY, "{entry:?}");
            // What stands to the left of it is not read: whoever wrote it may be anybody.
            assert_eq!(client(&[format!("192.0.2.1, {entry}").as_bytes()]), PROXY, "{entry:?}");
            assert_eq!(client(&[format!("{entry},10.0.0.2").as_bytes()]), "10.0.0.2", "{entry:?}");
            assert_eq!(client(&[format!("{entry}, 192.0.2.1").as_bytes()]), "192.0.2.1", "{entry:?}");
        }
        assert_eq!(client(&[b"192.0.2.1, \xff"]), PROXY);
        assert_eq!(client(&["192.0.2.1,".repeat(1_000).as_bytes()]), PROXY);
    }
}
