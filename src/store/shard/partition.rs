//! A shard as a part of a replicated log's state: taken apart, put together, and replaced.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::tracked::named;
use super::{Shard, classify, reschedule};
use crate::store::census::CensusEvent;
use crate::store::counts::Counted;
use crate::store::entry::Entry;
use crate::store::log::Origin;
use crate::store::wake::Wakes;
use starling_core::counted::Queue;
use starling_core::id::{PodId, SwarmId, SwarmKind};
use starling_core::swarm::Former;
use starling_core::wire::state::{RunningDigest, StateVersion};
use starling_core::{Applied, Rejection, Swarm};

/// A command that the core could not carry out: its swarm was removed, on every pod alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Panicked;

/// Swarms that one look at digests takes at most.
const DIGESTS_AT_ONCE: usize = 8;

/// Bytes of a swarm that one look at its digest takes.
const DIGEST_BYTES: usize = 4 << 10;

impl Shard {
    /// Has one swarm changed as [`Shard::change`] does. A swarm in which the core panics is removed: on all pods the same
    /// change does the same.
    pub(in crate::store) fn change_guarded(
        &mut self,
        id: SwarmId,
        origin: Origin,
        wakes: &mut Wakes,
        act: impl FnOnce(&mut Option<Box<Swarm>>) -> Result<(Applied, Former), Rejection>,
    ) -> Result<Result<Applied, Rejection>, Panicked> {
        let mut panicked = false;
        let result = self.change(id, origin, wakes, |slot| {
            let result = catch_unwind(AssertUnwindSafe(|| act(slot)));
            result.unwrap_or_else(|_| {
                panicked = true;
                let former = slot.take();
                let removed = former.is_some();
                Ok((Applied { over: removed, removed, ..Applied::default() }, former))
            })
        });
        if panicked { Err(Panicked) } else { Ok(result) }
    }

    /// Keeps from now on what a replicated log wants to know. Of swarms that are there nothing is known before they
    /// change.
    pub(in crate::store) fn track(&mut self) {
        self.tracked.get_or_insert_default();
    }

    /// What falls due next, and when.
    pub(in crate::store) fn first_due(&self) -> Option<(u64, SwarmId)> {
        self.due.first().copied()
    }

    /// The first swarm after this one.
    pub(in crate::store) fn swarm_after(&self, after: Option<SwarmId>) -> Option<SwarmId> {
        match after {
            Some(id) if id.kind == SwarmKind::Group => self.swarms(SwarmKind::Group, after).next(),
            _ => {
                let mut livestreams = self.swarms(SwarmKind::Livestream, after);
                livestreams.next().or_else(|| self.swarms(SwarmKind::Group, None).next())
            }
        }
        .map(|(id, _)| id)
    }

    /// The first swarm after this one that has streams, or terms at home, on a pod.
    pub(in crate::store) fn on_pod(&self, pod: PodId, after: Option<SwarmId>) -> Option<SwarmId> {
        self.tracked.as_ref()?.on_pod(pod, after)
    }

    /// Brings some digests up to date, and goes on with one that is begun. The sum of all, once it is right.
    pub(in crate::store) fn digest_some(&mut self, begun: &mut Option<(SwarmId, RunningDigest)>) -> Option<u64> {
        for _ in 0..DIGESTS_AT_ONCE {
            let tracked = self.tracked.as_mut()?;
            if begun.is_none() {
                let Some(id) = tracked.stale() else { return Some(tracked.sum()) };
                *begun = Some((id, RunningDigest::new(StateVersion::V1)));
            }
            let (id, running) = begun.as_mut()?;
            let Some(entry) = self.entries.get_mut(id) else {
                *begun = None;
                continue;
            };
            let digest = running.next(entry.swarm(), DIGEST_BYTES)?;
            tracked.digested(*id, entry, named(*id, digest));
            *begun = None;
        }
        None
    }

    /// Goes on at other positions of the sets. Returns what was known before, to be freed elsewhere.
    pub(in crate::store) fn resume_census(&mut self, heads: [u64; 2]) -> [Queue<CensusEvent>; 2] {
        let [livestreams, groups] = &mut self.census;
        [livestreams.resume_at(heads[0]), groups.resume_at(heads[1])]
    }

    /// Takes a swarm out, for another store.
    pub(in crate::store) fn take_swarm(&mut self, id: SwarmId) -> Option<Box<Swarm>> {
        let mut entry = self.entries.remove(&id)?;
        self.let_go(id, &mut entry);
        entry.swarm.take()
    }

    /// Puts another state of a swarm in place of what is there. Streams of the same incarnation are still to be brought
    /// to it: then it is true.
    pub(in crate::store) fn replace(&mut self, id: SwarmId, swarm: Box<Swarm>, wakes: &mut Wakes) -> bool {
        let epoch = swarm.epoch();
        if self.entries.get(&id).is_some_and(|entry| entry.swarm().epoch() != epoch) {
            self.discard(id, wakes);
        }
        let stays = match self.entries.get_mut(&id) {
            Some(entry) => {
                let before = entry.put(swarm, self.settings, &self.memory, wakes);
                wakes.forget(before);
                true
            }
            None => {
                let mut entry = Entry::new(self.settings, &self.memory, &self.state, &self.log_memory, id, swarm);
                entry.begin(wakes);
                self.entries.insert(id, Box::new(entry));
                false
            }
        };
        self.settle(id);
        stays
    }

    /// Raises the revision of a swarm.
    pub(in crate::store) fn raise(&mut self, id: SwarmId, by: u64, wakes: &mut Wakes) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.raise(by, wakes);
        }
        self.settle(id);
    }

    /// Ends all that hangs on a swarm that is in the state no more.
    pub(in crate::store) fn discard(&mut self, id: SwarmId, wakes: &mut Wakes) {
        let Some(mut entry) = self.entries.remove(&id) else { return };
        let mut applied = Applied { over: true, removed: true, ..Applied::default() };
        entry.apply_effects(&mut applied, Origin { at: 0, actor: None }, wakes);
        self.let_go(id, &mut entry);
        wakes.push(entry.changed());
        wakes.let_go(entry.feed());
        wakes.forget(entry.swarm.take());
        entry.close(wakes);
    }

    /// Notes what a swarm is now that was not changed by a command.
    fn settle(&mut self, id: SwarmId) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        entry.book(id);
        let now = Counted::of(entry.swarm());
        self.counts.replace(id.kind, &mut entry.counted, now);
        classify(&mut self.logs, id, entry);
        let next = entry.swarm().next_expiry();
        reschedule(&mut self.due, id, entry, next);
        if let Some(tracked) = &mut self.tracked {
            tracked.changed(id, entry);
        }
    }

    /// Forgets where a swarm stood.
    fn let_go(&mut self, id: SwarmId, entry: &mut Entry) {
        reschedule(&mut self.due, id, entry, None);
        self.logs.remove(&(entry.log_class, id));
        self.counts.replace(id.kind, &mut entry.counted, Counted::default());
        if let Some(tracked) = &mut self.tracked {
            tracked.removed(id, entry);
        }
    }
}
