//! What lies under one lock.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use super::Settings;
use super::census::{Census, CensusEvent, Incarnation};
use super::entry::Entry;
use super::log::Origin;
use super::state::StateBudget;
use super::wake::Wakes;
use crate::feed::Memory;
use starling_core::id::{SwarmId, SwarmKind};
use starling_core::{Applied, Command, Rejection, Swarm};

/// The swarms of one shard, and when each needs attention.
#[derive(Debug)]
pub(crate) struct Shard {
    entries: BTreeMap<SwarmId, Box<Entry>>,
    due: BTreeSet<(u64, SwarmId)>,
    census: [Census; 2],
    settings: Settings,
    memory: Arc<Memory>,
    state: Arc<StateBudget>,
}

impl Shard {
    pub(super) fn new(settings: Settings, memory: Arc<Memory>, state: Arc<StateBudget>) -> Self {
        let census = || Census::new(settings.event_log_revisions);
        Self { entries: BTreeMap::new(), due: BTreeSet::new(), census: [census(), census()], settings, memory, state }
    }

    /// Applies a command to one swarm and everything around it.
    pub(super) fn apply(
        &mut self,
        id: SwarmId,
        command: Command,
        at: u64,
        wakes: &mut Wakes,
    ) -> Result<Applied, Rejection> {
        let mut fresh = None;
        let slot = match self.entries.get_mut(&id) {
            Some(entry) => &mut entry.swarm,
            None => &mut fresh,
        };
        let origin = Origin { at, actor: command.actor() };
        let (mut applied, former) = starling_core::apply(slot, command, at)?;
        let next = slot.as_deref().and_then(Swarm::next_expiry);
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
        if !applied.removed {
            entry.book(id);
        }
        if entry.due != next {
            if let Some(due) = entry.due {
                self.due.remove(&(due, id));
            }
            self.due.extend(next.map(|due| (due, id)));
            entry.due = next;
        }
        if applied.removed {
            changes.push(removed(entry.incarnation(), former.as_deref()));
            // Watchers hold the `Notify`; they find the swarm gone.
            wakes.push(entry.changed());
            if let Some(entry) = self.entries.remove(&id) {
                wakes.let_go(entry.feed());
                entry.close();
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
                if let Some(due) = old.due {
                    self.due.remove(&(due, id));
                }
                // The core has put the new swarm where the old one was.
                let swarm = old.swarm.take();
                let replaced = old.incarnation();
                wakes.let_go(old.feed());
                old.close();
                (swarm, Some(replaced))
            }
        };
        let swarm = swarm.expect("what was created is there");
        self.entries.insert(id, Box::new(Entry::new(self.settings, &self.memory, &self.state, id, swarm)));
        replaced
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

/// The event of a removal; from now on the incarnation is what it was last.
fn removed(incarnation: Arc<Incarnation>, last: Option<&Swarm>) -> CensusEvent {
    incarnation.end(last.expect("what is removed was there"));
    CensusEvent::Removed(incarnation)
}
