//! All swarms of this process, in shards.
//!
//! A shard is one lock over its swarms and everything that must change with
//! them in one step: the event log, the watchers, the grants in the feed, the
//! timetable. Nothing waits and nothing is woken while a shard is locked; what
//! is to be woken is collected in [`wake::Wakes`] and woken after.
//!
//! Reading goes through [`Store::read`] and [`Store::list`]; changing through the command log
//! alone, which calls [`Store::apply`]. What leaves a shard is plain data ([`snapshot`]) that the
//! caller owns; protobuf is made of it outside.

pub mod census;
pub mod counts;
pub mod entry;
pub mod log;
pub(crate) mod partition;
pub mod revoked;
mod shard;
pub mod snapshot;
pub(crate) mod state;
pub mod wake;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

use tokio::sync::Notify;

use crate::feed::Memory;
use crate::sync::Mutex;
use census::Census;
use counts::SwarmCounts;
use entry::{Entry, SessionEnd};
use log::LogMemory;
use revoked::RevokedTokens;
pub(crate) use shard::{Panicked, Shard};
use snapshot::{Outcome, Projection, SwarmSnapshot};
use starling_core::id::{NodeId, SessionId, SwarmId, SwarmKind};
use starling_core::{Command, Rejection};
use state::StateBudget;
pub use state::{CreatorShare, CreatorShares};
use wake::Wakes;

/// Swarms that a list copies under one lock. A page does not promise to be of one moment: who is
/// there throughout is in it once.
const LISTED_AT_ONCE: usize = 64;

/// Revisions that are taken from one event log under one lock, when all logs hold too much.
const TRIMMED_AT_ONCE: usize = 256;

/// How often that is done at most after one command.
const TRIMS: usize = 4;

/// Sizes of the store.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Number of shards; a power of two.
    pub shards: usize,
    /// How many revisions an event log reaches back.
    pub event_log_revisions: usize,
    /// How many bytes the event log of one swarm holds.
    pub event_log_bytes: usize,
    /// How many bytes all event logs hold.
    pub event_logs_bytes: usize,
    /// How many bytes of memory the records of one swarm's feed take.
    pub ring_bytes: usize,
    /// How many bytes of memory all feeds hold.
    pub feed_memory_bytes: usize,
    /// How many bytes all swarms take, without their records.
    pub state_bytes: usize,
    /// What swarms may be that one address or identity made.
    pub creators: CreatorShares,
}

/// All swarms of this process. Shared by reference.
#[derive(Debug)]
pub struct Store {
    shards: Box<[Mutex<Shard>]>,
    feed_memory: Arc<Memory>,
    /// Newest census revision of each shard and kind, readable without the lock.
    heads: Box<[[AtomicU64; 2]]>,
    /// How much the largest event log of each shard holds, readable without the lock.
    largest_logs: Box<[AtomicU32]>,
    log_memory: Arc<LogMemory>,
    /// Held by whoever makes room in event logs.
    trimming: Mutex<()>,
    census_changed: [Arc<Notify>; 2],
    /// How often the swarms of each shard were replaced otherwise than by commands, and of all of them.
    replaced: Box<[AtomicU64]>,
    replacements: AtomicU64,
    swarms: AtomicUsize,
    /// Swarms about to be made.
    permits: AtomicUsize,
    state: Arc<StateBudget>,
    revoked: Arc<RevokedTokens>,
    /// When the sweeper means to look next.
    sweep_at: AtomicU64,
    sooner: Notify,
}

