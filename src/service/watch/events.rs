//! The ordered events of one swarm.

use std::sync::{Arc, OnceLock};

use tokio::sync::Notify;

use super::{LOOK_BYTES, Over, Step, Watch};
use crate::service::{Service, ServiceError};
use crate::store::Store;
use crate::store::entry::Entry;
use crate::store::log::{EventLog, Revision, Since};
use crate::store::snapshot::SwarmSnapshot;
use starling_core::event::EventKind;
use starling_core::id::{Epoch, SwarmId};
use starling_core::member::{MemberView, View};
use starling_core::{Event, LivestreamEvent, Rejection, Swarm};

/// Revisions read under one lock.
const REVISIONS_AT_ONCE: usize = 64;

/// Why a watch begins anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResetReason {
    /// No position was given.
    Fresh,
    /// The position is of another incarnation.
    EpochChanged,
    /// The log does not reach back to the position any more.
    Lapped,
    /// The log has not come to the position yet.
    UnknownPosition,
}

/// Which events a watcher wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventSelection(u16);

impl EventSelection {
    /// Everything.
    pub const ALL: Self = Self(u16::MAX);
    /// Everything but what changes with nearly every command.
    pub const DEFAULT: Self = Self(!(1 << EventKind::Interest as u16 | 1 << EventKind::Placement as u16));

    /// True when events of this kind are wanted.
    pub const fn contains(self, kind: EventKind) -> bool {
        self.0 & (1 << kind as u16) != 0
    }
}

impl FromIterator<EventKind> for EventSelection {
    fn from_iter<I: IntoIterator<Item = EventKind>>(kinds: I) -> Self {
        Self(kinds.into_iter().fold(0, |bits, kind| bits | 1 << kind as u16))
    }
}

/// What a watcher of events gets.
#[derive(Debug)]
pub enum EventItem {
    /// Forget everything; the roster follows.
    Reset {
        /// Why.
        reason: ResetReason,
        /// The swarm as of this revision.
        revision: u64,
        /// How it looks.
        swarm: Box<SwarmSnapshot>,
    },
    /// Some of the members, as of this revision.
    Roster {
        /// As of when.
        revision: u64,
        /// Who.
        members: Vec<MemberView>,
    },
    /// The roster is complete.
    Complete {
        /// As of when.
        revision: u64,
    },
    /// The wanted events of one revision.
    Events {
        /// The revision.
        revision: Arc<Revision>,
        /// Which of its events, in order; never empty.
        wanted: Vec<usize>,
    },
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Reset(ResetReason),
    /// Members in slots before `next` have been told.
    Roster {
        next: usize,
        /// Why the scan began.
        reason: ResetReason,
    },
    /// The whole roster has been told.
    Told,
    Live,
}

/// A watch of one swarm's events.
#[derive(Debug)]
pub struct EventWatch {
    store: Arc<Store>,
    id: SwarmId,
    epoch: Epoch,
    /// Which history of the swarm its positions are of.
    history: u32,
    selection: EventSelection,
    page: usize,
    view: View,
    /// The last revision that was told, or passed over.
    cursor: u64,
    phase: Phase,
    changed: Arc<Notify>,
    final_log: Arc<OnceLock<EventLog>>,
    /// Revisions read and not yet handed out, newest first.
    pending: Vec<Arc<Revision>>,
}

impl Service {
    /// Watches a swarm's events from a position `(epoch, revision)`, or from now
    /// with the roster first, in pages of up to `page` members and 16 KiB.
    ///
    /// # Errors
    ///
    /// When there is no such swarm.
    pub fn watch_events(
        &self,
        id: SwarmId,
        selection: EventSelection,
        resume: Option<(u64, u64)>,
        page: usize,
        view: View,
    ) -> Result<EventWatch, ServiceError> {
        let store = Arc::clone(self.log.store());
        let watch = store.read(id, |entry| {
            let epoch = entry.swarm().epoch();
            let (phase, cursor) = match resume {
                None => (Phase::Reset(ResetReason::Fresh), 0),
                Some((of, _)) if of != epoch.get() => (Phase::Reset(ResetReason::EpochChanged), 0),
                Some((_, revision)) => (Phase::Live, revision),
            };
            EventWatch {
                store: Arc::clone(&store),
                id,
                epoch,
                history: entry.log().history(),
                selection,
                page,
                view,
                cursor,
                phase,
                changed: entry.changed(),
                final_log: entry.final_log(),
                pending: Vec::new(),
            }
        });
        Ok(watch.ok_or(Rejection::NoSuchSwarm)?)
    }
}

