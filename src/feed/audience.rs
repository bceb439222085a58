//! Who reads a feed on this pod, and what they want of it.

use std::collections::HashMap;
use std::sync::Arc;
use std::task::Waker;

use super::lane::Key;
use super::waiting::{Pace, Ticket};
use crate::swarm::id::NodeId;
use crate::swarm::interest::{Channel, ChannelSet, Interest, Interests};
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU64, Ordering};

/// What one subscription asked for.
#[derive(Clone, Debug)]
pub struct Selection {
    /// Who reads.
    pub node: NodeId,
    /// The channels; nothing of others comes.
    pub channels: ChannelSet,
    /// The sources; `None` = all but the reader itself.
    pub sources: Option<Vec<NodeId>>,
}

impl Selection {
    /// True when a lane is asked for.
    pub fn contains(&self, (source, channel): Key) -> bool {
        let source = match (source, &self.sources) {
            (None, _) => true,
            (Some(source), None) => source != self.node,
            (Some(source), Some(sources)) => sources.contains(&source),
        };
        source && self.channels.contains(channel)
    }
}

/// One subscription as the feed knows it.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) selection: Selection,
    /// Where it waits for updates.
    pub(super) ticket: Ticket,
    interests: Mutex<Interests>,
    version: AtomicU64,
    waker: Waker,
}

impl Seat {
    /// Makes the subscription look for what is new.
    pub(super) fn wake(&self) {
        self.waker.wake_by_ref();
    }

    /// The highest interest in any source that was asked for, by channel.
    pub(super) fn pace(&self) -> Pace {
        let interests = self.interests.lock();
        let mut pace = interests.levels();
        for wish in interests.overrides() {
            let level = &mut pace[wish.channel.index()];
            *level = (*level).max(wish.level);
        }
        for channel in Channel::ALL.into_iter().filter(|channel| !self.selection.channels.contains(*channel)) {
            pace[channel.index()] = Interest::None;
        }
        pace
    }

    /// Changes whenever the interests do.
    pub(super) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    pub(super) fn interests(&self) -> Interests {
        self.interests.lock().clone()
    }
}

/// What is wanted of one lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// The highest interest of any subscription.
    pub highest: Interest,
    /// Subscriptions with an interest above NONE.
    pub subscribers: u64,
}

/// All subscriptions of one feed.
#[derive(Debug, Default)]
pub(super) struct Audience {
    seats: Mutex<HashMap<NodeId, Vec<Arc<Seat>>>>,
    /// Rises with each change.
    version: AtomicU64,
}

impl Audience {
    pub(super) fn seat(&self, selection: Selection, interests: Interests, waker: Waker) -> Arc<Seat> {
        let node = selection.node;
        let (ticket, interests, version) = (Ticket::default(), Mutex::new(interests), AtomicU64::new(0));
        let seat = Arc::new(Seat { selection, ticket, interests, version, waker });
        self.seats.lock().entry(node).or_default().push(Arc::clone(&seat));
        self.version.fetch_add(1, Ordering::AcqRel);
        seat
    }

    pub(super) fn leave(&self, seat: &Arc<Seat>) {
        let mut seats = self.seats.lock();
        let node = seat.selection.node;
        if let Some(own) = seats.get_mut(&node) {
            own.retain(|other| !Arc::ptr_eq(other, seat));
            if own.is_empty() {
                seats.remove(&node);
            }
        }
        drop(seats);
        self.version.fetch_add(1, Ordering::AcqRel);
    }

    /// Notes what a node wants now. Answers its subscriptions, to be woken.
    pub(super) fn rewish(&self, node: NodeId, interests: &Interests) -> Vec<Arc<Seat>> {
        let seats = self.seats.lock();
        let Some(own) = seats.get(&node) else { return Vec::new() };
        for seat in own {
            interests.clone_into(&mut seat.interests.lock());
            seat.version.fetch_add(1, Ordering::AcqRel);
        }
        self.version.fetch_add(1, Ordering::AcqRel);
        own.clone()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.seats.lock().is_empty()
    }

    pub(super) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// What is wanted of `channels` of a source, in their order. O(subscriptions).
    pub(super) fn demand(&self, source: NodeId, channels: ChannelSet, shared_chat: bool) -> Vec<(Channel, Demand)> {
        let mut found: Vec<_> = channels.iter().map(|channel| (channel, Demand::default())).collect();
        for seat in self.seats.lock().values().flatten() {
            let interests = seat.interests.lock();
            for (channel, demand) in &mut found {
                let source = (!shared_chat || *channel != Channel::Chat).then_some(source);
                let level = interests.level(source, *channel);
                if seat.selection.contains((source, *channel)) && level > Interest::None {
                    demand.highest = demand.highest.max(level);
                    demand.subscribers += 1;
                }
            }
        }
        found
    }
}
