//! What lies under one lock.

mod partition;
mod tracked;

use std::ops::Bound;
use std::sync::Arc;

use super::Settings;
use super::census::{Census, CensusEvent, Incarnation};
use super::counts::{Counted, Sessions, SwarmCounts};
use super::entry::Entry;
use super::log::{LogMemory, Origin, Revision};
use super::state::StateBudget;
use super::wake::Wakes;
use crate::feed::Memory;
use starling_core::counted::{Map, Set};
use starling_core::id::{SwarmId, SwarmKind};
use starling_core::swarm::Former;
use starling_core::{Applied, Command, Rejection, Swarm};
use tracked::Tracked;

pub(crate) use partition::Panicked;

/// The swarms of one shard, and when each needs attention.
#[derive(Debug)]
pub(crate) struct Shard {
    entries: Map<SwarmId, Box<Entry>>,
    due: Set<(u64, SwarmId)>,
    /// Swarms by how much their event logs hold.
    logs: Set<(u32, SwarmId)>,
    census: [Census; 2],
    counts: SwarmCounts,
    /// What a replicated log wants to know; `None` in a single process.
    tracked: Option<Tracked>,
    settings: Settings,
    memory: Arc<Memory>,
    state: Arc<StateBudget>,
    log_memory: Arc<LogMemory>,
}

impl Shard {
    pub(super) fn new(
        settings: Settings,
        memory: Arc<Memory>,
        state: Arc<StateBudget>,
        log_memory: Arc<LogMemory>,
    ) -> Self {
        let census = || Census::new(settings.event_log_revisions);
        let (entries, due, logs) = (Map::new(), Set::new(), Set::new());
        let (census, counts) = ([census(), census()], SwarmCounts::default());
        Self { entries, due, logs, census, counts, tracked: None, settings, memory, state, log_memory }
    }

    /// Applies a command to one swarm and everything around it.
    pub(super) fn apply(
        &mut self,
        id: SwarmId,
        command: Command,
        at: u64,
        wakes: &mut Wakes,
    ) -> Result<Applied, Rejection> {
        let origin = Origin { at, actor: command.actor() };
        self.change(id, origin, wakes, |slot| starling_core::apply(slot, command, at))
    }

    /// Has one swarm changed, and everything around it.
    pub(super) fn change(
        &mut self,
        id: SwarmId,
        origin: Origin,
        wakes: &mut Wakes,
        act: impl FnOnce(&mut Option<Box<Swarm>>) -> Result<(Applied, Former), Rejection>,
    ) -> Result<Applied, Rejection> {
        let mut fresh = None;
        let slot = match self.entries.get_mut(&id) {
            Some(entry) => &mut entry.swarm,
            None => &mut fresh,
        };
        let before = slot.as_deref().map(Sessions::of);
        let (mut applied, former) = act(slot)?;
        let next = slot.as_deref().and_then(Swarm::next_expiry);
        if let Some(now) = slot.as_deref().or(former.as_deref()) {
            let before = before.filter(|_| !applied.created).unwrap_or_default();
            self.counts.add_sessions(id.kind, &before, &Sessions::of(now));
        }
        let mut changes = Vec::new();
        if applied.created {
            let replaced = self.install(id, fresh, wakes);
            changes.extend(replaced.map(|old| removed(old, former.as_deref())));
        }
        let Some(entry) = self.entries.get_mut(&id) else { return Ok(applied) };
        let incarnation = entry.incarnation();
        if applied.created {
            changes.push(CensusEvent::Created(incarnation));
        } else if applied.summary_changed {
            changes.push(CensusEvent::Changed(incarnation));
        }
        entry.apply_effects(&mut applied, origin, wakes);
        if applied.removed {
            self.counts.replace(id.kind, &mut entry.counted, Counted::default());
        } else {
            entry.book(id);
            let now = Counted::of(entry.swarm());
            self.counts.replace(id.kind, &mut entry.counted, now);
        }
        classify(&mut self.logs, id, entry);
        reschedule(&mut self.due, id, entry, next);
        if let Some(tracked) = &mut self.tracked {
            tracked.changed(id, entry);
        }
        if applied.removed {
            changes.push(removed(entry.incarnation(), former.as_deref()));
            // Watchers hold the `Notify`; they find the swarm gone.
            wakes.push(entry.changed());
            if let Some(entry) = self.entries.remove(&id) {
                wakes.let_go(entry.feed());
                self.logs.remove(&(entry.log_class, id));
                entry.close(wakes);
            }
        }
        let census = &mut self.census[id.kind as usize];
        changes.into_iter().for_each(|change| census.append(change));
        wakes.forget(former);
        Ok(applied)
    }

