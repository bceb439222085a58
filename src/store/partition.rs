//! The store under a replicated log: the shards of one partition change by what the log says, all else is as ever.
//!
//! A partition has one applier, and nothing else changes its swarms. So what is done in portions, each under the lock of
//! its own shard, is of one state, although others read and watch in between.

use std::sync::atomic::Ordering;

use super::entry::Entry;
use super::log::Origin;
use super::shard::{Panicked, Shard};
use super::snapshot::{Outcome, Projection};
use super::wake::Wakes;
use super::{Store, entry};
use crate::clock;
use starling_core::id::{MemberKey, NodeId, PodId, SessionId, SwarmId, SwarmKind};
use starling_core::{Command, LivestreamCommand, Rejection, Swarm, Upkeep, Upkept};

/// Streams that are brought to another state of their swarm at once.
const STREAMS_AT_ONCE: usize = 128;

/// Sessions that are listed at once.
const SESSIONS_AT_ONCE: usize = 256;

/// The time of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChangeTime {
    /// What is decided by, in milliseconds since the Unix epoch.
    pub(crate) at: u64,
    /// What is shown of it.
    pub(crate) shown: u64,
}

/// What a change did, and what falls due in its shard next.
#[derive(Debug)]
pub(crate) struct Changed<R> {
    pub(crate) result: Result<R, Panicked>,
    pub(crate) due: Option<(u64, SwarmId)>,
}

impl Store {
    /// Has the shards keep what a replicated log wants to know. Before there are swarms.
    pub(crate) fn track(&self) {
        self.shards.iter().for_each(|shard| shard.lock().track());
    }

    /// What [`Store::apply`] does, of a command that a replicated log says.
    pub(crate) fn apply_logged(
        &self,
        id: SwarmId,
        command: Command,
        time: ChangeTime,
        projection: Projection,
    ) -> Changed<Result<Outcome, Rejection>> {
        if let Command::Livestream(LivestreamCommand::Chat { content, .. }) = &command
            && !self.feed_memory.has_room_for_message(content.len())
            && let Some(feed) = self.read(id, Entry::feed)
        {
            // Not under the lock under which the message is taken in.
            feed.make_room(content.len(), clock::uptime());
        }
        self.locked(id, |shard, wakes| {
            let origin = Origin { at: time.shown, actor: command.actor() };
            let act = |slot: &mut _| starling_core::apply(slot, command, time.at);
            let result = shard.change_guarded(id, origin, wakes, act).map(|result| {
                let applied = result?;
                let outcome = shard.entry(id).map(|entry| Outcome::new(id, entry.swarm(), &applied, projection));
                wakes.retire(applied);
                outcome.ok_or(Rejection::NoSuchSwarm)
            });
            Changed { result, due: shard.first_due() }
        })
    }

    /// Does what the log brings with it, and tells how much.
    pub(crate) fn upkeep(&self, id: SwarmId, upkeep: Upkeep, time: ChangeTime) -> Changed<usize> {
        self.locked(id, |shard, wakes| {
            let (origin, mut done) = (Origin { at: time.shown, actor: None }, 0);
            let result = shard.change_guarded(id, origin, wakes, |slot| {
                let (Upkept { applied, done: all }, former) = starling_core::upkeep(slot, upkeep, time.at);
                done = all;
                Ok((applied, former))
            });
            let result = result.map(|applied| {
                applied.into_iter().for_each(|applied| wakes.retire(applied));
                done
            });
            Changed { result, due: shard.first_due() }
        })
    }

    /// What falls due in a shard next.
    pub(crate) fn first_due(&self, shard: usize) -> Option<(u64, SwarmId)> {
        self.shards[shard].lock().first_due()
    }

    /// The first swarm of a shard after this one.
    pub(crate) fn swarm_after(&self, shard: usize, after: Option<SwarmId>) -> Option<SwarmId> {
        self.shards[shard].lock().swarm_after(after)
    }

    /// The first swarm of a shard after this one that has streams, or terms at home, on a pod.
    pub(crate) fn on_pod(&self, shard: usize, pod: PodId, after: Option<SwarmId>) -> Option<SwarmId> {
        self.shards[shard].lock().on_pod(pod, after)
    }

    /// Whether a session has a stream on a pod.
    pub(crate) fn is_attached_to(&self, id: SwarmId, node: NodeId, session: SessionId, pod: PodId) -> bool {
        let look = |entry: &Entry| {
            let member = entry.swarm().roster().find(node);
            member.is_some_and(|member| member.session == session && member.lease.is_attached_to(pod))
        };
        self.read(id, look).unwrap_or_default()
    }

