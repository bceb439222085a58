//! The set of swarms of one kind, as it changes; ordered per shard.

use std::sync::Arc;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout, timeout_at};

use super::{LOOK_BYTES, ResetReason, Step, Watch};
use crate::cluster::LogFault;
use crate::service::Service;
use crate::service::settled::CATCH_UP;
use crate::store::census::{Census, CensusEvent};
use crate::store::{Shard, Store};
use starling_core::Swarm;
use starling_core::id::{Epoch, SwarmId, SwarmKind};
use starling_core::summary::Summary;

/// Swarms or events read under one lock; and see [`LOOK_BYTES`].
const AT_ONCE: usize = 256;

/// Where a watch stopped: the incarnation of the set, and the last revision of each shard.
#[derive(Clone, Debug)]
pub struct SetPosition {
    /// The incarnation of the set.
    pub epoch: u64,
    /// Shards and revisions.
    pub shards: Vec<(usize, u64)>,
}

/// What a watcher of the set gets.
#[derive(Debug)]
pub enum CensusItem {
    /// How many shards there are, and which of them start anew; the first item.
    Opened {
        /// All of them.
        shards: usize,
        /// What is to be forgotten, and why.
        resets: Vec<(usize, ResetReason)>,
    },
    /// Something about one shard.
    About {
        /// Which one.
        shard: usize,
        /// Where the shard stands after this; `None` while its swarms are being told.
        revision: Option<u64>,
        /// What is told.
        change: SetChange,
    },
    /// All swarms of all shards have been told, as of these revisions, in order of the shards.
    InSync(Vec<u64>),
}

/// What is told about one shard.
#[derive(Debug)]
pub enum SetChange {
    /// Forget the swarms of this shard; they follow.
    Reset(ResetReason),
    /// A swarm as it is now, or as it was last.
    Swarm {
        /// Which one.
        id: SwarmId,
        /// How it looks.
        summary: Summary,
        /// True when this tells of its creation.
        created: bool,
    },
    /// A swarm was forgotten or replaced, and was like this.
    Removed {
        /// Which one.
        id: SwarmId,
        /// How it looked last.
        summary: Summary,
    },
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    /// Swarms up to this one have been told.
    Scan(Option<SwarmId>),
    Live,
}

/// Where the watch is in one shard.
#[derive(Clone, Copy, Debug)]
struct Place {
    phase: Phase,
    /// Events up to this revision have been told, or will be seen by the scan.
    revision: u64,
    /// How often the shard's swarms were replaced when the place was taken.
    replaced: u64,
}

/// A watch of the set of swarms of one kind.
#[derive(Debug)]
pub struct CensusWatch {
    store: Arc<Store>,
    kind: SwarmKind,
    epoch: Epoch,
    places: Vec<Place>,
    /// How often the store's swarms were replaced when the places were taken.
    replacements: u64,
    /// Told first.
    opened: Option<CensusItem>,
    in_sync: bool,
    /// Where to look first, so that one busy shard does not hide the others.
    first: usize,
    changed: Arc<Notify>,
}

impl Service {
    /// The incarnation of the set of swarms, and how many shards it has. Of several servers all say the same.
    ///
    /// # Errors
    ///
    /// [`LogFault`]: this one does not know it yet.
    pub async fn set(&self) -> Result<(Epoch, usize), LogFault> {
        let epoch = match self.log.cluster() {
            Some(log) => timeout(CATCH_UP, log.directory().set_epoch()).await.map_err(|_| LogFault::NotServed)?,
            None => self.epoch,
        };
        Ok((epoch, self.log.store().shards()))
    }

    /// Waits up to 1 s until what a client has seen elsewhere of the set is applied here; at once in one process.
    ///
    /// # Errors
    ///
    /// [`LogFault::Behind`].
    pub async fn reach_set(&self, kind: SwarmKind, seen: &SetPosition) -> Result<(), LogFault> {
        if self.log.cluster().is_none() {
            return Ok(());
        }
        let (store, until) = (self.log.store(), Instant::now() + CATCH_UP);
        loop {
            let changed = store.census_changed(kind).notified_owned();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let is_here = |(shard, revision): &(usize, u64)| store.census_head(*shard, kind) >= *revision;
            if seen.shards.iter().all(is_here) {
                return Ok(());
            }
            timeout_at(until, changed).await.map_err(|_| LogFault::Behind)?;
        }
    }

    /// Watches the set of swarms of a kind, of this incarnation: from a position, or from now with the swarms first.
    /// O(shards).
    pub fn watch_census(&self, kind: SwarmKind, epoch: Epoch, resume: Option<&SetPosition>) -> CensusWatch {
        let store = Arc::clone(self.log.store());
        let (known, other) = match resume {
            None => (&[][..], ResetReason::Fresh),
            Some(SetPosition { epoch: of, .. }) if *of != epoch.get() => (&[][..], ResetReason::EpochChanged),
            // A shard that is not named is not known yet.
            Some(SetPosition { shards, .. }) => (&shards[..], ResetReason::Fresh),
        };
        let replacements = store.replacements();
        let mut resets = Vec::new();
        let mut place = |shard| {
            let replaced = store.replacements_of(shard);
            let given = known.iter().find(|(known, _)| *known == shard).map(|(_, revision)| *revision);
            store.census(shard, kind, |census, _| {
                let reason = given.map_or(Some(other), |revision| lost(census, revision));
                resets.extend(reason.map(|reason| (shard, reason)));
                match (given, reason) {
                    (Some(revision), None) => Place { phase: Phase::Live, revision, replaced },
                    _ => Place { phase: Phase::Scan(None), revision: census.head(), replaced },
                }
            })
        };
        let places: Vec<_> = (0..store.shards()).map(&mut place).collect();
        let opened = Some(CensusItem::Opened { shards: places.len(), resets });
        let changed = store.census_changed(kind);
        CensusWatch { store, kind, epoch, places, replacements, opened, in_sync: false, first: 0, changed }
    }
}

