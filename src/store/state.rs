//! What all swarms may take in memory, and what those may that one address or one identity made, and how many.
//!
//! A swarm is booked on the address and the identity that created it, with all its members: whoever joins a swarm
//! of others is let in by these. Who would grow a swarm is refused before the command is submitted,
//! where either is full, so that a log that is replicated holds only what is carried out everywhere.
//! Swarms that have ended make room first.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use crate::limits::{ClientId, ClientLimit, Exceeded};
use crate::sync::Mutex;
use starling_core::counted::{Map, Set};
use starling_core::id::SwarmId;

/// What surrounds a swarm in its shard, in bytes: the entry, an empty feed and log, places in maps
/// (`tests/memory.rs` compares with what is allocated).
const ENTRY: usize = 2_560;

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

/// What the swarms of one creator may be.
#[derive(Clone, Copy, Debug)]
pub struct CreatorShare {
    /// Bytes that they take.
    pub bytes: usize,
    /// How many they are; 0 = any number.
    pub swarms: usize,
}

/// What the swarms may be that one client made.
#[derive(Clone, Copy, Debug)]
pub struct CreatorShares {
    /// One address.
    pub address: CreatorShare,
    /// One identity.
    pub identity: CreatorShare,
}

impl CreatorShares {
    /// Anything.
    pub const UNLIMITED: Self = {
        let share = CreatorShare { bytes: usize::MAX, swarms: 0 };
        Self { address: share, identity: share }
    };
}

/// What all swarms may take.
#[derive(Debug)]
pub(crate) struct StateBudget {
    all: Limit,
    shares: CreatorShares,
    creators: Mutex<Map<ClientId, Weak<Creator>>>,
}

/// A client that made swarms.
#[derive(Debug)]
pub(crate) struct Creator {
    client: ClientId,
    swarms: Limit,
    /// How many there are, and are about to be made.
    made: AtomicUsize,
    budget: Arc<StateBudget>,
}

impl Creator {
    fn is_address(&self) -> bool {
        matches!(self.client, ClientId::Address(_))
    }

    fn max_swarms(&self) -> usize {
        let shares = &self.budget.shares;
        if self.is_address() { shares.address.swarms } else { shares.identity.swarms }
    }

    /// Counts a swarm that is about to be made.
    fn reserve(self: &Arc<Self>) -> Result<CreatorPermit, StateFull> {
        let max = self.max_swarms();
        let more = |made| (max == 0 || made < max).then_some(made + 1);
        if self.made.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok() {
            return Ok(CreatorPermit(Arc::clone(self)));
        }
        let limit = if self.is_address() { ClientLimit::AddressSwarms } else { ClientLimit::IdentitySwarms };
        let exceeded = Some(Exceeded { limit, max: max as u64, wait: None });
        Err(StateFull { oldest_ended: self.swarms.oldest_ended(), exceeded })
    }
}

impl Drop for Creator {
    fn drop(&mut self) {
        let mut creators = self.budget.creators.lock();
        // Another may have taken its place since its last swarm went.
        if creators.get(&self.client).is_some_and(|creator| creator.strong_count() == 0) {
            creators.remove(&self.client);
        }
    }
}

/// A swarm that counts for its creator: about to be made, or there.
#[derive(Debug)]
pub(crate) struct CreatorPermit(Arc<Creator>);