impl Store {
    /// An empty store.
    pub fn new(settings: Settings) -> Self {
        assert!(settings.shards.is_power_of_two());
        let memory = Memory::new(settings.feed_memory_bytes);
        let state = StateBudget::new(settings.state_bytes, settings.creators);
        let logs = LogMemory::new(settings.event_logs_bytes);
        let shard = |_| Mutex::new(Shard::new(settings, Arc::clone(&memory), Arc::clone(&state), Arc::clone(&logs)));
        Self {
            shards: (0..settings.shards).map(shard).collect(),
            feed_memory: Arc::clone(&memory),
            heads: (0..settings.shards).map(|_| Default::default()).collect(),
            largest_logs: (0..settings.shards).map(|_| AtomicU32::new(0)).collect(),
            log_memory: logs,
            trimming: Mutex::default(),
            census_changed: Default::default(),
            replaced: (0..settings.shards).map(|_| AtomicU64::new(0)).collect(),
            replacements: AtomicU64::new(0),
            swarms: AtomicUsize::new(0),
            permits: AtomicUsize::new(0),
            state,
            revoked: Arc::new(RevokedTokens::new()),
            sweep_at: AtomicU64::new(u64::MAX),
            sooner: Notify::new(),
        }
    }

    /// What all feeds hold together.
    pub const fn feed_memory(&self) -> &Arc<Memory> {
        &self.feed_memory
    }

    /// Applies a command, and copies what is to be shown of the swarm as the command left it, in one
    /// step. For the command log alone.
    pub(crate) fn apply(
        &self,
        id: SwarmId,
        command: Command,
        at: u64,
        projection: Projection,
    ) -> Result<Outcome, Rejection> {
        self.locked(id, |shard, wakes| {
            let applied = shard.apply(id, command, at, wakes)?;
            let outcome = shard.entry(id).map(|entry| Outcome::new(id, entry.swarm(), &applied, projection));
            wakes.retire(applied);
            outcome.ok_or(Rejection::NoSuchSwarm)
        })
    }

    /// Applies `attach` and counts one more stream of the session on this pod. For
    /// the command log alone.
    ///
    /// Both are one step: a stream that closes at the same time cannot detach the
    /// session after this one has opened.
    pub(crate) fn attach(
        &self,
        id: SwarmId,
        session: SessionId,
        attach: Command,
        at: u64,
    ) -> Result<Arc<SessionEnd>, Rejection> {
        let node = attach.actor();
        self.locked(id, |shard, wakes| {
            shard.apply(id, attach, at, wakes)?;
            let node = node.ok_or(Rejection::NoSuchSwarm)?;
            Ok(shard.entry_mut(id).ok_or(Rejection::NoSuchSwarm)?.attach(node, session))
        })
    }

    /// Counts one stream of the session less, and applies `detach` when that was the
    /// last. For the command log alone.
    pub(crate) fn detach(&self, id: SwarmId, session: SessionId, detach: Command, at: u64) {
        self.locked(id, |shard, wakes| {
            if shard.entry_mut(id).is_some_and(|entry| entry.detach(session)) {
                // The session may be over by now; then there is nothing to detach.
                drop(shard.apply(id, detach, at, wakes));
            }
        });
    }

    /// Counts one more stream of a session that a replicated log has attached: it ends when the session does.
    ///
    /// # Errors
    ///
    /// When the session is not a current one, or the swarm has ended or does not exist.
    pub(crate) fn bind(&self, id: SwarmId, node: NodeId, session: SessionId) -> Result<Arc<SessionEnd>, Rejection> {
        self.locked(id, |shard, _| {
            let entry = shard.entry_mut(id).ok_or(Rejection::NoSuchSwarm)?;
            let swarm = entry.swarm();
            if swarm.is_over() {
                return Err(Rejection::Ended);
            }
            let current = swarm.roster().find(node).ok_or(Rejection::NotAMember(node))?.session;
            if current != session {
                return Err(Rejection::SessionReplaced { node, given: session });
            }
            Ok(entry.attach(node, session))
        })
    }

    /// Ends what [`Self::bind`] began.
    pub(crate) fn unbind(&self, id: SwarmId, session: SessionId, end: &Arc<SessionEnd>) {
        self.watchers(id, |entry| entry.unbind(session, end));
    }

    /// Looks at a swarm. `look` must be short: the shard is locked.
    pub(crate) fn read<R>(&self, id: SwarmId, look: impl FnOnce(&Entry) -> R) -> Option<R> {
        self.shard(id).lock().entry(id).map(look)
    }

