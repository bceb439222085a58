//! Whose word about the addresses of others is taken.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

/// The networks of the proxies in front of this server. Nobody, by default. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies(Arc<[IpNet]>);

impl TrustedProxies {
    /// Whether an address is that of one of them. IPv6 that stands for IPv4 counts as that. O(networks).
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }
}

impl FromIterator<IpNet> for TrustedProxies {
    fn from_iter<I: IntoIterator<Item = IpNet>>(networks: I) -> Self {
        Self(networks.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_contain_their_addresses() {
        let networks = ["10.1.0.0/16", "192.0.2.7/32", "fd00::/8"].map(|network| network.parse().unwrap());
        let proxies: TrustedProxies = networks.into_iter().collect();
        for address in ["10.1.0.0", "10.1.255.255", "192.0.2.7", "::ffff:10.1.2.3", "fdff::1"] {
            assert!(proxies.contains(address.parse().unwrap()), "{address}");
        }
        for address in ["10.2.0.0", "192.0.2.8", "::ffff:10.2.0.1", "::10.1.2.3", "fe00::", "::1"] {
            assert!(!proxies.contains(address.parse().unwrap()), "{address}");
        }
        assert!(!TrustedProxies::default().contains("127.0.0.1".parse().unwrap()));
    }
}
