//! The set of swarms of one kind, as it changes; ordered per shard.

use std::sync::Arc;

use tokio::sync::Notify;

use super::{ResetReason, Step, Watch};
use crate::service::Service;
use crate::store::census::CensusEvent;
use crate::store::{Shard, Store};
use crate::swarm::Swarm;
use crate::swarm::id::{Epoch, SwarmId, SwarmKind};
use crate::swarm::summary::Summary;

/// Swarms or events read under one lock.
const AT_ONCE: usize = 256;

/// What a watcher of the set gets, about one shard as of one revision.
#[derive(Debug)]
pub enum CensusItem {
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
    /// All swarms of the shard have been told.
    Complete,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Reset(ResetReason),
    /// Swarms up to this one have been told.
    Scan(Option<SwarmId>),
    Live,
}

/// A watch of the set of swarms of one kind.
#[derive(Debug)]
pub struct CensusWatch {
    store: Arc<Store>,
    kind: SwarmKind,
    epoch: Epoch,
    shards: Vec<(Phase, u64)>,
    /// Where to look first, so that one busy shard does not hide the others.
    first: usize,
    news: Arc<Notify>,
}

impl Service {
    /// Watches the set of swarms of a kind: from a position (the incarnation of
    /// the set, and a revision per shard), or from now with the swarms first.
    pub fn watch_census(&self, kind: SwarmKind, resume: Option<(u64, &[(u32, u64)])>) -> CensusWatch {
        let store = Arc::clone(self.door.store());
        let (known, other) = match resume {
            None => (&[][..], ResetReason::Fresh),
            Some((epoch, _)) if epoch != self.epoch.get() => (&[][..], ResetReason::EpochChanged),
            // A shard that is not named is not known yet.
            Some((_, positions)) => (positions, ResetReason::Fresh),
        };
        let mut shards = vec![(Phase::Reset(other), 0); store.shards()];
        for (shard, revision) in known {
            if let Some(place) = shards.get_mut(*shard as usize) {
                *place = (Phase::Live, *revision);
            }
        }
        let news = store.census_news(kind);
        CensusWatch { store, kind, epoch: self.epoch, shards, first: 0, news }
    }
}

impl CensusWatch {
    /// The incarnation of the set.
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Brings what is new: items of one shard, each with the shard's number and a
    /// revision.
    pub fn step(&mut self) -> Step<Vec<(u32, u64, CensusItem)>> {
        let count = self.shards.len();
        for shard in (self.first..count).chain(0..self.first) {
            let (phase, cursor) = self.shards[shard];
            if matches!(phase, Phase::Live) && self.store.census_head(shard, self.kind) == cursor {
                continue;
            }
            let items = self.look(shard);
            if !items.is_empty() {
                let live = matches!(self.shards[shard].0, Phase::Live);
                self.first = if live { (shard + 1) % count } else { shard };
                let number = u32::try_from(shard).unwrap_or(u32::MAX);
                return Step::Item(items.into_iter().map(|(revision, item)| (number, revision, item)).collect());
            }
        }
        Step::Idle(0)
    }

    fn look(&mut self, shard: usize) -> Vec<(u64, CensusItem)> {
        let store = Arc::clone(&self.store);
        let (phase, cursor) = &mut self.shards[shard];
        store.census(shard, self.kind, |census, swarms| {
            if let Phase::Reset(reason) = *phase {
                (*phase, *cursor) = (Phase::Scan(None), census.head());
                return vec![(*cursor, CensusItem::Reset(reason))];
            }
            let Some(events) = census.since(*cursor) else {
                let ahead = *cursor > census.head();
                let reason = if ahead { ResetReason::UnknownPosition } else { ResetReason::Lapped };
                (*phase, *cursor) = (Phase::Scan(None), census.head());
                return vec![(*cursor, CensusItem::Reset(reason))];
            };
            let mut items = Vec::new();
            for (revision, event) in events.take(AT_ONCE) {
                *cursor = revision;
                // What is ahead of the scan will be seen by it.
                let told = match phase {
                    Phase::Scan(done) => done.is_some_and(|done| event.incarnation().id() <= done),
                    Phase::Live | Phase::Reset(_) => true,
                };
                items.extend(told.then(|| (revision, item(event, swarms))));
            }
            if let (Phase::Scan(done), true) = (*phase, *cursor == census.head()) {
                let page = swarms.swarms(self.kind, done).take(AT_ONCE);
                let mut last = done;
                items.extend(page.map(|(id, swarm)| {
                    last = Some(id);
                    (*cursor, CensusItem::Swarm { id, summary: swarm.summary(), created: false })
                }));
                *phase = Phase::Scan(last);
                if last == done {
                    *phase = Phase::Live;
                    items.push((*cursor, CensusItem::Complete));
                }
            }
            items
        })
    }
}

impl Watch for CensusWatch {
    fn bell(&self) -> Arc<Notify> {
        Arc::clone(&self.news)
    }
}

/// What is told of an event: of a swarm that is there how it is now, of one that is gone
/// how it was last, whatever has its id since.
fn item(event: &CensusEvent, swarms: &Shard) -> CensusItem {
    let incarnation = event.incarnation();
    let id = incarnation.id();
    let current = || swarms.swarm(id).map(Swarm::summary).filter(|current| current.epoch == incarnation.epoch());
    let summary = incarnation.last().cloned().or_else(current).expect("a swarm that is not gone is there");
    match event {
        CensusEvent::Created(_) => CensusItem::Swarm { id, summary, created: true },
        CensusEvent::Changed(_) => CensusItem::Swarm { id, summary, created: false },
        CensusEvent::Removed(_) => CensusItem::Removed { id, summary },
    }
}
