//! A call of a client, and what it takes of the client's limits.

use std::sync::Arc;

use super::Clients;
use super::client::ClientId;
use super::exceeded::Exceeded;
use super::table::ClientRef;
use super::usage::{ClientUsage, UpdateCharge};
use crate::clock::{self, Micros};

/// A call that counts for its address, its identity, or both, until it is dropped.
#[derive(Debug)]
pub(crate) struct CallPermit {
    clients: Arc<Clients>,
    connection: usize,
    is_stream: bool,
    /// Those that have counted it.
    counted: Vec<(ClientId, ClientRef<ClientUsage>)>,
}

impl CallPermit {
    /// Counts a call for each of these, or for none.
    pub(super) fn new(
        clients: Arc<Clients>,
        counting: impl Iterator<Item = (ClientId, ClientRef<ClientUsage>)>,
        connection: usize,
        is_stream: bool,
    ) -> Result<Self, Exceeded> {
        let mut permit = Self { clients, connection, is_stream, counted: Vec::with_capacity(2) };
        for (client, usage) in counting {
            usage.open_call(connection).map_err(|exceeded| permit.clients.note(&client, exceeded))?;
            if is_stream && let Err(exceeded) = usage.open_stream() {
                usage.close_call(connection);
                return Err(permit.clients.note(&client, exceeded));
            }
            permit.counted.push((client, usage));
        }
        Ok(permit)
    }

    fn count(&self, by: impl Fn(&ClientUsage) -> Result<(), Exceeded>) -> Result<(), Exceeded> {
        let count = |(client, usage): &(ClientId, ClientRef<ClientUsage>)| {
            by(usage).map_err(|exceeded| self.clients.note(client, exceeded))
        };
        self.counted.iter().try_for_each(count)
    }

    /// Counts a join.
    ///
    /// # Errors
    ///
    /// When there were too many.
    pub(crate) fn join(&self) -> Result<(), Exceeded> {
        let now = clock::uptime();
        self.count(|usage| usage.join(now))
    }

    /// Counts a renewal of a token.
    ///
    /// # Errors
    ///
    /// When there were too many.
    pub(crate) fn renew(&self) -> Result<(), Exceeded> {
        let now = clock::uptime();
        self.count(|usage| usage.renew(now))
    }

    /// Counts an update, at each rate once, however often it is tried. O(1), without a lock.
    ///
    /// # Errors
    ///
    /// When there were too many, or too many bytes.
    pub(crate) fn publish(&self, update: &mut UpdateCharge) -> Result<(), Exceeded> {
        self.publish_at(update, clock::uptime())
    }

    fn publish_at(&self, update: &mut UpdateCharge, now: Micros) -> Result<(), Exceeded> {
        let each = ClientUsage::UPDATE_RATES;
        while let Some((client, usage)) = self.counted.get(update.paid / each) {
            let outcome = usage.publish(update.paid % each, *update, now);
            outcome.map_err(|exceeded| self.clients.note(client, exceeded))?;
            update.paid += 1;
        }
        Ok(())
    }

    /// True when updates have no rate: they need not be counted.
    pub(crate) fn publishes_freely(&self) -> bool {
        self.counted.iter().all(|(_, usage)| usage.publishes_freely())
    }
}

impl Drop for CallPermit {
    fn drop(&mut self) {
        for (_, usage) in &self.counted {
            usage.close_call(self.connection);
            if self.is_stream {
                usage.close_stream();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use starling_core::id::NodeId;

    use super::*;
    use crate::limits::{ClientLimit, Settings, UsageLimits};

    const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn node(number: u64) -> Option<ClientId> {
        NodeId::new(number).map(ClientId::Node)
    }

    fn clients(address: UsageLimits, identity: UsageLimits) -> Arc<Clients> {
        Arc::new(Clients::new(Settings { address, identity, failed_tokens: 0, payload_bytes: 1_000 }))
    }

    fn hits(clients: &Clients, limit: ClientLimit) -> u64 {
        clients.hits().find(|(name, _)| *name == limit).unwrap().1
    }

    #[test]
    fn refused_stream_counts_for_nobody() {
        let clients = clients(
            UsageLimits { streams: 2, ..UsageLimits::default() },
            UsageLimits { streams: 1, connections: 1, ..UsageLimits::default() },
        );
        let begin = |identity, connection| clients.begin(Some(ADDRESS), identity, connection, true);
        let first = begin(node(1), 1).unwrap();
        for _ in 0..5 {
            assert_eq!(begin(node(1), 1).unwrap_err().limit, ClientLimit::IdentityStreams);
        }
        let second = begin(node(2), 1).unwrap();
        assert_eq!(begin(node(3), 1).unwrap_err().limit, ClientLimit::AddressStreams);
        assert_eq!((hits(&clients, ClientLimit::IdentityStreams), hits(&clients, ClientLimit::AddressStreams)), (5, 1));
        drop((first, second));
        let again = [begin(node(1), 2).unwrap(), begin(node(3), 3).unwrap()];
        assert!(again.iter().all(Option::is_some), "its connection counts no more either");
    }

    #[test]
    fn refused_address_is_given_back_by_the_identity() {
        let one = UsageLimits { streams: 1, ..UsageLimits::default() };
        let clients = clients(one, one);
        let elsewhere = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
        let held = clients.begin(Some(ADDRESS), node(1), 1, true).unwrap();
        // The address elsewhere counted it before the identity refused.
        assert!(clients.begin(Some(elsewhere), node(1), 2, true).is_err());
        assert!(clients.begin(Some(elsewhere), node(2), 2, true).is_ok());
        drop(held);
        assert!(clients.begin(Some(elsewhere), node(1), 2, true).is_ok());
    }

    #[test]
    fn unary_calls_are_no_streams() {
        let clients = clients(UsageLimits::default(), UsageLimits { streams: 1, ..UsageLimits::default() });
        let calls: Vec<_> = (0..10).map(|_| clients.begin(Some(ADDRESS), node(1), 1, false).unwrap()).collect();
        assert!(calls.iter().all(Option::is_some));
    }

    #[test]
    fn client_without_limits_costs_nothing() {
        let clients = clients(UsageLimits::default(), UsageLimits { joins: 1, ..UsageLimits::default() });
        assert!(clients.begin(Some(ADDRESS), None, 1, true).unwrap().is_none());
        assert!(clients.begin(None, node(1), 1, true).unwrap().unwrap().publishes_freely());
    }

    #[test]
    fn update_is_counted_once_at_each_rate() {
        let slow = UsageLimits { publishes: 1, ..UsageLimits::default() };
        let clients = clients(slow, UsageLimits { publishes: 2, ..UsageLimits::default() });
        let permit = clients.begin(Some(ADDRESS), node(1), 1, true).unwrap().unwrap();
        let other = clients.begin(None, node(1), 2, true).unwrap().unwrap();
        let now = clock::uptime();
        (0..2).for_each(|_| permit.publish_at(&mut UpdateCharge::of(1), now).unwrap());
        let mut third = UpdateCharge::of(1);
        let exceeded = permit.publish_at(&mut third, now).unwrap_err();
        assert_eq!((exceeded.limit, exceeded.max), (ClientLimit::AddressPublishes, 1));
        assert!(permit.publish_at(&mut third, now).is_err(), "tried again, it waits for the address");
        let tries = (0..10).take_while(|_| other.publish_at(&mut UpdateCharge::of(1), now).is_ok()).count();
        assert_eq!(tries, 2, "of the identity the third took nothing, since the address comes first");
    }
}
