//! What one client uses.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::exceeded::{ClientLimit, Exceeded};
use super::rate::RateLimit;
use crate::clock::Micros;

/// Payloads are counted in blocks of so many bytes, of which an update takes one at least.
const BLOCK: usize = 64;

/// How much one client may do. 0 = any number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UsageLimits {
    /// Connections with calls.
    pub connections: usize,
    /// Open streams.
    pub streams: usize,
    /// Joins in a second.
    pub joins: u32,
    /// Updates in a second.
    pub publishes: u32,
    /// Their payloads, in bytes in a second, in blocks of 64 bytes.
    pub published_bytes: u64,
    /// Renewals of tokens in a second.
    pub renewals: u32,
}

impl UsageLimits {
    /// True when anything is limited.
    pub(super) fn is_any(&self) -> bool {
        *self != Self::default()
    }

    /// How long it takes until a client that does nothing may do all again.
    pub(super) fn refill(&self, payload_bytes: usize) -> Duration {
        let Self { joins, publishes, published_bytes, renewals, .. } = *self;
        let counts = [joins, publishes, renewals].map(|rate| RateLimit::refill(rate, 0));
        let bytes = RateLimit::refill(blocks_per_second(published_bytes), blocks(payload_bytes));
        counts.into_iter().chain([bytes]).max().unwrap_or_default()
    }
}

fn blocks(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(BLOCK)).unwrap_or(u32::MAX).max(1)
}

fn blocks_per_second(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(BLOCK as u64)).unwrap_or(u32::MAX)
}

/// The names of the limits of one kind of client.
#[derive(Debug)]
pub(super) struct LimitNames {
    connections: Option<ClientLimit>,
    streams: ClientLimit,
    joins: ClientLimit,
    publishes: ClientLimit,
    published_bytes: ClientLimit,
    renewals: Option<ClientLimit>,
}

/// Those of an address. Its connections are counted by the transport, and it renews nothing.
pub(super) static ADDRESS: LimitNames = LimitNames {
    connections: None,
    streams: ClientLimit::AddressStreams,
    joins: ClientLimit::AddressJoins,
    publishes: ClientLimit::AddressPublishes,
    published_bytes: ClientLimit::AddressPublishedBytes,
    renewals: None,
};

/// Those of an identity.
pub(super) static IDENTITY: LimitNames = LimitNames {
    connections: Some(ClientLimit::IdentityConnections),
    streams: ClientLimit::IdentityStreams,
    joins: ClientLimit::IdentityJoins,
    publishes: ClientLimit::IdentityPublishes,
    published_bytes: ClientLimit::IdentityPublishedBytes,
    renewals: Some(ClientLimit::IdentityRenewals),
};

/// A rate with its name.
#[derive(Debug)]
struct NamedRate {
    limit: ClientLimit,
    rate: RateLimit,
    /// What a token stands for.
    unit: usize,
}

impl NamedRate {
    fn take(&self, tokens: u32, now: Micros) -> Result<(), Exceeded> {
        let max = u64::from(self.rate.per_second()) * self.unit as u64;
        self.rate.take(tokens, now).map_err(|wait| Exceeded { limit: self.limit, max, wait: Some(wait) })
    }
}

/// What one client uses.
#[derive(Debug)]
pub(crate) struct ClientUsage {
    connections: Option<(ClientLimit, usize)>,
    /// Calls by the number of their connection; none where connections are not limited.
    calls: Mutex<HashMap<usize, u32>>,
    max_streams: Option<(ClientLimit, usize)>,
    streams: AtomicUsize,
    joins: Option<NamedRate>,
    publishes: Option<NamedRate>,
    published_blocks: Option<NamedRate>,
    renewals: Option<NamedRate>,
}

/// An update that is to be paid for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UpdateCharge {
    bytes: usize,
    /// How many of the rates that it counts for have counted it.
    pub(super) paid: usize,
}

impl UpdateCharge {
    /// Of a payload of so many bytes.
    pub(crate) const fn of(bytes: usize) -> Self {
        Self { bytes, paid: 0 }
    }

    /// The length of the payload.
    pub(crate) const fn bytes(self) -> usize {
        self.bytes
    }
}

impl ClientUsage {
    /// Rates that count an update.
    pub(super) const UPDATE_RATES: usize = 2;

    /// Nothing, with full buckets. The largest payload fits into that of bytes.
    pub(super) fn new(limits: &UsageLimits, names: &LimitNames, payload_bytes: usize, now: Micros) -> Self {
        let UsageLimits { connections, streams, joins, publishes, published_bytes, renewals } = *limits;
        let bucket = |limit: ClientLimit, per_second, least, unit| {
            RateLimit::new(per_second, least, now).map(|rate| NamedRate { limit, rate, unit })
        };
        let count = |limit: ClientLimit, max: usize| (max > 0).then_some((limit, max));
        Self {
            connections: names.connections.and_then(|limit| count(limit, connections)),
            calls: Mutex::default(),
            max_streams: count(names.streams, streams),
            streams: AtomicUsize::new(0),
            joins: bucket(names.joins, joins, 0, 1),
            publishes: bucket(names.publishes, publishes, 0, 1),
            published_blocks: bucket(
                names.published_bytes,
                blocks_per_second(published_bytes),
                blocks(payload_bytes),
                BLOCK,
            ),
            renewals: names.renewals.and_then(|limit| bucket(limit, renewals, 0, 1)),
        }
    }

