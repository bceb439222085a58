//! What all swarms may take in memory, and what those may that one address made.
//!
//! A swarm is booked on the address that created it, with all its members: whoever joins a swarm
//! of others is let in by these. Who would grow a swarm is refused before the command is submitted,
//! where either is full, so that a log that is replicated holds only what is carried out everywhere.
//! Swarms that have ended make room first.

use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use crate::sync::Mutex;
use starling_core::counted::{Map, Set};
use starling_core::id::SwarmId;

/// What surrounds a swarm in its shard, in bytes: the entry, an empty feed and log, places in maps
/// (`tests/memory.rs` compares with what is allocated).
const ENTRY: usize = 2_048;

/// When a swarm ended, and which.
type Ended = (u64, SwarmId);

/// Swarms that share a limit.
#[derive(Debug)]
struct Limit {
    bytes: usize,
    used: AtomicUsize,
    /// Those that have ended and are kept, the first one first.
    ended: Mutex<Set<Ended>>,
}

impl Limit {
    fn new(bytes: usize) -> Self {
        Self { bytes, used: AtomicUsize::new(0), ended: Mutex::default() }
    }

    fn is_full(&self) -> bool {
        self.used.load(Ordering::Relaxed) >= self.bytes
    }

    fn oldest_ended(&self) -> Option<SwarmId> {
        self.ended.lock().first().map(|(_, id)| *id)
    }

    /// Books another size, and perhaps the end, of a swarm.
    fn change(&self, from: (usize, Option<Ended>), to: (usize, Option<Ended>)) {
        // Wraps around when it shrinks, as the sum does.
        self.used.fetch_add(to.0.wrapping_sub(from.0), Ordering::Relaxed);
        if from.1 != to.1 {
            let mut ended = self.ended.lock();
            if let Some(from) = from.1 {
                ended.remove(&from);
            }
            ended.extend(to.1);
        }
    }
}

/// What all swarms may take.
#[derive(Debug)]
pub(crate) struct StateBudget {
    all: Limit,
    /// What the swarms may take that one address made.
    share: usize,
    creators: Mutex<Map<IpAddr, Weak<Creator>>>,
}

/// An address that made swarms.
#[derive(Debug)]
pub(crate) struct Creator {
    address: IpAddr,
    swarms: Limit,
    budget: Arc<StateBudget>,
}

impl Drop for Creator {
    fn drop(&mut self) {
        let mut creators = self.budget.creators.lock();
        // Another may have taken its place since its last swarm went.
        if creators.get(&self.address).is_some_and(|creator| creator.strong_count() == 0) {
            creators.remove(&self.address);
        }
    }
}

/// A swarm may not be made or grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StateFull {
    /// What ended first of the swarms that take the room.
    pub(crate) oldest_ended: Option<SwarmId>,
}

impl StateBudget {
    pub(super) fn new(limit: usize, share: usize) -> Arc<Self> {
        Arc::new(Self { all: Limit::new(limit), share, creators: Mutex::default() })
    }

    /// Bytes that they may take.
    pub(super) const fn limit(&self) -> usize {
        self.all.bytes
    }

    /// Bytes that all swarms take.
    pub(super) fn used(&self) -> usize {
        self.all.used.load(Ordering::Relaxed)
    }

    /// The swarm that ended first of those that are kept.
    pub(crate) fn oldest_ended(&self) -> Option<SwarmId> {
        self.all.oldest_ended()
    }

    /// The account of an address.
    pub(crate) fn creator(self: &Arc<Self>, address: IpAddr) -> Arc<Creator> {
        let mut creators = self.creators.lock();
        if let Some(known) = creators.get(&address).and_then(Weak::upgrade) {
            return known;
        }
        let creator = Arc::new(Creator { address, swarms: Limit::new(self.share), budget: Arc::clone(self) });
        creators.insert(address, Arc::downgrade(&creator));
        creator
    }

    /// Refuses the swarms of an address to grow.
    pub(crate) fn has_room(&self, creator: Option<&Creator>) -> Result<(), StateFull> {
        let mut limits = creator.map(|creator| &creator.swarms).into_iter().chain([&self.all]);
        let full = limits.find(|limit| limit.is_full());
        full.map_or(Ok(()), |limit| Err(StateFull { oldest_ended: limit.oldest_ended() }))
    }
}

/// What is booked for one swarm, until it is dropped.
#[derive(Debug)]
pub(crate) struct Booked {
    budget: Arc<StateBudget>,
    creator: Option<Arc<Creator>>,
    now: (usize, Option<Ended>),
}

impl Booked {
    pub(super) const fn new(budget: Arc<StateBudget>) -> Self {
        Self { budget, creator: None, now: (0, None) }
    }

    /// Books it on the address that made it.
    pub(super) fn book_on(&mut self, creator: Arc<Creator>) {
        creator.swarms.change((0, None), self.now);
        self.leave_creator();
        self.creator = Some(creator);
    }

    /// Books what the swarm takes now, and when it ended.
    pub(super) fn set(&mut self, swarm_bytes: usize, ended: Option<Ended>) {
        let next = (ENTRY + swarm_bytes, ended);
        self.budget.all.change(self.now, next);
        if let Some(creator) = &self.creator {
            creator.swarms.change(self.now, next);
        }
        self.now = next;
    }

    /// Refuses the swarm to grow.
    pub(crate) fn has_room(&self) -> Result<(), StateFull> {
        self.budget.has_room(self.creator.as_deref())
    }

    fn leave_creator(&mut self) {
        if let Some(creator) = self.creator.take() {
            creator.swarms.change(self.now, (0, None));
        }
    }
}

impl Drop for Booked {
    fn drop(&mut self) {
        self.leave_creator();
        self.budget.all.change(self.now, (0, None));
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use starling_core::id::SwarmKind;

    use super::*;

    fn address(host: u8) -> IpAddr {
        Ipv4Addr::new(10, 0, 0, host).into()
    }

    fn id(number: u64) -> SwarmId {
        SwarmId::new(SwarmKind::Group, number).unwrap()
    }

    #[test]
    fn swarms_are_booked_on_their_creators() {
        let budget = StateBudget::new(100_000, 50_000);
        let mut first = Booked::new(Arc::clone(&budget));
        first.set(20_000, None);
        first.book_on(budget.creator(address(1)));
        let mut second = Booked::new(Arc::clone(&budget));
        second.book_on(budget.creator(address(1)));
        second.set(30_000, Some((5, id(2))));
        assert_eq!(budget.used(), 50_000 + 2 * ENTRY);
        let full = Err(StateFull { oldest_ended: Some(id(2)) });
        assert_eq!((first.has_room(), budget.has_room(Some(&budget.creator(address(1))))), (full, full));
        let mut other = Booked::new(Arc::clone(&budget));
        other.book_on(budget.creator(address(2)));
        other.set(1_000, Some((4, id(3))));
        assert_eq!(other.has_room(), Ok(()), "its share is its own");
        second.set(10_000, Some((5, id(2))));
        assert_eq!(first.has_room(), Ok(()));
        other.set(100_000, Some((4, id(3))));
        assert_eq!(first.has_room(), Err(StateFull { oldest_ended: Some(id(3)) }));
        drop((first, second, other));
        assert_eq!((budget.used(), budget.oldest_ended(), budget.creators.lock().len()), (0, None, 0));
    }
}