/// Why a revision is no place to go on from, if it is none.
fn lost(census: &Census, revision: u64) -> Option<ResetReason> {
    if census.since(revision).is_some() {
        None
    } else if revision > census.head() {
        Some(ResetReason::UnknownPosition)
    } else {
        Some(ResetReason::Lapped)
    }
}

impl CensusWatch {
    /// The incarnation of the set.
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Brings what is new, of one shard.
    pub fn step(&mut self) -> Step<Vec<CensusItem>> {
        if let Some(opened) = self.opened.take() {
            return Step::Item(vec![opened]);
        }
        if let Some(resets) = self.begin_anew() {
            return Step::Item(resets);
        }
        let count = self.places.len();
        for shard in (self.first..count).chain(0..self.first) {
            let Place { phase, revision, .. } = self.places[shard];
            if matches!(phase, Phase::Live) && self.store.census_head(shard, self.kind) == revision {
                continue;
            }
            let items = self.look(shard);
            if !items.is_empty() {
                let live = matches!(self.places[shard].phase, Phase::Live);
                self.first = if live { (shard + 1) % count } else { shard };
                return Step::Item(items);
            }
        }
        let complete = self.places.iter().all(|place| matches!(place.phase, Phase::Live));
        if complete && !self.in_sync {
            self.in_sync = true;
            return Step::Item(vec![CensusItem::InSync(self.places.iter().map(|place| place.revision).collect())]);
        }
        Step::Idle(0)
    }

    /// After swarms were replaced: forgets their shards, for the state may be another one at the same positions.
    fn begin_anew(&mut self) -> Option<Vec<CensusItem>> {
        let now = self.store.replacements();
        if std::mem::replace(&mut self.replacements, now) == now {
            return None;
        }
        let (store, kind) = (&self.store, self.kind);
        let mut resets = Vec::new();
        for (shard, place) in self.places.iter_mut().enumerate() {
            let replaced = store.replacements_of(shard);
            if place.replaced != replaced {
                let revision = store.census(shard, kind, |census, _| census.head());
                *place = Place { phase: Phase::Scan(None), revision, replaced };
                let change = SetChange::Reset(ResetReason::Lapped);
                resets.push(CensusItem::About { shard, revision: None, change });
            }
        }
        self.in_sync &= resets.is_empty();
        (!resets.is_empty()).then_some(resets)
    }

    fn look(&mut self, shard: usize) -> Vec<CensusItem> {
        let store = Arc::clone(&self.store);
        let (kind, in_sync) = (self.kind, &mut self.in_sync);
        let Place { phase, revision: cursor, .. } = &mut self.places[shard];
        store.census(shard, kind, |census, swarms| {
            let Some(events) = census.since(*cursor) else {
                let reason = lost(census, *cursor).unwrap_or(ResetReason::Lapped);
                (*phase, *cursor, *in_sync) = (Phase::Scan(None), census.head(), false);
                return vec![CensusItem::About { shard, revision: None, change: SetChange::Reset(reason) }];
            };
            let (mut items, mut bytes) = (Vec::new(), 0);
            for (number, event) in events.take(AT_ONCE) {
                if bytes >= LOOK_BYTES {
                    break;
                }
                *cursor = number;
                // What is ahead of the scan will be seen by it.
                let (told, revision) = match phase {
                    Phase::Scan(done) => (done.is_some_and(|done| event.incarnation().id() <= done), None),
                    Phase::Live => (true, Some(number)),
                };
                if told {
                    let (change, size) = change(event, swarms);
                    bytes += size;
                    items.push(CensusItem::About { shard, revision, change });
                }
            }
            if let (Phase::Scan(done), true) = (*phase, *cursor == census.head()) {
                let mut page = swarms.swarms(kind, done).peekable();
                let mut last = done;
                while items.len() < AT_ONCE
                    && bytes < LOOK_BYTES
                    && let Some((id, swarm)) = page.next()
                {
                    last = Some(id);
                    // With the last swarm of the shard it is told where the shard stands.
                    let revision = page.peek().is_none().then_some(*cursor);
                    let summary = swarm.summary();
                    bytes += summary.bytes();
                    let change = SetChange::Swarm { id, summary, created: false };
                    items.push(CensusItem::About { shard, revision, change });
                }
                *phase = if page.peek().is_none() { Phase::Live } else { Phase::Scan(last) };
            }
            items
        })
    }
}

impl Watch for CensusWatch {
    fn changed(&self) -> Arc<Notify> {
        Arc::clone(&self.changed)
    }
}

/// What is told of an event: of a swarm that is there how it is now, of one that is gone
/// how it was last, whatever has its id since. And how many bytes that is, roughly.
fn change(event: &CensusEvent, swarms: &Shard) -> (SetChange, usize) {
    let incarnation = event.incarnation();
    let id = incarnation.id();
    let current = || swarms.swarm(id).map(Swarm::summary).filter(|current| current.epoch == incarnation.epoch());
    let summary = incarnation.last().cloned().or_else(current).expect("a swarm that is not gone is there");
    let bytes = summary.bytes();
    let change = match event {
        CensusEvent::Created(_) => SetChange::Swarm { id, summary, created: true },
        CensusEvent::Changed(_) => SetChange::Swarm { id, summary, created: false },
        CensusEvent::Removed(_) => SetChange::Removed { id, summary },
    };
    (change, bytes)
}