impl Drop for CreatorPermit {
    fn drop(&mut self) {
        self.0.made.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A swarm may not be made or grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StateFull {
    /// What ended first of the swarms that take the room.
    pub(crate) oldest_ended: Option<SwarmId>,
    /// The number that its creator may make; `None` = the memory is full.
    pub(crate) exceeded: Option<Exceeded>,
}

impl StateBudget {
    pub(super) fn new(limit: usize, shares: CreatorShares) -> Arc<Self> {
        Arc::new(Self { all: Limit::new(limit), shares, creators: Mutex::default() })
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

    /// The account of a client.
    pub(crate) fn creator(self: &Arc<Self>, client: ClientId) -> Arc<Creator> {
        let mut creators = self.creators.lock();
        if let Some(known) = creators.get(&client).and_then(Weak::upgrade) {
            return known;
        }
        let share = match client {
            ClientId::Address(_) => self.shares.address,
            ClientId::Node(_) | ClientId::BackEnd(_) => self.shares.identity,
        };
        let (swarms, made) = (Limit::new(share.bytes), AtomicUsize::new(0));
        let creator = Arc::new(Creator { client: client.clone(), swarms, made, budget: Arc::clone(self) });
        creators.insert(client, Arc::downgrade(&creator));
        creator
    }

    /// Refuses the swarms of these to grow.
    fn has_room<'a>(&'a self, creators: impl Iterator<Item = &'a Arc<Creator>>) -> Result<(), StateFull> {
        let mut limits = creators.map(|creator| &creator.swarms).chain([&self.all]);
        let full = limits.find(|limit| limit.is_full());
        full.map_or(Ok(()), |limit| Err(StateFull { oldest_ended: limit.oldest_ended(), exceeded: None }))
    }

    /// Counts a swarm that takes the place of one of these, which counts until it does.
    pub(crate) fn replace(&self, creators: &[Arc<Creator>]) -> Vec<CreatorPermit> {
        let count = |creator: &Arc<Creator>| {
            creator.made.fetch_add(1, Ordering::Relaxed);
            CreatorPermit(Arc::clone(creator))
        };
        creators.iter().map(count).collect()
    }

    /// Counts a swarm that these are about to make.
    pub(crate) fn reserve(&self, creators: &[Arc<Creator>]) -> Result<Vec<CreatorPermit>, StateFull> {
        self.has_room(creators.iter())?;
        creators.iter().map(Creator::reserve).collect()
    }
}

/// What is booked for one swarm, until it is dropped.
#[derive(Debug)]
pub(crate) struct Booked {
    budget: Arc<StateBudget>,
    /// Those who made it.
    creators: Vec<CreatorPermit>,
    now: (usize, Option<Ended>),
}

impl Booked {
    pub(super) const fn new(budget: Arc<StateBudget>) -> Self {
        Self { budget, creators: Vec::new(), now: (0, None) }
    }

    /// Books it on those who made it.
    pub(super) fn book_on(&mut self, creators: Vec<CreatorPermit>) {
        creators.iter().for_each(|CreatorPermit(creator)| creator.swarms.change((0, None), self.now));
        self.leave_creators();
        self.creators = creators;
    }

    /// True when it is booked on these.
    pub(crate) fn is_of(&self, creators: &[Arc<Creator>]) -> bool {
        let has = |creator: &Arc<Creator>| self.creators.iter().any(|CreatorPermit(own)| Arc::ptr_eq(own, creator));
        creators.iter().all(has)
    }

    /// Books what the swarm takes now, and when it ended.
    pub(super) fn set(&mut self, swarm_bytes: usize, ended: Option<Ended>) {
        let next = (ENTRY + swarm_bytes, ended);
        self.budget.all.change(self.now, next);
        self.creators.iter().for_each(|CreatorPermit(creator)| creator.swarms.change(self.now, next));
        self.now = next;
    }

    /// Refuses the swarm to grow.
    pub(crate) fn has_room(&self) -> Result<(), StateFull> {
        self.budget.has_room(self.creators.iter().map(|CreatorPermit(creator)| creator))
    }

    fn leave_creators(&mut self) {
        for permit in self.creators.drain(..) {
            permit.0.swarms.change(self.now, (0, None));
        }
    }
}

impl Drop for Booked {
    fn drop(&mut self) {
        self.leave_creators();
        self.budget.all.change(self.now, (0, None));
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use starling_core::id::{NodeId, SwarmKind};

    use super::*;

    fn address(host: u8) -> ClientId {
        ClientId::Address(Ipv4Addr::new(10, 0, 0, host).into())
    }

    fn node(number: u64) -> ClientId {
        ClientId::Node(NodeId::new(number).unwrap())
    }

    fn id(number: u64) -> SwarmId {
        SwarmId::new(SwarmKind::Group, number).unwrap()
    }

    fn budget(address: CreatorShare, identity: CreatorShare) -> Arc<StateBudget> {
        StateBudget::new(100_000, CreatorShares { address, identity })
    }

    const SHARE: CreatorShare = CreatorShare { bytes: 50_000, swarms: 0 };

    /// Books a swarm on these.
    fn book(budget: &Arc<StateBudget>, clients: &[ClientId]) -> Result<Booked, StateFull> {
        let creators: Vec<_> = clients.iter().map(|client| budget.creator(client.clone())).collect();
        let permits = budget.reserve(&creators)?;
        let mut booked = Booked::new(Arc::clone(budget));
        booked.book_on(permits);
        Ok(booked)
    }

    #[test]
    fn swarms_are_booked_on_their_creators() {
        let budget = budget(SHARE, SHARE);
        let mut first = Booked::new(Arc::clone(&budget));
        first.set(20_000, None);
        first.book_on(budget.reserve(&[budget.creator(address(1))]).unwrap());
        let mut second = book(&budget, &[address(1)]).unwrap();
        second.set(30_000, Some((5, id(2))));
        assert_eq!(budget.used(), 50_000 + 2 * ENTRY);
        let full = StateFull { oldest_ended: Some(id(2)), exceeded: None };
        assert_eq!((first.has_room(), book(&budget, &[address(1)]).unwrap_err()), (Err(full), full));
        let mut other = book(&budget, &[address(2)]).unwrap();
        other.set(1_000, Some((4, id(3))));
        assert_eq!(other.has_room(), Ok(()), "its share is its own");
        second.set(10_000, Some((5, id(2))));
        assert_eq!(first.has_room(), Ok(()));
        other.set(100_000, Some((4, id(3))));
        assert_eq!(first.has_room(), Err(StateFull { oldest_ended: Some(id(3)), exceeded: None }));
        drop((first, second, other));
        assert_eq!((budget.used(), budget.oldest_ended(), budget.creators.lock().len()), (0, None, 0));
    }

    #[test]
    fn identity_and_address_have_shares_of_their_own() {
        let budget = budget(SHARE, CreatorShare { bytes: 10_000, swarms: 0 });
        let mut first = book(&budget, &[address(1), node(1)]).unwrap();
        first.set(20_000, None);
        assert!(first.has_room().is_err(), "the identity has used up its own");
        assert!(book(&budget, &[address(2), node(1)]).is_err(), "wherever it comes from");
        let other = book(&budget, &[address(1), node(2)]).unwrap();
        assert_eq!(other.has_room(), Ok(()));
    }

    #[test]
    fn creators_make_so_many_swarms_and_no_more() {
        let budget = budget(CreatorShare { swarms: 3, ..SHARE }, CreatorShare { swarms: 2, ..SHARE });
        let by_first = [address(1), node(1)];
        let mut made: Vec<_> = (0..2).map(|_| book(&budget, &by_first).unwrap()).collect();
        let exceeded = |limit, max| Some(Exceeded { limit, max, wait: None });
        let full = StateFull { oldest_ended: None, exceeded: exceeded(ClientLimit::IdentitySwarms, 2) };
        assert_eq!(book(&budget, &by_first).unwrap_err(), full);
        made.push(book(&budget, &[address(1), node(2)]).unwrap());
        let refused = book(&budget, &[address(1), node(3)]).unwrap_err();
        assert_eq!(refused.exceeded, exceeded(ClientLimit::AddressSwarms, 3));
        made[1].set(1, Some((5, id(2))));
        assert_eq!(book(&budget, &by_first).unwrap_err().oldest_ended, Some(id(2)), "it makes room");
        made.remove(1);
        book(&budget, &by_first).unwrap();
    }

    #[test]
    fn swarm_knows_its_creators() {
        let budget = budget(SHARE, SHARE);
        let booked = book(&budget, &[address(1), node(1)]).unwrap();
        let creators = |clients: &[ClientId]| clients.iter().map(|it| budget.creator(it.clone())).collect::<Vec<_>>();
        assert!(booked.is_of(&creators(&[address(1), node(1)])) && booked.is_of(&[]));
        assert!(!booked.is_of(&creators(&[address(1), node(2)])));
    }
}
