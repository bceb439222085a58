//! How many handshakes of TLS a peer address may make: each costs a signature of the server.

use std::net::IpAddr;
use std::sync::Arc;

use super::monitor::Monitor;
use crate::budget::network;
use crate::clock::{self, Micros};
use crate::limits::{ClientId, ClientTable, RateLimit};

/// The handshakes of all addresses; none are counted where they have no limit.
#[derive(Clone, Debug)]
pub(super) struct HandshakeLimit {
    made: Option<Arc<ClientTable<RateLimit>>>,
    monitor: Arc<Monitor>,
}

impl HandshakeLimit {
    /// So many in a second for each address; 0 = any number. Those that are refused are counted in `monitor`.
    pub(super) fn new(per_second: u32, monitor: Arc<Monitor>) -> Self {
        let table = || {
            let make = move |now| RateLimit::new(per_second, 0, now).expect("the rate is not zero");
            Arc::new(ClientTable::new(RateLimit::refill(per_second, 0), make))
        };
        Self { made: (per_second > 0).then(table), monitor }
    }

    /// Counts one more; false when the address has made too many.
    pub(super) fn admits(&self, peer: IpAddr) -> bool {
        self.admits_at(peer, clock::uptime())
    }

    fn admits_at(&self, peer: IpAddr, now: Micros) -> bool {
        let Some(table) = &self.made else { return true };
        let admitted = table.get(ClientId::Address(network(peer)), now).take(1, now).is_ok();
        if !admitted {
            self.monitor.count_refused_handshake();
        }
        admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn addresses_have_handshakes_of_their_own() {
        let limit = HandshakeLimit::new(1, Arc::default());
        let now = clock::uptime();
        let admitted = |peer: &str| (0..10).filter(|_| limit.admits_at(address(peer), now)).count();
        assert_eq!(admitted("10.0.0.1"), 2);
        assert_eq!(admitted("10.0.0.2"), 2);
        assert_eq!(admitted("::ffff:10.0.0.1"), 0, "it is the first one");
    }

    #[test]
    fn network_of_64_bits_is_one_address() {
        let (limit, now) = (HandshakeLimit::new(1, Arc::default()), clock::uptime());
        let admits = |peer| limit.admits_at(address(peer), now);
        assert!(admits("2001:db8::1") && admits("2001:db8::2"));
        assert!(!admits("2001:db8::ffff:0:0:3"));
        assert!(admits("2001:db8:0:1::1"));
    }

    #[test]
    fn zero_admits_every_handshake() {
        let limit = HandshakeLimit::new(0, Arc::default());
        assert!((0..10_000).all(|_| limit.admits(address("10.0.0.1"))));
    }
}
