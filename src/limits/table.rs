//! Clients by their ids, as many as are in use and a bounded number beside.
//!
//! A client that nobody uses stays until its buckets are full again, and is forgotten when others come. When more such
//! clients are kept than may be, those that come then share one place, with the limits of one client: whoever makes up
//! addresses or has countless identities is held back as one, and who was known before notices nothing.

use std::collections::VecDeque;
use std::collections::hash_map::{Entry, HashMap};
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::client::ClientId;
use crate::clock::{Micros, uptime};

/// Clients that are kept while nobody uses them.
pub(super) const IDLE_CLIENTS: usize = 8_192;

/// Parts of a table, each with a lock.
const SHARDS: usize = 16;

/// Clients that are looked at with each new one, to be forgotten: more than come.
const LOOKS: usize = 4;

/// What is kept for each client.
pub(crate) struct ClientTable<V> {
    shards: [Mutex<Shard<V>>; SHARDS],
    hasher: RandomState,
    /// What those share for whom there is no place.
    shared: Arc<Place<V>>,
    make: Box<dyn Fn(Micros) -> V + Send + Sync>,
    /// How long it takes until what an idle client has used up is there again, in microseconds.
    refill: u64,
    /// Clients that may be kept while nobody uses them.
    most_idle: usize,
    places: AtomicUsize,
    used: Arc<AtomicUsize>,
}

struct Shard<V> {
    places: HashMap<ClientId, Arc<Place<V>>>,
    /// Each of them once, in the order in which they are looked at.
    order: VecDeque<ClientId>,
}

impl<V> Default for Shard<V> {
    fn default() -> Self {
        Self { places: HashMap::new(), order: VecDeque::new() }
    }
}

struct Place<V> {
    value: V,
    users: AtomicUsize,
    /// When it was used last, in microseconds of the clock that never goes back.
    idle_since: AtomicU64,
    /// How many places of the table are in use.
    used: Arc<AtomicUsize>,
}

impl<V> Place<V> {
    fn new(value: V, used: &Arc<AtomicUsize>) -> Arc<Self> {
        Arc::new(Self { value, users: AtomicUsize::new(0), idle_since: AtomicU64::new(0), used: Arc::clone(used) })
    }
}

/// The place of a client, which stays while it is used.
pub(crate) struct ClientRef<V>(Arc<Place<V>>);

impl<V> ClientRef<V> {
    /// Under the lock of the shard, so that the place is not forgotten meanwhile.
    fn new(place: &Arc<Place<V>>) -> Self {
        if place.users.fetch_add(1, Ordering::AcqRel) == 0 {
            place.used.fetch_add(1, Ordering::AcqRel);
        }
        Self(Arc::clone(place))
    }
}

impl<V> Deref for ClientRef<V> {
    type Target = V;

    fn deref(&self) -> &V {
        &self.0.value
    }
}

impl<V> Drop for ClientRef<V> {
    fn drop(&mut self) {
        // Before the count, so that nobody finds it idle since an earlier time.
        self.0.idle_since.store(uptime().get(), Ordering::Release);
        if self.0.users.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.used.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

impl<V> fmt::Debug for ClientRef<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ClientRef").field(&self.0.users).finish()
    }
}

impl<V> ClientTable<V> {
    /// Nobody yet. What an idle client has used up is there again after `refill`; `make` makes the place of a new one.
    pub(crate) fn new(refill: Duration, make: impl Fn(Micros) -> V + Send + Sync + 'static) -> Self {
        Self::with_idle(IDLE_CLIENTS, refill, make)
    }

    fn with_idle(most_idle: usize, refill: Duration, make: impl Fn(Micros) -> V + Send + Sync + 'static) -> Self {
        let used = Arc::default();
        let shared = Place::new(make(uptime()), &used);
        // It is always in use, so that it is none of those that are idle.
        shared.users.fetch_add(1, Ordering::AcqRel);
        Self {
            shards: Default::default(),
            hasher: RandomState::new(),
            shared,
            make: Box::new(make),
            refill: u64::try_from(refill.as_micros()).unwrap_or(u64::MAX),
            most_idle,
            places: AtomicUsize::new(0),
            used,
        }
    }

    fn shard(&self, id: &ClientId) -> &Mutex<Shard<V>> {
        let hash = self.hasher.hash_one(id);
        &self.shards[usize::try_from(hash % SHARDS as u64).unwrap_or_default()]
    }

    /// True when no more clients may be kept that nobody uses.
    fn is_full(&self) -> bool {
        self.places.load(Ordering::Acquire).saturating_sub(self.used.load(Ordering::Acquire)) >= self.most_idle
    }