    /// Sessions of a swarm that have a stream on a pod, some at a time under the lock.
    pub(crate) fn attached_to(&self, id: SwarmId, pod: PodId) -> Vec<(NodeId, SessionId)> {
        let (mut all, mut from) = (Vec::new(), Some(MemberKey::FIRST));
        while let Some(key) = from {
            let look = |entry: &Entry| {
                let some = entry.swarm().attached_to(pod, key).take(SESSIONS_AT_ONCE + 1);
                some.collect::<Vec<_>>()
            };
            let mut some = self.read(id, look).unwrap_or_default();
            from = (some.len() > SESSIONS_AT_ONCE).then(|| some.pop()).flatten().map(|(key, ..)| key);
            all.extend(some.into_iter().map(|(_, node, session)| (node, session)));
        }
        all
    }

    /// The positions of a shard's sets.
    pub(crate) fn census_heads(&self, shard: usize) -> [u64; 2] {
        [SwarmKind::Livestream, SwarmKind::Group].map(|kind| self.census_head(shard, kind))
    }

    /// A digest of all swarms of a shard. Each is looked at again only after it has changed.
    pub(crate) fn shard_digest(&self, shard: usize) -> u64 {
        let mut begun = None;
        loop {
            if let Some(sum) = self.shards[shard].lock().digest_some(&mut begun) {
                return sum;
            }
        }
    }

    /// Adds a swarm to a store that has none of this id, as one that has a history.
    pub(crate) fn restore(&self, id: SwarmId, swarm: Box<Swarm>) {
        self.locked(id, |shard, wakes| shard.replace(id, swarm, wakes));
    }

    /// Puts the sets of a shard at other positions.
    pub(crate) fn resume_census(&self, shard: usize, heads: [u64; 2]) {
        let before = self.shards[shard].lock().resume_census(heads);
        drop(before);
        for (head, now) in self.heads[shard].iter().zip(heads) {
            head.store(now, Ordering::Release);
        }
    }

    /// Tells watchers of the sets to begin anew in these shards.
    pub(crate) fn reset_census(&self, shards: impl Iterator<Item = usize>) {
        for shard in shards {
            self.replaced[shard].fetch_add(1, Ordering::AcqRel);
        }
        self.replacements.fetch_add(1, Ordering::AcqRel);
        self.census_changed.iter().for_each(|changed| changed.notify_waiters());
    }

    /// Raises the revisions of all swarms of a shard, and the positions of its sets.
    pub(crate) fn raise(&self, shard: usize, revisions: u64, positions: u64) {
        let mut last = None;
        while let Some(id) = self.swarm_after(shard, last) {
            self.locked(id, |shard, wakes| shard.raise(id, revisions, wakes));
            last = Some(id);
        }
        let raised = self.census_heads(shard).map(|head| head + positions);
        self.resume_census(shard, raised);
    }

    /// Puts the swarms of another store's shard in place of those that are here.
    pub(crate) fn replace_shard(&self, shard: usize, from: &Self) {
        // First, so that no event is about a swarm that is not here.
        self.resume_census(shard, from.census_heads(shard));
        self.shards[shard].lock().track();
        let mut last = None;
        while let Some(id) = self.swarm_after(shard, last) {
            match from.take_swarm(id) {
                Some(swarm) => self.replace(id, swarm),
                None => self.locked(id, |shard, wakes| shard.discard(id, wakes)),
            }
            last = Some(id);
        }
        while let Some(id) = from.swarm_after(shard, None) {
            let Some(swarm) = from.take_swarm(id) else { break };
            self.replace(id, swarm);
        }
    }

    fn take_swarm(&self, id: SwarmId) -> Option<Box<Swarm>> {
        self.locked(id, |shard, _| shard.take_swarm(id))
    }

    fn replace(&self, id: SwarmId, swarm: Box<Swarm>) {
        if !self.locked(id, |shard, wakes| shard.replace(id, swarm, wakes)) {
            return;
        }
        let mut brought = entry::Brought::default();
        while !matches!(brought, entry::Brought::All) {
            let bring = |shard: &mut Shard, wakes: &mut Wakes| {
                let entry = shard.entry_mut(id);
                entry.map_or(entry::Brought::All, |entry| entry.bring_streams(brought, STREAMS_AT_ONCE, wakes))
            };
            brought = self.locked(id, bring);
        }
    }
}
