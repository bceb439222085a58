//! What happens to the connections of a listener before they speak HTTP.

use std::net::IpAddr;
use std::sync::Arc;

use super::forwarded_header::ForwardedHeader;
use super::trusted_proxies::TrustedProxies;
use crate::tls::Acceptor;

/// What a listener expects of a connection before HTTP, and whom it believes about others. By default nothing, and
/// nobody.
#[derive(Clone, Debug, Default)]
pub struct ListenerSettings {
    /// TLS, if it is spoken.
    pub tls: Option<Acceptor>,
    /// Whoever may connect, each with a preamble of the PROXY protocol, version 2, that comes before TLS; `None` =
    /// everybody may, and without one.
    pub proxy_protocol: Option<TrustedProxies>,
    /// The header in which proxies name their clients.
    pub forwarded: Option<Arc<ForwardedHeader>>,
}

impl ListenerSettings {
    /// Whether connections speak HTTP from the first byte on.
    pub(super) const fn is_plain(&self) -> bool {
        self.tls.is_none() && self.proxy_protocol.is_none()
    }

    /// Whether somebody whose socket has this address may connect.
    pub(super) fn admits(&self, socket: IpAddr) -> bool {
        self.proxy_protocol.as_ref().is_none_or(|proxies| proxies.contains(socket))
    }

    /// The header of a connection from this address, if it is taken from there.
    pub(super) fn forwarded_by(&self, address: IpAddr) -> Option<Arc<ForwardedHeader>> {
        self.forwarded.as_ref().filter(|header| header.proxies.contains(address)).cloned()
    }
}