    /// Counts a call over a connection. O(1).
    pub(super) fn open_call(&self, connection: usize) -> Result<(), Exceeded> {
        let Some((limit, max)) = self.connections else { return Ok(()) };
        let mut calls = self.calls.lock();
        let connections = calls.len();
        match calls.get_mut(&connection) {
            Some(calls) => *calls += 1,
            None if connections < max => drop(calls.insert(connection, 1)),
            None => return Err(Exceeded { limit, max: max as u64, wait: None }),
        }
        Ok(())
    }

    /// The call is over.
    pub(super) fn close_call(&self, connection: usize) {
        if self.connections.is_none() {
            return;
        }
        let mut calls = self.calls.lock();
        let Some(of_connection) = calls.get_mut(&connection) else { return };
        *of_connection -= 1;
        if *of_connection == 0 {
            calls.remove(&connection);
            if calls.is_empty() {
                // It may have had many.
                calls.shrink_to_fit();
            }
        }
    }

    /// Counts a stream. O(1), without a lock.
    pub(super) fn open_stream(&self) -> Result<(), Exceeded> {
        let more = |streams| self.max_streams.is_none_or(|(_, max)| streams < max).then_some(streams + 1);
        let opened = self.streams.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        match (opened, self.max_streams) {
            (Err(_), Some((limit, max))) => Err(Exceeded { limit, max: max as u64, wait: None }),
            _ => Ok(()),
        }
    }

    /// The stream has ended.
    pub(super) fn close_stream(&self) {
        self.streams.fetch_sub(1, Ordering::Relaxed);
    }

    /// Counts a join.
    pub(super) fn join(&self, now: Micros) -> Result<(), Exceeded> {
        self.joins.as_ref().map_or(Ok(()), |joins| joins.take(1, now))
    }

    /// Counts a renewal.
    pub(super) fn renew(&self, now: Micros) -> Result<(), Exceeded> {
        self.renewals.as_ref().map_or(Ok(()), |renewals| renewals.take(1, now))
    }

    /// Counts an update, by one of [`Self::UPDATE_RATES`].
    pub(super) fn publish(&self, rate: usize, update: UpdateCharge, now: Micros) -> Result<(), Exceeded> {
        match rate {
            0 => self.publishes.as_ref().map_or(Ok(()), |updates| updates.take(1, now)),
            _ => self.published_blocks.as_ref().map_or(Ok(()), |rate| rate.take(blocks(update.bytes), now)),
        }
    }

    /// True when there is no rate for updates.
    pub(super) const fn publishes_freely(&self) -> bool {
        self.publishes.is_none() && self.published_blocks.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::uptime;

    const LIMITS: UsageLimits =
        UsageLimits { connections: 2, streams: 2, joins: 1, publishes: 10, published_bytes: 640, renewals: 1 };

    fn usage(limits: &UsageLimits) -> ClientUsage {
        ClientUsage::new(limits, &IDENTITY, 1_000, uptime())
    }

    #[test]
    fn connections_count_while_they_have_calls() {
        let usage = usage(&LIMITS);
        for connection in [1, 1, 2, 1] {
            usage.open_call(connection).unwrap();
        }
        let full = Exceeded { limit: ClientLimit::IdentityConnections, max: 2, wait: None };
        assert_eq!(usage.open_call(3), Err(full));
        usage.close_call(1);
        assert_eq!(usage.open_call(3), Err(full), "it has calls left");
        usage.close_call(2);
        assert_eq!(usage.open_call(3), Ok(()));
        for connection in [1, 1, 3] {
            usage.close_call(connection);
        }
        assert!(usage.calls.lock().is_empty());
    }

    #[test]
    fn streams_are_counted_until_they_end() {
        let usage = usage(&LIMITS);
        usage.open_stream().unwrap();
        usage.open_stream().unwrap();
        let full = Exceeded { limit: ClientLimit::IdentityStreams, max: 2, wait: None };
        assert_eq!((usage.open_stream(), usage.open_stream()), (Err(full), Err(full)));
        usage.close_stream();
        assert_eq!(usage.open_stream(), Ok(()));
    }

    #[test]
    fn payloads_count_in_blocks() {
        let (usage, now) = (usage(&LIMITS), uptime());
        let publish = |bytes| usage.publish(1, UpdateCharge::of(bytes), now);
        // 10 blocks a second, and room for 20.
        for bytes in [0, 1, 64, 65, 12 * 64] {
            publish(bytes).unwrap();
        }
        publish(3 * 64).unwrap();
        let Err(Exceeded { limit, max, wait }) = publish(1) else { panic!("20 blocks are used up") };
        assert_eq!((limit, max), (ClientLimit::IdentityPublishedBytes, 640));
        assert_eq!(wait, Some(Duration::from_millis(100)));
    }

    #[test]
    fn zero_is_no_limit() {
        let (usage, now) = (usage(&UsageLimits::default()), uptime());
        assert!(usage.publishes_freely() && !UsageLimits::default().is_any() && LIMITS.is_any());
        for connection in 0..10_000 {
            assert!(usage.open_call(connection).is_ok() && usage.open_stream().is_ok());
            assert!(usage.join(now).is_ok() && usage.renew(now).is_ok());
        }
        assert!(usage.calls.lock().is_empty());
    }

    #[test]
    fn refill_takes_as_long_as_the_slowest() {
        assert_eq!(LIMITS.refill(640), Duration::from_secs(2));
        assert_eq!(LIMITS.refill(64_000), Duration::from_secs(100));
        assert_eq!(UsageLimits::default().refill(64_000), Duration::ZERO);
    }
}
