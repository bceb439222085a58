//! The swarms of one partition of a replicated log, over the server's own store.
//!
//! What the log says changes swarms in the same way as what a single process is asked: by [`Store`], under the shard's
//! lock, with its events, grants and watchers. The state is a function of the log alone: the swarms, the positions of
//! their sets, and in partition 0 which tokens are refused. What is of this pod (updates, event logs, who watches, who
//! made what) is not.
//!
//! A state is *shown* once clients see it: its shards are those of the pod's own store. Until then it lies in a store of
//! its own, as what was read from a snapshot does, and what is built beside a state that is still shown. The state that
//! is shown next takes the place of the one before ([`PartitionState::show`]): watchers begin anew, streams of those who
//! are not in it end.

mod encoding;
mod outcome;
mod projections;
#[cfg(test)]
mod tests;

use std::hash::Hasher;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::time::Instant;

use crate::store::partition::ChangeTime;
use crate::store::revoked::RevokedTokens;
use crate::store::snapshot::Projection;
use crate::store::{CreatorShares, Settings, Store};
use crate::sync::Mutex;
use encoding::PartitionEncoder;
pub use outcome::LogOutcome;
pub use projections::{ExpectedOutcome, Projections};
use starling_cluster::ReadableState;
use starling_core::hash::FixedHasher;
use starling_core::id::{PodId, SwarmId};
use starling_core::{Command, ServerCommand, SharedCommand, Upkeep, wire};
use starling_replica::State;
use starling_replica::batch::StreamSession;
use starling_replica::state::{LogTime, StateChange, Undecodable};

/// Into how many partitions the swarms of a cluster fall.
pub const PARTITIONS: usize = 8;

/// How many shards the store of each pod of a cluster has. That of a swarm is in partition (shard mod [`PARTITIONS`]).
pub const SHARDS: usize = 64;

/// The partition of what is about no swarm: which tokens are refused.
pub const SERVER_PARTITION: usize = 0;

/// What each step of a Reseed raises revisions by.
const RAISED_REVISIONS: u64 = 1 << 20;

/// What each step of a Reseed raises positions of sets by.
const RAISED_POSITIONS: u64 = 1 << 32;

/// The most that one entry moves the lease clock by.
const LEASE_STEP: Duration = Duration::from_secs(3);

/// Sessions of one swarm that are detached under one lock.
const DETACHED_AT_ONCE: usize = 128;

/// A store of a state that is not shown: whoever would watch, read or refuse there is not there.
const HIDDEN: Settings = Settings {
    shards: SHARDS,
    event_log_revisions: 1,
    event_log_bytes: 1 << 16,
    event_logs_bytes: usize::MAX,
    ring_bytes: 1 << 16,
    feed_memory_bytes: usize::MAX,
    state_bytes: usize::MAX,
    creators: CreatorShares::UNLIMITED,
};

/// The partition that a command belongs to.
pub const fn partition_of(id: SwarmId) -> usize {
    id.shard(SHARDS) % PARTITIONS
}

/// A store has another number of shards than those of a cluster have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the store of a pod has {SHARDS} shards, and not {0}")]
pub struct OtherShards(pub usize);

/// The shards of a pod's store in which one partition is shown.
#[derive(Clone, Debug)]
pub struct ShownPartition {
    store: Arc<Store>,
    partition: usize,
    projections: Arc<Projections>,
    /// Where the lease clock stood when an entry was applied last, and when that was.
    lease: Arc<Mutex<(u64, Instant)>>,
}

impl ShownPartition {
    /// A partition, 0 to 7, in the store of a pod.
    ///
    /// # Errors
    ///
    /// [`OtherShards`]: the pods of a cluster have the same shards.
    pub fn new(store: Arc<Store>, partition: usize) -> Result<Self, OtherShards> {
        assert!(partition < PARTITIONS, "partitions are numbered from 0");
        if store.shards() != SHARDS {
            return Err(OtherShards(store.shards()));
        }
        Ok(Self { store, partition, projections: Arc::default(), lease: Arc::new(Mutex::new((0, Instant::now()))) })
    }

    /// Where the lease clock stands, in milliseconds: where the last entry has put it, and what has passed since by the
    /// pod's own clock, as far as the next entry may put it. Nothing is decided by it that the log does not decide again.
    pub fn lease_now(&self) -> u64 {
        let (lease, at) = *self.lease.lock();
        let passed = at.elapsed().min(LEASE_STEP);
        lease + u64::try_from(passed.as_millis()).unwrap_or(u64::MAX)
    }

    /// Whether a swarm has streams on a pod, or a term that is used there. O(shards).
    pub fn has_swarms_on(&self, pod: PodId) -> bool {
        self.shards().any(|shard| self.store.on_pod(shard, pod, None).is_some())
    }

    /// What outcomes of commands are to show, by those who submit them.
    pub const fn projections(&self) -> &Arc<Projections> {
        &self.projections
    }

    fn shards(&self) -> impl Iterator<Item = usize> + use<> {
        (self.partition..SHARDS).step_by(PARTITIONS)
    }
}

