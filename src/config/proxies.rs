//! The proxies in front of the server, and what is believed of them.

use http::HeaderName;
use ipnet::IpNet;

use super::fault::Faults;
use super::{ProxyProtocol, ServerConfig, listed};

/// The most networks: each connection is compared with all of them.
const NETWORKS: usize = 256;

impl ServerConfig {
    /// The networks of the trusted proxies. An address alone is a network of one.
    ///
    /// # Errors
    ///
    /// When an entry is none, in words that name it.
    pub fn trusted_proxies(&self) -> Result<Vec<IpNet>, String> {
        let networks: Vec<_> = listed(&self.trusted_proxies).map(network).collect::<Result<_, _>>()?;
        let count = networks.len();
        if count > NETWORKS { Err(format!("{count} entries are more than {NETWORKS}")) } else { Ok(networks) }
    }

    /// The header in which they name their clients, if there is one.
    ///
    /// # Errors
    ///
    /// When it is not the name of a header, or of one that cannot be read so, in words that say it.
    pub fn client_address_header(&self) -> Result<Option<HeaderName>, String> {
        let text = self.client_address_header.as_str();
        if text.is_empty() {
            return Ok(None);
        }
        let name = HeaderName::try_from(text).map_err(|_| format!("{text:?} is not the name of a header"))?;
        if name == http::header::FORWARDED {
            return Err(format!("{text:?} (RFC 7239) is not read: have the proxy send x-forwarded-for"));
        }
        Ok(Some(name))
    }

    pub(super) fn check_proxies(&self, faults: &mut Faults) {
        const PROXIES: &str = "server.trusted_proxies";
        const HEADER: &str = "server.client_address_header";
        let (networks, header) = (self.trusted_proxies(), self.client_address_header());
        let nobody = networks.as_ref().is_ok_and(Vec::is_empty);
        if let Err(problem) = networks {
            faults.rule(&[PROXIES], false, || problem);
        }
        let named = header.as_ref().is_ok_and(Option::is_some);
        if let Err(problem) = header {
            faults.rule(&[HEADER], false, || problem);
        }
        faults.rule(&[HEADER, PROXIES], !named || !nobody, || {
            "is given, and server.trusted_proxies is empty: it would be taken from nobody".to_owned()
        });
        let expected = self.proxy_protocol == ProxyProtocol::V2;
        faults.rule(&["server.proxy_protocol", PROXIES], !expected || !nobody, || {
            "\"v2\" is taken from server.trusted_proxies, which is empty: nobody could connect".to_owned()
        });
    }

    /// Whether proxies are named, and nothing is taken from them.
    pub(super) fn has_idle_proxies(&self) -> bool {
        let unused = self.proxy_protocol == ProxyProtocol::Off && self.client_address_header.is_empty();
        unused && !self.trusted_proxies.is_empty()
    }
}

/// An entry of the list.
fn network(text: &str) -> Result<IpNet, String> {
    let network: IpNet = match text.parse() {
        Ok(network) => network,
        Err(_) => text
            .parse()
            .map(|address: std::net::IpAddr| address.into())
            .map_err(|_| format!("{text:?} is no address or network"))?,
    };
    let begin = network.trunc();
    if network != begin {
        return Err(format!("{text:?} has bits behind its prefix: did you mean {begin}, or the address alone?"));
    }
    if network.prefix_len() == 0 {
        return Err(format!("{text:?} is every address: anybody could claim to be anybody"));
    }
    // Connections of IPv4 are compared as such.
    if matches!(network, IpNet::V6(network) if network.addr().to_ipv4_mapped().is_some()) {
        return Err(format!("{text:?} stands for IPv4: write it so"));
    }
    Ok(network)
}
