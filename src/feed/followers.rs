//! What other pods want, which serve subscribers of their own with the updates of this one.

use super::demand::Demand;
use super::position::LaneId;
use crate::sync::Mutex;
use starling_core::counted::Map;

/// The most followers of one feed.
pub const MAX_FOLLOWERS: usize = 64;

/// The most lanes that one follower may ask for.
pub const MAX_FOLLOWED_LANES: usize = 2_048;

/// By follower, what its subscribers want.
#[derive(Debug, Default)]
pub(super) struct Followers {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    by_number: Map<u64, Map<LaneId, Demand>>,
    next: u64,
}

impl Followers {
    /// One more; `None` when there are as many as may be.
    pub(super) fn enter(&self) -> Option<u64> {
        let mut state = self.state.lock();
        if state.by_number.len() >= MAX_FOLLOWERS {
            return None;
        }
        let number = state.next;
        state.next += 1;
        state.by_number.insert(number, Map::new());
        Some(number)
    }

    pub(super) fn leave(&self, number: u64) {
        self.state.lock().by_number.remove(&number);
    }

    /// What the subscribers of one want of a lane.
    pub(super) fn set(&self, number: u64, lane: LaneId, demand: Demand) {
        let mut state = self.state.lock();
        let Some(wanted) = state.by_number.get_mut(&number) else { return };
        if demand == Demand::default() {
            wanted.remove(&lane);
        } else if wanted.len() < MAX_FOLLOWED_LANES || wanted.contains_key(&lane) {
            wanted.insert(lane, demand);
        }
    }

    /// Adds what all of them want of a lane. O(followers * log lanes).
    pub(super) fn add_to(&self, demand: &mut Demand, lane: LaneId) {
        for wanted in self.state.lock().by_number.values().filter_map(|wanted| wanted.get(&lane)) {
            demand.highest = demand.highest.max(wanted.highest);
            demand.subscribers += wanted.subscribers;
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.state.lock().by_number.len()
    }
}