/// The swarms of one partition. Whoever holds it is the only one that changes them.
#[derive(Debug)]
pub struct PartitionState {
    store: Arc<Store>,
    /// Where it is shown; `None` = nowhere, the store is its own.
    shown: Option<ShownPartition>,
    /// Which partition it is, as the first command has told.
    partition: Option<usize>,
    /// What falls due next in each shard.
    due: Box<[Option<(u64, SwarmId)>]>,
    /// Its bytes so far are so many.
    encoding: Mutex<Option<(u64, PartitionEncoder)>>,
}

impl Default for PartitionState {
    fn default() -> Self {
        let store = Store::new(HIDDEN);
        store.track();
        let due = vec![None; SHARDS].into_boxed_slice();
        Self { store: Arc::new(store), shown: None, partition: None, due, encoding: Mutex::default() }
    }
}

impl PartitionState {
    /// True when clients see it.
    pub const fn is_shown(&self) -> bool {
        self.shown.is_some()
    }

    /// Has clients see it from now on, in place of what they saw before; nothing when they do. What was shown there
    /// before is not to be used any more. O(both), each lock for a portion.
    pub fn show(&mut self, place: &ShownPartition) {
        if self.is_shown() {
            return;
        }
        let live = &place.store;
        for shard in place.shards() {
            live.replace_shard(shard, &self.store);
        }
        if place.partition == SERVER_PARTITION {
            live.revoked().replace(self.store.revoked().take());
        }
        live.reset_census(place.shards());
        self.store = Arc::clone(live);
        self.shown = Some(place.clone());
        self.look_at_due();
    }

    /// Its shards; all of them while nothing has told which they are, and there is no swarm.
    fn shards(&self) -> impl Iterator<Item = usize> + use<> {
        let partition = self.shown.as_ref().map(|shown| shown.partition).or(self.partition);
        let (first, step) = partition.map_or((0, 1), |partition| (partition, PARTITIONS));
        (first..SHARDS).step_by(step)
    }

    /// Which tokens are refused, where that is of this partition.
    fn revoked(&self) -> Option<&Arc<RevokedTokens>> {
        let is_elsewhere = self.shown.as_ref().is_some_and(|shown| shown.partition != SERVER_PARTITION);
        (!is_elsewhere).then(|| self.store.revoked())
    }

    fn look_at_due(&mut self) {
        for shard in self.shards() {
            self.due[shard] = self.store.first_due(shard);
        }
    }

    /// Whether a change of this partition belongs here. The first one tells which partition this is, on all pods alike.
    ///
    /// # Errors
    ///
    /// When clients see another partition here: its swarms are not to be touched.
    fn is_here(&mut self, partition: usize) -> Result<bool, Undecodable> {
        let here = *self.partition.get_or_insert(partition);
        if self.shown.as_ref().is_some_and(|shown| shown.partition != here) {
            return Err(Undecodable);
        }
        Ok(here == partition)
    }

    fn command(
        &mut self,
        id: SwarmId,
        command: Command,
        at: LogTime,
        projection: Projection,
    ) -> Result<LogOutcome, Undecodable> {
        if !self.is_here(partition_of(id))? {
            return Ok(LogOutcome::Misrouted);
        }
        let changed = self.store.apply_logged(id, command, time(at), projection);
        self.due[id.shard(SHARDS)] = changed.due;
        Ok(LogOutcome::of(changed.result))
    }

    fn server_command(&mut self, command: ServerCommand, at: LogTime) -> Result<LogOutcome, Undecodable> {
        let ServerCommand::RevokeTokens(revoke) = command;
        Ok(match (self.is_here(SERVER_PARTITION)?, self.revoked()) {
            (true, Some(revoked)) => LogOutcome::Revoked(revoked.apply(revoke, at.lease)),
            _ => LogOutcome::Misrouted,
        })
    }

    fn upkeep(&mut self, id: SwarmId, upkeep: Upkeep, at: LogTime) -> usize {
        let changed = self.store.upkeep(id, upkeep, time(at));
        self.due[id.shard(SHARDS)] = changed.due;
        // Where the core panics the swarm goes: nothing is left to be done there.
        changed.result.unwrap_or(0)
    }

    /// Swarms with streams, or terms at home, on a pod, by shard.
    fn swarms_on(&self, pod: PodId) -> impl Iterator<Item = SwarmId> {
        self.shards().flat_map(move |shard| {
            let first = self.store.on_pod(shard, pod, None);
            std::iter::successors(first, move |last| self.store.on_pod(shard, pod, Some(*last)))
        })
    }
}

/// Decided by the lease clock, shown as the log's own time.
const fn time(at: LogTime) -> ChangeTime {
    ChangeTime { at: at.lease, shown: at.wall }
}

impl State for PartitionState {
    type Outcome = LogOutcome;