impl EventWatch {
    /// The incarnation that is watched.
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The revision up to which all is told.
    pub const fn revision(&self) -> u64 {
        self.cursor
    }

    /// Brings what is new.
    pub fn step(&mut self) -> Step<EventItem> {
        loop {
            if let Some(item) = self.next_pending() {
                return Step::Item(item);
            }
            let store = Arc::clone(&self.store);
            // Nothing but the watch is changed under the lock.
            let step = match store.read(self.id, |entry| self.look(entry)) {
                Some(step) => step,
                None => self.look_back(),
            };
            if let Some(step) = step {
                return step;
            }
        }
    }

    /// Looks once; `None` when that brought pending revisions or another phase.
    fn look(&mut self, entry: &Entry) -> Option<Step<EventItem>> {
        let swarm = entry.swarm();
        if swarm.epoch() != self.epoch {
            return self.look_back();
        }
        if entry.log().history() != self.history {
            // The state was replaced; also at the same revision it may be another.
            self.history = entry.log().history();
            self.phase = Phase::Reset(ResetReason::Lapped);
        }
        if let Phase::Reset(reason) = self.phase {
            self.cursor = entry.log().head();
            self.phase = Phase::Roster { next: 0, reason };
            let swarm = Box::new(SwarmSnapshot::new(self.id, swarm));
            return Some(Step::Item(EventItem::Reset { reason, revision: self.cursor, swarm }));
        }
        match entry.log().since(self.cursor, REVISIONS_AT_ONCE) {
            Since::Lapped => self.phase = Phase::Reset(ResetReason::Lapped),
            Since::Unknown => self.phase = Phase::Reset(ResetReason::UnknownPosition),
            Since::Events(revisions) if revisions.is_empty() => return self.up_to_date(swarm),
            Since::Events(mut revisions) => {
                revisions.reverse();
                self.pending = revisions;
            }
        }
        None
    }

    /// The swarm is gone: tells how it ended, to who has come that far.
    fn look_back(&mut self) -> Option<Step<EventItem>> {
        let log = self.final_log.get().filter(|_| matches!(self.phase, Phase::Live));
        match log.map(|log| log.since(self.cursor, REVISIONS_AT_ONCE)) {
            Some(Since::Events(mut revisions)) if !revisions.is_empty() => {
                revisions.reverse();
                self.pending = revisions;
                None
            }
            _ => Some(Step::Over(Over::SwarmEnded)),
        }
    }

    /// All events are told: goes on with the roster, or waits. `None` when nobody is listed in the
    /// part of the roster that was looked at: the lock is given up before the next part.
    fn up_to_date(&mut self, swarm: &Swarm) -> Option<Step<EventItem>> {
        let revision = self.cursor;
        Some(match self.phase {
            Phase::Roster { next, reason } => {
                let (members, next) = swarm.page(next, self.page, LOOK_BYTES, self.view);
                self.phase = next.map_or(Phase::Told, |next| Phase::Roster { next, reason });
                if members.is_empty() {
                    return None;
                }
                Step::Item(EventItem::Roster { revision, members })
            }
            Phase::Told => {
                self.phase = Phase::Live;
                Step::Item(EventItem::Complete { revision })
            }
            Phase::Live if swarm.is_over() => Step::Over(Over::SwarmEnded),
            Phase::Live | Phase::Reset(_) => Step::Idle(revision),
        })
    }

    fn next_pending(&mut self) -> Option<EventItem> {
        while let Some(revision) = self.pending.pop() {
            self.cursor = revision.number;
            if let Phase::Roster { reason, .. } = self.phase
                && revision
                    .events
                    .iter()
                    .any(|event| matches!(event, Event::Livestream(LivestreamEvent::Transferred { .. })))
            {
                // Two members changed roles, on whichever side of the scan: begin anew.
                self.pending.clear();
                self.phase = Phase::Reset(reason);
                return None;
            }
            let wanted: Vec<usize> =
                (0..revision.events.len()).filter(|index| self.wants(&revision.events[*index])).collect();
            if !wanted.is_empty() {
                return Some(EventItem::Events { revision, wanted });
            }
        }
        None
    }

    /// During a roster scan, what happens to members ahead is not told: their page
    /// will show how they came out of it.
    fn wants(&self, event: &Event) -> bool {
        let told = match self.phase {
            Phase::Roster { next, .. } => event.member().is_none_or(|key| key.index() < next),
            Phase::Told | Phase::Live | Phase::Reset(_) => true,
        };
        told && self.selection.contains(event.kind())
    }
}

impl Watch for EventWatch {
    fn changed(&self) -> Arc<Notify> {
        Arc::clone(&self.changed)
    }
}