    /// Puts a new swarm in its place. One that replaces an ended one gets a log
    /// and a feed of its own; readers of the old ones have been told of its end,
    /// or find it in the old log. Returns the incarnation that was replaced.
    fn install(&mut self, id: SwarmId, fresh: Option<Box<Swarm>>, wakes: &mut Wakes) -> Option<Arc<Incarnation>> {
        let (swarm, replaced) = match self.entries.remove(&id) {
            None => (fresh, None),
            Some(mut old) => {
                reschedule(&mut self.due, id, &mut old, None);
                if let Some(tracked) = &mut self.tracked {
                    tracked.removed(id, &mut old);
                }
                // The core has put the new swarm where the old one was.
                let swarm = old.swarm.take();
                self.counts.replace(id.kind, &mut old.counted, Counted::default());
                let replaced = old.incarnation();
                wakes.let_go(old.feed());
                self.logs.remove(&(old.log_class, id));
                old.close(wakes);
                (swarm, Some(replaced))
            }
        };
        let swarm = swarm.expect("what was created is there");
        let entry = Entry::new(self.settings, &self.memory, &self.state, &self.log_memory, id, swarm);
        self.entries.insert(id, Box::new(entry));
        replaced
    }

    /// How much the largest of its event logs holds, as [`EventLog::class`](super::log::EventLog) says it.
    pub(super) fn largest_log(&self) -> u32 {
        self.logs.last().map_or(0, |(class, _)| *class)
    }

    /// Takes the older half of the largest log away, at most `limit` revisions.
    pub(super) fn halve_largest_log(&mut self, limit: usize) -> Vec<Arc<Revision>> {
        let Some((_, id)) = self.logs.last().copied() else { return Vec::new() };
        let entry = self.entries.get_mut(&id).expect("a log is in the index only while its swarm is there");
        let given_up = entry.halve_log(limit);
        classify(&mut self.logs, id, entry);
        given_up
    }

    pub(super) fn entry(&self, id: SwarmId) -> Option<&Entry> {
        self.entries.get(&id).map(Box::as_ref)
    }

    pub(super) fn entry_mut(&mut self, id: SwarmId) -> Option<&mut Entry> {
        self.entries.get_mut(&id).map(Box::as_mut)
    }

    /// The swarm, for those who hold the shard by its census.
    pub(crate) fn swarm(&self, id: SwarmId) -> Option<&Swarm> {
        self.entry(id).map(Entry::swarm)
    }

    /// Swarms of a kind by id, after `after`.
    pub(crate) fn swarms(&self, kind: SwarmKind, after: Option<SwarmId>) -> impl Iterator<Item = (SwarmId, &Swarm)> {
        let from = match after {
            Some(id) => Bound::Excluded(id),
            None => Bound::Included(SwarmId::first(kind)),
        };
        self.entries
            .range((from, Bound::Unbounded))
            .take_while(move |(id, _)| id.kind == kind)
            .map(|(id, entry)| (*id, entry.swarm()))
    }

    pub(super) const fn counts(&self) -> &SwarmCounts {
        &self.counts
    }

    pub(super) const fn census(&self, kind: SwarmKind) -> &Census {
        &self.census[kind as usize]
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn next_due(&self) -> Option<u64> {
        self.due.first().map(|(at, _)| *at)
    }

    pub(super) fn due(&self, now: u64) -> Vec<SwarmId> {
        self.due.iter().take_while(|(at, _)| *at <= now).map(|(_, id)| *id).collect()
    }
}

/// Puts the swarm in its place in the timetable.
fn reschedule(timetable: &mut Set<(u64, SwarmId)>, id: SwarmId, entry: &mut Entry, next: Option<u64>) {
    if entry.due != next {
        if let Some(due) = entry.due {
            timetable.remove(&(due, id));
        }
        timetable.extend(next.map(|due| (due, id)));
        entry.due = next;
    }
}

/// Puts the log of a swarm in its place among the others. O(1) while its class stays.
fn classify(logs: &mut Set<(u32, SwarmId)>, id: SwarmId, entry: &mut Entry) {
    let class = entry.log().class();
    let before = std::mem::replace(&mut entry.log_class, class);
    if class != before {
        logs.remove(&(before, id));
        logs.extend((class > 0).then_some((class, id)));
    }
}

/// The event of a removal; from now on the incarnation is what it was last.
fn removed(incarnation: Arc<Incarnation>, last: Option<&Swarm>) -> CensusEvent {
    incarnation.end(last.expect("what is removed was there"));
    CensusEvent::Removed(incarnation)
}