    /// Changes who watches a swarm. `change` must be short: the shard is locked.
    pub(crate) fn watchers<R>(&self, id: SwarmId, change: impl FnOnce(&mut Entry) -> R) -> Option<R> {
        self.shard(id).lock().entry_mut(id).map(change)
    }

    /// Swarms of one kind in the order (shard, id), after `after`, at most `limit` and `bytes` on the wire
    /// (one may be longer); the last one's id when there may be more. No lock is held for more than [`LISTED_AT_ONCE`] of them.
    pub fn list(
        &self,
        kind: SwarmKind,
        mut after: Option<SwarmId>,
        limit: usize,
        bytes: usize,
    ) -> (Vec<SwarmSnapshot>, Option<SwarmId>) {
        let (mut found, mut size) = (Vec::<SwarmSnapshot>::new(), 0);
        let first = after.map_or(0, |id| id.shard(self.shards.len()));
        for shard in &self.shards[first..] {
            loop {
                let (before, most) = (found.len(), LISTED_AT_ONCE.min(limit - found.len()));
                // Before the lock: nothing grows under it.
                found.reserve(most);
                {
                    let shard = shard.lock();
                    for (id, swarm) in shard.swarms(kind, after).take(most) {
                        let swarm = SwarmSnapshot::new(id, swarm);
                        size += swarm.wire_bytes();
                        if size > bytes && !found.is_empty() {
                            break;
                        }
                        found.push(swarm);
                    }
                }
                let last = found.last().map(|swarm| swarm.id);
                if size > bytes && !found.is_empty() {
                    return (found, last);
                }
                if found.len() == limit {
                    return (found, last);
                }
                if found.len() - before < most {
                    break;
                }
                after = last;
            }
            after = None;
        }
        (found, None)
    }

    /// Looks at the census of a shard, and at the swarms it counts.
    pub(crate) fn census<R>(&self, shard: usize, kind: SwarmKind, look: impl FnOnce(&Census, &Shard) -> R) -> R {
        let shard = self.shards[shard].lock();
        look(shard.census(kind), &shard)
    }

    /// The newest census revision of a shard. O(1), takes no lock.
    pub fn census_head(&self, shard: usize, kind: SwarmKind) -> u64 {
        self.heads[shard][kind as usize].load(Ordering::Acquire)
    }

    /// Notified when the set of swarms of a kind changes.
    pub fn census_changed(&self, kind: SwarmKind) -> Arc<Notify> {
        Arc::clone(&self.census_changed[kind as usize])
    }

    /// Rises when positions of sets have become void in some shard. O(1), takes no lock.
    pub(crate) fn replacements(&self) -> u64 {
        self.replacements.load(Ordering::Acquire)
    }

    /// The same of one shard.
    pub(crate) fn replacements_of(&self, shard: usize) -> u64 {
        self.replaced[shard].load(Ordering::Acquire)
    }

    /// Number of shards.
    pub const fn shards(&self) -> usize {
        self.shards.len()
    }

    /// Number of swarms, ended ones included.
    pub fn len(&self) -> usize {
        self.swarms.load(Ordering::Relaxed)
    }

