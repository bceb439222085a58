//! Where a connection comes from.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use http::HeaderMap;

use super::forwarded_header::ForwardedHeader;

/// Where a connection comes from: the other end of its socket, until it is known better.
#[derive(Debug)]
pub(super) struct Origin {
    socket: IpAddr,
    known: OnceLock<Known>,
}

#[derive(Debug)]
struct Known {
    address: IpAddr,
    /// The header in which the proxy at that address names its clients.
    forwards: Option<Arc<ForwardedHeader>>,
}

impl Origin {
    pub(super) const fn new(socket: IpAddr) -> Self {
        Self { socket, known: OnceLock::new() }
    }

    /// Says from which address it comes; `forwards` if that is a proxy whose header is taken.
    pub(super) fn set(&self, address: IpAddr, forwards: Option<Arc<ForwardedHeader>>) {
        let set = self.known.set(Known { address, forwards });
        debug_assert!(set.is_ok(), "a connection comes from one address");
    }

    pub(super) fn address(&self) -> IpAddr {
        self.known.get().map_or(self.socket, |known| known.address)
    }

    /// The address of the client that sent a request with these headers.
    pub(super) fn client(&self, headers: &HeaderMap) -> IpAddr {
        match self.known.get() {
            Some(Known { address, forwards: Some(header) }) => header.client(*address, headers),
            Some(Known { address, forwards: None }) => *address,
            None => self.socket,
        }
    }
}