    fn apply(&mut self, change: StateChange<'_>, at: LogTime) -> Result<LogOutcome, Undecodable> {
        match change {
            StateChange::Command(bytes, pod) => match wire::decode(bytes) {
                Ok((id, _, command)) => {
                    let shown = self.shown.as_ref().map(|shown| shown.projections.of(bytes));
                    self.command(id, command.on_pod(pod), at, shown.unwrap_or(Projection::NOTHING))
                }
                Err(_) => {
                    let (_, command) = wire::server::decode(bytes).map_err(|_| Undecodable)?;
                    self.server_command(command, at)
                }
            },
            StateChange::Attach(StreamSession { swarm, node, session }, pod) => {
                self.command(swarm, SharedCommand::Attach(node, session, pod).into(), at, Projection::NOTHING)
            }
            StateChange::Detach(StreamSession { swarm, node, session }, pod) => {
                self.command(swarm, SharedCommand::Detach(node, session, pod).into(), at, Projection::NOTHING)
            }
        }
    }

    fn carry_out_due(&mut self, at: LogTime, most: usize) -> usize {
        // Each entry begins with this.
        if let Some(shown) = &self.shown {
            *shown.lease.lock() = (at.lease, Instant::now());
        }
        let mut done = 0;
        while done < most {
            let first = self.shards().filter_map(|shard| self.due[shard]).min();
            let Some((_, id)) = first.filter(|(due, _)| *due <= at.lease) else { break };
            done += self.upkeep(id, Upkeep::Expire { most: most - done }, at).max(1);
        }
        done
    }

    /// The partition itself remembers which pods leave something behind: nothing is to be marked here.
    fn pod_gone(&mut self, _: PodId, _: LogTime) {}

    fn detach_gone(&mut self, pod: PodId, gone_at: u64, at: LogTime, most: usize) -> usize {
        let mut done = 0;
        for shard in self.shards() {
            let mut last = None;
            while done < most
                && let Some(id) = self.store.on_pod(shard, pod, last)
            {
                let some = DETACHED_AT_ONCE.min(most - done);
                let detached = self.upkeep(id, Upkeep::DetachGone { pod, gone_at, most: some }, at);
                done += detached;
                if detached < some {
                    last = Some(id);
                }
            }
        }
        done
    }

    fn attached(&self, pod: PodId) -> Vec<StreamSession> {
        let mut all = Vec::new();
        for swarm in self.swarms_on(pod) {
            let sessions = self.store.attached_to(swarm, pod).into_iter();
            all.extend(sessions.map(|(node, session)| StreamSession { swarm, node, session }));
        }
        all.sort_unstable();
        all
    }

    fn is_attached(&self, StreamSession { swarm, node, session }: StreamSession, pod: PodId) -> bool {
        self.store.is_attached_to(swarm, node, session, pod)
    }

    fn raise(&mut self, steps: u64) {
        if self.partition.is_none() {
            // No number was ever given.
            return;
        }
        for shard in self.shards() {
            self.store.raise(shard, steps * RAISED_REVISIONS, steps * RAISED_POSITIONS);
        }
        self.store.reset_census(self.shards());
    }

    fn digest(&self) -> u64 {
        let mut hasher = FixedHasher::default();
        hasher.write_u64(self.partition.map_or(0, |partition| partition as u64 + 1));
        hasher.write_u64(self.revoked().map_or(0, |revoked| revoked.digest()));
        for shard in self.shards() {
            let [livestreams, groups] = self.store.census_heads(shard);
            // Where there never was a swarm none is.
            if livestreams + groups > 0 {
                [shard as u64, livestreams, groups].into_iter().for_each(|word| hasher.write_u64(word));
                hasher.write_u64(self.store.shard_digest(shard));
            }
        }
        hasher.finish()
    }

    fn encode_part(&self, level: u32, from: u64, most: usize, out: &mut Vec<u8>) -> Option<u64> {
        // Not under this lock: it would be held for all that is encoded.
        let known = self.encoding.lock().take().filter(|(at, _)| *at == from && from > 0);
        let (_, mut encoder) = known.unwrap_or_else(|| self.encoder_at(level, from));
        let before = out.len();
        let mut is_more = true;
        while is_more && out.len() - before < most {
            is_more = encoder.step(self, out);
        }
        let next = from + (out.len() - before) as u64;
        is_more.then(|| {
            *self.encoding.lock() = Some((next, encoder));
            next
        })
    }

    fn decode(bytes: &[u8]) -> Result<Self, Undecodable> {
        let mut state = encoding::decode(bytes).map_err(|_| Undecodable)?;
        state.look_at_due();
        Ok(state)
    }
}

impl ReadableState for PartitionState {
    /// Clients read the store.
    type Reader = ();
    type Place = ShownPartition;

    fn reader(&self) {}

    fn show(&mut self, place: &ShownPartition) {
        Self::show(self, place);
    }
}

impl PartitionState {
    /// An encoder that has written so many bytes: where it was not kept, they are made again.
    fn encoder_at(&self, level: u32, from: u64) -> (u64, PartitionEncoder) {
        let (mut encoder, mut at, mut passed) = (PartitionEncoder::new(level), 0, Vec::new());
        while at < from && encoder.step(self, &mut passed) {
            at += passed.len() as u64;
            passed.clear();
        }
        (at, encoder)
    }
}