    /// Counts a swarm that is about to be made, so that many at the same time do not pass a limit.
    pub(crate) fn permit(&self) -> SwarmPermit<'_> {
        SwarmPermit { number: self.permits.fetch_add(1, Ordering::Relaxed) + 1, permits: &self.permits }
    }

    /// What all swarms take, in bytes, without updates and event logs.
    pub fn state_bytes(&self) -> usize {
        self.state.used()
    }

    /// What all swarms may take, in bytes.
    pub fn state_limit(&self) -> usize {
        self.state.limit()
    }

    /// What all event logs hold.
    pub const fn log_memory(&self) -> &Arc<LogMemory> {
        &self.log_memory
    }

    /// How many swarms there are, and who is in them. O(shards); each is locked for as long as it takes to copy some
    /// numbers.
    pub fn counts(&self) -> SwarmCounts {
        let mut sum = SwarmCounts::default();
        for shard in &self.shards {
            let counts = *shard.lock().counts();
            sum.add(&counts);
        }
        sum
    }

    /// What all swarms take, and may.
    pub(crate) const fn state(&self) -> &Arc<StateBudget> {
        &self.state
    }

    /// Which tokens are refused.
    pub const fn revoked(&self) -> &Arc<RevokedTokens> {
        &self.revoked
    }

    /// True when there is no swarm.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// When something falls due next, over all shards.
    pub fn next_expiry(&self) -> Option<u64> {
        self.shards.iter().filter_map(|shard| shard.lock().next_due()).min()
    }

    /// Swarms that are due at `now`.
    pub fn due(&self, now: u64) -> Vec<SwarmId> {
        self.shards.iter().flat_map(|shard| shard.lock().due(now)).collect()
    }

    /// Says when the sweeper will look next, and waits until something falls due
    /// before that.
    pub async fn sooner_than(&self, at: u64) {
        self.sweep_at.store(at, Ordering::Release);
        // What fell due sooner before the line above is seen here.
        if self.next_expiry().is_some_and(|due| due < at) {
            return;
        }
        self.sooner.notified().await;
    }

    fn shard(&self, id: SwarmId) -> &Mutex<Shard> {
        &self.shards[id.shard(self.shards.len())]
    }

    fn locked<R>(&self, id: SwarmId, act: impl FnOnce(&mut Shard, &mut Wakes) -> R) -> R {
        let number = id.shard(self.shards.len());
        let mut wakes = Wakes::default();
        let (result, due) = {
            let mut shard = self.shards[number].lock();
            let before = shard.len();
            let result = act(&mut shard, &mut wakes);
            match (before, shard.len()) {
                (before, after) if after > before => self.swarms.fetch_add(after - before, Ordering::Relaxed),
                (before, after) => self.swarms.fetch_sub(before - after, Ordering::Relaxed),
            };
            let head = shard.census(id.kind).head();
            if self.heads[number][id.kind as usize].swap(head, Ordering::AcqRel) != head {
                wakes.push(Arc::clone(&self.census_changed[id.kind as usize]));
            }
            self.largest_logs[number].store(shard.largest_log(), Ordering::Relaxed);
            (result, shard.next_due())
        };
        if due.is_some_and(|due| due < self.sweep_at.load(Ordering::Acquire)) {
            self.sooner.notify_one();
        }
        drop(wakes);
        if self.log_memory.is_over() {
            self.trim_logs();
        }
        result
    }

    /// Takes from the largest event logs while all hold more than they may: so a log loses nothing
    /// while another one holds more than twice as much. O(shards) for each log that is halved, of
    /// which one call halves no more than [`TRIMS`]; the commands to come go on.
    fn trim_logs(&self) {
        // Whoever finds another one at it leaves it to that one.
        let Some(_trimming) = self.trimming.try_lock() else { return };
        for _ in 0..TRIMS {
            let classes = self.largest_logs.iter().map(|class| class.load(Ordering::Relaxed)).enumerate();
            let Some((number, 1..)) = classes.max_by_key(|(_, class)| *class) else { return };
            let given_up = {
                let mut shard = self.shards[number].lock();
                let given_up = shard.halve_largest_log(TRIMMED_AT_ONCE);
                self.largest_logs[number].store(shard.largest_log(), Ordering::Relaxed);
                given_up
            };
            self.log_memory.count_evicted(given_up.len());
            if !self.log_memory.is_over() {
                return;
            }
        }
    }
}

/// A swarm about to be made.
#[derive(Debug)]
pub(crate) struct SwarmPermit<'a> {
    number: usize,
    permits: &'a AtomicUsize,
}

impl SwarmPermit<'_> {
    /// How many there were with it.
    pub(crate) const fn number(&self) -> usize {
        self.number
    }
}

impl Drop for SwarmPermit<'_> {
    fn drop(&mut self) {
        self.permits.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