    /// The place of a client, or what those share who have none. Amortised O(1).
    pub(crate) fn get(&self, id: ClientId, now: Micros) -> ClientRef<V> {
        let mut shard = self.shard(&id).lock();
        if let Some(place) = shard.places.get(&id) {
            return ClientRef::new(place);
        }
        let forgotten = shard.forget(now.get(), self.refill);
        self.places.fetch_sub(forgotten, Ordering::AcqRel);
        if self.is_full() {
            return ClientRef::new(&self.shared);
        }
        self.places.fetch_add(1, Ordering::AcqRel);
        let place = Place::new((self.make)(now), &self.used);
        let client = ClientRef::new(&place);
        shard.order.push_back(id.clone());
        shard.places.insert(id, place);
        client
    }

    /// The place of a client that has one, or, where it could have none, what those share.
    pub(crate) fn find(&self, id: &ClientId) -> Option<ClientRef<V>> {
        let shard = self.shard(id).lock();
        match shard.places.get(id) {
            Some(place) => Some(ClientRef::new(place)),
            None => self.is_full().then(|| ClientRef::new(&self.shared)),
        }
    }

    /// Clients that have a place.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.places.load(Ordering::Acquire)
    }
}

impl<V> Shard<V> {
    /// Forgets some that nobody has used for so long; how many.
    fn forget(&mut self, now: u64, refill: u64) -> usize {
        let mut forgotten = 0;
        for _ in 0..LOOKS {
            let Some(id) = self.order.pop_front() else { break };
            let Entry::Occupied(place) = self.places.entry(id) else { continue };
            let is_idle = place.get().users.load(Ordering::Acquire) == 0;
            // Not before it was idle, which the order of these two looks makes sure of.
            if is_idle && now >= place.get().idle_since.load(Ordering::Acquire).saturating_add(refill) {
                place.remove();
                forgotten += 1;
            } else {
                self.order.push_back(place.key().clone());
            }
        }
        forgotten
    }
}

impl<V> fmt::Debug for ClientTable<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTable")
            .field("places", &self.places)
            .field("used", &self.used)
            .field("most_idle", &self.most_idle)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv6Addr};

    use super::*;
    use crate::limits::rate::RateLimit;

    /// The first 64 bits of an address of IPv6.
    fn network(number: u64) -> ClientId {
        ClientId::Address(IpAddr::V6(Ipv6Addr::from_bits(u128::from(number) << 64)))
    }

    fn table(most_idle: usize, refill: Duration) -> ClientTable<RateLimit> {
        ClientTable::with_idle(most_idle, refill, |now| RateLimit::new(1, 0, now).unwrap())
    }

    #[test]
    fn clients_are_kept_apart_and_remembered() {
        let table = table(100, Duration::from_secs(60));
        let now = uptime();
        table.get(network(1), now).take(2, now).unwrap();
        assert!(table.get(network(1), now).take(1, now).is_err(), "also when nobody used it in between");
        assert!(table.get(network(2), now).take(2, now).is_ok());
        assert!(table.find(&network(1)).is_some() && table.find(&network(3)).is_none());
    }

    #[test]
    fn countless_clients_share_what_one_may() {
        let table = table(100, Duration::from_secs(60));
        let now = uptime();
        let admitted = (0..10_000).filter(|number| table.get(network(*number), now).take(1, now).is_ok()).count();
        assert_eq!((table.len(), admitted), (100, 100 + 2));
        assert!(table.find(&network(9_999)).unwrap().take(1, now).is_err(), "it has the place of all others");
        assert!(table.get(network(7), now).take(1, now).is_ok(), "who was known before has its own");
    }

    #[test]
    fn idle_clients_are_forgotten_for_new_ones() {
        let table = table(100, Duration::ZERO);
        for number in 0..10_000 {
            let now = uptime();
            assert!(table.get(network(number), now).take(2, now).is_ok(), "{number} has a place of its own");
            assert!(table.len() <= 100);
        }
        let places: usize = table.shards.iter().map(|shard| shard.lock().places.len()).sum();
        let listed: usize = table.shards.iter().map(|shard| shard.lock().order.len()).sum();
        assert_eq!((places, listed), (table.len(), table.len()));
    }

    #[test]
    fn clients_in_use_keep_their_places() {
        let table = table(1, Duration::ZERO);
        let now = uptime();
        let held: Vec<_> = (0..1_000).map(|number| table.get(network(number), now)).collect();
        assert_eq!(table.len(), 1_000, "they are no idle ones");
        held.iter().for_each(|client| client.take(2, now).unwrap());
        for (number, client) in (0..).zip(&held) {
            assert!(Arc::ptr_eq(&table.get(network(number), now).0, &client.0));
        }
        drop(held);
        assert_eq!(table.used.load(Ordering::Relaxed), 0);
        for number in 1_000..2_000 {
            table.get(network(number), uptime());
        }
        assert!(table.len() <= 1 + SHARDS, "{}", table.len());
    }
}
